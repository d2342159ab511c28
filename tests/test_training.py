"""Training and backtests on what should not be, and after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from waiting import wait_for

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.backtest import run_backtest
from crypto_rti.evaluation.walk_forward import BacktestError
from crypto_rti.models.base import MODELS, ModelError, train_forecaster
from crypto_rti.targets import MEDIAN, Dataset, make_dataset

START, END = to_unix("2023-07-01"), to_unix("2023-12-01")
PRICES = ["low", "high", "open", "close"]
QUICK = {"cnn": {"epochs": 2, "epoch_rows": 500}, "lstm": {"epochs": 1, "epoch_rows": 256, "valid_rows": 100}, "lightgbm": {"rounds": 20}}
every_kind = pytest.mark.parametrize("kind", MODELS)


def rows(**changes: object) -> Dataset:
    candles = sim_candles("BTC-USD", START, END)
    return make_dataset(candles.assign(**changes), "BTC-USD", sim_candles("ETH-USD", START, END))


def forecast(kind: str, data: Dataset) -> np.ndarray:
    "Train, export, and forecast through the exported graph as a bundle would."
    trained = train_forecaster(kind, data, QUICK.get(kind))
    X = trained.scaler.transform(data.X[-50:])
    exported = [onnxruntime.InferenceSession(content) for _, content in sorted(trained.model.to_onnx().items())]
    answer = np.hstack([session.run(None, {session.get_inputs()[0].name: X})[0] for session in exported])
    assert answer.shape == (50, 5) and np.isfinite(answer).all()
    np.testing.assert_allclose(answer, trained.model.predict(X), atol=1e-4)
    return trained.predict(data.X[-50:])


@every_kind
def test_a_price_that_never_moves_is_forecast_not_to(kind: str) -> None:
    flat = rows(**dict.fromkeys(PRICES, 100.0))
    assert np.abs(flat.y).max() == 0
    assert np.abs(forecast(kind, flat)[:, MEDIAN]).max() < 1e-3


@every_kind
def test_days_without_volume_are_learned_from(kind: str) -> None:
    candles = sim_candles("BTC-USD", START, END)
    silent = (candles["time"] // 86400) % 5 == 0
    assert np.isfinite(forecast(kind, rows(volume=np.where(silent, 0.0, candles["volume"])))).all()


@every_kind
def test_too_little_history_is_refused(kind: str) -> None:
    data = rows()
    with pytest.raises(ModelError, match="too few to learn from; give at least"):
        train_forecaster(kind, data.take(np.arange(200)))
    with pytest.raises(ModelError, match="0 training and 0 validation"):
        train_forecaster(kind, data.take(np.arange(0)))


@every_kind
def test_rows_that_are_not_finite_are_refused(kind: str) -> None:
    data = rows()
    data.X[700, 3] = np.nan
    with pytest.raises(ModelError, match="1 of .* rows are not finite, the first is BTC-USD at 2023"):
        train_forecaster(kind, data)


def test_a_backtest_without_rows_names_the_span() -> None:
    with pytest.raises(BacktestError, match="no rows between 2030"):
        run_backtest({"BTC-USD": rows()}, {"lasso": {}}, to_unix("2030-01-01"), to_unix("2030-02-01"))


def test_unknown_kinds_and_parameters_are_named_before_anything_is_fitted(tmp_path: Path) -> None:
    for models, fault in (({"ridge": {}}, "kind of model 'ridge'"), ({"lasso": {"alhpas": 1}}, "lasso cannot be built with")):
        with pytest.raises(ModelError, match=fault):
            run_backtest({"BTC-USD": rows()}, models, END - 30 * 24 * HOUR, END, work=tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def backtest_command(folder: Path, home: Path, scores: str = "scores.json", *kinds: str) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).parent / "crypto-rti", "backtest", "-s", folder, "-p", "BTC-USD", "-p", "ETH-USD"]
    models = [word for kind in kinds or ("lasso", "cnn") for word in ("-m", kind)]
    span = ["--start", "2023-10-01", "--end", "2023-11-30", "--refit", "10d", "--jobs", "1", "--quiet", "--json", home / scores]
    return subprocess.Popen([*map(str, command), *models, *map(str, span)], env={**os.environ, "CRYPTO_RTI_HOME": str(home)}, stdout=subprocess.DEVNULL)


def parts_in(home: Path) -> list[Path]:
    "The finished parts of the backtests in progress."
    return list(home.glob("backtests/*/*/*.json"))


def test_a_killed_backtest_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "market"
    folder.mkdir()
    for product in ("BTC-USD", "ETH-USD"):
        sim_candles(product, START, END).to_parquet(folder / f"{product}.parquet")
    home = tmp_path / "killed"
    running = backtest_command(folder, home)
    try:
        wait_for(lambda: len(parts_in(home)) >= 4, 150, "four parts", running)
    finally:
        running.kill()
        running.wait()
    assert not (home / "scores.json").exists()
    made = {path: path.stat().st_mtime_ns for path in parts_in(home)}
    again = backtest_command(folder, home)
    wait_for(lambda: len(parts_in(home)) > len(made), 150, "another part", again, pause=0.005)
    kept = {path: path.stat().st_mtime_ns for path in made}  # At the end of a run its parts are deleted
    assert again.wait(300) == 0 and kept == made
    whole = tmp_path / "whole"
    assert backtest_command(folder, whole).wait(300) == 0
    scores = [json.loads((place / "scores.json").read_text())["results"] for place in (home, whole)]
    tables = [pd.DataFrame(found).drop(columns="fit_seconds") for found in scores]
    pd.testing.assert_frame_equal(*tables)
    assert not list(home.glob("backtests/*")), "parts of a finished run are gone"


def test_the_same_backtest_twice_at_once(tmp_path: Path) -> None:
    "The first is held in the middle; the second takes over what is finished and ends; then the first goes on and finds its parts."
    folder, home = tmp_path / "market", tmp_path / "home"
    folder.mkdir()
    for product in ("BTC-USD", "ETH-USD"):
        sim_candles(product, START, END).to_parquet(folder / f"{product}.parquet")
    first = backtest_command(folder, home, "first.json", "lasso")
    try:
        wait_for(lambda: len(parts_in(home)) >= 3, 150, "three parts", first)
        first.send_signal(signal.SIGSTOP)
        made = {path: path.stat().st_mtime_ns for path in parts_in(home)}
        assert len(made) >= 3
        second = backtest_command(folder, home, "second.json", "lasso")
        assert second.wait(300) == 0
        assert {path: path.stat().st_mtime_ns for path in made} == made, "finished parts are shared, and stay while somebody needs them"
        first.send_signal(signal.SIGCONT)
        assert first.wait(300) == 0
    finally:
        first.kill()
        first.wait()
    scores = [json.loads((home / name).read_text())["results"] for name in ("first.json", "second.json")]
    pd.testing.assert_frame_equal(*(pd.DataFrame(found).drop(columns="fit_seconds") for found in scores))
    assert not list(home.glob("backtests/*")), "the last one clears up"


def test_a_backtest_writes_its_report(tmp_path: Path) -> None:
    folder = tmp_path / "market"
    folder.mkdir()
    for product in ("BTC-USD", "ETH-USD"):
        sim_candles(product, START, END).to_parquet(folder / f"{product}.parquet")
    command = [Path(sys.executable).parent / "crypto-rti", "backtest", "-s", folder, "-p", "BTC-USD", "-m", "lasso", "--quiet"]
    span = ["--start", "2023-11-01", "--end", "2023-11-30", "--refit", "never", "--report", str(tmp_path / "r.ipynb")]
    subprocess.run([*map(str, command), *span], check=True, env={**os.environ, "CRYPTO_RTI_HOME": str(tmp_path / "home")}, stdout=subprocess.DEVNULL)
    text = (tmp_path / "r.ipynb").read_text()
    assert "these rows: BTC-USD" in text and "image/png" in text

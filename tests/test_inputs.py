"""What people bring and what processes must do about it: bad files beside good ones, two folders of one name, odd homes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crypto_rti.data.candle_files import NoCandlesError
from crypto_rti.data.candles import HOUR, UNBROKEN, to_iso, to_unix
from crypto_rti.data.fetch import fetch
from crypto_rti.data.origin import NameTakenError, read_origins
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.sources import Source, SourceError, parse_source
from crypto_rti.data.store import CandleStore
from crypto_rti.datasets import load_datasets
from crypto_rti.features import LAGS, NotEnoughHistoryError
from crypto_rti.pipeline import RetrainReport
from crypto_rti.pipeline_plan import find_pipeline, make_plan
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.forecasts import SPAN, make_forecast
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.models import Persistence
from crypto_rti.service.once import predict_once
from crypto_rti.service.recorded import prune_forecasts
from crypto_rti.service.server import running_service
from crypto_rti.settings import load_settings, sqlite_path

HOURS = sim_candles("SOL-USD", "2024-01-01", "2024-02-15")
SPOILT = HOURS.assign(time=HOURS["time"] * 1000)


def folder_of(place, **tables):
    """A folder source with a file for each table, `SOL_USD` for SOL-USD."""
    place.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(place / f"{name.replace('_', '-')}.parquet", index=False)
    return place


def crypto_rti(home, *arguments):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", "from crypto_rti.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=home, env=environment(home))


def environment(home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_RTI_")}
    return {**kept, "CRYPTO_RTI_HOME": str(home), "PYTHONPATH": str(Path(__file__).parent.parent)}


# --- A bad file beside a good one ----------------------------------------------------------


@pytest.mark.parametrize("bad", ["ETH_USD", "BTC_USD"], ids=["other", "reference"])
def test_a_bad_file_stops_no_other_coin(tmp_path, bad, caplog):
    folder = folder_of(tmp_path / "mixed", SOL_USD=HOURS, **{bad: SPOILT})
    name = bad.replace("_", "-")
    settings = load_settings(home=tmp_path / "home", source=str(folder), products=f"SOL-USD {name}", models="lasso")
    with running_service(settings.model_copy(update={"products": ("SOL-USD",)})) as up:
        assert up.service.source.name == "mixed"
    assert f"{name} is left out" in caplog.text and "divide milliseconds by 1000" in caplog.text
    assert predict_once(settings, "SOL-USD").coin == "SOL-USD"
    plan = make_plan(settings, find_pipeline())
    assert plan.products == ["SOL-USD"] and "divide milliseconds" in RetrainReport(plan).failures[0] and RetrainReport(plan).exit_code == 1
    skipped = {}
    (read,) = load_datasets(CandleStore(settings.candles_dir), (str(folder), ["SOL-USD", name]), skip=skipped.__setitem__)
    assert (list(read), list(skipped)) == (["SOL-USD"], [name])
    alone = settings.model_copy(update={"products": (name,)})
    for command in (lambda: make_plan(alone, find_pipeline()), lambda: predict_once(alone, name), lambda: fetch(alone, [name], progress=False)):
        with pytest.raises(ValueError, match=f"{name}.parquet, row 0.*divide milliseconds by 1000.*crypto-rti import"):
            command()


def test_commands_report_what_they_did_and_end_with_1(tmp_path):
    folder = folder_of(tmp_path / "mixed", SOL_USD=HOURS, ETH_USD=SPOILT)
    both = ("-s", folder, "-p", "SOL-USD", "-p", "ETH-USD")
    fetched = crypto_rti(tmp_path, "fetch", *both, "--quiet")
    assert fetched.returncode == 1 and "SOL-USD of mixed" in fetched.stdout and "ETH-USD.parquet, row 0" in fetched.stderr
    scores = tmp_path / "scores.json"
    span = ("--start", "2024-02-01", "--end", "2024-02-05")
    tested = crypto_rti(tmp_path, "backtest", *both, "-m", "persistence", *span, "--json", scores, "--quiet", "--jobs", 1)
    assert tested.returncode == 1 and "ETH-USD is left out" in tested.stderr, tested.stderr
    assert [row["product"] for row in json.loads(scores.read_text())["results"]] == ["SOL-USD"]


def test_a_folder_of_text_files_or_odd_names_names_the_command(tmp_path):
    text = folder_of(tmp_path / "csv")
    HOURS.to_csv(text / "SOL-USD.csv", index=False)
    with pytest.raises(SourceError, match=r"crypto-rti import .*SOL-USD\.csv --out FOLDER"):
        parse_source(str(text))
    names = folder_of(tmp_path / "names", SOLUSDT=HOURS)
    with pytest.raises(NoCandlesError, match=r"crypto-rti import .*SOLUSDT\.parquet --out FOLDER"):
        CandleStore("nowhere").load(str(names), "SOL-USD")
    done = crypto_rti(tmp_path, "import", text, names, "--out", tmp_path / "clean")
    assert done.returncode == 0 and "times in seconds, UTC" in done.stdout, done.stderr
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["SOL-USD.parquet", "SOL-USDT.parquet"]
    assert crypto_rti(tmp_path, "import", text, "--out", tmp_path / "clean").returncode == 1
    assert crypto_rti(tmp_path, "import", text, "--out", tmp_path / "other", "--stamps", "middle").returncode == 2
    assert pd.read_parquet(tmp_path / "clean" / "SOL-USD.parquet").equals(HOURS)


# --- Two folders of one name ---------------------------------------------------------------


def test_a_second_folder_of_the_same_name_is_refused_everywhere(tmp_path):
    prices = ["low", "high", "open", "close"]
    one = folder_of(tmp_path / "one" / "data", SOL_USD=HOURS)
    two = folder_of(tmp_path / "two" / "data", SOL_USD=HOURS.assign(**{name: HOURS[name] * 10 for name in prices}))
    at = {place: load_settings(home=tmp_path / "home", source=str(place), products="SOL-USD", models="lasso") for place in (one, two)}
    assert predict_once(at[one], "SOL-USD").source == "data"
    for command in (
        lambda: predict_once(at[two], "SOL-USD"),
        lambda: fetch(at[two], ["SOL-USD"], progress=False),
        lambda: make_plan(at[two], find_pipeline()),
        lambda: running_service(at[two]).__enter__(),
    ):
        with pytest.raises(NameTakenError, match=r"'data' is the name of .*one/data.*--source data-2="):
            command()
    refused = crypto_rti(tmp_path / "home", "backtest", "-s", two, "-p", "SOL-USD", "-m", "persistence", "--start", "2024-02-01", "--end", "2024-02-02")
    assert refused.returncode == 2 and "NameTakenError" in refused.stderr
    named = at[one].model_copy(update={"source": f"two={two}"})
    forecast = predict_once(named, "SOL-USD")
    assert forecast.source == "two" and forecast.current_price == pytest.approx(10 * HOURS["close"].iloc[-1])
    assert make_plan(named, find_pipeline()).source == Source("two", "folder", str(two))
    with running_exchange(two, speed=0) as exchange, pytest.raises(NameTakenError):
        fetch(at[one].model_copy(update={"source": exchange.url}), ["SOL-USD"], progress=False)


def test_the_same_candles_elsewhere_are_the_same_source(tmp_path):
    folder = folder_of(tmp_path / "a" / "data", SOL_USD=HOURS[:700])
    settings = load_settings(home=tmp_path / "home", source=str(folder), products="SOL-USD")
    predict_once(settings, "SOL-USD")
    moved = folder_of(tmp_path / "b" / "data", SOL_USD=HOURS)
    predict_once(settings.model_copy(update={"source": str(moved)}), "SOL-USD")
    for _ in range(2):  # A replay that is started again has another port
        with running_exchange(moved, speed=0) as exchange:
            fetch(settings.model_copy(update={"source": exchange.url}), ["SOL-USD"], "2024-02-01", progress=False)
    (tmp_path / "home").rename(tmp_path / "other")
    predict_once(settings.model_copy(update={"home": tmp_path / "other", "source": str(moved)}), "SOL-USD")
    assert [place for place in read_origins(load_settings(home=tmp_path / "other"))["data"]["places"] if not place.startswith("http")] == [str(moved)]


# --- Settings and homes --------------------------------------------------------------------


def test_empty_variables_and_options_count_as_not_set(tmp_path):
    empty = dict.fromkeys(("CRYPTO_RTI_PORT", "CRYPTO_RTI_SOURCE", "CRYPTO_RTI_HOME", "CRYPTO_RTI_PRODUCTS", "CRYPTO_RTI_LIVE_FEED", "CRYPTO_RTI_API_KEYS"), "")
    reading = "from crypto_rti.cli_common import read_settings; s = read_settings('', [''], [''], host='')"
    code = f"{reading}; print(s.port, s.source, s.home, s.products, s.live_feed, s.host)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={**environment(tmp_path), **empty})
    assert done.stdout.strip() == "8000 coinbase var ('BTC-USD', 'ETH-USD') True 127.0.0.1", done.stderr
    made = subprocess.run(["make", "-np", "run", "pipeline", "SOURCE="], capture_output=True, text=True, cwd=Path(__file__).parent.parent).stdout
    assert "--source 'auto'" in made and "--source ''" not in made
    assert "CRYPTO_RTI_SOURCE := coinbase" in made, "a schedule gets its source by the environment, where no list of processes shows a password"


@pytest.mark.parametrize("name", ["a b", "50% off", "a#1", "what?", "100%25"])
def test_a_home_of_any_name(tmp_path, name):
    settings = load_settings(home=tmp_path / name, source="sim", products="BTC-USD")
    assert sqlite_path(settings.tracking_uri) == tmp_path / name / "mlflow.db"
    ledger = open_ledger(settings.ledger_address)
    assert prune_forecasts(ledger, 0) == 0 and ledger.location == str(tmp_path / name / "ledger.db")
    ledger.close()
    assert (tmp_path / name / "ledger.db").exists() and [path.name for path in tmp_path.iterdir()] == [name]


# --- Thin coins ----------------------------------------------------------------------------


def test_the_error_says_how_often_a_forecast_is_possible():
    assert UNBROKEN == LAGS + 1
    until = to_unix("2024-02-15")
    thin = HOURS[np.random.default_rng(2).random(len(HOURS)) > 0.05]
    thin = thin[thin["time"] != until - 3 * HOUR]
    told = rf"these have no candle: .*{to_iso(until - 3 * HOUR)}.*days before, \d+% of the hours can be forecast: \d+ hours have no candle"
    with pytest.raises(NotEnoughHistoryError, match=told) as caught:
        make_forecast(thin, until, Persistence(), "SOL-USD", "thin")
    assert f"in the {(SPAN - LAGS) // 24} days before" in str(caught.value)

"Backtests of several horizons as a person runs them: on a folder of one-minute candles, stopped and continued, late, and on what cannot be answered."

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from typer.testing import CliRunner

import crypto_rti.evaluation.horizons as horizons
from crypto_rti.cli import app
from crypto_rti.data.candles import HOUR
from crypto_rti.evaluation.size import MULTIPLES, SizeState, follow_sizes, size_to_dict
from crypto_rti.models.volatility import VolatilityModel

WEEK, WEEKS, GAP = 7 * 86400, 24, 22.5
START, END = "1970-06-04", "1970-06-18"  # Weeks 22 to 24


def random_walk(weeks: int) -> pd.DataFrame:
    "Minutes of which each quarter takes back a fifth of the hour before it; 80 minutes of week 22 are missing, and the price never moves by a gap."
    draw, count = np.random.default_rng(5), weeks * 7 * 24 * 60
    quarter = lfilter([1.0], [1.0, 0.2, 0.2, 0.2, 0.2], draw.normal(0, 0.002, count // 15))
    step = np.repeat(quarter / 15, 15) + draw.normal(0, 0.0002, count)
    close = 100 * np.exp(np.cumsum(step))
    opens = np.append(100.0, close[:-1])
    prices = {"low": np.minimum(opens, close), "high": np.maximum(opens, close), "open": opens, "close": close}
    table = pd.DataFrame({"time": 60 * np.arange(count), **prices, "volume": draw.exponential(1, count)})
    missing = int(GAP * WEEK) // HOUR * HOUR
    return table[(table["time"] < missing) | (table["time"] >= missing + 80 * 60)].reset_index(drop=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A folder with the minutes of one coin, beside one with its hours."
    root, minutes = tmp_path_factory.mktemp("candles"), random_walk(WEEKS)
    for name, table in {"minutes": minutes, "hours": minutes[minutes["time"] % HOUR == 0]}.items():
        (root / name).mkdir()
        table.to_parquet(root / name / "A-B.parquet", index=False)
    return root


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    "Run `crypto-rti backtest` on the folder; without the trees of the volatility model, which take most of the time."
    monkeypatch.setenv("CRYPTO_RTI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(VolatilityModel.__init__, "__defaults__", (0, *VolatilityModel.__init__.__defaults__[1:]))

    def run(*options: str, source: str = "minutes"):
        common = ["backtest", "-s", str(folder / source), "-p", "A-B", "-m", "lasso", "--start", START, "--end", END, "--jobs", "1", "-q"]
        return CliRunner().invoke(app, [*common, *options])

    return run


def scores(path) -> dict[tuple[str, int, int], dict]:
    return {(row["model"], row["horizon"], row["minute"]): row for row in json.loads(path.read_text())["results"]}


def test_a_row_for_each_horizon_and_minute_with_persistence_beside_it(run, tmp_path):
    done = run(
        "--horizon",
        "15",
        "--horizon",
        "60",
        "--minute",
        "0",
        "--minute",
        "30",
        "--controls",
        "--json",
        str(tmp_path / "s.json"),
        "--rows",
        str(tmp_path / "r.parquet"),
    )
    assert done.exit_code == 0, done.output
    found = scores(tmp_path / "s.json")
    assert set(found) == {(model, horizon, minute) for model in ("lasso", "persistence") for horizon in (15, 60) for minute in (0, 30)}
    for key, row in found.items():
        assert row["n"] in range(2 * 168 - 27 - 4, 2 * 168 + 1) and 0.8 < row["coverage_90"] < 0.97
        (half,) = row["half_years"]
        assert (half["start"], half["n"]) == ("1970-01-01", row["n"]) and half["mase"] == pytest.approx(row["mase"])
        assert row["r2_log_rv"] == found[("persistence", *key[1:])]["r2_log_rv"] and row["r2_log_rv"] < 1
    assert found[("lasso", 60, 0)]["mase"] < 0.97 and found[("persistence", 60, 0)]["mase"] == 1
    checks = json.loads((tmp_path / "s.json").read_text())["controls"]
    assert checks["truncated_future_changes_nothing"] is True
    assert all(row["mase"] > found[("lasso", row["horizon"], row["minute"])]["mase"] for row in checks["shuffled_targets"] if row["horizon"] == 60)
    rows = pd.read_parquet(tmp_path / "r.parquet")
    assert {"product", "model", "time", "forecast", "horizon", "minute", "size", "actual"} <= set(rows) and rows["size"].isin([*MULTIPLES, 0.5]).all()


def test_rows_that_need_a_missing_minute_are_left_out(run, tmp_path):
    assert run("--horizon", "60", "--minute", "15", "--rows", str(tmp_path / "r.parquet")).exit_code == 0
    moments = pd.read_parquet(tmp_path / "r.parquet").query("model == 'lasso'")["time"].to_numpy() + HOUR
    missing = int(GAP * WEEK) // HOUR * HOUR
    spoilt = (moments + HOUR > missing) & (moments < missing + 80 * 60 + 24 * HOUR)
    assert not spoilt.any() and (moments < missing).any() and (moments > missing + 30 * HOUR).any()


def test_a_stopped_backtest_continues_without_fitting_again(run, tmp_path, monkeypatch):
    real, fits = horizons.train_forecaster, []

    def stops(kind, *given, **more):
        fits.append(kind)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return real(kind, *given, **more)

    def volatility(*arrays):
        fits.append("volatility")
        return forecast(*arrays)

    forecast = horizons.walk_forward_variance
    monkeypatch.setattr(horizons, "walk_forward_variance", volatility)
    for train in (stops, real):
        monkeypatch.setattr(
            horizons.run_horizons, "__defaults__", tuple(train if value in (stops, real) else value for value in horizons.run_horizons.__defaults__)
        )
        run("--horizon", "30", "--json", str(tmp_path / "s.json"))
    assert fits.count("volatility") == 1 and (tmp_path / "s.json").exists()


@pytest.mark.parametrize(
    ("options", "source", "fault"),
    [
        (("--horizon", "7"), "minutes", "horizon 7 is not served; choose from 5, 15, 30, 60"),
        (("--minute", "10"), "minutes", "minute 10 is not served; choose from 0, 15, 30, 45"),
        (("--horizon", "15", "--late", "15"), "minutes", "come after the end of a horizon of 15"),
        (("--horizon", "15"), "hours", "holds hourly candles"),
        (("--minute", "30"), "hours", "fetch minutes with `crypto-rti fetch --minutes-since DATE`"),
        (("--horizon", "15", "--start", "1970-03-01"), "minutes", "choose a later --start or fetch more minutes"),
    ],
)
def test_what_cannot_be_answered_is_a_named_error(run, tmp_path, options, source, fault):
    done = run(*options, "--json", str(tmp_path / "s.json"), source=source)
    assert done.exit_code != 0 and fault in str(done.exception or done.output), (done.output, done.exception)
    assert not (tmp_path / "s.json").exists()


def test_one_hour_from_the_full_hour_needs_no_minutes(run, tmp_path):
    assert run("--horizon", "60", "--minute", "0", "--json", str(tmp_path / "s.json"), source="hours").exit_code == 0
    assert scores(tmp_path / "s.json")[("lasso", 60, 0)]["r2_log_rv"] is None


def test_lateness_is_scored_from_the_price_of_its_moment(run, tmp_path):
    assert run("--horizon", "60", "--late", "30", "--rows", str(tmp_path / "r.parquet")).exit_code == 0
    rows, minutes = pd.read_parquet(tmp_path / "r.parquet"), random_walk(WEEKS).set_index("time")["close"]
    assert np.array_equal(rows["close"], minutes.reindex(rows["time"] + HOUR + 29 * 60)) and np.array_equal(
        rows["actual"], minutes.reindex(rows["time"] + 2 * HOUR - 60)
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 5))
def test_sizes_are_the_same_one_by_one_and_blind_to_the_future(seed, days, hours_apart):
    draw = np.random.default_rng(seed)
    moment = np.sort(draw.choice(np.arange(0, days * 24 * HOUR, hours_apart * HOUR), draw.integers(1, days * 24 // hours_apart + 1), replace=False))
    known, median, outcome = moment + HOUR, draw.normal(size=len(moment)), draw.normal(size=len(moment))
    sizes, state = follow_sizes(SizeState(), moment, known, median, outcome)
    online = SizeState()
    for row in range(len(moment)):
        assert online.size(int(moment[row])) == sizes[row]
        online = online.updated(median[row : row + 1], outcome[row : row + 1], known[row : row + 1])
    assert size_to_dict(online) == size_to_dict(state)
    cut = draw.integers(0, len(moment))
    other = np.where(known > moment[cut], 9.0, outcome)
    assert np.array_equal(follow_sizes(SizeState(), moment, known, median, other)[0][: cut + 1], sizes[: cut + 1])


def test_a_question_is_checked_when_it_is_made():
    with pytest.raises(horizons.QuestionError, match="no horizon or no minute"):
        replace(horizons.Question(), horizons=())

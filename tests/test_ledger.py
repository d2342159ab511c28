"""The ledger on both of its databases: real servers, real processes, real disks; what a notebook cannot hold."""

import csv
import itertools
import json
import logging
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from conftest import PASSWORD
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import wait_for

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.errors import PathError
from crypto_rti.evaluation import metrics
from crypto_rti.service import ledger as ledger_module
from crypto_rti.service import recorded, scores
from crypto_rti.service.ledger import (
    CORRECTION_COLUMNS,
    KEY_COLUMNS,
    PRICE_COLUMNS,
    QUANTILE_COLUMNS,
    LedgerAddressError,
    LedgerDamagedError,
    LedgerError,
    LedgerFullError,
    LedgerRowError,
    LedgerUnavailableError,
    LedgerVersionError,
    Series,
    explain,
    forecast_table,
    open_ledger,
)
from crypto_rti.service.recorded import export_forecasts, prune_forecasts, read_forecasts, read_outcomes
from crypto_rti.service.scores import Scorer, back_fill, read_accuracy
from crypto_rti.service.writer import Entry, Recorder, write_entries

START = to_unix("2024-01-01T00:00Z")
HERE = Path(__file__).parent


# --- Databases -----------------------------------------------------------------------------


def can_mount():
    return os.geteuid() == 0 and shutil.which("mount") is not None


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/home/ledger.db" if request.param == "sqlite" else request.getfixturevalue("server").empty()


@pytest.fixture
def ledger(url):
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def lines(caplog):
    """What is logged, as text; whatever a test does, no password is among it."""
    caplog.set_level(logging.INFO)
    yield lambda: [line.getMessage() for line in caplog.records if line.name == "crypto_rti.service"]
    assert "hunter2" not in caplog.text and quote(PASSWORD, safe="") not in caplog.text


# --- Forecasts -----------------------------------------------------------------------------


def entry(hour, kind="lightgbm", version="1", coin="BTC-USD", median=101.0, current=100.0, **changes):
    at = START + hour * HOUR
    quantiles = tuple(np.log(median / current) / 0.01 + np.array([-1.5, -0.5, 0.0, 0.5, 1.5]))
    prices = tuple(float(current * math.exp(0.01 * quantile)) for quantile in quantiles)
    made = Entry("sim", coin, kind, version, at, at + HOUR, at + 61.5, current, prices, 0.01, tuple(map(float, quantiles)))
    return replace(made, **changes) if changes else made


def many(count):
    """Forecasts of five models of two coins, `count` in all."""
    pairs = list(itertools.product(("BTC-USD", "ETH-USD"), ("persistence", "lasso", "lightgbm", "cnn", "lstm")))
    return [entry(number // 10, pairs[number % 10][1], coin=pairs[number % 10][0]) for number in range(count)]


def rows_of(ledger, *columns):
    table = forecast_table
    query = sa.select(*(table.c[name] for name in columns)) if columns else sa.select(table)
    return ledger.transact(lambda connection: [tuple(row) for row in connection.execute(query.order_by(*table.primary_key.columns))])


def key(made):
    return tuple(getattr(made, name) for name in KEY_COLUMNS)


def keys_of(ledger):
    return Counter(rows_of(ledger, *KEY_COLUMNS))


# --- Written once --------------------------------------------------------------------------


def test_a_forecast_is_written_once(ledger):
    first = entry(0)
    assert write_entries(ledger, [first, first]) == 1
    assert write_entries(ledger, [first, replace(first, made_at=first.made_at + 9, current_price=1.0), entry(1)]) == 1
    assert rows_of(ledger, "predicted_for", "made_at", "current_price") == [(START + HOUR, START + 61, 100.0), (START + 2 * HOUR, START + HOUR + 61, 100.0)]
    assert write_entries(ledger, []) == 0


def test_what_tells_forecasts_apart(ledger):
    first = entry(0)
    changes = [{"source": "coinbase"}, {"coin": "ETH-USD"}, {"kind": "lasso"}, {"version": "2"}, {"mode": "rolling"}, {"predicted_for": START + 2 * HOUR}]
    assert write_entries(ledger, [first, *(replace(first, **change) for change in changes)]) == 1 + len(changes)


def test_everything_comes_back_as_it_was(ledger):
    said = entry(0, median=100.123456789012, current=99.87654321098765)
    write_entries(ledger, [said])
    ((*found,),) = rows_of(ledger, "current_price", *PRICE_COLUMNS, "volatility", *QUANTILE_COLUMNS)
    assert found == [said.current_price, *said.prices, said.volatility, *said.quantiles]


def test_a_transaction_is_all_or_nothing(ledger):
    broken = replace(entry(1), prices=(1.0, math.nan, 1.0, 1.0, 1.0))
    with pytest.raises(LedgerRowError, match="not finite for 2024-01-01T02:00:00Z"):
        write_entries(ledger, [entry(0), broken])
    with pytest.raises(LedgerRowError, match="refuses the values"):
        write_entries(ledger, [entry(0), replace(entry(1), data_until=None)])
    assert rows_of(ledger) == []


def test_a_row_that_is_refused_does_not_hold_up_the_others(ledger, lines):
    good = many(20)
    bad = [replace(good[3], volatility=math.inf), replace(good[4], kind=None), replace(good[5], data_until=2**70)]
    if ledger.engine.dialect.name == "postgresql":
        bad += [replace(good[6], version="3", data_until="noon"), replace(good[7], version="nul\0")]  # SQLite keeps both
    recorder = Recorder(ledger).start()
    for made in [*good[:10], *bad, *good[10:]]:
        assert recorder.record(made)
    assert recorder.stop() == 0
    assert (recorder.written, recorder.refused) == (20, len(bad))
    assert keys_of(ledger) == Counter(key(made) for made in good)
    assert sum("is not recorded" in line for line in lines()) == recorder.refused


# --- Scores --------------------------------------------------------------------------------


def random_walk(hours, seed=0):
    """Forecasts of one model over a random walk, some of them without an opinion, and the prices that came."""
    generator = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(generator.normal(0, 0.01, hours + 1))), 1)
    close[5] = close[4]
    said = [entry(i, median=close[i] * (1 if i % 7 == 0 else math.exp(0.01 * generator.normal())), current=close[i]) for i in range(hours)]
    return said, {START + (i + 1) * HOUR: float(close[i + 1]) for i in range(hours)}


def test_scores_are_those_of_the_backtest(ledger):
    said, prices = random_walk(500)
    write_entries(ledger, said)
    assert Scorer(ledger, "sim").unscored(START + 500 * HOUR) == {"BTC-USD": sorted(prices)}
    assert Scorer(ledger, "sim").score("BTC-USD", prices) == 500
    actual, close = np.array(list(prices.values())), np.array([made.current_price for made in said])
    low_90, low_50, point, high_50, high_90 = np.array([made.prices for made in said]).T
    found = read_accuracy(ledger, Series("sim", "BTC-USD", "lightgbm", "1"), 500 / 24, START + 500 * HOUR)
    assert found["n"] == 500 and found["unscored"] == found["without_trades"] == 0
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(actual, point), rel=1e-12)
    assert found["mase"] == pytest.approx(metrics.mase(actual, point, close), rel=1e-12)
    assert found["direction"] == pytest.approx(metrics.directional_accuracy(actual, point, close), rel=1e-12)
    assert found["coverage_50"] == metrics.coverage(actual, low_50, high_50)
    assert found["coverage_90"] == metrics.coverage(actual, low_90, high_90)
    assert [day["n"] for day in found["by_day"]] == [24] * 20 + [20]
    assert sum(day["mae"] * day["n"] for day in found["by_day"]) == pytest.approx(500 * found["mae"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_live_test_is_that_of_the_backtest_on_the_same_rows(ledger):
    said, prices = random_walk(800)
    late = [replace(made, version="9", made_at=made.predicted_for + 1, prices=(1.0,) * 5) for made in said[100:200]]
    write_entries(ledger, [*said[::-1], *late])  # in any order
    silent, known = START + 10 * HOUR, START + 790 * HOUR
    Scorer(ledger, "sim").score("BTC-USD", {moment: None if moment == silent else price for moment, price in prices.items() if moment <= known})
    found = read_accuracy(ledger, Series("sim", "BTC-USD", "lightgbm"), None, START + 800 * HOUR, test=True)
    assert (found["n"], found["without_trades"], found["unscored"]) == (789, 1, 10)
    rows = [made for made in said[:790] if made.predicted_for != silent]
    actual = np.array([prices[made.predicted_for] for made in rows])
    own, naive = actual - np.array([made.prices[2] for made in rows]), actual - np.array([made.current_price for made in rows])
    t, two_sided = metrics.diebold_mariano(own, naive)
    assert found["dm_t"] == pytest.approx(t, rel=1e-9)
    assert found["dm_p"] == pytest.approx(two_sided / 2 if t < 0 else 1 - two_sided / 2, rel=1e-9)
    luck = found["luck"]
    assert luck["t"] == metrics.critical_t(789)
    # The bounds of the ratio and of t are the same bounds: what is at one is at the other.
    assert (1 - found["mase"]) / (1 - luck["mase_low"]) == pytest.approx(-found["dm_t"] / luck["t"], rel=1e-9)
    assert (luck["mase_low"] + luck["mase_high"]) / 2 == pytest.approx(1)
    ahead = 0.01 / (1 - luck["mase_low"]) * luck["t"] * math.sqrt(luck["hours_for_one_percent"] / 789)  # of t, after so many hours
    assert ahead == pytest.approx(1.645, abs=0.001)
    assert "dm_t" not in read_accuracy(ledger, Series("sim", "BTC-USD", "lightgbm"), None, START + 800 * HOUR)


def test_the_record_is_all_there_is_when_no_days_are_given(ledger):
    said, prices = random_walk(100)
    write_entries(ledger, [replace(entry(-24 * 900), prices=(1.0, 1.0, 1.0, 1.0, 1.0)), *said])
    Scorer(ledger, "sim").score("BTC-USD", {**prices, START - 24 * 900 * HOUR + HOUR: 100.0})
    now = START + 100 * HOUR
    assert [read_accuracy(ledger, Series("sim", "BTC-USD"), days, now)["n"] for days in (1, 30, None)] == [24, 100, 101]
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), None, START + 50 * HOUR)["n"] == 51  # nothing from beyond now


def test_there_is_no_test_where_there_is_nothing_to_test(ledger):
    nothing = {"dm_t": None, "dm_p": None, "luck": None}

    def tested(kind):
        found = read_accuracy(ledger, Series("sim", "BTC-USD", kind), None, START + 200 * HOUR, test=True)
        return {name: found[name] for name in nothing}

    assert tested("lasso") == nothing
    said, prices = random_walk(100)
    write_entries(ledger, [replace(made, kind="persistence", prices=(made.current_price,) * 5) for made in said])
    write_entries(ledger, [replace(made, kind="lasso") for made in said[:49]] + [replace(said[0], kind="cnn")])
    Scorer(ledger, "sim").score("BTC-USD", prices)
    assert tested("persistence") == nothing and tested("cnn") == nothing
    assert tested("lasso")["luck"] is None and math.isfinite(tested("lasso")["dm_t"])  # 49 hours: too few for a range
    write_entries(ledger, [replace(said[49], kind="lasso")])
    Scorer(ledger, "sim").score("BTC-USD", prices)
    assert tested("lasso")["luck"]["hours_for_one_percent"] > 50


def test_sums_and_test_are_of_the_same_rows_while_hours_are_scored(ledger):
    said, prices = random_walk(600)
    write_entries(ledger, said)
    Scorer(ledger, "sim").score("BTC-USD", {moment: price for moment, price in prices.items() if moment <= START + 300 * HOUR})

    def look(*_):
        return ledger.transact(lambda connection: scores._read_scores(connection, where, True))

    where = Series("sim", "BTC-USD", "lightgbm").conditions()
    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look) for _ in range(60)]
        for hour in range(301, 601):
            Scorer(ledger, "sim").score("BTC-USD", {START + hour * HOUR: prices[START + hour * HOUR]})
        for found, errors in (one.result() for one in looks):
            assert sum(day["n"] for day in found) == len(errors)


def test_accuracy_of_nothing_is_unknown_not_an_error(ledger):
    nothing = {"n": 0, "mae": None, "mae_persistence": None, "mase": None, "direction": None, "coverage_50": None, "coverage_90": None}
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), 30, START) == {**nothing, "unscored": 0, "without_trades": 0, "by_day": []}
    write_entries(ledger, [entry(0, current=100.0)])
    Scorer(ledger, "sim").score("BTC-USD", {START + HOUR: 100.0})
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), 30, START + HOUR)["mase"] is None


def test_accuracy_counts_what_was_due_and_forecast_beforehand(ledger):
    write_entries(ledger, [entry(hour) for hour in range(10)])
    write_entries(ledger, [entry(3, version="late", made_at=START + 4 * HOUR + 1), entry(3, version="rolling", mode="rolling"), entry(3, coin="ETH-USD")])
    Scorer(ledger, "sim").score("BTC-USD", {START + hour * HOUR: 100.5 if hour != 2 else None for hour in range(1, 6)})
    now = START + 7 * HOUR
    found = read_accuracy(ledger, Series("sim", "BTC-USD"), 1, now)
    assert (found["n"], found["without_trades"], found["unscored"]) == (4, 1, 2)
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), 4 / 24, now)["n"] == 2
    assert read_accuracy(ledger, Series("sim", "BTC-USD", version="late"), 1, now)["n"] == 0
    assert read_accuracy(ledger, Series("sim", "BTC-USD", mode="rolling"), 1, now)["n"] == 1
    assert read_accuracy(ledger, Series("other", "BTC-USD"), 1, now)["n"] == 0


def test_one_forecast_per_hour_is_read_and_one_made_in_time_is_preferred(ledger):
    at = [START + hour * HOUR for hour in range(12)]
    write_entries(ledger, [entry(hour, version="1", median=101.0) for hour in (0, 1, 2, 3)])
    write_entries(ledger, [entry(hour, version="2", median=102.0, made_at=at[9]) for hour in (2, 3, 4)])  # made up for, far later
    write_entries(ledger, [entry(3, version="3", median=103.0, made_at=at[3] + 1800), entry(1, version="0", median=100.5, made_at=at[1] + 61)])
    write_entries(ledger, [entry(5, version="3", median=103.0, made_at=at[6]), entry(5, version="4", median=104.0, made_at=at[6] + 1)])  # too late
    write_entries(ledger, [entry(6, mode="rolling"), entry(6, coin="ETH-USD"), entry(6, kind="lasso"), entry(6, source="other"), entry(8)])
    Scorer(ledger, "sim").score("BTC-USD", {at[1]: 100.5, at[2]: None})

    def read(version, since=START):
        found = read_forecasts(ledger, Series("sim", "BTC-USD", "lightgbm", version), since)
        return [((one.predicted_for - START) // HOUR, one.version, one.late) for one in found]

    assert read("3") == [(1, "1", False), (2, "0", False), (3, "1", False), (4, "3", False), (5, "2", True), (6, "3", True), (9, "1", False)]
    assert read("1") == [(1, "1", False), (2, "1", False), (3, "1", False), (4, "1", False), (5, "2", True), (6, "3", True), (9, "1", False)]
    assert read("4", at[5]) == [(6, "4", True), (9, "1", False)]
    first, silent = read_forecasts(ledger, Series("sim", "BTC-USD", "lightgbm", "1"), START)[:2]
    assert (first.made_at, first.current_price, first.prices, first.actual_price) == (at[0] + 61, 100.0, entry(0).prices, 100.5)
    assert silent.actual_price is None and read_forecasts(ledger, Series("sim", "BTC-USD", "cnn", "1"), 0) == []


def test_a_price_stays_and_silence_gives_way(ledger):
    write_entries(ledger, [entry(0), entry(0, "lasso")])
    moment = START + HOUR
    assert Scorer(ledger, "sim").score("BTC-USD", {moment: None}) == 2
    assert Scorer(ledger, "sim").unscored(moment) == {}
    assert Scorer(ledger, "sim").score("BTC-USD", {moment: None}) == 0
    assert Scorer(ledger, "sim").score("BTC-USD", {moment: 102.0}) == 2
    assert Scorer(ledger, "sim").score("BTC-USD", {moment: 50.0}) == Scorer(ledger, "sim").score("BTC-USD", {moment: None}) == 0
    assert rows_of(ledger, "actual_price", "direction") == [(102.0, 1), (102.0, 1)]
    for nonsense in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(LedgerRowError, match="is no price of BTC-USD at 2024-01-01T01:00:00Z"):
            Scorer(ledger, "sim").score("BTC-USD", {moment: nonsense})


PRICES = st.dictionaries(st.integers(0, 7), st.one_of(st.none(), st.floats(50, 150)), max_size=8)
STEPS = st.lists(st.one_of(st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["lasso", "cnn"])), max_size=6), PRICES), max_size=12)
coins = itertools.count()


@settings(max_examples=60)  # Each writes to a database, and there are two kinds
@given(steps=STEPS)
def test_whatever_is_repeated_in_whatever_order_counts_once(ledger, steps):
    """A plain dictionary says what the ledger must hold."""
    coin, expected = f"COIN{next(coins)}-USD", {}
    for step in [*steps, *steps]:
        if isinstance(step, list):
            new = {(hour, kind) for hour, kind in step} - expected.keys()
            assert write_entries(ledger, [entry(hour, kind, coin=coin) for hour, kind in step]) == len(new)
            expected |= dict.fromkeys(new, "unknown")
        else:
            due = [(at, step[at[0]]) for at, known in expected.items() if at[0] in step and (known == "unknown" or (known is None and step[at[0]] is not None))]
            assert Scorer(ledger, "sim").score(coin, {START + (hour + 1) * HOUR: price for hour, price in step.items()}) == len(due)
            expected |= dict(due)
    found = read_accuracy(ledger, Series("sim", coin), 1, START + 9 * HOUR)
    prices = [price for price in expected.values() if isinstance(price, float)]
    assert (found["n"], found["without_trades"], found["unscored"]) == (
        len(prices), sum(price is None for price in expected.values()), sum(price == "unknown" for price in expected.values())
    )  # fmt: skip
    if prices:
        assert found["mae"] == pytest.approx(np.mean([abs(101.0 - price) for price in prices]))
    owed = {START + (hour + 1) * HOUR for (hour, _), price in expected.items() if price == "unknown"}
    assert Scorer(ledger, "sim").unscored(START + 9 * HOUR).get(coin, []) == sorted(owed)


class Stretch:
    def __init__(self, start, end, hours):
        self.start, self.end, self.refused = start, end, ()
        self.candles = pd.DataFrame({"time": hours, "close": [100.0 + (hour - START) // HOUR for hour in hours]})


@pytest.mark.anyio
async def test_back_fill_after_an_outage_asks_once_per_stretch_and_skips_a_coin_in_trouble(ledger, lines):
    write_entries(ledger, [entry(hour, coin=coin) for hour in range(200) for coin in ("BTC-USD", "ETH-USD", "SOL-USD")])
    silent, asked = {START + 7 * HOUR, START + 150 * HOUR}, Counter()

    async def candles_for(coin, hour):
        asked[coin] += 1
        if coin == "ETH-USD":
            raise LedgerError("the exchange is away")
        end = min(hour + 107 * HOUR, START + 180 * HOUR)
        return Stretch(hour, end, [at for at in range(hour, end, HOUR) if at not in silent])

    until = START + 180 * HOUR
    assert await back_fill(Scorer(ledger, "sim"), until, candles_for) == 360
    assert await back_fill(Scorer(ledger, "sim"), until, candles_for) == 0
    assert asked == {"BTC-USD": 2, "SOL-USD": 2, "ETH-USD": 2}
    assert Scorer(ledger, "sim").unscored(until) == {"ETH-USD": [START + hour * HOUR for hour in range(1, 181)]}
    assert any("180 prices of ETH-USD cannot be looked up now: the exchange is away" in line for line in lines())
    found = read_accuracy(ledger, Series("sim", "BTC-USD"), 30, until)
    assert (found["n"], found["without_trades"], found["unscored"]) == (178, 2, 0)
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), 30, START + HOUR)["mae"] == 1.0


def test_outcomes_come_in_order_and_never_jump_over_a_debt(ledger):
    said, prices = random_walk(60)
    write_entries(ledger, [*said, *(replace(made, version="2") for made in said)])
    held_back = START + 40 * HOUR
    Scorer(ledger, "sim").score("BTC-USD", {moment: price for moment, price in prices.items() if moment != held_back})
    first = read_outcomes(ledger, Series("sim", "BTC-USD", "lightgbm", "1"))
    assert first.predicted_for.tolist() == [START + hour * HOUR for hour in range(1, 40)]
    Scorer(ledger, "sim").score("BTC-USD", {held_back: prices[held_back]})
    second = read_outcomes(ledger, Series("sim", "BTC-USD", "lightgbm", "1"), int(first.predicted_for[-1]))
    whole = read_outcomes(ledger, Series("sim", "BTC-USD", "lightgbm", "1"))
    for name in ("predicted_for", "quantiles", "close", "volatility", "actual", "y"):
        assert np.array_equal(np.concatenate([getattr(first, name), getattr(second, name)]), getattr(whole, name))
    assert np.array_equal(whole.quantiles, np.array([made.quantiles for made in said]))
    assert np.array_equal(whole.y, np.log(whole.actual / whole.close) / 0.01)
    assert read_outcomes(ledger, Series("sim", "BTC-USD", "lightgbm", "none")).quantiles.shape == (0, 5)


# --- Housekeeping --------------------------------------------------------------------------


def test_prune_takes_what_is_older_and_nothing_else(ledger):
    write_entries(ledger, [entry(hour) for hour in range(0, 24 * 100, 12)])
    assert prune_forecasts(ledger, START) == 0
    assert prune_forecasts(ledger, START + 70 * 24 * HOUR + HOUR) == 140
    assert rows_of(ledger, "predicted_for") == [(START + hour * HOUR + HOUR,) for hour in range(24 * 70, 24 * 100, 12)]
    assert prune_forecasts(ledger, START + 70 * 24 * HOUR + HOUR) == 0


EXPORTED_BY_SCHEMA_1 = [*KEY_COLUMNS, "data_until", "made_at", "current_price", *PRICE_COLUMNS, "volatility", *QUANTILE_COLUMNS]
EXPORTED_BY_SCHEMA_1 += ["scored_at", "actual_price", "abs_error", "persistence_error", "direction", "inside_50", "inside_90"]


def test_export_is_complete_and_whole(ledger, tmp_path):
    said, prices = random_walk(2500)
    write_entries(ledger, said)
    Scorer(ledger, "sim").score("BTC-USD", dict(list(prices.items())[:-1]))
    write_entries(ledger, [entry(0, coin="ETH-USD")])
    assert export_forecasts(ledger, tmp_path / "out" / "all.csv") == 2501
    with (tmp_path / "out" / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2501 and list(rows[0]) == [*EXPORTED_BY_SCHEMA_1, "horizon", "issued_at", "issued_price", "size", *CORRECTION_COLUMNS]
    assert (rows[0]["made_at"], rows[0]["issued_at"], rows[0]["horizon"], rows[0]["size"]) == ("2024-01-01T00:01:01Z", "2024-01-01T00:01:01.500Z", "60", "")
    assert rows[0]["predicted_for"] == "2024-01-01T01:00:00Z" and float(rows[0]["q05"]) == said[0].quantiles[0] and rows[2499]["actual_price"] == ""
    assert export_forecasts(ledger, tmp_path / "btc.jsonl", coin="BTC-USD") == 2500
    found = [json.loads(line) for line in (tmp_path / "btc.jsonl").read_text().splitlines()]
    assert [row["actual_price"] for row in found] == [*list(prices.values())[:-1], None]
    assert export_forecasts(ledger, tmp_path / "none.csv", source="other") == 0


def test_an_export_that_fails_leaves_the_old_file(ledger, tmp_path, monkeypatch):
    write_entries(ledger, many(10))
    path = tmp_path / "ledger.csv"
    export_forecasts(ledger, path)
    before = path.read_bytes()
    monkeypatch.setattr(recorded, "to_iso", lambda seconds: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PathError, match="no space left on device; free space"):
        export_forecasts(ledger, path)
    assert path.read_bytes() == before and not list(tmp_path.glob(".ledger.csv*"))


# --- Schema 1 ------------------------------------------------------------------------------

# What the program of schema 1 sends to its ledger.
OLD_COLUMNS = [*KEY_COLUMNS, "data_until", "made_at", "current_price", *PRICE_COLUMNS, "volatility", *QUANTILE_COLUMNS]
OLD_INSERT = sa.text(
    f"INSERT INTO forecasts ({', '.join(OLD_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in OLD_COLUMNS)}) "
    f"ON CONFLICT ({', '.join(KEY_COLUMNS)}) DO NOTHING"
)
OLD_SCORE = sa.text(
    "UPDATE forecasts SET scored_at=:now, actual_price=:actual, abs_error=abs(predicted_price - :actual), persistence_error=abs(current_price - :actual), "
    "direction=1, inside_50=0, inside_90=1 WHERE source || '' = :source AND coin || '' = :coin AND predicted_for = :moment AND actual_price IS NULL"
)


@pytest.fixture
def old(url):
    """A ledger that the program of schema 1 wrote: the address, and its rows."""
    ledger = open_ledger(url)
    script = (HERE / "data" / f"ledger_1_{ledger.engine.dialect.name}.sql").read_text()
    if url.startswith("sqlite"):
        Path(ledger.location).parent.mkdir()
        with closing(sqlite3.connect(ledger.location)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(script)
    else:
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql(script)
    order = ", ".join(KEY_COLUMNS)
    with ledger.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT * FROM forecasts ORDER BY {order}").all()
    ledger.close()
    assert len(rows) == 50
    return url, [tuple(row) for row in rows]


def test_a_ledger_of_schema_1_is_upgraded_with_all_its_rows(old):
    url, rows = old
    ledgers = [open_ledger(url) for _ in range(4)]  # Workers that start together
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: one.check(), ledgers)) == [2] * 4
    ledger = ledgers[0]
    assert [row[:27] for row in rows_of(ledger)] == rows
    assert {row[27:] for row in rows_of(ledger)} == {(None,) * 7}
    names = sa.inspect(ledger.engine).get_table_names()
    assert sorted(names) == ["forecasts", "quarter_closes", "quarter_forecasts", "quarter_series", "schema_version"]
    with ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version FROM schema_version ORDER BY version").scalars().all() == [1, 2]
    for one in ledgers:
        one.close()


def test_what_schema_1_holds_is_read_and_scored_as_before(old):
    ledger = open_ledger(old[0])
    found = read_accuracy(ledger, Series("sim", "BTC-USD", "lightgbm"), None, START + 13 * HOUR)
    assert (found["n"], found["without_trades"], found["unscored"]) == (9, 1, 2)  # One of twelve hours without trades, one forecast too late
    assert len(read_outcomes(ledger, Series("sim", "BTC-USD", "lightgbm", "1"))) == 9
    moments = [one.predicted_for for one in read_forecasts(ledger, Series("sim", "ETH-USD", "lightgbm", "1"), START)]
    assert moments == list(range(START + HOUR, START + 13 * HOUR, HOUR))
    due = moments[-2:]  # And a rolling forecast for half past five
    assert Scorer(ledger, "sim").unscored(moments[-1]) == {"BTC-USD": [START + 5 * HOUR + 1800, *due], "ETH-USD": due}
    assert Scorer(ledger, "sim").score("ETH-USD", {START + 11 * HOUR: 101.0}) == 2
    assert write_entries(ledger, [entry(0), entry(20)]) == 1  # The first is there since schema 1
    ledger.close()


def test_a_replica_of_schema_1_goes_on_writing_to_an_upgraded_ledger(old):
    url, rows = old
    before = open_ledger(url).engine  # Connected before the upgrade, as a replica that still runs
    made = entry(30, kind="lasso")
    values = {name: getattr(made, name) for name in (*KEY_COLUMNS, "data_until", "made_at", "current_price", "volatility")}
    values |= dict(zip((*PRICE_COLUMNS, *QUANTILE_COLUMNS), (*made.prices, *made.quantiles), strict=True)) | {"made_at": int(made.made_at)}
    with before.connect() as connection:
        assert connection.execute(OLD_INSERT, values).rowcount == 1
        connection.commit()
        ledger = open_ledger(url)
        assert ledger.check() == 2
        assert connection.execute(OLD_INSERT, values).rowcount == 0
        assert connection.execute(OLD_INSERT, values | {"predicted_for": made.predicted_for + HOUR}).rowcount == 1
        score = {"now": START, "actual": 101.0, "source": "sim", "coin": "BTC-USD", "moment": made.predicted_for}
        assert connection.execute(OLD_SCORE, score).rowcount == 1
        connection.commit()
    assert write_entries(ledger, [made, entry(31, kind="lasso")]) == 0
    assert len(rows_of(ledger)) == len(rows) + 2
    found = read_accuracy(ledger, Series("sim", "BTC-USD", "lasso"), None, START + 40 * HOUR)
    assert (found["n"], found["unscored"]) == (1, 1)
    before.dispose()
    ledger.close()


def test_an_upgrade_that_is_cut_off_leaves_schema_1(old, monkeypatch):
    url, rows = old
    step = ledger_module.STEPS[2]

    def cut(connection):
        step(connection)
        raise OSError("the power went")

    monkeypatch.setitem(ledger_module.STEPS, 2, cut)
    ledger = open_ledger(url)
    with pytest.raises(LedgerError):
        ledger.check()
    with ledger.engine.connect() as connection:
        assert sorted(sa.inspect(connection).get_table_names()) == ["forecasts", "schema_version"]
        assert len(connection.exec_driver_sql("SELECT * FROM forecasts").keys()) == 27
    monkeypatch.setitem(ledger_module.STEPS, 2, step)
    assert ledger.check() == 2 and [row[:27] for row in rows_of(ledger)] == rows
    ledger.close()


# --- Hours: when they were issued, and corrections -----------------------------------------


def test_when_and_at_which_price_an_hour_was_issued_is_kept(ledger):
    write_entries(ledger, [entry(0, issued_price=100.25), entry(1)])
    assert rows_of(ledger, "made_at", "issued_at", "issued_price") == [(START + 61, START + 61.5, 100.25), (START + HOUR + 61, START + HOUR + 61.5, None)]


CORRECTED = ("predicted_price", "corrected_at", "corrected_current_price", "corrected_price", "corrected_low_90", "corrected_high_90")


def test_a_correction_of_an_hour_stands_beside_what_was_issued(ledger):
    issued, late = entry(0), entry(0, kind="lasso")
    anew = [entry(0, median=102.0 + number, current=100.5, made_at=START + 100.5 + number, correction=True) for number in range(3)]
    assert write_entries(ledger, [issued, entry(1)]) == 2
    assert write_entries(ledger, [anew[1], anew[0]]) == 2  # Whatever their order, the newest stays
    assert write_entries(ledger, [replace(anew[1], made_at=START + 103.0), anew[0]]) == 0  # The same again, and an older one
    assert rows_of(ledger, *CORRECTED)[0] == (101.0, START + 101, 100.5, 103.0, anew[1].prices[0], anew[1].prices[4])
    assert rows_of(ledger, *CORRECTED)[1][1:] == (None,) * 5
    Scorer(ledger, "sim").score("BTC-USD", {START + HOUR: 104.0})
    assert write_entries(ledger, [anew[2]]) == 1  # After the outcome
    assert rows_of(ledger, *CORRECTED)[0] == (101.0, START + 102, 100.5, 104.0, anew[2].prices[0], anew[2].prices[4])
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), None, START + 2 * HOUR)["mae"] == 3.0  # What was issued is what counts
    assert write_entries(ledger, [replace(late, correction=True)]) == 1 and write_entries(ledger, [late]) == 0
    assert [row[1] for row in rows_of(ledger, *CORRECTED)] == [None, START + 102, None]


def test_a_forecast_and_its_correction_may_wait_together(ledger):
    recorder = Recorder(ledger)
    for made in (entry(0), entry(0, median=102.0, made_at=START + 100.0, correction=True)):
        assert recorder.record(made)
    recorder.start()
    assert recorder.stop(30) == 0 and (recorder.written, recorder.repeated) == (2, 0)
    assert rows_of(ledger, "predicted_price", "corrected_price") == [(101.0, 102.0)]


# --- Versions and addresses ----------------------------------------------------------------


def test_a_ledger_of_a_newer_program_is_refused_untouched(url, ledger, monkeypatch):
    write_entries(ledger, many(3))
    with monkeypatch.context() as newer:
        newer.setattr(ledger_module, "VERSION", 3)
        newer.setattr(ledger_module, "STEPS", {3: lambda connection: connection.exec_driver_sql("ALTER TABLE forecasts ADD COLUMN mood TEXT")})
        assert open_ledger(url).check() == 3
    old = open_ledger(url)
    for refused in (lambda: old.check(), lambda: write_entries(old, many(9)), lambda: Scorer(old, "sim").unscored(START)):
        with pytest.raises(LedgerVersionError, match=r"has version 3, this program knows 2; upgrade crypto_rti"):
            refused()
    assert len(rows_of(ledger)) == 3
    old.close()


def test_a_recorder_of_an_old_program_waits_for_the_upgrade(url, ledger, monkeypatch, lines):
    ledger.check()
    monkeypatch.setattr(ledger_module, "VERSION", 0)
    recorder = Recorder(open_ledger(url)).start()
    assert recorder.record(entry(0)) and not recorder.flush(0.5)
    wait_for(lines, 60, "a line in the log")
    assert isinstance(recorder.fault, LedgerVersionError) and len(lines()) == 1
    monkeypatch.setattr(ledger_module, "VERSION", 2)
    assert recorder.flush() and recorder.stop() == 0
    assert len(rows_of(ledger)) == 1


def test_an_old_ledger_is_brought_up_to_date_once_however_many_start(url, ledger, monkeypatch):
    write_entries(ledger, many(100))
    steps = []
    monkeypatch.setattr(ledger_module, "VERSION", 4)
    monkeypatch.setattr(ledger_module, "STEPS", {3: lambda _: steps.append(3), 4: lambda _: steps.append(4)})
    ledgers = [open_ledger(url) for _ in range(4)]
    threads = [threading.Thread(target=one.check) for one in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps == [3, 4] and [one.check() for one in ledgers] == [4] * 4 and len(rows_of(ledger)) == 100
    for one in ledgers:
        one.close()


def test_a_step_that_fails_changes_nothing(url, ledger, monkeypatch):
    ledger.check()
    monkeypatch.setattr(ledger_module, "VERSION", 3)

    def broken(connection):
        connection.exec_driver_sql("ALTER TABLE forecasts ADD COLUMN mood TEXT")
        connection.exec_driver_sql("ALTER TABLE nowhere ADD COLUMN mood TEXT")

    monkeypatch.setattr(ledger_module, "STEPS", {3: broken})
    with pytest.raises(LedgerError, match="nowhere|upgrade"):
        open_ledger(url).check()
    monkeypatch.setattr(ledger_module, "VERSION", 2)
    assert ledger.check() == 2
    assert "mood" not in {column["name"] for column in sa.inspect(ledger.engine).get_columns("forecasts")}


def test_another_programs_database_is_refused(url):
    engine = open_ledger(url).engine
    if engine.dialect.name == "sqlite":
        Path(engine.url.database).parent.mkdir()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE forecasts (city TEXT)")
    with pytest.raises(LedgerDamagedError, match="give the ledger a database of its own"):
        write_entries(open_ledger(url), many(1))


@pytest.mark.parametrize("address", ["", "ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://me:hunter2@host/db", "postgresql://me:hunter2@host:port/db"])
def test_an_address_that_cannot_work_is_refused_without_being_shown(address):
    with pytest.raises(LedgerAddressError) as caught:
        open_ledger(address)
    assert "CRYPTO_RTI_LEDGER_URL" in str(caught.value) and "hunter2" not in str(caught.value)


def test_no_error_and_no_log_line_shows_the_password(server, lines):
    wrong = server.url("postgres", "hunter2-is-wrong")
    refusals = [wrong, server.url("nowhere"), wrong.replace("127.0.0.1", "localhost").replace(str(server.port), "1"), f"{wrong}?sslmode=hunter2-is-wrong"]
    for address in refusals:
        ledger = open_ledger(address, timeout=1)
        with pytest.raises(LedgerUnavailableError) as caught:
            ledger.check()
        error = caught.value
        assert "cannot be used" in str(error) and error.__cause__ is None and error.__suppress_context__
        recorder = Recorder(ledger).start()
        recorder.record(entry(0))
        assert recorder.stop(0.5) == 1
        for text in (str(error), repr(error), repr(ledger), repr(recorder), repr(recorder.fault), *lines()):
            assert "hunter2" not in text and quote(PASSWORD, safe="") not in text
    assert lines()


def test_a_password_in_the_options_is_not_shown():
    ledger = open_ledger("postgresql://127.0.0.1:1/db?user=me&password=hunter2", timeout=1)
    assert "hunter2" not in repr(ledger)
    assert "hunter2" not in str(explain(OSError("refused hunter2"), ledger.location, ledger.engine.url))


# --- The recorder --------------------------------------------------------------------------


def test_handing_over_does_not_wait_for_a_database_that_hangs(lines):
    """A server that takes the connection and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        ledger = open_ledger(f"postgresql://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/db", timeout=2)
        recorder = Recorder(ledger, limit=2000).start()
        kept = [recorder.record(made) for made in many(2100)]
        assert kept == [True] * 2000 + [False] * 100  # nothing was taken off meanwhile
        assert recorder.stop(1) == 2000
        assert (recorder.written, recorder.queue.dropped) == (0, 2100)
        assert not recorder.record(entry(0)) and recorder.queue.dropped == 2101
    assert sum("further forecasts are dropped" in line for line in lines()) == 1
    assert any("2000 forecasts could not be recorded before the end" in line for line in lines())


def test_many_threads_hand_over_at_once(ledger):
    recorder = Recorder(ledger).start()
    said = many(1000)
    threads = [threading.Thread(target=lambda: [recorder.record(made) for made in said]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.stop(30) == 0
    assert (recorder.written, recorder.repeated, recorder.queue.dropped) == (1000, 3000, 0)
    assert keys_of(ledger) == Counter(key(made) for made in said)


def test_a_ledger_that_goes_missing_is_made_again(tmp_path, lines):
    """Somebody deletes the file below a running service."""
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    write_entries(ledger, many(5))
    ledger.close()
    for path in tmp_path.iterdir():
        path.unlink()
    recorder = Recorder(ledger).start()
    for made in many(10):
        recorder.record(made)
    assert recorder.flush() and recorder.stop() == 0
    assert len(rows_of(ledger)) == 10
    ledger.close()


# --- Other processes -----------------------------------------------------------------------

# Writers are forked from one process that has imported everything: importing anew for each of them takes longer than the test.
FORKS = """
import os, sys; sys.path.insert(0, sys.argv[1])
import test_ledger
for line in sys.stdin:
    name, output, *arguments = line.split()
    child = os.fork()
    if not child:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        getattr(test_ledger, name)(*arguments)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0) if name == "write_until_killed" else None
"""


def write_a_quarter_first(url, number):
    """What each of four processes does: the same forecasts, from another place on."""
    ledger, said, number = open_ledger(url, timeout=20), many(600), int(number)
    recorder = Recorder(ledger).start()
    for made in said[150 * number :] + said[: 150 * number]:
        recorder.record(made)
    lost = 0
    for last in (False, True):
        lost += recorder.stop(30) if last else 0
        for coin in ("BTC-USD", "ETH-USD"):
            Scorer(ledger, "sim").score(coin, {START + hour * HOUR: 100.5 for hour in range(1, 61)})
    print("counts", recorder.written, recorder.repeated, recorder.queue.dropped + recorder.refused + lost, flush=True)


def write_until_killed(url, count):
    """Write and score, and say after every seventh forecast what is committed."""
    ledger = open_ledger(url)
    recorder = Recorder(ledger).start()
    for number, made in enumerate(many(int(count))):
        recorder.record(made)
        if number % 7 == 6:
            recorder.flush()
            Scorer(ledger, made.source).score(made.coin, {made.predicted_for: 100.5})
            print(number + 1, flush=True)


@pytest.fixture(scope="module")
def fork():
    """Start a function of this file in a process of its own, its output going to a file."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-c", FORKS, str(HERE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:

        def start(name, output, *arguments):
            parent.stdin.write(" ".join(map(str, (name, output, *arguments))) + "\n")
            parent.stdin.flush()
            return int(parent.stdout.readline())

        yield start
        parent.stdin.close()


def test_four_processes_write_the_same_forecasts_and_each_is_there_once(url, fork, tmp_path):
    """They also make the tables, all at once: the ledger does not exist when they start."""
    answers = [tmp_path / f"answer{number}" for number in range(4)]
    for number, answer in enumerate(answers):
        fork("write_a_quarter_first", answer, url, number)
    wait_for(lambda: all(answer.exists() and answer.read_text().endswith("\n") for answer in answers), 60, "the answers of the four")
    counts = np.array([answer.read_text().split()[1:] for answer in answers], dtype=int)
    assert counts[:, :2].sum(axis=0).tolist() == [600, 1800] and not counts[:, 2].any()
    ledger = open_ledger(url)
    assert keys_of(ledger) == Counter(key(made) for made in many(600))
    found = [read_accuracy(ledger, Series("sim", coin), 30, START + 100 * HOUR) for coin in ("BTC-USD", "ETH-USD")]
    assert [(one["n"], one["unscored"]) for one in found] == [(300, 0)] * 2
    ledger.close()


def test_killed_while_it_writes_nothing_committed_is_lost_and_nothing_counts_twice(url, fork, tmp_path):
    said, promised = many(1500), 0
    for number, after in enumerate((2, 9, 4, 6)):
        answer = tmp_path / f"answer{number}"
        writer = fork("write_until_killed", answer, url, len(said))
        wait_for(lambda answer=answer, after=after: answer.exists() and answer.read_text().count("\n") >= after, 60, f"{after} batches")
        time.sleep(0.017 * number)
        os.kill(writer, signal.SIGKILL)
        promised = max([promised, *map(int, answer.read_text().split("\n")[:-1])])
        ledger = open_ledger(url)
        found, scored = keys_of(ledger), [actual for (actual,) in rows_of(ledger, "actual_price") if actual is not None]
        assert {key(made) for made in said[:promised]} <= set(found) and set(found) <= {key(made) for made in said}
        assert set(found.values()) == {1} and len(scored) >= promised // 7 and set(scored) == {100.5}
        ledger.close()
    ledger = open_ledger(url)
    assert write_entries(ledger, said) == len(said) - len(found)
    for coin in ("BTC-USD", "ETH-USD"):
        Scorer(ledger, "sim").score(coin, dict.fromkeys(Scorer(ledger, "sim").unscored(START + 10_000 * HOUR).get(coin, []), 100.5))
    assert keys_of(ledger) == Counter(key(made) for made in said)
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), 1000, START + 1000 * HOUR)["n"] == len(said) / 2
    ledger.close()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_postgresql_restarts_under_load_and_nothing_is_lost(server, lines):
    url = server.empty()
    ledger = open_ledger(url)
    ledger.check()
    recorder, said, refusals = Recorder(ledger).start(), many(4000), []
    done = threading.Event()

    def read():
        while not done.is_set():
            try:
                read_accuracy(ledger, Series("sim", "BTC-USD"), 30, START + 500 * HOUR)
            except LedgerUnavailableError as error:
                refusals.append(str(error))
            time.sleep(0.01)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number, made in enumerate(said):
            assert recorder.record(made)
            time.sleep(0.0005)
            if number == 1000:
                server.control("restart", "-m", "fast")
            if number == 2000:
                server.control("stop", "-m", "immediate")  # as if it had crashed
            if number == 3000:
                server.control("start")
        assert recorder.flush(30)
    finally:
        done.set()
        reader.join()
    assert recorder.stop() == 0 and (recorder.queue.dropped, recorder.refused, recorder.fault) == (0, 0, None)
    assert keys_of(ledger) == Counter(key(made) for made in said)
    assert recorder.written + recorder.repeated == 4000
    faults, ends = (sum(words in line for line in lines()) for words in ("forecasts cannot be recorded", "the ledger can be written again"))
    assert 1 <= faults == ends <= 4
    assert refusals and all("cannot be used" in text for text in refusals)
    ledger.close()


# --- Disks ---------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MB."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-disk-"))
    if not can_mount() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def fill(folder):
    """Fill the disk."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    return path


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_full_disk_is_named_once_and_recording_resumes_when_there_is_room(kind, disk, request, lines):
    if kind == "sqlite":
        url = f"sqlite:///{disk}/ledger.db"
    else:
        server = request.getfixturevalue("server")
        server.give(disk)
        server.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
        server.run("CREATE DATABASE small TABLESPACE small")
        url = server.url("small")
    ledger = open_ledger(url)
    write_entries(ledger, many(50))
    filler = fill(disk)
    recorder, said = Recorder(ledger).start(), many(3000)
    for made in said:
        assert recorder.record(made)
    assert not recorder.flush(2)
    wait_for(lambda: recorder.fault, 60, "the fault")
    assert isinstance(recorder.fault, LedgerFullError) and "free some disk space" in str(recorder.fault)
    with pytest.raises(LedgerFullError):
        write_entries(ledger, said)
    assert read_accuracy(ledger, Series("sim", "BTC-USD"), 30, START + 100 * HOUR)["unscored"] >= 25  # what is there can be read
    assert sum("has no space left on its disk" in line for line in lines()) == 1 and len(recorder.queue.entries) > 0
    filler.unlink()
    assert recorder.flush(30) and recorder.stop() == 0
    assert keys_of(ledger) == Counter(key(made) for made in said)
    assert (recorder.written, recorder.queue.dropped) == (2950, 0) and sum("can be written again" in line for line in lines()) == 1
    ledger.close()
    if kind == "postgresql":
        server.run("DROP DATABASE small WITH (FORCE)")
        server.run("DROP TABLESPACE small")


def test_a_full_disk_at_the_very_start(disk):
    filler = fill(disk)
    recorder = Recorder(open_ledger(f"sqlite:///{disk}/home/ledger.db")).start()
    recorder.record(entry(0))
    assert not recorder.flush(0.5)
    wait_for(lambda: recorder.fault, 60, "the fault")
    assert isinstance(recorder.fault, LedgerError)
    filler.unlink()
    assert recorder.flush(30) and recorder.stop() == 0


@pytest.mark.parametrize("damage", ["other content", "a broken page", "cut short"])
def test_a_damaged_file_is_refused_and_left_alone(damage, tmp_path, lines):
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    write_entries(ledger, many(2000))
    ledger.close()
    whole = path.read_bytes()
    files = {"other content": b"no database " * 5000, "a broken page": whole[:4096] + b"\xff" * (len(whole) - 4096), "cut short": whole[: len(whole) // 3]}
    broken = files[damage]
    path.write_bytes(broken)
    ledger = open_ledger(f"sqlite:///{path}")
    recorder = Recorder(ledger).start()
    recorder.record(entry(5000))
    assert not recorder.flush(1)
    wait_for(lines, 60, "a line in the log")
    assert isinstance(recorder.fault, LedgerDamagedError) and "left unchanged" in str(recorder.fault)
    with pytest.raises(LedgerDamagedError, match="restore a copy or start with an empty ledger"):
        rows_of(ledger)
    assert path.read_bytes() == broken and len(lines()) == 1
    for rest in tmp_path.glob("ledger.db*"):
        rest.rename(tmp_path / f"old-{rest.name}")  # what the message asks for; the service runs on
    ledger.close()
    assert recorder.flush(10) and recorder.stop() == 0 and recorder.written == 1
    ledger.close()


def test_a_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(LedgerUnavailableError, match="home/ledger.db"):
        open_ledger(f"sqlite:///{tmp_path}/home/ledger.db").check()

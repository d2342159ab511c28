"""Quarter forecasts in the ledger, on both of its databases: written once, scored once for a moment, read as the backtest would score them."""

import csv
import itertools
import json
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.errors import NoSuchNameError
from crypto_rti.evaluation import metrics
from crypto_rti.service import writer
from crypto_rti.service.ledger import (
    PRICE_COLUMNS,
    QUANTILE_COLUMNS,
    LedgerRowError,
    LedgerUnavailableError,
    Series,
    close_table,
    open_ledger,
    quarter_table,
    series_table,
)
from crypto_rti.service.quarter_ledger import (
    QuarterSeries,
    read_quarter_accuracy,
    read_quarter_forecasts,
    read_quarter_outcomes,
    read_scales,
    record_closes,
    unscored_quarters,
)
from crypto_rti.service.recorded import check_recorded, export_forecasts, prune_expired, prune_forecasts
from crypto_rti.service.scores import Scorer, read_accuracy
from crypto_rti.service.writer import Entry, Recorder, write_entries

START = to_unix("2024-01-01T00:00Z")
QUARTER = 900
NO_CHANGE = (-1.55, -0.5, 0.0, 0.5, 1.55)  # Quantiles of persistence


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return f"sqlite:///{tmp_path}/home/ledger.db" if request.param == "sqlite" else request.getfixturevalue("server").empty()


@pytest.fixture
def ledger(url):
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


def quarter(number, horizon=15, kind="lightgbm", version="1", coin="BTC-USD", median=101.0, current=100.0, **changes):
    """A forecast that was made 1.25 s after the quarter with this number."""
    at = START + number * QUARTER
    fan = tuple(float(median * math.exp(0.01 * quantile)) for quantile in NO_CHANGE)
    own = tuple(np.log(median / current) / 0.01 + np.array([-1.5, -0.5, 0.0, 0.5, 1.5]))
    made = Entry("sim", coin, kind, version, at, at + 60 * horizon, at + 1.25, current, fan, 0.01, own, "quarter", horizon, current + 0.25, 0.7)
    return replace(made, **changes)


def hourly(number, **changes):
    """An hourly forecast."""
    at = START + number * HOUR
    return replace(Entry("sim", "BTC-USD", "lightgbm", "1", at, at + HOUR, at + 61.5, 100.0, (98.0, 99.0, 100.5, 101.0, 102.0), 0.01, NO_CHANGE), **changes)


def rows_of(ledger, *columns):
    """Rows of quarter forecasts, in the order of coin, horizon, kind, version and time."""
    of, row = series_table.c, quarter_table.c
    query = sa.select(*((of if name in of else row)[name] for name in columns)).join_from(series_table, quarter_table, row.series == of.id)
    return [tuple(one) for one in ledger.fetch(query.order_by(of.coin, of.horizon, of.kind, of.version, row.data_until))]


def of(horizon=15, kind="lightgbm", version=None, minute=None, coin="BTC-USD"):
    return QuarterSeries("sim", coin, horizon, kind, version, minute)


def walk(count, horizon=15, seed=0, **changes):
    """Forecasts of one series over a random walk, and the prices that came."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.004, count + 8))), 2)
    close[5] = close[4]
    said = []
    for number in range(count):
        median = close[number] * (1 if number % 7 == 0 else math.exp(0.003 * rng.normal()))
        said.append(quarter(number, horizon, median=median, current=close[number], issued_price=close[number] + rng.normal(0, 0.1), **changes))
    return said, {made.predicted_for: float(np.interp((made.predicted_for - START) / QUARTER, np.arange(len(close)), close)) for made in said}


# --- Written once --------------------------------------------------------------------------


def test_a_quarter_forecast_is_written_once(ledger):
    first = quarter(0)
    assert write_entries(ledger, [first, first]) == 1
    assert write_entries(ledger, [first, replace(first, made_at=first.made_at + 9, current_price=1.0), quarter(1)]) == 1
    assert rows_of(ledger, "data_until", "made_at", "current_price") == [(START, START + 1.25, 100.0), (START + QUARTER, START + QUARTER + 1.25, 100.0)]


def test_what_tells_quarter_forecasts_apart(ledger):
    first = quarter(0)
    others = [replace(first, **change) for change in ({"source": "coinbase"}, {"coin": "ETH-USD"}, {"kind": "lasso"}, {"version": "2"})]
    assert write_entries(ledger, [first, *others, quarter(0, 5), quarter(0, 60), quarter(1)]) == 8
    assert write_entries(ledger, [hourly(0)]) == 1  # An hourly forecast from the same candles is another one
    assert len(ledger.fetch(sa.select(series_table))) == 7


def test_everything_comes_back_as_it_was(ledger):
    said = quarter(0, 30, median=100.123456789012, current=99.87654321098765, issued_price=99.8, size=0.3, made_at=START + 1.234567)
    write_entries(ledger, [said, quarter(1, 30, issued_price=None, size=None)])
    found, bare = rows_of(ledger, "made_at", "current_price", "issued_price", *PRICE_COLUMNS, "volatility", "size")
    assert found == (said.made_at, said.current_price, 99.8, *said.prices, said.volatility, 0.3)
    assert bare[2] is None and bare[-1] is None
    assert rows_of(ledger, *QUANTILE_COLUMNS)[0] == pytest.approx(said.quantiles, abs=1e-9)  # Whole billionths


@pytest.mark.parametrize(
    "change",
    [
        {"prices": (1.0, math.nan, 1.0, 1.0, 1.0)}, {"quantiles": (math.inf,) * 5}, {"issued_price": math.nan}, {"size": math.inf},
        {"predicted_for": START + 60}, {"mode": "hour"}, {"mode": "rolling", "horizon": 60, "size": 1.0}, {"volatility": -math.inf},
    ],
)  # fmt: skip
def test_a_quarter_forecast_that_makes_no_sense_is_refused_alone(tmp_path, change):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with pytest.raises(LedgerRowError, match="lightgbm 1 of BTC-USD"):
        write_entries(ledger, [quarter(1), quarter(0, **change)])
    recorder = Recorder(ledger).start()
    for made in (quarter(0), quarter(1, **{**change, "data_until": START + QUARTER}), quarter(2)):
        recorder.record(made)
    assert recorder.stop(30) == 0 and (recorder.written, recorder.refused) == (2, 1)
    ledger.close()


def test_hours_and_quarters_are_one_transaction(ledger, monkeypatch):
    monkeypatch.setattr(writer, "_write_quarters", lambda connection, entries: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_entries(ledger, [hourly(0), quarter(0)])
    monkeypatch.undo()
    assert write_entries(ledger, [hourly(0), quarter(0)]) == 2


def test_many_that_write_the_same_quarters_write_each_once(url):
    """Workers of their own with their own connections; new series are among what they write, in another order each."""
    said = [quarter(number, horizon, coin=coin) for number in range(20) for horizon in (5, 15, 30, 60) for coin in ("BTC-USD", "ETH-USD")]
    ledgers = [open_ledger(url, timeout=20) for _ in range(4)]
    ledgers[0].check()

    def work(number):
        return sum(write_entries(ledgers[number], said[start : start + 16]) for start in np.roll(np.arange(0, len(said), 16), 3 * number))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == len(said)
    assert len(rows_of(ledgers[0], "data_until")) == len(said) and len(ledgers[0].fetch(sa.select(series_table))) == 8
    for one in ledgers:
        one.close()


def test_a_ledger_away_at_a_quarter_loses_nothing(tmp_path, monkeypatch):
    """Ten minutes are three quarters of the hour at most, and corrections between them."""
    ledger, away = open_ledger(f"sqlite:///{tmp_path}/ledger.db"), True
    ledger.check()

    def write(to, entries):
        if away:
            raise LedgerUnavailableError("the ledger is away")
        return write_entries(to, entries)

    monkeypatch.setattr(writer, "write_entries", write)
    coins = [f"C{number}-USD" for number in range(10)]
    said = [quarter(number, horizon, coin=coin) for number in range(3) for coin in coins for horizon in (5, 15, 30, 60)]
    anew = [replace(made, made_at=made.made_at + 60, prices=(1.0, 2.0, 3.0, 4.0, 5.0), correction=True) for made in said[:40]]
    recorder = Recorder(ledger).start()
    assert all(recorder.record(made) for made in (*said[:40], *anew, *said[40:]))
    assert not recorder.flush(0.5) and isinstance(recorder.fault, LedgerUnavailableError)
    away = False
    assert recorder.flush(30) and recorder.stop() == 0
    assert (recorder.written, recorder.repeated, recorder.refused, recorder.queue.dropped) == (160, 0, 0, 0)
    found = rows_of(ledger, "data_until", "corrected_price")
    assert len(found) == 120 and {price for at, price in found if at == START} == {3.0} and {price for at, price in found if at > START} == {None}
    assert len(unscored_quarters(ledger, "sim", START + 3 * HOUR)) == 10
    ledger.close()


# --- What came -----------------------------------------------------------------------------


def test_a_moment_is_awaited_once_for_all_horizons_and_kinds(ledger):
    write_entries(ledger, [quarter(0, 30), quarter(1, 15), quarter(1, 15, kind="lasso"), quarter(0, 5, coin="ETH-USD"), quarter(3, 5, source="other")])
    half = START + 1800
    assert unscored_quarters(ledger, "sim", half) == {"BTC-USD": [half], "ETH-USD": [START + 300]}
    assert unscored_quarters(ledger, "sim", half, since=START + 301) == {"BTC-USD": [half]}
    assert unscored_quarters(ledger, "sim", half - 1) == {"ETH-USD": [START + 300]} and unscored_quarters(ledger, "nobody", half) == {}
    assert record_closes(ledger, "sim", "BTC-USD", {half: 101.0}) == 1
    assert unscored_quarters(ledger, "sim", half) == {"ETH-USD": [START + 300]}
    assert [read_quarter_accuracy(ledger, of(horizon, None), None, half)["n"] for horizon in (30, 15)] == [1, 2]


def test_a_price_stays_and_silence_gives_way(ledger):
    write_entries(ledger, [quarter(0)])
    moment = START + QUARTER
    assert record_closes(ledger, "sim", "BTC-USD", {moment: None}) == 1
    assert unscored_quarters(ledger, "sim", moment) == {} and record_closes(ledger, "sim", "BTC-USD", {moment: None}) == 0
    assert record_closes(ledger, "sim", "BTC-USD", {moment: 102.0}) == 1
    assert record_closes(ledger, "sim", "BTC-USD", {moment: 50.0}) == record_closes(ledger, "sim", "BTC-USD", {moment: None}) == 0
    assert record_closes(ledger, "sim", "BTC-USD", {}) == 0
    assert read_quarter_accuracy(ledger, of(), None, moment)["mae"] == 1.0
    for nonsense in (math.nan, math.inf, 0.0, -1.0):
        with pytest.raises(LedgerRowError, match="is no price of BTC-USD at 2024-01-01T00:15:00Z"):
            record_closes(ledger, "sim", "BTC-USD", {moment: nonsense})


def test_a_price_may_come_before_its_forecast(ledger):
    """A forecast that waited in the queue while its moment was scored."""
    write_entries(ledger, [quarter(1, 15)])
    record_closes(ledger, "sim", "BTC-USD", {START + 1800: 101.5}, now=START + 1900)
    write_entries(ledger, [quarter(0, 30)])
    assert unscored_quarters(ledger, "sim", START + HOUR) == {}
    assert read_quarter_accuracy(ledger, of(30), None, START + HOUR)["mae"] == 0.5
    assert ledger.fetch(sa.select(close_table.c.price, close_table.c.scored_at)) == [(101.5, START + 1900)]


STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from([5, 15, 30])), max_size=5),
        st.dictionaries(st.integers(0, 7), st.one_of(st.none(), st.floats(50, 150)), max_size=6),
    ),
    max_size=10,
)
coins = itertools.count()


@settings(max_examples=40)  # Each writes to a database, and there are two kinds
@given(steps=STEPS)
def test_whatever_is_repeated_in_whatever_order_counts_once(ledger, steps):
    """Plain dictionaries say what the ledger must hold."""
    coin, said, came = f"COIN{next(coins)}-USD", set(), {}
    for step in [*steps, *steps]:
        if isinstance(step, list):
            assert write_entries(ledger, [quarter(number, horizon, coin=coin) for number, horizon in step]) == len(set(step) - said)
            said |= set(step)
        else:
            prices = {START + number * QUARTER: price for number, price in step.items()}
            new = {moment: price for moment, price in prices.items() if moment not in came or (came[moment] is None and price is not None)}
            assert record_closes(ledger, "sim", coin, prices) == len(new)
            came |= new
    moments = {START + number * QUARTER + 60 * horizon for number, horizon in said}
    assert unscored_quarters(ledger, "sim", START + HOUR * 24).get(coin, []) == sorted(moments - came.keys())
    for horizon in (5, 15, 30):
        answers = [came.get(START + number * QUARTER + 60 * horizon, "unknown") for number, ahead in said if ahead == horizon]
        prices = [price for price in answers if isinstance(price, float)]
        found = read_quarter_accuracy(ledger, of(horizon, coin=coin), None, START + 24 * HOUR)
        assert (found["n"], found["without_trades"], found["unscored"]) == (len(prices), answers.count(None), answers.count("unknown"))
        if prices:
            assert found["mae"] == pytest.approx(np.mean([abs(101.0 - price) for price in prices]))


def test_what_is_awaited_is_found_by_an_index(tmp_path):
    """However long the ledger, only the moments without a price are looked at."""
    ledger, seen = open_ledger(f"sqlite:///{tmp_path}/ledger.db"), []
    write_entries(ledger, [quarter(0)])
    sa.event.listen(ledger.engine, "before_cursor_execute", lambda _, cursor, statement, parameters, *__: seen.append((statement, parameters)))
    unscored_quarters(ledger, "sim", START + HOUR)
    read_quarter_accuracy(ledger, of(), 30, START + HOUR)
    read_quarter_outcomes(ledger, of(version="1", minute=0), START)
    for statement, parameters in [one for one in seen if "SELECT" in one[0]]:
        with ledger.engine.connect() as connection:
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert not any(step.startswith("SCAN") for step in plan), plan
        if "quarter_forecasts" in statement:
            assert any("SEARCH quarter_forecasts USING PRIMARY KEY (series=? AND data_until" in step for step in plan), plan
        else:
            assert any("USING INDEX quarter_closes_awaited (source=? AND moment>? AND moment<?)" in step for step in plan), plan
    assert len(seen) >= 3
    ledger.close()


# --- Accuracy ------------------------------------------------------------------------------


@pytest.mark.parametrize(("horizon", "minute", "lags"), [(15, None, 96), (5, None, 96), (60, 30, 24), (15, 0, 24), (30, None, None), (60, None, None)])
def test_scores_are_those_of_the_backtest(ledger, horizon, minute, lags):
    said, prices = walk(1200, horizon)
    said = [replace(made, version=str(number // 40 % 3)) for number, made in enumerate(said)]  # Champions come and go, and come again
    write_entries(ledger, said[::-1])
    silent = said[40].predicted_for
    record_closes(ledger, "sim", "BTC-USD", {moment: None if moment == silent else price for moment, price in prices.items()})
    now = START + 400 * HOUR
    found = read_quarter_accuracy(ledger, of(horizon, minute=minute), None, now, test=True)
    rows = [made for made in said if made.predicted_for != silent and minute in (None, made.data_until % HOUR // 60)]
    actual, close, issued = (
        np.array(column) for column in zip(*((prices[made.predicted_for], made.current_price, made.issued_price) for made in rows), strict=True)
    )
    low_90, low_50, point, high_50, high_90 = np.array([made.prices for made in rows]).T
    assert (found["n"], found["unscored"], found["without_trades"]) == (len(rows), 0, int(minute in (None, said[40].data_until % HOUR // 60)))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(actual, point), rel=1e-12)
    assert found["mae_persistence"] == pytest.approx(metrics.mean_absolute_error(actual, close), rel=1e-12)
    assert found["mase"] == pytest.approx(metrics.mase(actual, point, close), rel=1e-12)
    assert found["mae_as_issued"] == pytest.approx(metrics.mean_absolute_error(actual, issued), rel=1e-12)
    assert found["mase_as_issued"] == pytest.approx(metrics.mase(actual, point, issued), rel=1e-12)
    assert found["direction"] == pytest.approx(metrics.directional_accuracy(actual, point, close), rel=1e-12)
    assert found["coverage_50"] == metrics.coverage(actual, low_50, high_50) and found["coverage_90"] == metrics.coverage(actual, low_90, high_90)
    assert (found["lateness"], found["size"]) == (1.25, 0.7)
    assert sum(day["n"] for day in found["by_day"]) == found["n"] and found["by_day"][0]["day"] == "2024-01-01"
    assert sum(day["mae"] * day["n"] for day in found["by_day"] if day["n"]) == pytest.approx(found["n"] * found["mae"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    if lags is None:
        assert found["dm_t"] is found["dm_p"] is found["luck"] is None
        return
    t, two_sided = metrics.diebold_mariano(actual - point, actual - close, lags)
    assert found["dm_t"] == pytest.approx(t, rel=1e-9) and found["dm_p"] == pytest.approx(two_sided / 2 if t < 0 else 1 - two_sided / 2, rel=1e-9)
    assert found["luck"]["t"] == metrics.critical_t(len(rows), lags)
    assert (1 - found["mase"]) / (1 - found["luck"]["mase_low"]) == pytest.approx(-found["dm_t"] / found["luck"]["t"], rel=1e-9)


def test_a_quarter_of_the_hour_scores_as_hours_do(ledger):
    """The same forecasts for sixty minutes, in both tables."""
    said, prices = walk(4 * 200, 60)
    hours = [made for made in said if made.data_until % HOUR == 0]
    write_entries(ledger, [*hours, *(replace(made, mode="hour", size=None) for made in hours)])
    moments = {made.predicted_for: prices[made.predicted_for] for made in hours}
    moments[hours[9].predicted_for] = None
    assert (record_closes(ledger, "sim", "BTC-USD", moments), Scorer(ledger, "sim").score("BTC-USD", moments)) == (200, 200)
    wanted = read_accuracy(ledger, Series("sim", "BTC-USD", "lightgbm"), 5, START + 190 * HOUR, test=True)
    found = read_quarter_accuracy(ledger, of(60, minute=0), 5, START + 190 * HOUR, test=True)
    assert wanted["n"] == 120 and set(found) - set(wanted) == {"mae_as_issued", "size"}
    for one, other in ((found, wanted), (found["luck"], wanted["luck"]), *zip(found["by_day"], wanted["by_day"], strict=True)):
        assert {name: one[name] for name in other if name not in ("luck", "by_day", "day")} == pytest.approx(
            {name: value for name, value in other.items() if name not in ("luck", "by_day", "day")}, rel=1e-9
        )
    assert [day["day"] for day in found["by_day"]] == [day["day"] for day in wanted["by_day"]]


def test_only_what_was_made_beforehand_and_is_due_counts(ledger):
    late = [quarter(3, version="late", made_at=START + 4 * QUARTER), quarter(4, version="late", made_at=START + 5 * QUARTER - 0.01)]
    write_entries(ledger, [*(quarter(number) for number in range(10)), *late])
    record_closes(ledger, "sim", "BTC-USD", {START + number * QUARTER: 100.5 if number != 2 else None for number in range(1, 6)})
    now = START + 7 * QUARTER + 0.5
    found = read_quarter_accuracy(ledger, of(version="1"), None, now)
    assert (found["n"], found["without_trades"], found["unscored"]) == (4, 1, 2)
    assert read_quarter_accuracy(ledger, of(version="late"), None, now)["n"] == 1 and read_quarter_accuracy(ledger, of(), None, now)["n"] == 5
    assert read_quarter_accuracy(ledger, of(version="1"), 4 / 96, now)["n"] == 2
    assert read_quarter_accuracy(ledger, of(version="1"), 3 / 96, START + 4 * QUARTER)["n"] == 2  # One of three without trades
    for other in (of(30), of(coin="ETH-USD"), of(kind="lasso"), of(version="9"), QuarterSeries("other", "BTC-USD", 15)):
        assert read_quarter_accuracy(ledger, other, None, now)["n"] == 0
    assert read_quarter_accuracy(ledger, of(version="late"), None, now)["lateness"] == pytest.approx(QUARTER - 0.01)


def test_accuracy_of_nothing_is_unknown_not_an_error(ledger):
    scores = ("mae", "mae_persistence", "mase", "direction", "coverage_50", "coverage_90", "mae_as_issued", "mase_as_issued", "lateness", "size")
    nothing = dict.fromkeys((*scores, "dm_t", "dm_p", "luck")) | {"n": 0, "unscored": 0, "without_trades": 0, "by_day": []}
    for kind in ("lightgbm", "persistence", None):
        assert read_quarter_accuracy(ledger, of(kind=kind), 30, START, test=True) == nothing
    write_entries(ledger, [quarter(0)])  # Not due yet, but it has a size
    assert read_quarter_accuracy(ledger, of(), 30, START + 60, test=True) == nothing | {"size": 0.7}
    record_closes(ledger, "sim", "BTC-USD", {START + QUARTER: 100.0})
    assert read_quarter_accuracy(ledger, of(), 30, START + QUARTER)["mase"] is None
    assert len(read_quarter_outcomes(ledger, of(kind="lasso"))) == 0 and read_quarter_outcomes(ledger, of(kind="lasso")).quantiles.shape == (0, 5)
    assert read_quarter_forecasts(ledger, of(kind="lasso"), 0) == [] and read_scales(ledger, of(kind="lasso"), 0).shape == (0, 2)


def test_rows_without_the_price_when_issued_are_left_out_of_what_is_measured_against_it(ledger):
    write_entries(ledger, [quarter(0, issued_price=100.4), quarter(1, issued_price=None), quarter(2, issued_price=99.5)])
    record_closes(ledger, "sim", "BTC-USD", {START + number * QUARTER: 101.5 for number in (1, 2, 3)})
    found = read_quarter_accuracy(ledger, of(), None, START + HOUR)
    assert (found["n"], found["mae"], found["mae_persistence"]) == (3, 0.5, 1.5)
    assert found["mae_as_issued"] == pytest.approx((1.1 + 2.0) / 2) and found["mase_as_issued"] == pytest.approx(1.0 / 3.1)


def test_persistence_follows_from_the_rows_of_any_kind_once_for_a_moment(ledger):
    """Three quarters: two versions of a model; persistence's own row, with intervals of its own; another kind."""
    own = quarter(1, kind="persistence", version="builtin", median=100.0, prices=(90.0, 99.9, 100.0, 100.1, 110.0), size=None)
    write_entries(
        ledger, [quarter(0), quarter(0, version="2", volatility=0.02, made_at=START + 30.0), own, quarter(1), quarter(2, kind="lasso", volatility=0.001)]
    )
    write_entries(ledger, [quarter(3, made_at=START + 4 * QUARTER)])  # Made too late
    record_closes(ledger, "sim", "BTC-USD", {START + QUARTER: 101.5, START + 2 * QUARTER: 108.0, START + 3 * QUARTER: 100.5, START + 4 * QUARTER: 99.0})
    now = START + 2 * HOUR
    found = read_quarter_accuracy(ledger, of(kind="persistence", version="builtin"), None, now, test=True)
    assert (found["n"], found["mae"], found["mase"], found["direction"], found["size"]) == (3, pytest.approx((1.5 + 8 + 0.5) / 3), 1.0, None, None)
    assert found["coverage_90"] == pytest.approx(2 / 3)  # 101.5 < 100 exp(.0155); 108 < 110; 100.5 > 100 exp(.00155)
    assert found["coverage_50"] == 0 and found["dm_t"] is None
    chart = read_quarter_forecasts(ledger, of(kind="persistence"), START)
    assert [(one.predicted_for - START) // QUARTER for one in chart] == [1, 2, 3, 4] and [one.version for one in chart] == ["builtin"] * 4
    assert chart[0].prices == pytest.approx([100 * math.exp(0.01 * quantile) for quantile in NO_CHANGE]) and chart[1].prices == own.prices
    assert [one.late for one in chart] == [False, False, False, True]


# --- Read back -----------------------------------------------------------------------------


def test_outcomes_come_in_order_and_never_jump_over_a_debt(ledger):
    said, prices = walk(240)
    write_entries(ledger, [*said, *(replace(made, version="2") for made in said)])
    mine = [made for made in said if made.data_until % HOUR == 1800]
    held_back, silent = mine[40].predicted_for, mine[7].predicted_for
    came = {moment: None if moment == silent else price for moment, price in prices.items() if moment != held_back}
    record_closes(ledger, "sim", "BTC-USD", came)
    series = of(version="1", minute=30)
    first = read_quarter_outcomes(ledger, series)
    assert first.moment.tolist() == [made.data_until for number, made in enumerate(mine[:40]) if number != 7]
    assert np.array_equal(first.known, first.moment + QUARTER)
    record_closes(ledger, "sim", "BTC-USD", {held_back: prices[held_back]})
    second, whole = read_quarter_outcomes(ledger, series, int(first.known[-1])), read_quarter_outcomes(ledger, series)
    for name in ("moment", "known", "quantiles", "scale", "close", "actual", "y"):
        assert np.array_equal(np.concatenate([getattr(first, name), getattr(second, name)]), getattr(whole, name))
    assert len(whole) == 59 and whole.moment.dtype == whole.known.dtype == np.int64
    counted = [made for made in mine if made.predicted_for != silent]
    assert whole.quantiles == pytest.approx(np.array([made.quantiles for made in counted]), abs=1e-9)
    assert np.array_equal(whole.y, np.log(np.array([prices[made.predicted_for] for made in counted]) / [made.current_price for made in counted]) / 0.01)
    assert read_quarter_outcomes(ledger, series, until=int(first.known[3])).moment.tolist() == first.moment[:4].tolist()
    assert len(read_quarter_outcomes(ledger, of(version="1"))) == 239


def test_a_corrected_forecast_teaches_nothing_but_counts_as_issued(ledger):
    write_entries(ledger, [quarter(number) for number in range(4)])
    anew = quarter(1, median=105.0, current=100.5, made_at=START + QUARTER + 62.9, correction=True)
    assert write_entries(ledger, [anew]) == 1
    record_closes(ledger, "sim", "BTC-USD", {START + number * QUARTER: 101.5 for number in range(1, 5)})
    assert read_quarter_outcomes(ledger, of(version="1")).moment.tolist() == [START, START + 2 * QUARTER, START + 3 * QUARTER]
    assert read_quarter_accuracy(ledger, of(), None, START + HOUR)["mae"] == 0.5
    newer = replace(anew, made_at=START + 2 * HOUR, prices=(1.0, 2.0, 3.0, 4.0, 5.0))  # After the outcome
    assert write_entries(ledger, [newer]) == 1 and write_entries(ledger, [newer, anew]) == 0
    columns = ("made_at", "predicted_price", "corrected_at", "corrected_current_price", "corrected_price", "corrected_low_90", "corrected_high_90")
    assert rows_of(ledger, *columns)[1] == (START + QUARTER + 1.25, 101.0, START + 2 * HOUR, 100.5, 3.0, 1.0, 5.0)
    assert [row[2] for row in rows_of(ledger, *columns)] == [None, START + 2 * HOUR, None, None]


def test_a_correction_without_a_first_issue_becomes_one(ledger):
    late = quarter(0, correction=True)
    assert write_entries(ledger, [late]) == 1 and write_entries(ledger, [quarter(0, median=90.0)]) == 0
    assert rows_of(ledger, "predicted_price", "corrected_at") == [(101.0, None)]
    assert unscored_quarters(ledger, "sim", START + HOUR) == {"BTC-USD": [START + QUARTER]}


def test_one_forecast_for_a_moment_is_read_and_one_made_in_time_is_preferred(ledger):
    at = [START + number * QUARTER for number in range(12)]
    write_entries(ledger, [quarter(number, version="1") for number in (0, 1, 2, 3)])
    write_entries(ledger, [quarter(number, version="2", made_at=at[9]) for number in (2, 3, 4)])  # Made up for, later
    write_entries(ledger, [quarter(3, version="3", made_at=at[3] + 300), quarter(1, version="0", made_at=at[1] + 1.0)])
    write_entries(ledger, [quarter(5, version="3", made_at=at[6]), quarter(5, version="4", made_at=at[6] + 1), quarter(6, 30), quarter(8, kind="lasso")])
    record_closes(ledger, "sim", "BTC-USD", {at[1]: 100.5, at[2]: None})

    def read(version, since=START, until=None):
        found = read_quarter_forecasts(ledger, of(version=version), since, until)
        return [((one.predicted_for - START) // QUARTER, one.version, one.late) for one in found]

    assert read("3") == [(1, "1", False), (2, "0", False), (3, "1", False), (4, "3", False), (5, "2", True), (6, "3", True)]
    assert read("2", until=at[5]) == [(1, "1", False), (2, "0", False), (3, "1", False), (4, "1", False), (5, "2", True)]
    assert read("4", at[4], at[6]) == [(5, "2", True), (6, "4", True)]
    first, silent = read_quarter_forecasts(ledger, of(version="1"), START)[:2]
    assert (first.made_at, first.issued_at, first.issued_price, first.prices, first.actual_price) == (START + 1, START + 1.25, 100.25, quarter(0).prices, 100.5)
    assert silent.actual_price is None


def test_scales_come_in_time_order_once_for_a_moment(ledger):
    write_entries(ledger, [quarter(number, volatility=0.01 + number / 1000) for number in (3, 1, 2, 0)])
    write_entries(ledger, [quarter(2, version="2", volatility=0.5, made_at=START + 3 * QUARTER), quarter(9, 30)])
    found = read_scales(ledger, of(kind=None), START)
    assert found.tolist() == [[START + number * QUARTER, 0.01 + number / 1000] for number in (1, 2, 3)]
    assert read_scales(ledger, of(version="2", minute=30), 0).tolist() == [[START + 2 * QUARTER, 0.5]]


# --- Housekeeping --------------------------------------------------------------------------


def test_prune_takes_quarters_that_are_older_and_the_prices_of_nothing_else(ledger, caplog):
    caplog.set_level(logging.INFO)
    said = [quarter(number * 8, horizon, coin=coin) for number in range(600) for horizon in (15, 60) for coin in ("BTC-USD", "ETH-USD")]
    write_entries(ledger, [*said, hourly(0), quarter(0, source="other")])
    record_closes(ledger, "sim", "BTC-USD", dict.fromkeys((made.predicted_for for made in said), 101.0))
    before = START + 40 * 24 * HOUR + QUARTER
    assert prune_forecasts(ledger, START) == 0
    gone = [made for made in said if made.predicted_for < before]
    assert prune_forecasts(ledger, before, "sim") == len(gone) + 1 and prune_forecasts(ledger, before, "sim") == 0
    kept = sorted((made.coin, made.horizon, made.data_until) for made in said if made.predicted_for >= before)
    assert [row for row in rows_of(ledger, "coin", "horizon", "data_until", "source") if row[3] == "sim"] == [(*one, "sim") for one in kept]
    moments = {one.moment for one in ledger.fetch(sa.select(close_table.c.moment).where(close_table.c.source == "sim"))}
    assert moments == {made.predicted_for for made in said if made.predicted_for >= before}
    assert unscored_quarters(ledger, "other", START + HOUR) == {"BTC-USD": [START + QUARTER]}
    counts = {coin: sum(made.coin == coin for made in gone) for coin in ("BTC-USD", "ETH-USD")}
    assert [text.partition(" from sim for moments before ")[0] for text in caplog.messages if "were removed" in text] == [
        f"{counts['BTC-USD'] + 1} forecasts of BTC-USD",  # And one hourly forecast
        f"{counts['ETH-USD']} forecasts of ETH-USD",
    ]
    assert prune_forecasts(ledger, before, coin="BTC-USD") == 1  # The other source's


def test_a_service_prunes_by_the_newest_quarter_too(ledger):
    """Its hourly forecasts ended long ago; the clock is right, as the quarters show."""
    day = 24 * HOUR
    now = int(time.time()) // QUARTER * QUARTER
    old, new = quarter(0), quarter((now - START) // QUARTER)
    write_entries(ledger, [old, new, hourly(0)])
    assert prune_expired(ledger, "sim", now + 2 * day, 365) == 0  # Ahead of this machine and of the newest forecast
    assert prune_expired(ledger, "sim", now, 365) == 2
    assert rows_of(ledger, "data_until") == [(new.data_until,)]


def test_an_export_holds_both_sorts(ledger, tmp_path):
    said = quarter(0, 5, median=101.0)
    write_entries(ledger, [hourly(0, issued_price=100.25), said, quarter(1, 5), quarter(2, 5), quarter(0, 5, coin="ETH-USD", made_at=START + 1.9996)])
    write_entries(ledger, [quarter(1, 5, median=103.0, made_at=START + QUARTER + 60.7, correction=True)])
    record_closes(ledger, "sim", "BTC-USD", {said.predicted_for: 101.5, START + QUARTER + 300: None}, now=START + 400)
    assert export_forecasts(ledger, tmp_path / "all.csv") == 5 and export_forecasts(ledger, tmp_path / "eth.jsonl", "sim", "ETH-USD") == 1
    with (tmp_path / "all.csv").open(newline="") as file:
        hour, first, silent, open_, _ = csv.DictReader(file)
    assert (hour["mode"], hour["horizon"], hour["issued_price"], hour["size"], hour["predicted_for"]) == ("hour", "60", "100.25", "", "2024-01-01T01:00:00Z")
    wanted = {
        "source": "sim", "coin": "BTC-USD", "mode": "quarter", "kind": "lightgbm", "version": "1", "horizon": "5", "size": "0.7", "issued_price": "100.25",
        "predicted_for": "2024-01-01T00:05:00Z", "data_until": "2024-01-01T00:00:00Z", "made_at": "2024-01-01T00:00:01Z",
        "issued_at": "2024-01-01T00:00:01.250Z", "scored_at": "2024-01-01T00:06:40Z", "actual_price": "101.5", "abs_error": "0.5",
        "persistence_error": "1.5", "direction": "1", "inside_50": "1", "inside_90": "1", "corrected_at": "", "corrected_price": "",
    }  # fmt: skip
    assert (
        {name: first[name] for name in wanted} == wanted
        and float(first["low_90"]) == said.prices[0]
        and float(first["q05"]) == pytest.approx(said.quantiles[0])
    )
    empty = ("actual_price", "abs_error", "persistence_error", "direction", "inside_50", "inside_90")
    assert {silent[name] for name in empty} == {open_[name] for name in (*empty, "scored_at")} == {""} and silent["scored_at"]
    assert (silent["corrected_at"], float(silent["corrected_price"])) == ("2024-01-01T00:16:00Z", 103.0)
    (eth,) = [json.loads(line) for line in (tmp_path / "eth.jsonl").read_text().splitlines()]
    assert (eth["issued_at"], eth["horizon"], eth["actual_price"]) == ("2024-01-01T00:00:01.999Z", 5, None) and list(eth) == list(first)


def test_a_coin_of_quarters_alone_is_recorded(ledger):
    write_entries(ledger, [quarter(0, coin="ETH-USD"), hourly(0)])
    check_recorded(ledger, "sim", "ETH-USD")
    with pytest.raises(NoSuchNameError, match="no product in the ledger 'eth-usd'; did you mean ETH-USD"):
        check_recorded(ledger, coin="eth-usd")
    prune_forecasts(ledger, START + 24 * HOUR)
    with pytest.raises(NoSuchNameError):
        check_recorded(ledger, coin="ETH-USD")

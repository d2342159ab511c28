"""Rows inside the hour: blind to what comes after their moment, the same alone as among many, and absent where a minute that they need is missing."""

from functools import lru_cache

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.features_intraday import MINUTE_HISTORY, IntradayRows, intraday_rows, live_row
from crypto_rti.models.base import PURGE, ModelError
from crypto_rti.models.volatility import FIRST_FIT, REFIT, VolatilityModel, refit_moments, walk_forward_variance
from crypto_rti.outcomes import QuarterRows, closes_after, concat_rows, make_quarter_rows
from crypto_rti.realised import BACK, MINUTE, QUARTER, QUIET, absolute_back, hours_ending, to_quarters, variance_ahead, variance_back
from crypto_rti.settings import HORIZONS
from crypto_rti.targets import Dataset, concat_datasets
from crypto_rti.volatility_inputs import SAME_TIME, VOLATILITY_INPUTS, volatility_inputs

START, END = to_unix("2024-01-01"), to_unix("2024-01-22")
FIRST_ROW = START + MINUTE_HISTORY  # From here on a row has all of its history


@lru_cache
def market(product: str = "BTC-USD") -> pd.DataFrame:
    "Three weeks with a candle in every minute; nobody writes to it."
    table = sim_candles(product, START, END, 60).set_index("time").reindex(np.arange(START, END, MINUTE))
    filled = table.assign(close=table["close"].ffill(), volume=table["volume"].fillna(0.0))
    prices = {name: table[name].fillna(filled["close"]) for name in ("low", "high", "open")}
    return filled.assign(**prices).rename_axis("time").reset_index()


@lru_cache
def thin() -> pd.DataFrame:
    "A coin that does not trade in every minute, and prices in large steps."
    table = market()
    kept = np.random.default_rng(3).random(len(table)) > 0.3
    steps = table.assign(**{name: table[name].round(-1) for name in ("low", "high", "open", "close")})
    return steps[kept].reset_index(drop=True)


@lru_cache
def wild() -> pd.DataFrame:
    "A coin with bad prints at the ends of hours: rows around them are rewritten from all of their 193 hours."
    table, rng = market().copy(), np.random.default_rng(4)
    for hour in rng.choice(np.arange(20, (END - START) // HOUR), 12, replace=False):
        table.loc[60 * hour - 1, ["low", "close"]] *= 0.5
    return table


TABLES = {"busy": market, "thin": thin, "wild": wild}
kinds = st.sampled_from(sorted(TABLES))
moments = st.integers(FIRST_ROW // MINUTE, END // MINUTE).map(lambda minute: MINUTE * minute)


def same_bits(one: IntradayRows, other: IntradayRows) -> bool:
    "Whether every array holds the same bytes."
    return all(np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes() for a, b in zip(one, other, strict=True))


@lru_cache(maxsize=60)
def rows_of(kind: str, phase: int) -> IntradayRows:
    "All rows of the market whose moments lie at a phase of the quarter."
    until = END - QUARTER + phase if phase else END
    return intraday_rows(to_quarters(TABLES[kind](), until), to_quarters(market("ETH-USD"), until))


def until_moment(table: pd.DataFrame, moment: int) -> pd.DataFrame:
    "What is known at a moment."
    return table[table["time"] < moment]


# --- rows ---


@settings(max_examples=30, deadline=None)
@given(kinds, moments)
def test_one_row_has_the_bits_of_many(kind: str, moment: int) -> None:
    many = rows_of(kind, moment % QUARTER)
    one = live_row(TABLES[kind](), moment, market("ETH-USD"))
    assert same_bits(one, many.take(many.moment == moment)) and len(one.moment) == 1


@settings(max_examples=20, deadline=None)
@given(kinds, moments, st.integers(0, 2**32 - 1))
def test_a_row_is_blind_to_the_minutes_after_it(kind: str, moment: int, seed: int) -> None:
    table, rng = TABLES[kind](), np.random.default_rng(seed)
    later = (table["time"] >= moment).to_numpy()
    wild = table.copy()
    wild.loc[later, ["low", "high", "open", "close", "volume"]] *= rng.uniform(0.2, 5, (later.sum(), 1))
    wild = wild[~later | (rng.random(len(table)) > rng.random())].reset_index(drop=True)
    phase, other = moment % QUARTER, to_quarters(market("ETH-USD"), END - QUARTER + moment % QUARTER if moment % QUARTER else END)
    many = rows_of(kind, phase)
    twisted = intraday_rows(to_quarters(wild, int(other.end[-1])), other)
    assert same_bits(twisted.take(twisted.moment <= moment), many.take(many.moment <= moment))
    assert same_bits(live_row(until_moment(table, moment), moment, until_moment(market("ETH-USD"), moment)), live_row(wild, moment, market("ETH-USD")))


@settings(max_examples=15, deadline=None)
@given(st.integers(FIRST_ROW // MINUTE, (END - 3 * 24 * HOUR) // MINUTE), st.integers(QUIET + 1, 300))
def test_a_missing_span_yields_no_row_that_needs_it(minute: int, length: int) -> None:
    start, table = minute * MINUTE, market()
    gap = table[(table["time"] < start) | (table["time"] >= start + length * MINUTE)].reset_index(drop=True)
    rows = make_quarter_rows(gap, "BTC-USD")
    unknown = np.arange(start + QUIET * MINUTE, start + length * MINUTE + 1, MINUTE)  # Starts of the minutes without a known return
    age = (rows.moment[:, None] - unknown[None]) // MINUTE
    assert not ((age > 0) & (age <= 25 * 60)).any()
    whole = make_quarter_rows(table, "BTC-USD")
    for column, horizon in enumerate(HORIZONS):
        ahead = ((age <= 0) & (age > -horizon)).any(axis=1)
        kept = whole.log_variance[np.searchsorted(whole.moment, rows.moment), column]
        assert (np.isfinite(rows.log_variance[:, column]) == (np.isfinite(kept) & ~ahead)).all()
    lost = np.setdiff1d(whole.moment, rows.moment)
    day, week = (lost > start) & (lost < start + (length + 26 * 60) * MINUTE), lost > start + 6 * 24 * HOUR
    assert (day | week).all() and day.sum() >= 24 * 4


@settings(max_examples=15, deadline=None)
@given(st.integers(FIRST_ROW // MINUTE, (END - 24 * HOUR) // MINUTE), st.integers(1, QUIET))
def test_a_quiet_span_costs_no_row_and_no_variance(minute: int, length: int) -> None:
    start, table = minute * MINUTE, market()
    quiet = table[(table["time"] < start) | (table["time"] >= start + length * MINUTE)].reset_index(drop=True)
    assert np.array_equal(intraday_rows(to_quarters(quiet)).moment, rows_of("busy", 0).moment)
    place = (minute - START // MINUTE) + length  # The first candle after it holds the whole move
    jump = np.log(quiet["close"].iloc[place - length] / quiet["close"].iloc[place - length - 1]) ** 2
    quarter = (minute + length) * MINUTE // QUARTER - START // QUARTER
    total = np.nansum(to_quarters(quiet).fives[:, quarter])
    assert jump <= total + 1e-15 and np.isfinite(to_quarters(quiet).fives[:, 1:]).all()


def test_silence_until_now_is_quiet_at_first_and_missing_later() -> None:
    moment, table = END - 2 * HOUR, market()
    found = [len(live_row(until_moment(table, moment - silent * MINUTE), moment).moment) for silent in (0, 1, QUIET, QUIET + 1, 60)]
    assert found == [1, 1, 1, 0, 0]


def test_hours_count_only_where_all_of_their_minutes_are_known() -> None:
    table = market()
    holey = table.drop(index=range(5000, 5000 + QUIET + 1)).reset_index(drop=True)
    for minute in (0, 15, 30, 45):
        whole, less = (hours_ending(to_quarters(one), minute) for one in (table, holey))
        lost = np.setdiff1d(whole.time, less.time)
        first, last = START + (5000 + QUIET) * MINUTE, START + (5000 + QUIET + 1) * MINUTE  # The missing minute, and the return after it
        assert lost.tolist() == [time for time in whole.time.tolist() if time <= last and time + HOUR > first]


def test_too_few_minutes_give_no_rows() -> None:
    for count in (0, 1, 14, 15, 1000):
        few = market().head(count)
        assert len(intraday_rows(to_quarters(few)).moment) == 0 and len(live_row(few, START + HOUR).moment) == 0
        assert len(make_quarter_rows(few, "BTC-USD")) == 0


# --- realised variance ---


def test_variance_is_the_sum_of_squared_returns() -> None:
    table, quarters = market(), to_quarters(market())
    squares = np.square(np.diff(np.log(table["close"])))  # Entry i: the return of minute i + 1
    back, place = variance_back(quarters), 1500
    end = (place + 1) * 15
    for width, found in zip((5, 15, 60, 360, 1440, 10080), back[:, place], strict=True):
        assert found == pytest.approx(squares[end - 1 - width : end - 1].sum() / width, rel=1e-12)
    for width, found in zip((15, 60, 360, 1440), absolute_back(quarters)[:, place], strict=True):
        assert found == pytest.approx(np.sqrt(squares[end - 1 - width : end - 1]).sum() / width, rel=1e-12)
    for horizon in HORIZONS:
        assert variance_ahead(quarters, horizon)[place] == pytest.approx(squares[end - 1 : end - 1 + horizon].sum() / horizon, rel=1e-12)


def test_a_price_that_rests_has_the_variance_of_one_tick() -> None:
    table = market().copy()
    table.loc[table.index[-120:], ["low", "high", "open", "close"]] = table["close"].iloc[-121]
    step = np.abs(np.diff(table["close"].to_numpy()[-10081:]))
    rows = intraday_rows(to_quarters(table))
    tick = step[step > 0].min() / table["close"].iloc[-1]
    assert rows.volatility[0, -1] + rows.volatility[3, -1] == pytest.approx(np.log(tick**2 / 60), rel=1e-9)
    assert np.isfinite(rows.volatility).all()


def test_the_same_minutes_of_other_days_are_looked_up() -> None:
    quarters, inputs, place = to_quarters(market()), volatility_inputs(to_quarters(market())), 1500
    for horizon in HORIZONS:
        ahead = variance_ahead(quarters, horizon)
        days = [ahead[place - 96 * day] for day in range(1, 8)]
        for lag, expected in zip(SAME_TIME, (days[0], days[6], np.mean(days)), strict=True):
            found = inputs[VOLATILITY_INPUTS.index(f"{lag}_{horizon}"), place] + inputs[0, place]
            assert found == pytest.approx(np.log(expected), rel=1e-9)


# --- outcomes ---


def test_a_target_exists_where_the_candle_at_its_end_does() -> None:
    table, rows = thin(), make_quarter_rows(thin(), "BTC-USD")
    times = set(table["time"].tolist())
    for column, horizon in enumerate(HORIZONS):
        ends = [moment + (horizon - 1) * MINUTE in times for moment in rows.moment.tolist()]
        assert np.isfinite(rows.later_close[:, column]).tolist() == ends and 0 < sum(ends) < len(ends)
        data, where = rows.targets(horizon, rows.volatility[:, 0])
        assert np.array_equal(data.known, rows.moment[where] + horizon * MINUTE) and data.horizon == horizon
        assert np.array_equal(data.next_close, closes_after(table, data.moment, horizon))


def test_data_sets_of_two_horizons_are_not_pooled() -> None:
    rows = make_quarter_rows(market(), "BTC-USD")
    hour, quarter = (rows.targets(horizon, rows.volatility[:, 0])[0] for horizon in (60, 15))
    assert hour.digest() != quarter.digest() and concat_datasets([quarter, quarter]).horizon == 15
    assert Dataset(*(getattr(quarter, name) for name in ("time", "product", "X", "y", "close", "next_close", "volatility"))).digest() != quarter.digest()
    with pytest.raises(ValueError, match="horizons"):
        concat_datasets([hour, quarter])


# --- the volatility model ---


def toy_rows(weeks: int = 40, step: int = 4 * HOUR) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Moments, inputs and log variances of a volatility that is learned easily."
    rng, moment = np.random.default_rng(0), START + step * np.arange(weeks * 7 * 86400 // step)
    X = rng.normal(size=(len(moment), 6)).astype(np.float32)
    X[:, 0] -= 15
    y = X[:, [0, 0]] + X[:, [1, 2]] * 0.5 + np.abs(X[:, [3, 3]]) + rng.normal(0, 0.1, (len(moment), 2))
    return moment, X, y


def make_model() -> VolatilityModel:
    return VolatilityModel(trees=20, threads=1)


def test_a_scale_does_not_know_the_future() -> None:
    moment, X, y = toy_rows()
    made = walk_forward_variance(moment, X, y, make_model)
    edges = refit_moments(int(moment[0]), int(moment[-1]))
    assert np.array_equal(np.isfinite(made).all(axis=1), moment >= edges[0]) and edges[0] - moment[0] == FIRST_FIT
    for edge, following in zip(edges, [*edges[1:], np.inf], strict=True):
        twisted = np.where((moment >= edge - PURGE)[:, None], y + 5, y)
        rows = moment < following
        assert walk_forward_variance(moment, X, twisted, make_model)[rows].tobytes() == made[rows].tobytes()
    twisted = np.where((moment < edges[1] - PURGE)[:, None], y + 5, y)
    assert np.abs(walk_forward_variance(moment, X, twisted, make_model) - made)[moment >= edges[0]].min() > 1


def test_a_walk_without_outcomes_forecasts_nothing() -> None:
    moment, X, y = toy_rows(weeks=60)
    assert np.isnan(walk_forward_variance(moment, X, np.full_like(y, np.nan), make_model)).all()
    assert walk_forward_variance(moment[:0], X[:0], y[:0], make_model).shape == (0, 2)
    late = np.where((moment < moment[0] + FIRST_FIT + REFIT)[:, None], np.nan, y)  # Minutes begin later than hours
    first = refit_moments(int(moment[0]), int(moment[-1]))[2]
    assert not np.isfinite(walk_forward_variance(moment, X, late, make_model)[moment < first]).any()


def test_a_crash_does_not_carry_the_forecast_away() -> None:
    calm = make_quarter_rows(market(), "BTC-USD")
    table, hit = market().copy(), (END - 2 * 24 * HOUR - START) // MINUTE
    table.loc[hit - 3 :, ["low", "high", "open", "close"]] *= 0.6
    crashed = make_quarter_rows(table, "BTC-USD")
    forecast = VolatilityModel(threads=1).fit(calm.volatility, calm.log_variance).predict(crashed.volatility)
    windows = crashed.volatility[:, :1] + crashed.volatility[:, : len(BACK)] * (np.arange(len(BACK)) > 0)
    assert crashed.volatility[:, 1].max() > 7  # The last five minutes, in logarithms, against the week
    assert (forecast < np.maximum(windows.max(axis=1), windows[:, 0] + 3)[:, None]).all()


def test_fits_are_repeated_after_8_and_16_weeks_and_then_every_half_year() -> None:
    moments = refit_moments(0, FIRST_FIT * 2 + REFIT * 2)
    assert moments == [FIRST_FIT, 2 * FIRST_FIT, 2 * FIRST_FIT + REFIT, 2 * FIRST_FIT + 2 * REFIT]
    assert refit_moments(0, FIRST_FIT - 1) == []


def test_the_forecast_follows_the_level() -> None:
    _, X, y = toy_rows()
    model, higher = make_model().fit(X, y), X.copy()
    higher[:, 0] += 4
    assert np.allclose(model.predict(higher), model.predict(X) + 4)
    gaps = np.where(np.arange(len(y))[:, None] % 3 == [0, 1], np.nan, y)
    assert np.isfinite(make_model().fit(X, gaps).predict(X)).all()
    with pytest.raises(ModelError, match="too few"):
        make_model().fit(X, np.where(np.arange(len(y))[:, None] < 200, y, np.nan))


@pytest.mark.parametrize("trees", [0, 20])
def test_the_exported_model_forecasts_the_same(trees: int) -> None:
    _, X, y = toy_rows()
    model = VolatilityModel(trees=trees, threads=1).fit(X, y)
    (content,) = model.to_onnx().values()
    found = onnxruntime.InferenceSession(content).run(None, {"X": X})[0]
    assert np.abs(found - model.predict(X)).max() < 2e-5 and np.abs(model.predict(X) - y).mean() < (0.5 if trees == 0 else 0.35)


def test_the_pool_is_sorted_by_moment() -> None:
    parts = [make_quarter_rows(market(product), product) for product in ("ETH-USD", "BTC-USD")]
    pool: QuarterRows = concat_rows(parts)
    assert (np.diff(pool.moment) >= 0).all() and pool.product[:2].tolist() == ["BTC-USD", "ETH-USD"]
    assert len(pool) == sum(map(len, parts)) and pool.volatility.dtype == np.float32
    assert volatility_inputs(to_quarters(market())).shape[0] == pool.volatility.shape[1]

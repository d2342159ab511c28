"""A row of inputs is a function of its own hours: the same bits alone and among others, with gaps, prints and cuts, and the values of before."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_rti import screen
from crypto_rti.data.candles import HOUR
from crypto_rti.features import HISTORY, LAGS, build_features, complete_rows, to_arrays
from crypto_rti.inputs import INPUTS, MODEL_COLUMNS, model_columns, model_inputs
from crypto_rti.rolling import rolling_inputs
from crypto_rti.screen import BOUND, FLOOR, HALF_LIFE, UNUSUAL, WARM_UP, bound_returns, grid_positions, grid_returns, rows_to_screen
from crypto_rti.targets import make_dataset
from crypto_rti.volatility import build_context, volatility
from crypto_rti.windows import DAY, WEEK, decayed_sums, reduce_windows, sliding_windows, windows_at

START = 1_650_000_000 // HOUR * HOUR
BEFORE = json.loads((Path(__file__).parent / "data" / "rows_before_columns.json").read_text(encoding="utf-8"))


def table(hours: int, seed: int, gaps: list[int] | None = None, prints: list[int] | None = None, scale: float = 100.0) -> pd.DataFrame:
    """Candles of a random walk that some hours are missing from, with prints at a hundredth of the price and hours without trades."""
    rng = np.random.default_rng(seed)
    close = scale * np.exp(np.cumsum(0.005 * rng.standard_t(4, hours)))
    volume = rng.gamma(2, 50, hours) * (rng.random(hours) > 0.05)
    open_ = np.append(scale, close[:-1])
    close[[place % hours for place in prints or []]] *= 0.01
    low, high = np.minimum(open_, close) * 0.999, np.maximum(open_, close) * 1.001
    candles = pd.DataFrame({"time": START + HOUR * np.arange(hours), "low": low, "high": high, "open": open_, "close": close, "volume": volume})
    return candles.drop(index=sorted({gap % hours for gap in gaps or []})).reset_index(drop=True)


def sample() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of the stored values: gaps in both coins, a print in each, and the coin's prices a thousandfold from one hour on."""
    own, beside = table(1500, 1, [90, 400, 401, 900], [300, 640]), table(1500, 2, [500, 910], [800])
    own.loc[1100:, ["low", "high", "open", "close"]] *= 1000
    return own, beside


def unix(rows: pd.DataFrame) -> np.ndarray:
    return pd.DatetimeIndex(rows.index).as_unit("s").asi8


def last_hours(candles: pd.DataFrame, end: int, hours: int = HISTORY) -> pd.DataFrame:
    """What a service holds at `end`, the start of its latest candle."""
    return candles[(candles["time"] > end - hours * HOUR) & (candles["time"] <= end)]


hours_of_day = st.lists(st.integers(0, 599), max_size=12)


# ---- the values of before


@pytest.mark.parametrize("bounded", [True, False])
def test_inputs_have_the_values_of_the_code_before(bounded: bool) -> None:
    """Written by the code that gathered a window for each row; bundles were trained on its rows. The logarithm of a ratio is now a difference of logarithms."""
    rows = model_inputs(*sample(), bounded=bounded)
    rows = rows[np.isin(unix(rows), BEFORE["hours"])]
    assert rows.shape == (len(BEFORE["hours"]), len(MODEL_COLUMNS))
    np.testing.assert_allclose(rows.to_numpy(), BEFORE[str(bounded)], rtol=1e-12, atol=1e-11)


def test_features_have_the_values_of_the_code_before() -> None:
    rows = build_features(sample()[0])
    np.testing.assert_allclose(rows[np.isin(unix(rows), BEFORE["hours"])].to_numpy(), BEFORE["features"], rtol=1e-12, atol=1e-12)


# ---- one row and many


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), hours_of_day, hours_of_day, st.lists(st.integers(200, 599), max_size=3), st.integers(1, 40))
def test_a_row_has_the_same_bits_alone_and_among_others(seed: int, gaps: list[int], others: list[int], prints: list[int], last: int) -> None:
    own, beside = table(600, seed, gaps, prints), table(600, seed + 1, others, prints[:1])
    together = model_inputs(own, beside)
    assert model_inputs(own, beside, last=last).equals(together.tail(last))
    for row in np.random.default_rng(seed).choice(len(together), min(6, len(together)), replace=False) if len(together) else ():
        end = int(unix(together)[row])
        alone = model_inputs(last_hours(own, end), last_hours(beside, end), last=1)
        assert alone.equals(together.iloc[[row]]), (together.index[row], (alone != together.iloc[[row]]).to_numpy().nonzero()[1])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), hours_of_day, st.lists(st.integers(200, 599), max_size=3), st.integers(30, 599))
def test_what_comes_later_changes_no_earlier_row(seed: int, gaps: list[int], prints: list[int], cut: int) -> None:
    own = table(600, seed, gaps, prints)
    wild = own.copy()
    wild.loc[cut:, ["low", "high", "open", "close", "volume"]] *= 1e3
    whole = model_inputs(own)
    kept = whole[unix(whole) < START + 600 * HOUR if cut >= len(own) else unix(whole) < own["time"].iloc[min(cut, len(own) - 1)]]
    for changed in (own.iloc[:cut], wild):
        rows = model_inputs(changed)
        assert rows.iloc[: len(kept)].equals(kept)


@pytest.mark.parametrize("block", [1, 7, 100, 10_000])
def test_the_size_of_a_block_changes_no_bit(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    own, beside = sample()
    expected = [build_features(own), build_context(own), model_inputs(own, beside)]
    for module in ("features", "volatility", "inputs"):
        monkeypatch.setattr(f"crypto_rti.{module}._BLOCK", block)
    assert all(now.equals(then) for now, then in zip([build_features(own), build_context(own), model_inputs(own, beside)], expected, strict=True))


def test_windows_that_are_rewritten_in_several_chunks_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    own, beside = sample()
    expected = model_inputs(own, beside)
    monkeypatch.setattr("crypto_rti.screen._CHUNK", 50)
    assert model_inputs(own, beside).equals(expected)


def test_rows_chosen_by_position_are_those_of_the_whole_table() -> None:
    arrays = to_arrays(sample()[0])
    rows = complete_rows(arrays.time)
    some = rows[np.r_[0:5, 200:210, -3:0]]
    assert np.array_equal(model_columns(arrays, some), model_columns(arrays, rows)[:, np.isin(rows, some)])


@pytest.mark.parametrize("length", [0, 1, LAGS, LAGS + 1, LAGS + 2])
def test_short_tables_and_short_references(length: int) -> None:
    own, short = table(300, 5), table(300, 6).iloc[:length]
    assert len(model_inputs(short, own)) == max(length - LAGS, 0)
    assert (model_inputs(own, short)[INPUTS[-12:]].abs().sum(axis=1) > 0).sum() == max(length - LAGS, 0)
    assert len(build_features(short)) == len(build_context(short)) == len(volatility(short)) == max(length - LAGS, 0)
    assert len(make_dataset(short, "SHORT-USD")) == max(length - LAGS - 1, 0)


def test_hours_that_end_off_the_hour_have_their_own_time_of_day_next_to_a_print() -> None:
    """Rewritten windows carry the times of their candles."""
    own = table(400, 8, prints=[300])
    moved = own.assign(time=own["time"] + 1800)
    rows, waves = rolling_inputs(moved, own), ["sin_day", "cos_day", "sin_week"]
    assert np.array_equal(rows[waves].to_numpy(), build_features(moved).loc[rows.index, waves].to_numpy())


# ---- bounded returns


def bound_by_hand(returns: np.ndarray) -> tuple[list[float], list[bool], list[float]]:
    """One window hour by hour, as the notebook describes it: bounded returns, which are unusual, and by how much jumps that stayed exceed their bound."""
    weights = 0.5 ** (np.arange(WARM_UP + screen.WEEK) / HALF_LIFE)
    decay, most, known = float(weights[1]), float(weights[:screen.WEEK].sum()), ~np.isnan(returns)
    values = np.where(known, returns, 0.0)
    size, moves = np.abs(values), np.sort(np.abs(values[values != 0]))
    middle = moves[len(moves) - 1 - len(moves) // 2] if len(moves) >= screen.MANY_MOVES else moves[0] if len(moves) >= screen.FEW_MOVES else FLOOR
    typical = max(middle, FLOOR)
    clip = UNUSUAL * max(np.sort(size[:WARM_UP])[WARM_UP // 2 - 1 : WARM_UP // 2 + 1].sum(), typical)
    bounded, unusual, moved = values.copy(), np.zeros(len(values), dtype=bool), np.zeros(len(values))
    total, weight, offset, jumps = 0.0, 0.0, 0.0, [-screen.WEEK] * screen.MOST_JUMPS
    for hour, value in enumerate(values):
        counted = min(size[hour], clip) if hour < WARM_UP else size[hour]
        seen = min(max(weight, 1e-9), most)
        unseen = (seen + 9.0 * (most - seen)) / most
        limit = max(total * (UNUSUAL**2 * unseen / seen), (UNUSUAL * FLOOR) ** 2 * unseen, (UNUSUAL * typical) ** 2)
        if hour >= WARM_UP and counted * counted > limit:
            unusual[hour], bounded[hour] = True, value
            if hour - jumps[0] > WARM_UP:
                bounded[hour] = np.copysign(BOUND * max(np.sqrt(total / seen), FLOOR), value)
            if offset != 0 and abs(value + offset) <= np.sqrt(limit):
                bounded[hour], moved[:], offset, jumps = value + offset, 0.0, 0.0, [-screen.WEEK] * screen.MOST_JUMPS
            else:
                moved[hour], offset, jumps = value - bounded[hour], offset + value - bounded[hour], [*jumps[1:], hour]
            counted = bounded[hour]
        offset = offset if known[hour] else 0.0
        total, weight = total * decay + counted * counted, weight * decay + float(known[hour])
    return bounded.tolist(), unusual.tolist(), moved.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.3]), st.integers(2, 60), st.floats(0.05, 8))
def test_windows_are_bounded_as_by_hand(seed: int, unknown: float, apart: int, print_size: float) -> None:
    """Prints that are undone at once, after a while or never, with gaps between; the same bits in rounds over many windows as in one walk."""
    rng = np.random.default_rng(seed)
    values = 0.005 * rng.standard_t(4, 400) * (rng.random(400) > unknown / 2)
    for place in range(100, 360, apart):
        values[place] += print_size
        values[min(place + int(rng.choice([1, 1, 5, 400])), 399)] -= print_size
    values[rng.random(400) < unknown] = np.nan
    several = bound_returns(sliding_windows(values, WARM_UP + screen.WEEK)[::9].T)
    moved, unusual, found = np.zeros(several.returns.shape), np.zeros(several.returns.shape, dtype=bool), several.unusual()
    moved[found.hours, found.rows], unusual[found.hours, found.rows] = found.moved, True
    bounded = several.bounded()
    for place in range(several.returns.shape[1]):
        by_hand = bound_by_hand(values[9 * place : 9 * place + WARM_UP + screen.WEEK])
        assert (bounded[:, place].tolist(), unusual[:, place].tolist(), moved[:, place].tolist()) == by_hand


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), hours_of_day, st.lists(st.integers(0, 599), max_size=4), st.floats(0.02, 0.2))
def test_the_filter_keeps_every_row_with_an_unusual_return(seed: int, gaps: list[int], prints: list[int], size: float) -> None:
    own = table(600, seed, gaps)
    for place in prints:
        own.loc[own.index == place, "close"] *= 1 - size
    places = grid_positions(own["time"].to_numpy())
    returns = grid_returns(places, own["close"].to_numpy())
    unusual = bound_returns(windows_at(returns, places, WARM_UP + screen.WEEK)).unusual()
    assert set(unusual.rows.tolist()) <= set(rows_to_screen(returns, places).tolist())


# ---- data sets


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), hours_of_day)
def test_a_data_set_holds_the_rows_whose_next_hour_is_there(seed: int, gaps: list[int]) -> None:
    own, beside = table(600, seed, gaps), table(600, seed + 1)
    data, rows = make_dataset(own, "TOY-USD", beside), model_inputs(own, beside)
    closes = dict(zip(own["time"].tolist(), own["close"].tolist(), strict=True))
    kept = [place for place, time in enumerate(unix(rows).tolist()) if time + HOUR in closes]
    assert data.time.tolist() == unix(rows)[kept].tolist()
    assert data.next_close.tolist() == [closes[time + HOUR] for time in data.time.tolist()]
    assert np.array_equal(data.X, rows[INPUTS].to_numpy()[kept]) and data.X.flags.c_contiguous
    assert np.array_equal(data.volatility, rows["volatility"].to_numpy()[kept])


# ---- sliding windows


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.floats(1, 100))
def test_interleaved_windows_have_the_bits_of_single_ones(seed: int, tables: int, half_life: float) -> None:
    values = np.random.default_rng(seed).lognormal(size=(tables, 200))
    together, weighted = (np.reshape(found, (-1, tables)) for found in (
        reduce_windows(values.T.ravel(), WEEK, tables), decayed_sums(values.T.reshape(1, -1), (half_life,), WEEK, tables),
    ))  # fmt: skip
    for place, alone in enumerate(values):
        assert np.array_equal(together[:, place], reduce_windows(alone, WEEK))
        assert np.array_equal(weighted[:, place], decayed_sums(alone[None], (half_life,))[0])
    weights = 0.5 ** (np.arange(168)[::-1] / half_life)
    np.testing.assert_allclose(decayed_sums(alone[None], (half_life,))[0], (sliding_windows(alone, 168) * weights).sum(axis=1), rtol=1e-13)
    assert np.array_equal(reduce_windows(alone, DAY), [window.sum() for window in sliding_windows(alone, 24)])

"""One-minute candles: longer candles from shorter ones, at rest in the store, in folders, fetched over a socket."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_rti.data.candles import COLUMNS, HOUR, MINUTE, STEPS, CandleError
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.steps import aggregate, find_step

START = 1_706_659_200  # 2024-01-31T00:00Z


def minutes_of(times, seed=0):
    """A candle table of minutes that starts at these times, with volumes that a float holds exactly."""
    rng = np.random.default_rng(seed)
    open_, close = 100 + rng.integers(0, 64, (2, len(times))) / 4
    low, high = np.minimum(open_, close) - rng.integers(0, 8, len(times)), np.maximum(open_, close) + rng.integers(0, 8, len(times))
    table = {"time": times, "low": low, "high": high, "open": open_, "close": close, "volume": rng.integers(1, 99, len(times)) / 8}
    return pd.DataFrame(table, columns=COLUMNS).astype({"time": "int64"})


def one_by_one(minutes, step, offset, start, end):
    """Long candles, without pandas."""
    long = {}
    for time, low, high, open_, close, volume in minutes.itertuples(index=False):
        begin = (time - offset) // step * step + offset
        if start <= begin and begin + step <= end:
            before = long.get(begin, (low, high, open_, close, 0.0))
            long[begin] = (min(before[0], low), max(before[1], high), before[2], close, before[4] + volume)
    return [[begin, *values] for begin, values in long.items()]


# --- Longer candles from shorter ones ------------------------------------------------------


@given(
    st.sets(st.integers(0, 400), min_size=1), st.sampled_from([300, 900, HOUR]), st.sampled_from([0, 1, 15, 30, 45, 59]), st.booleans(), st.integers(0, 99)
)
@settings(max_examples=150)
def test_longer_candles_are_those_made_one_by_one(places, step, offset, whole, seed):
    minutes = minutes_of(START + MINUTE * np.array(sorted(places)), seed)
    span = (START, START + 401 * MINUTE) if whole else (int(minutes["time"].iloc[0]), int(minutes["time"].iloc[-1]) + MINUTE)
    made = aggregate(minutes, step, offset * MINUTE, span if whole else None, narrow=MINUTE)
    assert made.to_numpy().tolist() == one_by_one(minutes, step, offset * MINUTE, *span)
    assert list(made.columns) == COLUMNS and made["time"].dtype == np.int64


def test_an_open_candle_is_never_returned():
    minutes = minutes_of(START + MINUTE * np.arange(24, 24 + 150))
    for count in range(1, len(minutes)):
        made = aggregate(minutes[:count], narrow=MINUTE)
        assert made["time"].tolist() == [START + HOUR * hour for hour in (1, 2) if 24 + count >= 60 * (hour + 1)]


def test_a_candle_of_minutes_without_volume_is_absent():
    minutes = minutes_of(START + MINUTE * np.arange(180))
    minutes.loc[60:119, "volume"] = 0.0
    assert aggregate(minutes)["time"].tolist() == [START, START + 2 * HOUR]


def test_candles_are_never_split():
    hours = sim_candles("BTC-USD", START, START + 5 * HOUR)
    for step, offset in ((MINUTE, 0), (900, 0), (HOUR, 900)):
        with pytest.raises(CandleError, match="hourly candles cannot make"):
            aggregate(hours, step, offset)
    assert aggregate(hours) is hours and len(aggregate(hours[:0])) == 0


@given(st.sampled_from(STEPS), st.integers(2, 60), st.floats(0, 0.6), st.integers(0, 99))
@settings(max_examples=150)
def test_the_step_is_recognised_in_spite_of_gaps(step, count, absent, seed):
    times = START + step * np.arange(count)
    rng = np.random.default_rng(seed)
    kept = times[rng.random(count) >= absent]
    found = find_step(rng.permutation(kept))
    distances = np.diff(kept)
    if (distances == step).sum() > (distances != step).sum():
        assert found == step
    assert found in STEPS
    assert len(kept) == 0 or found % step == 0  # A table that is mostly gaps may look like longer candles, never like shorter ones


def test_times_off_the_grid_are_not_taken_for_shorter_candles():
    hours = START + HOUR * np.arange(50)
    assert find_step(hours + 1800) == find_step(hours + 3599) == find_step(hours * 1000) == HOUR
    assert find_step(np.append(hours, hours[-1] + 7)) == HOUR

"""How long rows at the four quarters of each hour take, from one-minute candles, against copying in numpy what a row reads.

The baseline copies the windows that a row reads, hour by hour, with numpy's sliding windows: the 25 closes and 25 volumes of its day, as in
`crypto_rti.bench`, and the 168 returns of its week, for the rows of four quarters. "Rows with volatility" are the 68 features and the 42 inputs of the
volatility model, from minutes to arrays; the normalised inputs, with unusual returns screened, are on a line of their own.

    python tests/scale/quarters.py [--quick]
"""

import sys
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from crypto_rti.bench import copy_windows
from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.features import VOLATILITY_HOURS, complete_rows, feature_columns
from crypto_rti.features_intraday import MINUTE_HISTORY, intraday_rows, live_row
from crypto_rti.realised import MINUTE, hours_ending, to_quarters
from crypto_rti.volatility_inputs import volatility_inputs

if __package__:
    from .rows import best_of, line
else:
    from rows import best_of, line


def minute_candles(hours: int) -> pd.DataFrame:
    "A random walk of one-minute candles; what is in them does not change what they cost."
    rng, count = np.random.default_rng(0), hours * 60
    close = 30_000 * np.exp(np.cumsum(rng.normal(0, 5e-4, count)))
    opens = np.append(close[:1], close[:-1])
    low, high = np.minimum(opens, close) * 0.9999, np.maximum(opens, close) * 1.0001
    time = to_unix("2020-09-01") + MINUTE * np.arange(count)
    return pd.DataFrame({"time": time, "low": low, "high": high, "open": opens, "close": close, "volume": rng.exponential(10, count)})


def rows_with_volatility(minutes: pd.DataFrame) -> tuple[np.ndarray, list[np.ndarray]]:
    "The 68 features at the four quarters of each hour, and the inputs of the volatility model."
    quarters = to_quarters(minutes)
    hours = [hours_ending(quarters, minute) for minute in (0, 15, 30, 45)]
    return volatility_inputs(quarters), [feature_columns(arrays, complete_rows(arrays.time)) for arrays in hours]


def copy_weeks(
    candles: pd.DataFrame,  # A candle table
) -> np.ndarray:  # The 168 values that end at each hour
    "Copy the windows that volatility reads."
    return sliding_window_view(candles["close"].to_numpy(), VOLATILITY_HOURS).copy()


def run(quick: bool) -> list[dict[str, Any]]:
    "Measure in turns and take the fastest of each."
    hours, rounds = 2_000 if quick else 40_000, 1 if quick else 4
    minutes, what = minute_candles(hours), f"{hours:,} hours x 4 quarters"
    quarter_candles = pd.concat([minutes.iloc[::60]] * 4, ignore_index=True)
    until = int(minutes["time"].iloc[-1]) + MINUTE
    live = minutes.tail(MINUTE_HISTORY // MINUTE).reset_index(drop=True)
    works = {
        "days": (lambda: copy_windows(quarter_candles), 5),
        "copy": (lambda: (copy_windows(quarter_candles), copy_weeks(quarter_candles)), 3),
        "rows": (lambda: rows_with_volatility(minutes), 2),
        "inputs": (lambda: intraday_rows(to_quarters(minutes)), 1),
        "live": (lambda: live_row(live, until), 20),
    }
    fastest: dict[str, float] = {}
    for _ in range(rounds):
        for name, (work, repeats) in works.items():
            fastest[name] = min(best_of(work, repeats), fastest.get(name, np.inf))
    return [
        line(f"copying the windows of {what}", fastest["copy"]),
        line("of these, the closes and volumes of the day", fastest["days"]),
        line(f"rows of {what} with volatility", fastest["rows"]),
        line("rows against copying", fastest["rows"] / fastest["copy"], "ratio", 6.0),
        line("rows against copying the day alone", fastest["rows"] / fastest["days"], "ratio"),
        line(f"normalised inputs of {what}", fastest["inputs"]),
        line("normalised inputs against rows", fastest["inputs"] / fastest["rows"], "ratio"),
        line(f"one row from {MINUTE_HISTORY // HOUR} hours of minutes", fastest["live"]),
    ]


if __name__ == "__main__":
    for entry in run("--quick" in sys.argv):
        limit = "" if entry["bar"] is None else f"at most {entry['bar']}: {'yes' if entry['ok'] else 'NO'}"
        print(f"{entry['what']:62} {entry['value']:>8} {entry['unit']:6} {limit}")

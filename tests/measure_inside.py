"""Forecasts of 5, 15, 30 and 60 minutes from any quarter of the hour, scored on one-minute candles of `../shared/candles/binance-1m` beside persistence.

    python tests/measure_inside.py choose [--horizon 15]   # 2022-07 to 2023-12: inputs and rows are chosen on these rows
    python tests/measure_inside.py judge [--horizon 15]    # 2024-01 to 2025-03: tried once

BTC and ETH are learned from together, refitted every half-year on everything since 2022. One model for each horizon: LightGBM, 100 trees for each quantile,
of the log return in units of the forecast volatility. The volatility model is refitted walk-forward (`models.volatility`). Every number is the mean of the two
coins, off the hour of six rows: two coins at :15, :30 and :45. `t` is Diebold-Mariano with 24 lags on one row an hour. With `--learn BTC-USDT` every model
learns from that coin alone, and only the other one is scored.
"""

import argparse
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.evaluation.intervals import calibrate, follow
from crypto_rti.evaluation.metrics import coverage_by_stretch, score_forecasts
from crypto_rti.evaluation.walk_forward import Block, forecast_rows, known_before
from crypto_rti.features import complete_rows
from crypto_rti.features_intraday import INTRADAY_INPUTS
from crypto_rti.inputs import INPUTS
from crypto_rti.models.base import Persistence, split_validation, train_forecaster
from crypto_rti.models.volatility import VolatilityModel, walk_forward_variance
from crypto_rti.outcomes import QuarterRows, concat_rows, make_quarter_rows
from crypto_rti.realised import hours_ending, to_quarters
from crypto_rti.settings import HORIZONS
from crypto_rti.targets import HIGH_90, LOW_90, Dataset, to_prices
from crypto_rti.volatility_inputs import HOURLY_VOLATILITY_INPUTS, hourly_volatility_inputs

SHARED = Path(os.environ.get("CRYPTO_RTI_SHARED", "../shared")) / "candles" / "binance-1m"
COINS = ("BTC-USDT", "ETH-USDT")
SPANS = {"choose": ("2022-07-01", "2024-01-01"), "judge": ("2024-01-01", "2025-04-01")}
LIGHTGBM = {"rounds": 100, "patience": 100, "learning_rate": 0.03, "threads": 1}

# What is tried in `choose`: the minutes of the hour that are learned from, the inputs left out, and whether the median alone has a booster (the other
# quantiles are then the same in every hour, in units of the forecast volatility).
QUARTERS, REALISED = (0, 15, 30, 45), INTRADAY_INPUTS[len(INPUTS) + 1 :]
VARIANTS = {
    "whole hours alone": ((0,), ["minute", *REALISED], True),
    "minute unknown": (QUARTERS, ["minute", *REALISED], True),
    "median alone": (QUARTERS, REALISED, True),
    "without realised": (QUARTERS, REALISED, False),
    "five quantiles": (QUARTERS, [], False),
}
CHOSEN = "five quantiles"


def read(coin: str, end: int) -> pd.DataFrame:
    "Read the minutes of a coin; nothing after the end is read."
    return pd.read_parquet(SHARED / f"{coin}.parquet", filters=[("time", "<", end)])


def load(end: int) -> QuarterRows:
    "Build the rows of both coins."
    tables = {coin: read(coin, end) for coin in COINS}
    return concat_rows([make_quarter_rows(tables[coin], coin, tables[other]) for coin, other in zip(COINS, COINS[::-1], strict=True)])


def blocks(start: int, end: int) -> list[Block]:
    "Cut a span at the half-years."
    edges = [to_unix(f"{year}-{month:02}-01") for year in range(2022, 2027) for month in (1, 7)]
    inner = [start, *(edge for edge in edges if start < edge < end), end]
    return [Block(first, last) for first, last in pairwise(inner)]


def minute_of(data: Dataset) -> np.ndarray:
    "Minute of the hour at which each row is forecast."
    return data.moment % HOUR // 60


def without(data: Dataset, inputs: Sequence[str]) -> Dataset:
    "Blank inputs of a data set."
    X = data.X.copy()
    X[:, [INTRADAY_INPUTS.index(name) for name in inputs]] = 0.0
    return replace(data, X=X)


def rolling_quantiles(known: Dataset, data: Dataset) -> np.ndarray:
    "The baseline: quantiles of the return in rolling volatilities, times the rolling volatility, as log returns."
    train, _ = split_validation(known.rescaled(known.rolling))
    return data.rolling[:, None] * Persistence().fit(train.X, train.y, train.X, train.y).predict(data.X)


def forecast_block(data: Dataset, block: Block, minutes: Sequence[int], median_only: bool, learned: Sequence[str]) -> Iterator[pd.DataFrame]:
    "Fit before a block and forecast it; intervals have one state for each coin and minute of the hour."
    known, rows = known_before(data, block.start), data.between(block.start - HOUR, block.end - HOUR)
    known = known.take(np.isin(minute_of(known), minutes) & np.isin(known.product, learned))
    forecaster = train_forecaster("lightgbm", known, {**LIGHTGBM, "median_only": median_only})
    _, valid = split_validation(known)
    for coin in COINS if len(learned) > 1 else set(COINS) - set(learned):
        for minute in QUARTERS:
            mine = (valid.product == (coin if coin in learned else learned[0])) & (minute_of(valid) == (minute if minute in minutes else minutes[0]))
            state = calibrate(forecaster.predict(valid.X[mine]), valid.y[mine])
            own = rows.take((rows.product == coin) & (minute_of(rows) == minute))
            quantiles, _ = follow(state, forecaster.predict(own.X), own.y, own.known)
            frame = forecast_rows(forecaster, "lightgbm", own)
            frame[["q05", "q25", "q50", "q75", "q95"]] = to_prices(own.close, own.volatility, quantiles)
            base = own.close[:, None] * np.exp(rolling_quantiles(known, own))
            yield frame.assign(minute=minute, base_q05=base[:, LOW_90], base_q95=base[:, HIGH_90])


def score(rows: pd.DataFrame) -> dict[str, Any]:
    "Average the scores over coins and minutes."
    scored = []
    for _, part in rows.groupby(["product", "minute"]):
        part = part.sort_values("time")
        found, stretch = score_forecasts(part), coverage_by_stretch(part)["lightgbm"]
        moment = pd.to_datetime(part["time"] + HOUR, unit="s")
        by_half = [score_forecasts(piece)["mase"] for _, piece in part.groupby([moment.dt.year, moment.dt.month > 6])]
        pinball = found["pinball_90"] / found["pinball_90_rolling_volatility"]
        scored.append({**found, "pinball": pinball, "low": stretch.min(), "high": stretch.max(), "worst_half": max(by_half), "t_worst": found["dm_t"]})
    table = pd.DataFrame(scored)
    worst = {"low": table["low"].min(), "high": table["high"].max(), "worst_half": table["worst_half"].max(), "t_worst": table["t_worst"].max()}
    return {**table[["mase", "dm_t", "direction", "coverage_90", "coverage_50", "pinball"]].mean(), **worst, "n": int(table["n"].sum())}


def walk_forward(pool: QuarterRows, horizon: int, learned: Sequence[str]) -> np.ndarray:
    "Forecast the log variance of one horizon; a coin without outcomes is not learned from."
    actual = np.where(np.isin(pool.product, learned), pool.log_variance[:, HORIZONS.index(horizon)], np.nan)
    return walk_forward_variance(pool.moment, pool.volatility, actual[:, None], lambda: VolatilityModel(threads=1))[:, 0]


def hours_alone(pool: QuarterRows, end: int) -> np.ndarray:
    "Forecast the log variance of the next hour from hourly candles, at :00; NaN elsewhere."
    X = np.full((len(pool), len(HOURLY_VOLATILITY_INPUTS)), np.nan, dtype=np.float32)
    for coin in COINS:
        hours = hours_ending(to_quarters(read(coin, end)), 0)
        rows = complete_rows(hours.time)
        own = np.flatnonzero(pool.product == coin)
        _, mine, theirs = np.intersect1d(pool.moment[own], hours.time[rows] + HOUR, return_indices=True)
        X[own[mine]] = hourly_volatility_inputs(hours, rows)[:, theirs].T
    return walk_forward_variance(pool.moment, X, pool.log_variance[:, [-1]], lambda: VolatilityModel(threads=1))[:, 0]


def r_squared(pool: QuarterRows, actual: np.ndarray, forecast: np.ndarray, rows: np.ndarray) -> float:
    "Mean over the coins of the share of variance that a forecast explains."
    parts = [rows & np.isfinite(actual) & np.isfinite(forecast) & (pool.product == coin) for coin in COINS]
    return float(np.mean([1 - np.square((actual - forecast)[part]).mean() / actual[part].var() for part in parts]))


def volatility_scores(pool: QuarterRows, forecasts: dict[int, np.ndarray], start: int, end: int) -> Iterator[dict[str, Any]]:
    "R squared of log realised volatility, beside that of the rolling volatility, whose mean error before the span is taken off."
    rolling = 2 * pool.X[:, INTRADAY_INPUTS.index("log_volatility")] - np.log(60)
    inside, whole = (pool.moment >= start) & (pool.moment < end), pool.moment % HOUR == 0
    for horizon, ours in forecasts.items():
        actual = pool.log_variance[:, HORIZONS.index(horizon)]
        before = np.isfinite(actual) & np.isfinite(ours) & (pool.moment < start - 2 * HOUR)
        shifted = rolling + (actual - rolling)[before].mean()
        for where, rows in (("at :00", inside & whole), ("off the hour", inside & ~whole)):
            yield {"horizon": horizon, "where": where, "model": r_squared(pool, actual, ours, rows), "rolling": r_squared(pool, actual, shifted, rows)}
    yield {"horizon": 60, "where": "at :00, hours alone", "model": r_squared(pool, pool.log_variance[:, -1], hours_alone(pool, end), inside & whole)}


def main(what: str, horizons: Sequence[int], learned: Sequence[str]) -> None:
    "Print the tables of one span."
    start, end = map(to_unix, SPANS[what])
    began, pool = time.perf_counter(), load(end)
    print(f"{len(pool):,} rows of {', '.join(COINS)} after {time.perf_counter() - began:.0f} s")
    forecasts = {horizon: walk_forward(pool, horizon, learned) for horizon in horizons}
    print(f"volatility forecast after {time.perf_counter() - began:.0f} s; R squared of log realised volatility:")
    print(pd.DataFrame(volatility_scores(pool, forecasts, start, end)).round(3).to_string(index=False), flush=True)
    for horizon, forecast in forecasts.items():
        data, _ = pool.targets(horizon, forecast)
        for name, (minutes, left_out, median_only) in VARIANTS.items() if what == "choose" else [(CHOSEN, VARIANTS[CHOSEN])]:
            used = without(data, left_out)
            rows = pd.concat([frame for block in blocks(start, end) for frame in forecast_block(used, block, minutes, median_only, learned)], ignore_index=True)
            lines = [{"minutes": horizon, "where": "at :00", "variant": name, **score(rows[rows["minute"] == 0])}]
            lines.append({"minutes": horizon, "where": "off the hour", "variant": name, **score(rows[rows["minute"] != 0])})
            print(pd.DataFrame(lines).round(4).to_string(index=False), flush=True)
    print(f"done after {time.perf_counter() - began:.0f} s, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("span", choices=SPANS)
    parser.add_argument("--horizon", type=int, action="append", choices=HORIZONS, help="minutes; by default all")
    parser.add_argument("--learn", choices=COINS, help="learn from this coin alone and score the other")
    given = parser.parse_args()
    main(given.span, given.horizon or HORIZONS, [given.learn] if given.learn else COINS)

"""How large a year of ten coins is in an SQLite ledger, and how long it takes to read one series of it.

Every quarter of an hour each coin has a forecast of its champion for 5, 15, 30 and 60 minutes, and every hour one of six models; all are scored. Rows are
written in the order and by the functions of the service; only flushing to the disk is switched off. Champions change every 30 days.

    python tests/scale/ledger.py [--quick]
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.service.ledger import Ledger, open_ledger
from crypto_rti.service.quarter_ledger import QuarterSeries, read_quarter_accuracy, read_quarter_outcomes, record_closes, unscored_quarters
from crypto_rti.service.scores import Scorer
from crypto_rti.service.writer import Entry, write_entries

SOURCE = "coinbase"
COINS = tuple(f"{name}-USD" for name in ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "LINK", "AVAX", "DOT"))
KINDS = ("persistence", "lasso", "lightgbm", "cnn", "lstm", "ensemble")
HORIZONS, QUARTER, START, YEAR_DAYS, RETRAINED = (5, 15, 30, 60), 900, to_unix("2025-01-01"), 365, 30
LARGEST = 400  # MB


def forecast(rng: np.random.Generator, coin: str, kind: str, at: int, price: float, horizon: int, mode: str) -> Entry:
    "A forecast with digits like those of a real one."
    quantiles = np.sort(rng.normal(0, 1, 5))
    scale = 0.005 * math.sqrt(horizon / 60) * math.exp(0.1 * rng.normal())
    prices = price * np.exp(scale * quantiles * 1.07)
    version = "builtin" if kind == "persistence" else str(1 + (at - START) // (RETRAINED * 24 * HOUR))
    named = {"mode": mode, "horizon": horizon, "size": rng.integers(11) / 10 if mode == "quarter" else None}
    issued_at, issued_price = at + 1 + rng.random(), round(price * math.exp(1e-4 * rng.normal()), 2)
    numbers = price, tuple(prices.tolist()), scale, tuple(quantiles.tolist())
    return Entry(SOURCE, coin, kind, version, at, at + 60 * horizon, issued_at, *numbers, issued_price=issued_price, **named)


def quarter_entries(rng: np.random.Generator, at: int, prices: dict[str, float]) -> list[Entry]:
    "What is recorded at a quarter of the hour."
    entries = [forecast(rng, coin, "lightgbm", at, prices[coin], horizon, "quarter") for coin in COINS for horizon in HORIZONS]
    return entries + [forecast(rng, coin, kind, at, prices[coin], 60, "hour") for coin in COINS for kind in KINDS if at % HOUR == 0]


def write(ledger: Ledger, days: int) -> Iterator[float]:
    "Write and score so many days; yield what each write of a quarter without hourly forecasts takes, in milliseconds."
    rng, scorer = np.random.default_rng(0), Scorer(ledger, SOURCE)
    prices = {coin: round(float(rng.uniform(1, 90_000)), 2) for coin in COINS}
    for at in range(START, START + days * 24 * HOUR, QUARTER):
        prices = {coin: round(price * math.exp(0.002 * rng.normal()), 2) for coin, price in prices.items()}
        entries, started = quarter_entries(rng, at, prices), time.perf_counter()
        write_entries(ledger, entries)
        if at % HOUR:
            yield 1000 * (time.perf_counter() - started)
            continue
        for coin, moments in unscored_quarters(ledger, SOURCE, at).items():
            record_closes(ledger, SOURCE, coin, {moment: round(prices[coin] * math.exp(0.002 * rng.normal()), 2) for moment in moments}, at + 61)
        for coin in COINS:
            scorer.score(coin, {at: prices[coin]}, at + 61)


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    "The fastest of some runs."
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def line(what: str, value: float, unit: str, bar: float | None = None) -> dict[str, Any]:
    "A line of the report."
    return {"what": what, "value": round(value, 2), "unit": unit, "bar": bar, "ok": None if bar is None else value <= bar}


def run(quick: bool) -> list[dict[str, Any]]:
    "Write the year, then read it."
    days = 40 if quick else YEAR_DAYS
    end = START + days * 24 * HOUR
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
        sa.event.listen(ledger.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF").close())
        writes = np.array(list(write(ledger, days)))
        series, month = QuarterSeries(SOURCE, "BTC-USD", 15, "lightgbm"), QuarterSeries(SOURCE, "BTC-USD", 15, "lightgbm", "1", minute=15)
        no_change = QuarterSeries(SOURCE, "BTC-USD", 15, "persistence")
        n = read_quarter_accuracy(ledger, series, None, end)["n"]
        read = {
            f"accuracy of one series of {days} days, {n:,} forecasts": lambda: read_quarter_accuracy(ledger, series, None, end, test=True),
            f"accuracy of persistence over {days} days": lambda: read_quarter_accuracy(ledger, no_change, None, end, test=True),
            "accuracy of one series of 30 days": lambda: read_quarter_accuracy(ledger, series, 30, end, test=True),
            "outcomes of one version of 30 days, one quarter of the hour": lambda: read_quarter_outcomes(ledger, month),
            "moments without a price": lambda: unscored_quarters(ledger, SOURCE, end),
        }
        times = [line(what, milliseconds(work), "ms") for what, work in read.items()]
        ledger.close()
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    return [
        line(f"SQLite ledger of {len(COINS)} coins after {days} days", size, "MB", LARGEST * days / YEAR_DAYS),
        line(f"writing a quarter of {len(COINS)} coins, median", float(np.median(writes)), "ms"),
        *times,
    ]


if __name__ == "__main__":
    for entry in run("--quick" in sys.argv):
        limit = "" if entry["bar"] is None else f"at most {entry['bar']:.0f}: {'yes' if entry['ok'] else 'NO'}"
        print(f"{entry['what']:75} {entry['value']:>9} {entry['unit']:4} {limit}")

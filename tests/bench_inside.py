"""Forecasts inside the hour against their bars; further parts of `make bench-service`, which imports them.

closes         ten coins with champions of every horizon, websocket, real time: how late after each close the forecasts were made, by the ledger. The
               exchange's clock is moved to shortly before each close; the service reads that clock itself (tests/measured_service.py)
hour           200 coins, whole hours only, websocket: how late the champions' forecasts are at one hour's end
path           one path from memory over HTTP, and computed anew
inside_memory  peak memory of two coins with every horizon, beside that of whole hours only
restart        start of the process with stored minutes to the first path
skew_inside    a week of real minutes replayed at speed, compared with `backtest --bundle`
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import sqlalchemy as sa
from toys import export_toy

from crypto_rti.data.candles import HOUR, MINUTE, to_iso, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.replay.server import RunningExchange, running_exchange
from crypto_rti.service.inside import render_path
from crypto_rti.service.ledger import forecast_table, open_ledger, quarter_table, series_table
from crypto_rti.service.minute_table import HISTORY_MINUTES, MinuteHistory, save_minutes
from crypto_rti.service.server import running_service
from crypto_rti.settings import HORIZONS, load_settings

Figures = dict[str, Any]
QUARTER, BEFORE, AFTER = 15 * MINUTE, 75.0, 7.0  # Seconds: the minute before a close must be heard from its beginning
START = to_unix("2024-01-31T15:00Z")
SERVE = "from crypto_rti.settings import load_settings; from crypto_rti.service.server import serve; serve(load_settings())"


# --- coins, champions and stored minutes ---


@lru_cache
def choose_coins(count: int) -> tuple[str, ...]:
    "Simulated coins that traded in each of the last hours, so that each of them can be forecast."
    names, hours, end = itertools.chain(("BTC-USD", "ETH-USD"), (f"C{number:03}-USD" for number in itertools.count())), 48, START + HOUR
    return tuple(itertools.islice((name for name in names if len(sim_candles(name, end - hours * HOUR, end)) == hours), count))


def export_champions(bundles: Path, coins: Sequence[str]) -> None:
    "A toy of whole hours for each coin, and LightGBM models of every horizon that all coins share, trained on the first one."
    from skew_inside import states

    from crypto_rti.models.base import train_forecaster
    from crypto_rti.models.volatility import VolatilityModel
    from crypto_rti.outcomes import make_quarter_rows
    from crypto_rti.registry.blobs import Blobs
    from crypto_rti.registry.bundle import bundle_trial, export_bundle, make_manifest, read_manifest
    from crypto_rti.registry.index import Index, read_index, write_index
    from crypto_rti.registry.packing import HorizonPart, input_range, pack_horizon

    rows = make_quarter_rows(sim_candles(coins[0], "2023-12-01", "2024-01-01", MINUTE), coins[0])
    volatility = VolatilityModel(trees=5, threads=1).fit(rows.volatility, rows.log_variance)
    variance, roles, facts = volatility.predict(rows.volatility), dict[str, str](), dict[str, Any]()
    for coin in coins:
        export_toy(bundles, coin)
    for number, horizon in enumerate(HORIZONS, 2):
        data, _ = rows.targets(horizon, variance[:, HORIZONS.index(horizon)])
        forecaster = train_forecaster("lightgbm", data, {"rounds": 40})
        part = HorizonPart({"mase": 0.99, "coverage_90": 0.9}, *states(forecaster, data), None)
        manifests, files = pack_horizon(forecaster, volatility, "sim", data, input_range(rows.volatility), dict.fromkeys(coins, part))
        stated = {"version": str(number), "created": "2024-01-01T00:00:00Z"}
        for manifest in manifests:
            folder = export_bundle(Blobs(bundles), make_manifest({**manifest, **stated}, files), files.__getitem__)
            bundle_trial(folder, read_manifest(folder)).note("")  # As promotion does
        facts[str(number)] = {"kind": "lightgbm", "horizon": horizon, "train_span": manifests[0]["train_span"], "created": stated["created"]}
        roles |= {f"champion-{horizon}m": str(number), f"lightgbm-{horizon}m": str(number)}
    for coin in coins:
        own = read_index(bundles, f"sim.{coin}")
        write_index(bundles, Index(name=own.name, aliases=own.aliases | roles, versions=own.versions | facts))


def store_minutes(home: Path, coins: Sequence[str], until: float) -> None:
    "Write the files of a service that has kept all minutes until a moment."
    end = int(until) // MINUTE * MINUTE
    start = end - MINUTE * HISTORY_MINUTES
    for coin in coins:
        save_minutes(MinuteHistory(coin, sim_candles(coin, start, end, MINUTE), start, end, end, float(end)), home / "minutes" / "sim")


# --- the service ---


class Measured(NamedTuple):
    "A service in a process of its own."

    url: str
    pid: int
    started: float  # When its process was asked for, on `perf_counter`
    exchange: RunningExchange
    home: Path

    def jump(self, moment: float) -> None:
        "Set the exchange's clock, which the service reads too."
        self.exchange.clock.set(float(moment))
        (self.home / "clock").write_bytes(b"") if not (self.home / "clock").exists() else None
        with (self.home / "clock").open("r+b") as file:
            file.write(struct.pack("ddd", self.exchange.clock.now(), time.monotonic(), 1.0))


@contextlib.contextmanager
def measured(coins: Sequence[str], start: float, home: Path, moved: bool = False, **given: str) -> Iterator[Measured]:
    "An exchange with websocket, and the service in front of it; with `moved`, the clock may be set."
    with running_exchange("sim", start=start, rate_limit=False, products=list(coins)) as exchange:
        own = {"HOME": str(home), "SOURCE": f"sim={exchange.url}", "PRODUCTS": " ".join(coins), "PORT": "0", "LOG_LEVEL": "warning", **given}
        env = {**os.environ, **{f"CRYPTO_RTI_{name}": value for name, value in own.items()}}
        up = Measured("", 0, time.perf_counter(), exchange, home)
        up.jump(start)
        script = [str(Path(__file__).with_name("measured_service.py")), str(home / "clock"), str(home / "lags")] if moved else ["-c", SERVE]
        with subprocess.Popen([sys.executable, *script], env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield up._replace(url=process.stdout.readline().split()[4], pid=process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        assert process.returncode == 0, f"the service ended with {process.returncode}"


def wait_until_ready(up: Measured, coins: Sequence[str], path: str, seconds: float = 300.0) -> float:
    "Ask until every coin is answered; seconds since the start of the process."
    end, waiting = time.monotonic() + seconds, list(coins)
    with httpx.Client(base_url=up.url, timeout=20) as client:
        while waiting:
            if time.monotonic() > end:
                raise TimeoutError(f"{waiting} are not answered: {client.get(path, params={'coin': waiting[0]}).text[:300]}")
            with contextlib.suppress(httpx.TransportError):
                waiting = [coin for coin in waiting if client.get(path, params={"coin": coin}).status_code != 200]
            time.sleep(0.005)
    return time.perf_counter() - up.started


def lateness(late: Sequence[float], name: str, wanted: int) -> Figures:
    "Seconds between the close and the forecast; one that was not made counts as later than any other."
    found = np.array([*late, *[np.inf] * max(0, wanted - len(late))])
    shares = {f"{name}_late_p{q}_s": float(np.percentile(found, q, method="higher")) for q in (50, 99)}
    return {**shares, f"{name}_late_max_s": float(found.max()), f"{name}_forecasts": len(late), f"{name}_missing": max(0, wanted - len(late))}


# --- closes ---


def read_lateness(home: Path, closes: Sequence[int]) -> dict[tuple[str, int], list[float]]:
    "By horizon (`hour` for whole hours) and close, the lateness of the rows of the ledger."
    ledger, found = open_ledger(f"sqlite:///{home / 'ledger.db'}" if (home / "ledger.db").exists() else load_settings(home=home).ledger_address), {}
    series, row, hour = series_table.c, quarter_table.c, forecast_table.c
    query = sa.select(series.horizon, row.data_until, row.made_at).join(series_table, row.series == series.id).where(row.data_until.in_(closes))
    for one in ledger.fetch(query):
        found.setdefault((f"{one.horizon}m", one.data_until), []).append(one.made_at - one.data_until)
    for one in ledger.fetch(sa.select(hour.data_until, hour.issued_at).where(hour.mode == "hour", hour.data_until.in_(closes), hour.issued_at.is_not(None))):
        found.setdefault(("hour", one.data_until), []).append(one.issued_at - one.data_until)
    ledger.close()
    return found


def read_lags(home: Path, closes: Sequence[int]) -> Figures:
    "The longest delays of the event loop in the seconds after the closes, and what ran during the longest one."
    lines = [line.split(" ", 2) for line in (home / "lags").read_text().splitlines()]
    lags = [(float(ms), float(at), stacks) for at, ms, stacks in lines]
    near = {close: max((lag for lag in lags if close - 1 <= lag[1] < close + AFTER), default=(0.0, 0.0, "")) for close in closes}
    longest = max(near.values())
    if os.environ.get("BENCH_STACKS"):
        for lag in sorted(near.values(), reverse=True):
            print(f"  {lag[0]:.0f} ms at {to_iso(int(lag[1]))}: {lag[2][:3000]}", file=sys.stderr)
    return {"loop_lag_at_closes_p50_ms": float(np.median([lag for lag, *_ in near.values()])), "loop_lag_at_closes_max_ms": longest[0]}


def bench_closes(options: argparse.Namespace) -> Figures:
    "The clock is moved to shortly before each quarter of the hour and runs in real time until the forecasts are out."
    coins = choose_coins(10)
    closes = [START + QUARTER * number for number in range(3, 3 + options.closes)]  # The second one is an hour's end
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        export_champions(home / "bundles", coins)
        store_minutes(home, coins, closes[0] - 20 * MINUTE)
        with measured(coins, closes[0] - 10 * MINUTE, home, moved=True, REQUESTS_PER_SECOND="10") as up:
            wait_until_ready(up, coins, "/api/path")
            for close in closes:
                up.jump(close - BEFORE)
                time.sleep(BEFORE + AFTER)
        found, hours = read_lateness(home, closes), [close for close in closes if close % HOUR == 0]
        lags = read_lags(home, closes)
    for (what, close), late in sorted(found.items()) if os.environ.get("BENCH_STACKS") else ():
        print(f"  {to_iso(close)} {what:5} {len(late):3} {max(late):8.3f} s", file=sys.stderr)
    late = [second for seconds in found.values() for second in seconds]
    by_horizon = {f"closes_{what}_late_max_s": max(max(late) for (other, _), late in found.items() if other == what) for what, _ in sorted(found)}
    wanted = len(coins) * (len(HORIZONS) * len(closes) + 2 * len(hours))  # At an hour's end, the champion and persistence of whole hours too
    return {"closes": len(closes), **lateness(late, "closes", wanted), **by_horizon, **lags}


# --- hour ---


def bench_hour(options: argparse.Namespace) -> Figures:
    "Started early enough that every coin is known and its running hour is built."
    coins, end = choose_coins(options.hour_coins), START + HOUR
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for coin in coins:
            export_toy(home / "bundles", coin)
        with measured(coins, end - options.hour_before, home, moved=True, HORIZONS="60", REQUESTS_PER_SECOND="10") as up:
            wait_until_ready(up, coins, "/api/predict", options.hour_before - 5)
            time.sleep(max(0.0, end + 100 - up.exchange.clock.now()))
        ledger, column = open_ledger(load_settings(home=home).ledger_address), forecast_table.c
        where = (column.mode == "hour", column.kind != "persistence", column.data_until == end, column.issued_at.is_not(None))
        late = [row.issued_at - end for row in ledger.fetch(sa.select(column.issued_at).where(*where))]
        ledger.close()
        lags = read_lags(home, [end])
    return {**lateness(late, "hour", len(coins)), **{name.replace("closes", "hour"): value for name, value in lags.items()}}


# --- path ---


def bench_path(options: argparse.Namespace) -> Figures:
    "From memory over one connection; computed in the service's own event loop, after its memory of the minute was emptied."
    from bench_service import ask, connect

    coins, start, known, computed = choose_coins(2), START + 20 * MINUTE + 5, list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, running_exchange("sim", start=start, rate_limit=False, products=list(coins)) as exchange:
        home = Path(folder)
        export_champions(home / "bundles", coins)
        store_minutes(home, coins, start)
        settings = load_settings(home=home, source=f"sim={exchange.url}", products=" ".join(coins), requests_per_second=10)
        with running_service(settings) as running:
            up, service = Measured(running.url, 0, 0.0, exchange, home), running.service
            wait_until_ready(up, coins, "/api/path")
            time.sleep(3)

            async def compute() -> float:
                service.inside.rows.clear(), service.inside.forecasts.clear(), service.inside.bodies.clear()
                began = time.perf_counter()
                await render_path(service, coins[0])
                return time.perf_counter() - began

            for _ in range(100):
                computed.append(1e3 * asyncio.run_coroutine_threadsafe(compute(), running.loop).result(10))
        with measured(coins, start, home, REQUESTS_PER_SECOND="10") as own:
            wait_until_ready(own, coins, "/api/path")
            with connect(own.url) as line:
                for _ in range(3000):
                    began = time.perf_counter()
                    assert ask(line, f"/api/path?coin={coins[0]}") == 200
                    known.append(1e3 * (time.perf_counter() - began))
    figures = {"path_known": known, "path_computed": computed}
    return {f"{name}_p{q}_ms": float(np.percentile(taken, q)) for name, taken in figures.items() for q in (50, 99)}


# --- memory and restart ---


def bench_inside_memory(options: argparse.Namespace) -> Figures:
    "Both services answer a few thousand requests and live through two closes of minutes, of which one is a quarter."
    from bench_service import ask, connect, memory

    coins, close, peaks = choose_coins(2), START + QUARTER, dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        export_champions(Path(folder) / "bundles", coins)
        for name, horizons in (("inside", ""), ("hours", "60")):
            home = Path(shutil.copytree(Path(folder) / "bundles", Path(folder) / name / "bundles")).parent
            store_minutes(home, coins, close - 10 * MINUTE)
            with measured(coins, close - 30, home, HORIZONS=horizons or "5 15 30 60", REQUESTS_PER_SECOND="10") as up:
                wait_until_ready(up, coins, "/api/predict" if horizons else "/api/path")
                with connect(up.url) as line:
                    end, asked = time.monotonic() + 110, 0
                    while time.monotonic() < end:
                        coin, asked = coins[asked % 2], asked + 1
                        ask(line, f"/api/predict?coin={coin}&time_from={asked % 72}" if horizons or asked % 2 else f"/api/path?coin={coin}")
                        time.sleep(0.002)
                peaks[name] = memory(up.pid, "VmHWM")
    return {"inside_peak_memory_mb": peaks["inside"], "hours_peak_memory_mb": peaks["hours"]}


def bench_restart(options: argparse.Namespace) -> Figures:
    "The median of three starts, the files being ten minutes old."
    coins, start, taken = choose_coins(2), START + 20 * MINUTE + 5, list[float]()
    with tempfile.TemporaryDirectory() as folder:
        export_champions(Path(folder) / "bundles", coins)
        for turn in range(3):
            home = Path(shutil.copytree(Path(folder) / "bundles", Path(folder) / str(turn) / "bundles")).parent
            store_minutes(home, coins, start - 10 * MINUTE)
            with measured(coins, start, home) as up:
                taken.append(wait_until_ready(up, coins[:1], "/api/path"))
    return {"start_to_first_path_s": float(np.median(taken)), "first_path_slowest_of_3_s": max(taken)}


# --- skew ---


def bench_skew_inside(options: argparse.Namespace) -> Figures:
    "The live service and the backtest of the same bundles, quarter for quarter."
    from skew_inside import compare

    shared = load_settings().shared
    if not (shared / "candles" / "binance-1m").exists():
        return {"skew_inside": "skipped: no shared minutes here"}
    figures = compare(shared, options.skew_inside_days, (5, 15, 30))
    largest = max(figures[name] for name in ("prices", "scales", "sizes"))
    return {f"skew_inside_{name}": value for name, value in figures.items()} | {"skew_inside_largest": largest}


PARTS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "closes": bench_closes, "hour": bench_hour, "path": bench_path, "inside_memory": bench_inside_memory, "restart": bench_restart,
    "skew_inside": bench_skew_inside,
}  # fmt: skip

BARS = {
    "closes_late_p99_s": ("<", 2.0),
    "closes_late_max_s": ("<", 5.0),
    "hour_late_p99_s": ("<", 5.0),
    "path_known_p50_ms": ("<", 1.0),
    "path_computed_p50_ms": ("<", 15.0),
    "inside_peak_memory_mb": ("<", 260.0),
    "start_to_first_path_s": ("<", 5.0),
    "skew_inside_largest": ("<", 1e-6),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    "The options of these parts."
    parser.add_argument("--closes", type=int, default=20, help="closes that are measured, 82 seconds each (default 20)")
    parser.add_argument("--hour-coins", type=int, default=200)
    parser.add_argument("--hour-before", type=float, default=240.0, help="seconds before the hour's end at which the service starts")
    parser.add_argument("--skew-inside-days", type=int, default=7)

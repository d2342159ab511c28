"""One service, 200 coins: an hour's end at five requests per second, memory beside a service of two coins, the overview beside `/health/live`.

`python tests/scale/service.py` (seven minutes, almost all of it waiting) or `--quick` (20 coins). The replay exchange runs here, in real time; the service in a
process of its own with one worker. Three kinds of models per coin, persistence is the fourth; all of them read a second coin, and their intervals learn.
A person asks for a random coin twice a second throughout.
"""

import argparse
import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
import numpy as np
import sqlalchemy as sa
from bench_service import LIVE, SERVE, load, memory
from toys import export_toy

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import ConformalState
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.ledger import forecast_table, open_ledger

KINDS = ("lasso", "lightgbm", "ensemble")
FINAL = to_unix("2024-01-31T16:01Z")  # The hour that ended at 16:00 is final
SETTLED = FINAL + 240  # It is requested once more, to be confirmed
STATE = ConformalState((0.5, 0.1), (tuple(np.linspace(0.01, 3.0, 199).tolist()),) * 4, 0.05).to_dict()
Rows = list[dict[str, Any]]


class Scaled(NamedTuple):
    "A running service of many coins."

    coins: list[str]
    home: Path
    pid: int
    http: httpx.Client
    now: Any  # The exchange's clock


def choose_coins(count: int) -> list[str]:
    "Simulated coins that traded in each of the last hours, so that each of them can be forecast; one in a hundred did not."
    names, hours = (f"C{number:03}-USD" for number in itertools.count()), 48
    traded = (name for name in names if len(sim_candles(name, FINAL - 60 - hours * HOUR, FINAL - 60)) == hours)
    return list(itertools.islice(traded, count))


def export(bundles: Path, coins: list[str]) -> None:
    "Every kind of every coin."
    for coin in coins:
        for number, kind in enumerate(KINDS):
            export_toy(bundles, coin, str(number + 1), kind, interval=STATE, reference=coins[0], slope=0.001)


@contextlib.contextmanager
def scaled(count: int, start: float) -> Iterator[Scaled]:
    "A replay exchange from `start`, and a service of `count` coins in front of it."
    coins = choose_coins(count)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        export(home / "bundles", coins)
        with running_exchange("sim", start=start, products=coins) as exchange:
            given = {"HOME": folder, "SOURCE": f"sim={exchange.url}", "PRODUCTS": " ".join(coins), "PORT": "0", "LOG_LEVEL": "warning"}
            given |= {"REQUESTS_PER_SECOND": "5", "LIVE_FEED": "false"}
            env = {**os.environ, **{f"CRYPTO_RTI_{name}": value for name, value in given.items()}}
            with subprocess.Popen([sys.executable, "-c", SERVE], env=env, stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdout is not None
                    with httpx.Client(base_url=process.stdout.readline().split()[4], timeout=30) as http:
                        wait_until(lambda: alive(http), 60)
                        yield Scaled(coins, home, process.pid, http, exchange.clock.now)
                finally:
                    process.send_signal(signal.SIGTERM)
                    process.wait(30)


def alive(http: httpx.Client) -> bool:
    "Whether a service answers."
    with contextlib.suppress(httpx.TransportError):
        return http.get(LIVE).status_code == 200
    return False


def metrics(up: Scaled) -> dict[str, float]:
    "Every sample by name and labels."
    lines = re.findall(r"^(crypto_rti_\S+) (\S+)$", up.http.get("/metrics").text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


class Watch:
    "Looks at a service once a second, and asks it for coins, until it is stopped."

    def __init__(self, up: Scaled) -> None:
        self.up, self.stop = up, threading.Event()
        self.away, self.ready, self.waiting = 0.0, 0, 0.0
        self.live: list[float] = []
        self.asked: dict[int, list[float]] = {}  # Seconds of answers by status
        self.threads = [threading.Thread(target=one, daemon=True) for one in (self.look, self.ask, self.ping)]

    def look(self) -> None:
        while not self.stop.wait(1.0):
            found = metrics(self.up)
            self.away = max(self.away, found["crypto_rti_upstream_away"])
            self.ready = int(found["crypto_rti_coins_ready"])
            self.waiting = max(self.waiting, *(value for name, value in found.items() if "upstream_waiting" in name))

    def ask(self) -> None:
        with httpx.Client(base_url=self.up.http.base_url, timeout=30) as http:
            while not self.stop.wait(0.5):
                started = time.perf_counter()
                status = http.get("/api/predict", params={"coin": random.choice(self.up.coins)}).status_code
                self.asked.setdefault(status, []).append(time.perf_counter() - started)

    def ping(self) -> None:
        with httpx.Client(base_url=self.up.http.base_url, timeout=30) as http:
            while not self.stop.wait(0.02):
                started = time.perf_counter()
                http.get(LIVE)
                self.live.append(time.perf_counter() - started)

    def __enter__(self) -> "Watch":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def wait_until(wanted: Any, seconds: float) -> bool:
    "Wait until something holds; whether it did in time."
    end = time.monotonic() + seconds
    while not wanted():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def made_at(up: Scaled) -> np.ndarray:
    "When the forecasts from 16:00 were made, in seconds after the hour was final."
    ledger = open_ledger(f"sqlite:///{up.home / 'ledger.db'}")
    row = forecast_table.c
    found = ledger.fetch(sa.select(row.made_at).where(row.data_until == FINAL - 60, row.mode == "hour"))
    ledger.close()
    return np.array([one.made_at - FINAL for one in found], dtype=float)


def overview_ratio(up: Scaled, seconds: float) -> tuple[float, float]:
    "Requests per second of the overview, and as a share of those of `/health/live`."
    url = str(up.http.base_url).rstrip("/")
    pairs = [(load(url, LIVE, 16, seconds), load(url, "/api/overview", 16, seconds)) for _ in range(3)]
    return float(np.median([one for _, one in pairs])), float(np.median([one / live for live, one in pairs]))


def hours_end(count: int, quick: bool) -> tuple[Rows, float]:
    "An hour's end, from the start of the service on; and the peak memory."
    lead = 20 + count / 4  # The first candles of all coins take a fifth of a second each
    with scaled(count, FINAL - lead) as up, Watch(up) as seen:
        started = time.monotonic()
        wait_until(lambda: seen.ready == count, lead + 30)
        begun = time.monotonic() - started
        wait_until(lambda: len(made_at(up)) >= count * (len(KINDS) + 1), FINAL + 120 - up.now())
        made = made_at(up)
        if not quick:
            time.sleep(max(0.0, SETTLED + count / 5 + 10 - up.now()))
        errors = sum(value for name, value in metrics(up).items() if "upstream_errors" in name)
        seen.__exit__()
        peak = memory(up.pid, "VmHWM")
        size = len(up.http.get("/api/overview").content)
        rate, share = overview_ratio(up, 1 if quick else 3) if shutil.which("wrk") else (0.0, 0.0)
    slow = {status: times for status, times in seen.asked.items() if status != 200}
    answered = seen.asked.get(200, [0.0])
    missing = count * (len(KINDS) + 1) - len(made)
    return [
        row(f"forecasts of {count} coins that are missing", missing, "forecasts", 0),
        row(f"last of {count} coins' forecasts after the hour was final", float(made.max(initial=np.inf if missing else 0)), "s", 60),
        row("timeouts and other errors of the exchange counted", errors, "errors", 0),
        row("the exchange was reported as away", seen.away, "", 0),
        row("candles of every coin after the start", begun, "s"),
        row("longest part of the queue", seen.waiting, "requests"),
        row("answers to a person who asks: slowest", 1e3 * max(answered), "ms"),
        row("answers to a person who asks: other than 200", sum(map(len, slow.values())), "answers"),
        row("/health/live, p99 of one request every 20 ms", 1e3 * float(np.percentile(seen.live, 99)), "ms"),
        row("/health/live, slowest", 1e3 * max(seen.live), "ms"),
        row(f"size of the overview of {count} coins", size / 1e3, "kB"),
        row("/api/overview", rate, "requests/s"),
        row("/api/overview beside /health/live", share, "times", 1 / 3, at_least=True),
    ], peak  # fmt: skip


def row(what: str, value: float, unit: str, bar: float | None = None, at_least: bool = False) -> dict[str, Any]:
    "One figure beside its bar."
    ok = None if bar is None else value >= bar if at_least else value <= bar
    return {"what": what, "value": value, "unit": unit, "bar": bar, "ok": ok}


def run(quick: bool = False) -> Rows:
    "Measure everything."
    _, small = hours_end(2, True)
    count = 20 if quick else 200
    figures, large = hours_end(count, quick)
    return [*figures, row("peak memory of 2 coins", small, "MB"), row(f"peak memory of {count} coins: more than of 2", large - small, "MB", 100)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 coins, without waiting for the confirmation")
    found = run(parser.parse_args().quick)
    for figure in found:
        bar = "" if figure["bar"] is None else f"   bar {figure['bar']:.3g}{'' if figure['ok'] else '   MISSED'}"
        print(f"{figure['what']:70} {figure['value']:10.4g} {figure['unit']:12}{bar}", flush=True)
    sys.exit(any(figure["ok"] is False for figure in found))

"""Does the service keep its bars? `make bench-service`, or `python tests/bench_service.py --only predict,memory` for some of the parts.

A replay exchange runs here, the service in a process of its own with one worker, whoever asks in further ones; loopback only. Figures that matter are
ratios, counts and bars; the rest tells how they came about. The parts:

cold     start of the process to the first forecast
predict  requests per second of warm forecasts beside those of /health/live (by `wrk` where it is installed, otherwise a plain socket loop, which is
         slower than the service and says so), and latencies at half of that rate. Those count from when a request was due, not from when it could be
         sent: a service that stalls delays the requests behind, and that is what their callers see. The pacer's own delay counts too, a millisecond
         where it has a core to itself; where since_sent is much less than the rest, other programs were in its way, and it must be quieter.
memory   resident memory during 100,000 requests, most of them warm
stream   many readers of /api/stream over the end of an hour: nothing lost, everybody told the same
skew     months of real candles replayed at speed, compared with `backtest --bundle`
fuzz     schemathesis, with ten times the requests of `make test`

Parts about the work inside the hour (closes, hour, path, inside_memory, restart, skew_inside) are in tests/bench_inside.py.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import math
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import bench_inside
import httptools
import httpx
import numpy as np
from toys import export_toy

from crypto_rti.client_stream import ParserState, read_events
from crypto_rti.data.candles import to_unix
from crypto_rti.replay.server import RunningExchange, running_exchange
from crypto_rti.settings import load_settings

SERVE = """
from crypto_rti.settings import load_settings
from crypto_rti.service.server import serve
serve(load_settings())
"""
LIVE, WARM = "/health/live", "/api/predict?coin=BTC-USD&time_from=now&model_name=champion"
Figures = dict[str, Any]


# --- the service ---


class Running(NamedTuple):
    "A service in a process of its own."

    url: str
    pid: int
    started: float  # When its process was asked for, on `perf_counter`
    exchange: RunningExchange


@contextlib.contextmanager
def running(start: str | float = "2024-01-31T15:20Z") -> Iterator[Running]:
    "A replay exchange from `start`, and the service in front of it with a toy for a model; ends with SIGTERM, which must leave code 0."
    with tempfile.TemporaryDirectory() as home, running_exchange("sim", start=start, rate_limit=False) as exchange:
        export_toy(Path(home) / "bundles")
        own = {"HOME": home, "SOURCE": f"sim={exchange.url}", "PRODUCTS": "BTC-USD ETH-USD", "PORT": "0", "LOG_LEVEL": "warning"}
        env = {**os.environ, **{f"CRYPTO_RTI_{name}": value for name, value in own.items()}}
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", SERVE], env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Running(process.stdout.readline().split()[4], process.pid, started, exchange)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        assert process.returncode == 0, f"the service ended with {process.returncode}"


def memory(pid: int, what: str) -> float:
    "Resident memory of a process in MB: `VmRSS` now, `VmHWM` at its peak."
    return int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1e3  # type: ignore[index]


def first_forecast(up: Running) -> float:
    "Seconds from the start of the process to the first forecast; asks until there is one."
    with httpx.Client(base_url=up.url, timeout=20) as client:
        while (taken := time.perf_counter() - up.started) < 60:
            with contextlib.suppress(httpx.TransportError):
                if client.get(WARM).status_code == 200:
                    return time.perf_counter() - up.started
            time.sleep(0.005)
    raise TimeoutError(f"no forecast within {taken:.0f} s")


def ask(line: socket.socket, path: str) -> int:
    "One request over a connection; its status."
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    reply = line.recv(1 << 16)
    while b"\r\n\r\n" not in reply:
        reply += line.recv(1 << 16)
    head, _, body = reply.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += line.recv(1 << 16)
    return int(head[9:12])


def connect(url: str) -> socket.socket:
    "A connection without delay."
    address = urlsplit(url)
    line = socket.create_connection((address.hostname or "", address.port or 80), timeout=30)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


# --- cold ---


def computing(up: Running) -> list[float]:
    "Latencies in ms of forecasts that were never asked for, candles at hand."
    taken = []
    with connect(up.url) as line:
        for back in range(1, 49):
            started = time.perf_counter()
            assert ask(line, f"/api/predict?coin=BTC-USD&time_from={back}") == 200
            taken.append((time.perf_counter() - started) * 1e3)
    return taken


def bench_cold(options: argparse.Namespace) -> Figures:
    "Three starts, and forecasts of hours that nobody has asked about."
    starts: list[float] = []
    for _ in range(3):
        with running() as up:
            starts.append(first_forecast(up))
            if len(starts) == 3:
                taken = computing(up)
    computed = {f"computed_p{q}_ms": float(np.percentile(taken, q)) for q in (50, 99)}
    return {"start_to_first_forecast_s": float(np.median(starts)), "start_slowest_of_3_s": max(starts), **computed}


# --- predict ---


def knock(url: str, path: str, seconds: float) -> int:
    "Requests one after another over one connection; how many."
    end = time.perf_counter() + seconds
    with connect(url) as line:
        for count in itertools.count():
            if time.perf_counter() > end:
                return count
            assert ask(line, path) == 200
    return 0


def load(url: str, path: str, connections: int, seconds: float) -> float:
    "Requests per second over several connections."
    if wrk := shutil.which("wrk"):
        said = subprocess.run([wrk, "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", url + path], capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in said and "Socket errors" not in said, said
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    with ProcessPoolExecutor(2) as pool:
        return sum(pool.map(knock, [url] * 2, [path] * 2, [seconds] * 2)) / seconds


class Pacer:
    "Sends requests when they are due, over whichever connection is free, and notes how late the answers are."

    def __init__(self, url: str, path: str, connections: int) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        self.free = deque(connect(url) for _ in range(connections))  # the longest idle is next: idle ones would be closed after five seconds
        self.size = self.measure(self.free[0])
        self.waiting = selectors.DefaultSelector()
        self.due: dict[Any, tuple[float, float]] = {}  # When the request that a connection is busy with was due, and when it was sent
        self.have = dict.fromkeys(self.free, 0)
        for line in self.free:
            line.setblocking(False)
            self.waiting.register(line, selectors.EVENT_READ)

    def measure(self, line: socket.socket) -> int:
        "Bytes of an answer; no request changes it."
        line.sendall(self.request)
        time.sleep(0.5)
        return len(line.recv(1 << 16))

    def run(self, rate: float, seconds: float) -> np.ndarray:
        "When each request was due, sent and answered, in seconds, in the order of the answers."
        clock, seen, sent, total = time.perf_counter, list[tuple[float, float, float]](), 0, int(rate * seconds)
        start = clock() + 0.1
        while len(seen) < total:
            while sent < total and self.free and clock() >= (due := start + sent / rate):
                self.send(due)
                sent += 1
            wait = start + sent / rate - clock() if sent < total and self.free else 30
            for key, _ in self.waiting.select(max(0.0, wait)):
                if self.receive(key.fileobj):
                    seen.append((*self.due[key.fileobj], clock()))
        return np.array(seen)

    def send(self, due: float) -> None:
        line = self.free.popleft()
        self.due[line], self.have[line] = (due, time.perf_counter()), 0
        assert line.send(self.request) == len(self.request)

    def receive(self, line: Any) -> bool:
        "Take what has come; whether that is the whole answer."
        data = line.recv(1 << 16)
        assert data and (self.have[line] or data.startswith(b"HTTP/1.1 200")), data[:200]
        self.have[line] += len(data)
        if self.have[line] < self.size:
            return False
        self.free.append(line)
        return True


def pace(url: str, path: str, rate: float, seconds: float, connections: int = 64) -> Figures:
    "Latencies in ms of requests that come at a steady rate, whatever the service does."
    pacer = Pacer(url, path, connections)
    gc.disable()
    due, sent, answered = 1e3 * pacer.run(rate, seconds).T
    figures = {f"paced_p{q:g}_ms": float(np.percentile(answered - due, q)) for q in (50, 99, 99.9)}
    typical = [np.percentile(part, 99) for part in np.array_split(answered - due, max(1, round(seconds)))]
    figures |= {"paced_p99_typical_second_ms": float(np.median(typical)), "paced_p99_since_sent_ms": float(np.percentile(answered - sent, 99))}
    return {**figures, "paced_max_ms": float((answered - due).max()), "paced_per_s": rate}


def stolen(seconds: float) -> Figures:
    "How long this machine keeps a program that only looks at the clock waiting: what no service can be faster than."
    before, end, gaps = time.perf_counter(), time.perf_counter() + seconds, [0.0]
    while before < end:
        now = time.perf_counter()
        gaps += [now - before] if now - before > 0.002 else []
        before = now
    return {"machine_longest_gap_ms": 1e3 * max(gaps), "machine_gaps_ms_per_s": 1e3 * sum(gaps) / seconds}


def bench_predict(options: argparse.Namespace) -> Figures:
    "Rates in turns, since the machine has other work; then half of predict's rate."
    with running() as up:
        first_forecast(up)
        load(up.url, WARM, 16, 0.5)
        pairs = [(load(up.url, LIVE, 16, options.seconds), load(up.url, WARM, 16, options.seconds)) for _ in range(3)]
        live, predict = np.median(np.array(pairs), axis=0)
        with ProcessPoolExecutor(1) as pool:
            paced = pool.submit(pace, up.url, WARM, predict / 2, 4 * options.seconds).result()
        ratio = float(np.median([p / v for v, p in pairs]))
        tool = "wrk" if shutil.which("wrk") else "socket loop (slower than the service)"
        return {"predict_to_live": ratio, "predict_per_s": float(predict), "live_per_s": float(live), "load": tool, **paced, **stolen(options.seconds)}


# --- memory ---

MIX = [
    *[WARM] * 80,
    *[f"/api/predict?coin={coin}&time_from={back}" for coin in ("BTC-USD", "ETH-USD") for back in range(1, 73, 9)],
    *[f"/api/predict?coin=BTC-USD&time_from=2023-{month:02}-15T{month:02}:00Z&model_name=persistence" for month in range(1, 13)],
    *("/api/predict?coin=NO-SUCH", "/api/predict?coin=BTC-USD&time_from=73", "/api/nothing", "/api/accuracy?coin=BTC-USD"),
    *("/api/coins", "/api/models", "/health/ready", "/metrics"),
]


def mixed(url: str, count: int, seed: int) -> Counter[int]:
    "Many requests over one connection, in a random order; how many of each status."
    order = np.random.default_rng(seed).integers(0, len(MIX), count)
    with connect(url) as line:
        return Counter(ask(line, MIX[number] + (f"&x={seed}.{turn}" if turn % 50 == 0 else "")) for turn, number in enumerate(order))


def bench_memory(options: argparse.Namespace) -> Figures:
    "Two callers; memory is read forty times on the way. Growth is what the last quarter has over the quarter before it."
    slices, statuses, resident = 40, Counter[int](), []
    with running() as up, ProcessPoolExecutor(2) as pool:
        first_forecast(up)
        started = time.perf_counter()
        for turn in range(slices):
            size = options.requests // slices // 2
            for counted in pool.map(mixed, [up.url] * 2, [size] * 2, [2 * turn, 2 * turn + 1]):
                statuses += counted
            resident.append(memory(up.pid, "VmRSS"))
        taken, peak = time.perf_counter() - started, memory(up.pid, "VmHWM")
    assert not any(status >= 500 for status in statuses), statuses
    quarters = [float(np.mean(part)) for part in np.array_split(resident, 4)]
    return {
        "peak_memory_mb": peak, "growth_second_half_mb": quarters[3] - quarters[2], "memory_by_quarter_mb": " ".join(f"{mean:.1f}" for mean in quarters),
        "requests": statuses.total(), "mixed_per_s": statuses.total() / taken,
    }  # fmt: skip


# --- stream ---


class Listening:
    "What all readers of a stream have seen, event by event."

    def __init__(self) -> None:
        self.seen: dict[int, tuple[str, int]] = {}  # Kind and hash by number
        self.first: dict[int, float] = {}  # When the first reader had it
        self.last: dict[int, float] = {}  # and the last one
        self.different = 0  # Events that two readers saw differently

    def note(self, number: int, event: str, data: str) -> None:
        now = time.monotonic()
        self.different += self.seen.setdefault(number, (event, hash(data))) != (event, hash(data))
        self.first.setdefault(number, now)
        self.last[number] = now


class Reader(asyncio.Protocol):
    "One reader. Its greeting carries the number of the event before; from there on numbers rise by one, or something was lost."

    def __init__(self, heard: Listening, request: bytes) -> None:
        self.heard, self.request, self.partial = heard, request, ParserState()
        self.greeted: int | None = None
        self.number = 0  # Of the last event
        self.gaps = 0  # Events that are missing between others
        self.cut = False
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        self.cut = True

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        assert self.parser.get_status_code() == 200, body
        messages, self.partial = read_events(body, self.partial)
        for message in messages:
            number = int(message.id.partition("-")[2])
            if self.greeted is None:
                self.greeted = self.number = number
            if number != self.greeted:
                self.gaps += abs(number - self.number - 1)
                self.number = number
                self.heard.note(number, message.event, message.data)


async def listen(host: str, port: int, readers: int, seconds: float) -> Figures:
    "Connect many readers, let them read, and compare what they have read."
    loop, heard = asyncio.get_running_loop(), Listening()
    request = b"GET /api/stream?coin=BTC-USD HTTP/1.1\r\nHost: bench\r\n\r\n"
    crowd = [(await loop.create_connection(lambda: Reader(heard, request), host, port))[1] for _ in range(readers)]
    await asyncio.sleep(seconds)
    newest, end = max(reader.number for reader in crowd), loop.time() + 20
    while loop.time() < end and any(reader.number < newest for reader in crowd):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    spread = [1e3 * (heard.last[number] - heard.first[number]) for number in heard.seen if number <= newest] or [np.inf]
    kinds = Counter(event for event, _ in heard.seen.values())
    figures = {
        "lost_events": sum(reader.gaps + max(0, newest - reader.number) for reader in crowd),
        "lost_readers": sum(reader.cut or reader.greeted is None for reader in crowd),
        "events_told_differently": heard.different,
        "readers": len(crowd), "reader_seconds": seconds, **{f"{kind}_events": kinds[kind] for kind in ("price", "forecast", "scored")},
        "spread_p50_ms": float(np.percentile(spread, 50)), "spread_p99_ms": float(np.percentile(spread, 99)),
    }  # fmt: skip
    for reader in crowd:
        reader.transport.abort()
    return figures


def crowd(url: str, readers: int, seconds: float) -> Figures:
    "The readers, in a process of their own."
    import uvloop

    address = urlsplit(url)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(listen(address.hostname or "", address.port or 80, readers, seconds))


def bench_stream(options: argparse.Namespace) -> Figures:
    "The clock is set so that an hour becomes final in the middle: a score and a forecast must come."
    final = to_unix("2024-01-31T16:01Z")
    with running(start=final - options.readers_seconds / 2 - 10) as up, ProcessPoolExecutor(1) as pool:
        first_forecast(up)
        figures = pool.submit(crowd, up.url, options.readers, options.readers_seconds).result()
        with connect(up.url) as line:
            assert ask(line, WARM) == 200
        return {**figures, "stream_memory_mb": memory(up.pid, "VmHWM")}


# --- skew and fuzz, which live elsewhere ---


def bench_skew(options: argparse.Namespace) -> Figures:
    "The live service and the backtest of the same bundle, hour for hour."
    from skew import compare

    shared = load_settings().shared
    if not (shared / "candles" / "coinbase").exists():
        return {"skew": "skipped: no shared candles here"}
    started = time.perf_counter()
    tell = lambda text: print(f"\r  {text}   ", end="", file=sys.stderr, flush=True) if sys.stderr.isatty() else None  # noqa: E731
    figures = compare(shared, options.skew_days, options.skew_seconds_per_hour, tell=tell)
    return {f"skew_{name}": value for name, value in figures.items()} | {"skew_s": time.perf_counter() - started}


def bench_fuzz(options: argparse.Namespace) -> Figures:
    "tests/test_fuzz.py, with more requests."
    started, tests = time.perf_counter(), Path(__file__).with_name("test_fuzz.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, env={**os.environ, "CRYPTO_RTI_FUZZ": str(options.fuzz_requests)}, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-8000:])
    failures = re.search(r"(\d+) (?:failed|error)", done.stdout)
    count = int(failures[1]) if failures else int(done.returncode != 0)
    return {"fuzz_failures": count, "fuzz_requests": options.fuzz_requests, "fuzz_s": time.perf_counter() - started}


# --- all of it ---

PARTS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "cold": bench_cold, "predict": bench_predict, "memory": bench_memory, "stream": bench_stream, "skew": bench_skew, "fuzz": bench_fuzz,
    **bench_inside.PARTS,
}  # fmt: skip

BARS = {
    "start_to_first_forecast_s": ("<", 3.0),
    "predict_to_live": (">", 0.5),
    "paced_p99_ms": ("<", 10.0),
    "peak_memory_mb": ("<", 250.0),
    "growth_second_half_mb": ("<", 1.0),  # less than what one hour's candles and their frames come and go with
    "lost_events": ("<", 1),
    "lost_readers": ("<", 1),
    "events_told_differently": ("<", 1),
    "forecast_events": (">", 0),
    "scored_events": (">", 0),
    "stream_memory_mb": ("<", 300.0),
    "skew_largest_difference": ("<", 1e-6),
    "fuzz_failures": ("<", 1),
    **bench_inside.BARS,
}


def show(figures: Figures) -> int:
    "Print figures beside their bars; how many were missed."
    missed = 0
    for name, value in figures.items():
        sign, bar = BARS.get(name, ("", 0.0))
        fails = bool(sign) and not (value < bar if sign == "<" else value > bar)
        missed += fails
        text = f"{value:12.4g}" if isinstance(value, float) else f"{value:>12}"
        print(f"  {name:28} {text}" + (f"   bar {sign} {bar:g}{'   MISSED' if fails else ''}" if sign else ""), flush=True)
    return missed


def main() -> None:
    "Print the figures beside their bars; exit 1 when one is missed."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each rate is measured (default 3)")
    parser.add_argument("--requests", type=int, default=100_000, help="of the memory part")
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--readers-seconds", type=float, default=300.0)
    parser.add_argument("--skew-days", type=int, default=90)
    parser.add_argument("--skew-seconds-per-hour", type=float, default=0.3, help="how fast the replay goes")
    parser.add_argument("--fuzz-requests", type=int, default=10_000)
    bench_inside.add_options(parser)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options, figures, missed = parser.parse_args(), {}, 0
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"--only {unknown[0]}: choose from {', '.join(PARTS)}")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # a connection is a file, and so is each end of it
    for name in chosen:
        print(name, flush=True)
        found = PARTS[name](options)
        missed += show(found)
        figures |= found
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()

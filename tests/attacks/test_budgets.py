"""Attacks on connections, memory, threads and the event loop. Each runs against `crypto-rti serve` in a process of its own."""

import contextlib
import resource
import socket
import threading
import time
from functools import partial

import numpy as np
import pytest
from crowd import LIVE, START, closed, crowded, memory, pour

from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.scores import Scorer
from crypto_rti.service.writer import Entry, write_entries

GET = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"


def a_year(home):
    """Fill a ledger with scored forecasts."""
    ledger, until, generator = open_ledger(f"sqlite:///{home / 'ledger.db'}"), to_unix(START), np.random.default_rng(0)
    moments = [until - until % HOUR - HOUR * back for back in range(365 * 24)]
    noise = generator.normal(0, 100, (len(moments), 2))
    prices = 40_000 + noise[:, :1] + np.array([-200.0, -80.0, 0.0, 80.0, 200.0])
    entries = [
        Entry("sim", "BTC-USD", "lasso", "1", moment - HOUR, moment, moment - HOUR + 60.0, 40_000.0, tuple(fan), 0.005, (-1.6, -0.7, 0.0, 0.7, 1.6))
        for moment, fan in zip(moments, prices.tolist(), strict=True)
    ]
    write_entries(ledger, entries)
    Scorer(ledger, "sim").score("BTC-USD", dict(zip(moments, (40_000 + noise[:, 1]).tolist(), strict=True)))
    ledger.close()


@pytest.fixture(scope="module")
def service():
    with crowded(prepare=a_year) as up:
        up.get("/api/predict?coin=BTC-USD")
        yield up


def side_by_side(*calls):
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_endless_headers(service, attack):
    """Many small headers, one header without an end, trailers, chunk extensions, an address without an end, and nothing but empty lines."""
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    floods = {
        "headers": (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 10_000),
        "one header": (b"GET / HTTP/1.1\r\nx: ", b"y" * 60_000),
        "address": (b"GET /", b"a" * 60_000),
        "trailers": (chunked + b"0\r\n", b"x: y\r\n" * 10_000),
        "extension": (chunked + b"5;x=", b"y" * 60_000),
        "body": (b"POST /api/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n", b"y" * 60_000),
        "lines": (b"\r\n", b"\r\n" * 30_000),
    }
    taken = {}

    def flood(name):
        begin, again = floods[name]
        end, taken[name] = time.monotonic() + 2, []
        while time.monotonic() < end or not seen.enough:
            with service.open() as line, contextlib.suppress(OSError):
                line.sendall(begin)
                taken[name].append(pour(line, again, max(1, end - time.monotonic()), 400_000_000))

    with service.watched() as seen:
        side_by_side(*(partial(flood, name) for name in floods))
    seen.check()
    assert max(map(max, taken.values())) < 10_000_000, {name: max(sent) for name, sent in taken.items()}
    attack("headers, trailers, addresses and bodies without end", before="1.8 GB from one connection, 1.4 kept", after=seen.told)


def test_pipelined_requests_that_nobody_reads(service, attack):
    """Of small answers and of large ones; an ordinary client pipelines as well and is answered in order."""
    with service.watched() as seen, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(service.open()) for _ in range(20)]
        others = [GET.replace(b"/health/live", path) * 500 for path in (b"/metrics", b"/api/history?coin=BTC-USD&hours=720", b"/health/ready")]
        side_by_side(*(partial(pour, line, others[min(number, 2)], 3) for number, line in enumerate(lines)))
        seen.wait()
        during = memory(service.pid)
        with service.open() as line:
            line.sendall(GET * 300 + GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            heard = b"".join(iter(lambda: line.recv(1 << 16), b""))
    assert heard.count(b"HTTP/1.1 200") == 301
    assert during < seen.before + 30, during
    seen.check()
    attack("20 connections of pipelined requests, never read", before="over 2 GB from twenty", after=seen.told)


def test_more_connections_than_files(attack):
    """1,100 silent connections at a limit of 1,024 files, half-sent requests, more streams than are allowed: everybody else is answered, and nothing stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with crowded(files=1024, request_seconds=4, log_level="info") as up, up.watched() as seen:
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(up.open()) for _ in range(1100)]
            answered = [up.get(path, patience=60)[0] for path in (LIVE, "/api/predict?coin=BTC-USD", LIVE) for _ in range(5)]
            half = [stack.enter_context(up.open()) for _ in range(100)]
            for line in half:
                line.sendall(b"GET /health/live HTTP/1.1\r\nho")
            begun = time.monotonic()
            assert all(closed(line, 60) for line in [*half, *silent])
            ended = time.monotonic() - begun
        with contextlib.ExitStack() as stack:
            streams = []
            for _ in range(650):
                streams.append(stack.enter_context(up.open(patience=60)))
                streams[-1].sendall(b"GET /api/stream?coin=BTC-USD HTTP/1.1\r\nhost: x\r\n\r\n")
            statuses = [int(line.recv(1 << 16)[9:12]) for line in streams]
            answered += [up.get("/api/predict?coin=BTC-USD", patience=60)[0]]
        log = up.log.read_text()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answered == [200] * 16
    assert (statuses.count(200), statuses.count(503)) == (600, 50)
    assert "this worker accepts 800 connections, 600 of them streams, instead of 4096 and 2000: 1024 files may be open" in log
    assert "connections are closed (" in log
    seen.check()
    after = f"all are answered, the silent closed after {ended:.0f} s, 600 of 650 streams served; {seen.told}"
    attack("1,100 silent connections at 1,024 files, half requests, streams", before="nobody is answered, nothing is logged, half requests stay", after=after)


def test_streams_that_nobody_reads(service, attack):
    """Resumed from far back or not: what waits for readers that take nothing in is bounded."""
    with service.watched() as seen, contextlib.ExitStack() as stack:
        for number in range(200):
            line = stack.enter_context(service.open())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.sendall(b"GET /api/stream?coin=BTC-USD HTTP/1.1\r\nhost: x\r\n\r\n" + GET * (number % 50))
        seen.wait()
        assert service.get("/api/predict?coin=BTC-USD", patience=60)[0] == 200
    seen.check()
    attack("200 streams, never read", before="not measured", after=seen.told)


def test_varied_days(service, attack):
    """Every number of days over a year of forecasts, and 400 clients that ask and leave: memory stays, others are answered."""
    ask, statuses = "/api/accuracy?coin=BTC-USD&days=", []

    def vary(first):
        end = time.monotonic() + 3
        for number in range(first, 3650, 4):
            if time.monotonic() > end:
                return
            statuses.append(service.get(f"{ask}{number:04}", patience=40)[0])

    assert len(service.get(f"{ask}3000", patience=60)[1]) > 50_000
    alone = max(service.time_of(f"{ask}{number}") for number in range(90, 93))
    with service.watched() as seen:
        side_by_side(*(partial(vary, first) for first in (700, 701, 702, 703)))
        for number in range(400):
            with service.open() as line:
                line.sendall(f"GET {ask}{3000 - number} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        begun = time.perf_counter()
        service.until(lambda: service.get(f"{ask}77", patience=60)[0] == 200, "an answer")
        waited = 1e3 * (time.perf_counter() - begun)
    assert waited < 2000 + 20 * alone, (waited, alone)
    assert set(statuses) <= {200, 503} and statuses.count(200) >= 4, statuses
    seen.check(growth=40)
    after = f"others wait {waited / 1000:.1f} s; {seen.told}"
    attack("days= varied, then 400 requests abandoned", before="254 to 1,092 MB; others waited 25 s", after=after)

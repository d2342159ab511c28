"""Servers that send too much, too slowly, or elsewhere: the exchange client, `pull` and the typed client stop at a limit and say so."""

import asyncio
import gzip
import json
import socketserver
import threading
import time
import tracemalloc

import pytest

from crypto_rti.client import BadAnswerError as NoService
from crypto_rti.client import Client, UnavailableError
from crypto_rti.data.coinbase import CoinbaseClient
from crypto_rti.data.connection import BadAnswerError, ExchangeError, ExchangeUnavailableError
from crypto_rti.data.websocket import stream_messages
from crypto_rti.registry.manifest import BundleError
from crypto_rti.registry.pull import pull_bundles

MEGABYTE = 1_000_000


class Rude(socketserver.StreamRequestHandler):
    """Answers as its server says, and counts what it could send."""

    def handle(self):
        self.server.asked.append(self.rfile.readline().decode())
        while self.rfile.readline().strip():
            pass
        try:
            for piece in self.server.answer():
                self.wfile.write(piece)
                self.server.sent += len(piece)
        except OSError:
            pass

    def finish(self):
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Rude)
        self.url, self.sent, self.asked, self.answer = f"http://127.0.0.1:{self.server_address[1]}", 0, [], lambda: ()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"


def endless():
    """A body without an end, of 400 MB at most."""
    yield OK + b"\r\n"
    for _ in range(400):
        yield b"[" + b"1," * 500_000


def bomb():
    """80 kB that become 80 MB."""
    body = gzip.compress(b"[" + b"0," * 40_000_000 + b"0]", 6)
    return (OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body,)


def drip(start=OK + b"\r\n["):
    """A byte every 50 ms, for half a minute at most."""
    yield start
    for _ in range(600):
        yield b"1"
        time.sleep(0.05)


def header_drip():
    yield from drip(b"HTTP/1.1 200 OK\r\nx-slow: ")


def elsewhere():
    yield b"HTTP/1.1 302 Found\r\nlocation: http://198.51.100.1/index.json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def candles():
    """An answer of 42 MB that is a list of candles."""
    row = json.dumps([1_700_000_000, 1.0, 2.0, 1.5, 1.5, 3.0]).encode() + b","
    yield OK + b"connection: close\r\n\r\n["
    for _ in range(420):
        yield row * (MEGABYTE // 10 // len(row))
    yield row[:-1] + b"]"


async def longest_gap(work):
    """Await `work`; the result, and the longest time for which the event loop did nothing else."""
    gap, done = 0.0, asyncio.ensure_future(work)
    while not done.done():
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        gap = max(gap, time.perf_counter() - before)
    return (done.exception() or done.result()), gap


def ask_exchange(server, seconds=2.0):
    """One request for candles."""

    async def ask():
        async with CoinbaseClient(server.url, timeout_seconds=seconds, retries=0, requests_per_second=10) as client:
            return await longest_gap(client.window("BTC-USD", 1_700_000_000, 1_700_360_000))

    return asyncio.run(ask())


def test_a_large_answer_of_the_exchange_does_not_stop_the_loop(server, attack):
    server.answer = candles
    error, gap = ask_exchange(server, 20.0)
    assert isinstance(error, BadAnswerError) and "more than 250,000" in str(error)
    assert gap < 2.0 and server.sent < 12 * MEGABYTE  # What the system's buffers take is not read
    attack("42 MB of candles in one answer", "the event loop stood still for 15 s", f"refused, longest pause {1000 * gap:.0f} ms")


def test_a_bomb_is_not_unpacked(server, attack):
    pieces = bomb()
    server.answer = lambda: pieces
    tracemalloc.start()
    try:
        error, _ = ask_exchange(server, 20.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, BadAnswerError) and peak < 10 * MEGABYTE
    attack("80 kB of gzip that hold 80 MB (1.5 GB in the issue)", "365 MB more", f"refused, {peak / MEGABYTE:.1f} MB more")


@pytest.mark.parametrize("answer", [drip, header_drip])
def test_a_dripping_exchange_is_left(server, attack, answer):
    server.answer = answer
    begun = time.monotonic()
    error, _ = ask_exchange(server, 1.0)
    taken = time.monotonic() - begun
    assert isinstance(error, ExchangeUnavailableError) and taken < 10
    attack(f"an exchange that sends a byte every 50 ms ({answer.__name__})", "bounded before", f"left after {taken:.1f} s")


def test_the_exchange_sends_nobody_elsewhere(server):
    server.answer = elsewhere
    error, _ = ask_exchange(server)
    assert isinstance(error, ExchangeError) and "302" in str(error)


@pytest.mark.anyio
async def test_a_large_message_of_the_feed_is_refused(attack):
    from websockets.asyncio.server import serve

    async def flood(socket):
        await socket.recv()
        await socket.send(json.dumps({"type": "ticker", "filler": "x" * 900_000}))

    async with serve(flood, "127.0.0.1", 0) as feed:
        port = feed.sockets[0].getsockname()[1]
        with pytest.raises(ExchangeUnavailableError, match="1009|too big|PayloadTooBig"):
            await anext(stream_messages(f"ws://127.0.0.1:{port}", ["BTC-USD"], timeout_seconds=20))
    attack("a message of 900 kB on the feed", "parsed", "the connection is closed")


def test_pull_stops_at_an_endless_body(server, attack, tmp_path):
    server.answer = endless
    with pytest.raises(BundleError, match="more than 5,000,000 bytes"):
        pull_bundles(server.url, tmp_path / "home")
    assert server.sent < 30 * MEGABYTE and not any((tmp_path / "home").rglob("*.json"))
    attack("pull: a body without an end", "followed to 5.4 GB", f"left after {server.sent / MEGABYTE:.0f} MB")


@pytest.mark.parametrize("answer", [drip, header_drip])
def test_pull_does_not_wait_for_ever(server, attack, tmp_path, answer):
    server.answer = answer
    begun = time.monotonic()
    with pytest.raises(BundleError, match="not complete after 1 s"):
        pull_bundles(server.url, tmp_path, timeout=1.0)
    taken = time.monotonic() - begun
    assert taken < 10 and len(server.asked) == 1
    attack(f"pull: a byte every 50 ms ({answer.__name__})", "followed for ever", f"left after {taken:.1f} s")


def test_pull_follows_no_redirect_to_another_host(server, attack, tmp_path):
    server.answer = elsewhere
    with pytest.raises(BundleError, match=r"redirect \(302\) to http://198.51.100.1, which is not followed"):
        pull_bundles(server.url, tmp_path, timeout=5.0)
    attack("pull: a redirect to another host", "followed", "refused")


def test_the_typed_client_has_the_same_limits(server, attack):
    with Client(server.url, retries=0, timeout=0.3) as client:
        server.answer = endless
        with pytest.raises(NoService, match="more than 8,000,000 bytes"):
            client.coins()
        sent, server.answer = server.sent, drip
        begun = time.monotonic()
        with pytest.raises(UnavailableError):
            client.coins()
        taken = time.monotonic() - begun
    assert sent < 40 * MEGABYTE and taken < 12
    attack("the typed client: an endless body, then a dripping one", "400 MB and for ever", f"{sent / MEGABYTE:.0f} MB and {taken:.1f} s")

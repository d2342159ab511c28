"""A service of many coins: what waits for our own rate limit is not late, whoever asks goes first, and an exchange that fails is still found out."""

import asyncio
import contextlib
import gc
import gzip
import json
import logging
import re
import socket
import threading
import time
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from harness import UNTIL, bench
from toys import export_toy
from waiting import wait_for

from crypto_rti.client import AsyncClient, Client
from crypto_rti.data.candles import HOUR, to_iso
from crypto_rti.evaluation.intervals import ConformalState
from crypto_rti.registry.manifest import BundleFailedError
from crypto_rti.service import hourly, overview
from crypto_rti.service.exchange_requests import ANY
from crypto_rti.service.ledger import forecast_table
from crypto_rti.service.models import run_model


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("crypto_rti.service").setLevel(logging.CRITICAL)


def names(count):
    "Coins of the simulated market; the harness exports a model for the first one."
    return ["BTC-USD", *(f"C{number:03}-USD" for number in range(1, count))]


def eventually(wanted, seconds=30.0):
    "Wait until something is true."
    return wait_for(wanted, seconds, "the state that the test waits for")


def metric(up, name):
    return float(re.search(rf"^crypto_rti_{re.escape(name)} (\S+)", up.http.get("/metrics").text, re.MULTILINE)[1])


def in_loop(up, function):
    "The result of a function that is called where the service runs."

    async def call():
        return function()

    return asyncio.run_coroutine_threadsafe(call(), up.loop).result(10)


def slow_down(up):
    "Let the clock be asked for now and then only, as in earnest: with so few requests it would take them all."
    up.service.feed.clock.longest = 600.0
    up.ready()


def refresh_all(up):
    "Let every coin's candles be too old."
    up.exchange.clock.advance(HOUR)
    up.in_loop(up._shift, HOUR)


# --- a healthy exchange, and a long queue ---


def test_sixty_coins_over_the_end_of_an_hour(tmp_path):
    "A minute of the exchange is a second. A request may be under way for 3 s, and the last coin waits for six."
    coins = names(60)
    with bench(tmp_path, start="2024-01-31T15:52:00Z", products=" ".join(coins), listed=coins, speed=60.0, wait=False) as up:
        up.service.feed.request_timeout = 3.0
        away = []

        def settled():
            away.append(metric(up, "upstream_away"))
            time.sleep(0.2)
            return up.hourly.settled >= UNTIL + HOUR

        eventually(settled, 60)
        failed = dict(up.service.feed.requests_failed)
        assert not failed and not any(away) and len(away) > 10
        query = sa.select(forecast_table.c.coin).where(forecast_table.c.data_until == UNTIL + HOUR, forecast_table.c.kind == "persistence")
        in_loop(up, lambda: up.service.recorder.flush(5.0))
        made = {row.coin for row in up.service.ledger.fetch(query)}
        skipped = {key[0] for key, hour in up.hourly.failed.items()} | {coin for coin in coins if up.predict(coin=coin).status_code == 409}
        assert made | skipped >= {*coins} and len(made) >= 50  # A simulated coin may not have traded in one of the hours


def test_a_person_who_asks_does_not_wait_behind_the_other_coins(tmp_path):
    coins = names(40)
    with bench(tmp_path, products=" ".join(coins), listed=coins, wait=False, options={"requests_per_second": 4}) as up:
        answered = up.until(lambda response: response.status_code == 200, 5, coin=coins[-1])
        assert answered.json()["prediction"]["coin"] == coins[-1]
        assert len(up.service.feed.live) < 25


def test_a_queue_is_not_an_exchange_that_is_away(tmp_path):
    "At a request per second, the last of several people who ask waits too long. The answer says what for, and the coin comes later."
    coins = names(30)
    with bench(tmp_path, products=" ".join(coins), listed=coins, wait=False, options={"requests_per_second": 1}) as up:
        slow_down(up)
        up.service.feed.request_timeout = 0.2
        lines = []
        for coin in coins[10:16]:
            lines.append(socket.create_connection((urlsplit(up.url).hostname, urlsplit(up.url).port)))
            lines[-1].sendall(f"GET /api/predict?coin={coin} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = up.predict(coin=coins[29])
        assert response.status_code == 503 and response.json()["title"] == "Waiting for the rate limit"
        ahead = int(re.search(r"waiting for the rate limit: (\d+) requests before it", response.json()["detail"])[1])
        assert 1 <= ahead <= 7 and int(response.headers["retry-after"]) == ahead + 1
        assert not any("unavailable" in text for text in up.http.get("/health/ready").json()["problems"])
        assert metric(up, "upstream_away") == 0 and not up.service.feed.requests_failed
        assert metric(up, 'upstream_waiting{priority="background"}') > 10
        for line in lines:
            line.close()


def test_a_client_that_leaves_takes_its_request_with_it(tmp_path):
    "An old hour that nobody else needs leaves the queue; a coin that the service needs stays, in the background."
    coins = names(8)
    with bench(tmp_path, products=" ".join(coins), listed=coins, wait=False, options={"requests_per_second": 1}) as up:
        slow_down(up)
        address = urlsplit(up.url).hostname, urlsplit(up.url).port
        first = next(iter(up.service.feed.live))
        waiting = lambda: {key: ticket.priority.name for key, ticket in up.service.feed.tickets.items() if isinstance(key, tuple)}  # noqa: E731
        others = [socket.create_connection(address) for _ in coins[2:6]]
        for coin, line in zip(coins[2:6], others, strict=True):
            line.sendall(f"GET /api/predict?coin={coin} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.3)
        old, other = socket.create_connection(address), socket.create_connection(address)
        old.sendall(f"GET /api/predict?coin={first}&time_from=2022-03-01T00:00Z HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        other.sendall(f"GET /api/predict?coin={coins[-1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: [key for key in waiting() if key[0] == "block"] and waiting().get(("live", coins[-1])) == "ASKED")
        old.close()
        other.close()
        eventually(lambda: not [key for key in waiting() if key[0] == "block"], 5)
        eventually(lambda: waiting()["live", coins[-1]] == "BACKGROUND", 5)


def test_confirmations_do_not_make_anybody_wait(tmp_path):
    "Five minutes after the hour every coin is requested once more. Answers come from memory meanwhile, and the coins do not move up."
    coins = names(20)
    with bench(tmp_path, start="2024-01-31T16:02:00Z", products=" ".join(coins), listed=coins, wait=False, options={"requests_per_second": 4}) as up:
        eventually(lambda: len(up.service.feed.live) == len(coins))
        up.service.feed.refresh_timeout = 10.0
        up.jump(4 / 60)
        eventually(lambda: any(window.attempts == 2 for window in up.service.feed.live.values()))
        for coin in coins[::-1][:5]:
            assert up.predict(coin=coin).status_code in (200, 409)
            assert up.service.feed.live[coin].attempts == 1
        assert "ASKED" not in [ticket.priority.name for ticket in up.service.feed.client.queue.waiting]
        eventually(lambda: all(window.attempts == 2 for window in up.service.feed.live.values()))


# --- an exchange that fails ---


def test_a_hanging_exchange_is_found_within_the_deadline_and_probed_once(tmp_path):
    "Of 40 coins a few are under way when the first one times out; the others are not sent. From then on there is one request at a time."
    coins = names(40)
    with bench(tmp_path, products=" ".join(coins), listed=coins, wait=False) as up:
        eventually(lambda: len(up.service.feed.live) == len(coins))
        feed = up.service.feed
        feed.request_timeout = 0.5
        up.exchange.faults.add("delay", seconds=30, path="/products/*", times=None)
        sent = lambda: sum(count for path, count in feed.client.sent.items() if path.endswith("/candles"))  # noqa: E731
        before = sent()
        refresh_all(up)
        eventually(lambda: ANY in feed.failures, 5)
        assert metric(up, "upstream_away") == 1 and "the exchange is unavailable" in up.http.get("/health/ready").json()["problems"]
        time.sleep(1.0)
        assert sent() - before < 15 and not feed.client.queue.waiting
        probed = sent()
        time.sleep(6.0)  # A pause of three seconds, and half a second for each probe
        assert 1 <= sent() - probed <= 3
        up.exchange.faults.clear()
        eventually(lambda: all(feed.live[coin].end == UNTIL + HOUR for coin in coins), 30)
        assert ANY not in feed.failures and metric(up, "upstream_away") == 0


def test_a_coin_that_fails_does_not_hold_up_the_others(tmp_path):
    "The exchange answers 503 for the first of twelve coins, hour after hour."
    coins, fault = names(12), {"kind": "status", "status": 503, "path": "/products/BTC-USD/*", "times": None}
    with bench(tmp_path, products=" ".join(coins), listed=coins, wait=False, arm=[fault]) as up:
        feed = up.service.feed
        eventually(lambda: len(feed.live) == 11)
        refresh_all(up)
        eventually(lambda: all(feed.live[coin].end == UNTIL + HOUR for coin in coins[1:]), 20)
        eventually(lambda: feed.requests_failed, 20)  # The first failures are tried again, which takes longer than the eleven answers
        assert coins[0] not in feed.live


ONE_COIN_FAILS = {
    "refused": {"kind": "status", "status": 403},
    "unavailable": {"kind": "status", "status": 503},
    "disconnected": {"kind": "disconnect"},
    "not JSON": {"kind": "body", "body": "<html>"},
    "absurd numbers": {"kind": "rows", "damage": "absurd"},
}


@pytest.mark.parametrize("how", ONE_COIN_FAILS)
def test_a_failure_of_one_coins_candles_is_not_one_of_the_exchange(tmp_path, how):
    "The exchange fails for the last of eight coins, from the start and at the next hour. Nobody who asks for another coin notices."
    coins = names(8)
    bad, fault = coins[-1], {**ONE_COIN_FAILS[how], "path": f"/products/{coins[-1]}/candles", "times": None}
    with bench(tmp_path, products=" ".join(coins), listed=coins, arm=[fault]) as up:
        feed, away, others = up.service.feed, [], coins[:-1]

        def served(hour):
            away.append(metric(up, "upstream_away"))
            assert {up.predict(coin=coin).status_code for coin in [*feed.live] if coin != bad} <= {200, 409}
            return all(coin in feed.live and feed.live[coin].end == hour for coin in others)

        eventually(lambda: served(UNTIL))
        refresh_all(up)
        eventually(partial(served, UNTIL + HOUR), 20)
        again = time.monotonic() + 3.5  # The coin that fails is tried once more in this time
        while time.monotonic() < again:
            served(UNTIL + HOUR)
            time.sleep(0.1)
        assert not any(away) and ANY not in feed.failures
        assert "the exchange is unavailable" not in up.http.get("/health/ready").json()["problems"]
        assert (bad in feed.live) == (how == "absurd numbers")  # There, a single candle is left out


# --- start ---


def test_readiness_counts_the_coins(tmp_path):
    "The first coin is answered while the others are missing, and each further one as it comes."
    coins = names(12)
    with bench(tmp_path, products=" ".join(coins), listed=coins, wait=False, options={"requests_per_second": 5}) as up:
        up.ready()
        seen = [up.http.get("/health/ready").json()]
        assert seen[0]["status"] == "ready" and 1 <= seen[0]["coins"]["ready"] < 12 and seen[0]["coins"]["of"] == 12
        assert up.predict(coin=next(iter(up.service.feed.live))).status_code == 200
        while seen[-1]["coins"]["ready"] < 12:
            seen.append(up.http.get("/health/ready").json())
            time.sleep(0.1)
        counts = [one["coins"]["ready"] for one in seen]
        assert counts == sorted(counts) and len({*counts}) > 5 and metric(up, "coins_ready") == 12
        with Client(up.url) as client:
            assert client.ready().coins.ready == 12 and client.live().coins is None
        assert up.http.get("/health/live").json() == {"status": "live", "problems": [], "coins": None}


# --- what stays in memory ---


def test_missed_hours_are_written_coin_by_coin(tmp_path, monkeypatch):
    "At a first start every model has missed 35 hours."
    written, write = [], hourly.write_entries
    monkeypatch.setattr(hourly, "write_entries", lambda ledger, entries: written.append(entries) or write(ledger, entries))
    with bench(tmp_path, products=" ".join(names(4)), listed=names(4)) as up:
        up.hour(0)
    assert [len({entry.coin for entry in entries}) for entries in written] == [1] * len(written)
    assert len(written) >= 3 and sum(map(len, written)) > 100


def test_nothing_is_kept_of_versions_that_were_replaced(tmp_path):
    "Two versions before the champion wait for it to fail; what is known of earlier ones is removed."
    state = ConformalState((0.5, 0.1), ((0.5, 1.0, 1.5),) * 4, 0.05).to_dict()
    with bench(tmp_path, products="BTC-USD", interval=state) as up:
        up.hour(0)
        for version in ("2", "3", "4", "5"):
            export_toy(up.bundles, version=version, interval=state)
            eventually(lambda version=version: up.answer()["model_version"] == version)
            up.hour()
        kinds = [up.hourly.made, up.hourly.kept, up.service.states]
        assert [{version for _, kind, version in known if kind == "lasso"} for known in kinds] == [{"3", "4", "5"}] * 3


def test_a_computation_that_was_stopped_is_not_reported():
    "A service that ends in the middle of an hour's work leaves threads behind, whose errors nobody waits for."
    reports, started, stopped = [], threading.Event(), threading.Event()

    def work():
        started.set()
        stopped.wait(10)
        raise BundleFailedError("the model was terminated")

    async def stop():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        task = asyncio.create_task(run_model(SimpleNamespace(kind="lasso", version="1"), work))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        stopped.set()
        while any(thread.name == "forecast" for thread in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(stop())
    assert not reports


# --- the overview ---


def test_the_overview_says_what_the_other_answers_say(tmp_path):
    with bench(tmp_path, products="BTC-USD ETH-USD", slope=0.01) as up:
        up.hour(0)
        up.hour()
        up.hour()
        eventually(lambda: all(coin["predicted_for"] and not coin["stale"] for coin in up.http.get("/api/overview").json()["coins"]))
        answer = up.http.get("/api/overview")
        coins = {coin["coin"]: coin for coin in answer.json()["coins"]}
        assert answer.json()["source"] == "sim" and list(coins) == ["BTC-USD", "ETH-USD"]
        for coin, found in coins.items():
            prediction = up.answer(coin=coin)
            prices = [past["close"] for past in prediction["past_24_hour_prices"]]
            candles = up.service.feed.live[coin].candles["close"]
            assert found["price"] == prediction["current_price"] == prices[-1]
            assert found["move_24h"] == pytest.approx(prices[-1] / candles.iloc[-25] - 1)
            assert found["predicted_price"] == prediction["predicted_price"] and found["difference_bps"] == pytest.approx(prediction["difference_bps"])
            width = 1e4 * (prediction["interval"]["high"] - prediction["interval"]["low"]) / prediction["current_price"]
            assert found["interval_width_bps"] == pytest.approx(width)
            for name in ("data_until", "predicted_for", "stale"):
                assert found[name] == prediction[name], name
            assert (found["champion"], found["champion_version"]) == (prediction["model"], prediction["model_version"])
            score = up.accuracy(coin=coin, days=30)
            assert (found["live_mase"], found["live_forecasts"]) == (score["mase"], score["n"]) and score["n"] == 2
            assert found["ready"] and not found["new"]


def test_a_new_coin_is_marked_and_has_no_scores(tmp_path):
    with bench(tmp_path, products="BTC-USD ETH-USD") as up:
        export_toy(up.bundles, "ETH-USD", metrics={"n": 71, "new": True, "pool_mase": 0.99, "pool_coverage_90": 0.9, "pool_coins": 5})
        up.hour(0)
        eventually(lambda: up.answer(coin="ETH-USD")["model"] == "lasso")
        new, old = up.answer(coin="ETH-USD"), up.answer(coin="BTC-USD")
        assert (new["new"], new["backtest"]) == (True, {"mase": None, "coverage_90": None}) and not old["new"] and old["backtest"]["mase"] == 0.992
        assert {coin["coin"]: coin["new"] for coin in up.http.get("/api/overview").json()["coins"]} == {"BTC-USD": False, "ETH-USD": True}


def test_the_overview_follows_a_new_champion_and_missing_candles(tmp_path):
    with bench(tmp_path, products="BTC-USD ETH-USD") as up:
        up.hour(0)
        read = lambda: {coin["coin"]: coin for coin in up.http.get("/api/overview").json()["coins"]}  # noqa: E731
        before = eventually(lambda: read()["BTC-USD"]["predicted_price"] and read())
        export_toy(up.bundles, version="2", kind="lightgbm", shift=1.0)
        after = eventually(lambda: read()["BTC-USD"]["champion_version"] == "2" and read()["BTC-USD"]["predicted_price"] and read())
        assert after["BTC-USD"]["champion"] == "lightgbm" and after["BTC-USD"]["predicted_price"] > before["BTC-USD"]["predicted_price"]
        up.exchange.faults.add("status", status=503, path="/products/*", times=None)
        up.jump(1)
        eventually(lambda: read()["BTC-USD"]["stale"])
        assert read()["BTC-USD"]["data_until"] == to_iso(UNTIL)


def test_the_overview_is_computed_once_and_sent_compressed_or_not_at_all(tmp_path, monkeypatch):
    rendered, render = [], overview.render_overview
    monkeypatch.setattr(overview, "render_overview", lambda found: rendered.append(found) or render(found))
    with bench(tmp_path, products=" ".join(names(20)), listed=names(20)) as up:
        eventually(lambda: up.hourly.settled >= UNTIL)
        plain = up.http.get("/api/overview", headers={"accept-encoding": "identity"})
        assert plain.headers["content-type"] == "application/json" and plain.headers["cache-control"] == "no-cache"
        with socket.create_connection((urlsplit(up.url).hostname, urlsplit(up.url).port)) as line:
            line.sendall(b"GET /api/overview HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
            head, _, body = b"".join(iter(lambda: line.recv(1 << 16), b"")).partition(b"\r\n\r\n")
        assert b"content-encoding: gzip" in head.lower() and json.loads(gzip.decompress(body)) == plain.json() and len(body) < len(plain.content) / 2
        again = up.http.get("/api/overview", headers={"if-none-match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert up.http.head("/api/overview").status_code == 200
        made, refreshes = len(rendered), up.service.feed.refreshes
        time.sleep(1.2)  # Longer than an answer is kept in any case
        assert {up.http.get("/api/overview").headers["etag"] for _ in range(50)} == {plain.headers["etag"]}
        assert (len(rendered), up.service.feed.refreshes) == (made, refreshes)


def test_the_client_reads_the_overview(tmp_path):
    with bench(tmp_path) as up:
        eventually(lambda: up.http.get("/api/overview").json()["coins"][1]["ready"])

        async def ask():
            async with AsyncClient(up.url) as client:
                return await client.overview()

        with Client(up.url) as client:
            found = client.overview()
        assert [coin.coin for coin in found.coins] == ["BTC-USD", "ETH-USD"] and found.coins[0].price > 0
        assert asyncio.run(ask()).coins[0].price == found.coins[0].price

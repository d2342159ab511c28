"""The feed against a replay exchange over real sockets: the running hour, closed hours, minutes, clocks, and what can go wrong with each."""

import asyncio
import contextlib
import json
import logging
import random
import time

import pytest
from waiting import wait_for_async
from websockets.asyncio.server import serve

from crypto_rti.data import simulation
from crypto_rti.data.candles import HOUR, final_until, resample_candles, to_unix
from crypto_rti.data.coinbase import CoinbaseClient
from crypto_rti.data.connection import ExchangeUnavailableError, UnknownProductError
from crypto_rti.data.plausibility import ExchangeClock
from crypto_rti.data.simulation import sim_candles
from crypto_rti.replay import channels
from crypto_rti.replay.server import running_exchange
from crypto_rti.service import live_prices, minutes
from crypto_rti.service.candle_builder import Trade, new_builder
from crypto_rti.service.feed import Feed, candles_for, exchange_now, keep_fresh, latest, set_clock
from crypto_rti.service.live_prices import follow_prices
from crypto_rti.service.minutes import minutes_for

NOW = "2024-01-31T15:20:00Z"
BTC = "BTC-USD"

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("crypto_rti.service").setLevel(logging.CRITICAL)


async def until(condition, what, **options):
    await wait_for_async(condition, 60, what, **options)


class FeedHarness:
    "A replay exchange and a feed on it."

    def __init__(self, exchange, client):
        self.exchange, self.client, self.feed = exchange, client, Feed(client)
        self.feed.clock.longest = 0.3  # a test's clock jumps
        self.wanted = [BTC]
        self.tasks = []

    def follow(self, websocket=True, pause=0.1):
        self.tasks.append(asyncio.create_task(follow_prices(self.feed, self.exchange.ws_url if websocket else None, lambda: self.wanted, pause)))

    def asked(self, path="candles"):
        return sum(request.path.endswith(path) for request in self.exchange.requests)

    def connections(self):
        return sum(request.status == 101 for request in self.exchange.requests)

    def hour(self, product=BTC):
        return self.feed.running.get(product)

    async def whole(self, via=None, product=BTC):
        "Wait until the newest trade and all before it are known."

        def current():
            hour, tape = self.hour(product), self.exchange.exchange.histories.get(product)
            return hour and hour.whole and hour.trade_id == tape.last_id and hour.time > self.exchange.clock.now() - 1 and via in (None, hour.via)

        await until(current, f"{product} up to its newest trade, via {via or 'either way'}")
        return self.hour(product)

    async def advance(self, seconds, **how):
        self.exchange.clock.advance(seconds)
        return await self.whole(**how)

    def truth(self, product=BTC):
        "The running hour as the exchange's own minutes have it; the clock stands on a whole minute."
        now = int(self.exchange.clock.now())
        return resample_candles(self.exchange.exchange.market.minutes(product, now // HOUR * HOUR, now)).iloc[0]


@contextlib.asynccontextmanager
async def replay_feed(source="sim", start=NOW, speed=0.0, rate=10.0, **options):
    with running_exchange(source, start=start, speed=speed, rate_limit=False, **options) as exchange:
        async with CoinbaseClient(exchange.url, requests_per_second=rate, retries=0) as client:
            up = FeedHarness(exchange, client)
            try:
                yield up
            finally:
                for task in [*up.tasks, *up.feed.pending.tasks]:
                    task.cancel()
                await asyncio.gather(*up.tasks, *up.feed.pending.tasks, return_exceptions=True)


def check_hour(hour, truth):
    assert [hour.start, hour.open, hour.high, hour.low, hour.close] == [truth["time"], truth["open"], truth["high"], truth["low"], truth["close"]]
    assert hour.volume == pytest.approx(truth["volume"], rel=1e-6)


# --- the running hour ---


@pytest.mark.parametrize("seed", range(20))
def test_order_and_repetition_do_not_matter(seed):
    "The hour does not depend on the order of trades, and is complete as soon as the last missing one is added."
    chance = random.Random(seed)
    trades = [Trade(number, 7200 + number, chance.uniform(90, 110), chance.random()) for number in range(1, 60)]
    mixed = trades[:1] + chance.sample(trades[1:], len(trades) - 1)
    builder = new_builder(BTC, trades[0], 7200)
    builder.start_known = True
    for count, trade in enumerate(mixed, 1):
        builder.add(trade)
        builder.add(chance.choice(mixed[:count]))  # sent twice
    hour, prices = builder.candle, [trade.price for trade in trades]
    assert [hour.open, hour.high, hour.low, hour.close] == [prices[0], max(prices), min(prices), prices[-1]]
    assert hour.volume == pytest.approx(sum(trade.size for trade in trades)) and hour.whole and hour.price == prices[-1]


@pytest.mark.parametrize("names", [("ticker", "matches", "heartbeat"), ("ticker", "heartbeat")])
async def test_lost_trades_are_repaired(monkeypatch, names):
    "With either channel; the hour that began under watch has asked for no candles."
    monkeypatch.setattr(channels, "_CHANNELS", names)
    async with replay_feed() as up:
        up.exchange.faults.add("lose", path="/", times=None, probability=0.3)
        up.follow()
        check_hour(await up.advance(60, via="websocket"), up.truth())
        for _ in range(3):
            await up.advance(900)
        candles = up.asked()
        check_hour(await up.advance(300), up.truth())
        assert up.feed.repairs >= 2 and up.asked() == candles and up.feed.websocket_error == ""


async def test_a_silent_websocket_is_replaced_by_polling():
    async with replay_feed() as up:
        up.follow()
        await up.advance(60, via="websocket")
        up.exchange.faults.add("silence", path="/")
        up.exchange.clock.advance(60)
        check_hour(await up.whole(via="rest"), up.truth())
        await until(lambda: up.feed.websocket_error, "an error of the websocket")
        up.exchange.faults.clear()
        check_hour(await up.advance(60, via="websocket"), up.truth())
        assert up.feed.websocket_error == "" and up.feed.reconnects >= 1


async def test_disconnects():
    async with replay_feed() as up:
        up.follow()
        await up.advance(60, via="websocket")
        for _ in range(3):
            before = up.connections()
            up.exchange.faults.add("disconnect", path="/")
            await until(lambda before=before: up.connections() > before, "another connection")
            check_hour(await up.advance(60, via="websocket"), up.truth())
        assert up.feed.reconnects == 3


async def test_a_refused_websocket_is_opened_again_with_growing_pauses():
    async with replay_feed() as up:
        refusal = up.exchange.faults.add("status", path="/", times=None)
        up.follow()
        check_hour(await up.advance(60, via="rest"), up.truth())
        await until(lambda: "403" in up.feed.websocket_error and up.feed.reconnects >= 4, "four refused connections")
        assert refusal in up.exchange.faults.active() and up.connections() == 0
        up.exchange.faults.clear()
        check_hour(await up.advance(60, via="websocket"), up.truth())
        assert up.feed.websocket_error == ""


async def test_waits_between_connections_grow(monkeypatch):
    "A port without a listener; the pauses are tenacity's, recorded and skipped."
    waits = []
    real = asyncio.sleep

    async def sleep(seconds):
        if asyncio.current_task().get_name() == "websocket":
            waits.append(seconds)
        await real(0)
        if len(waits) >= 12:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async with CoinbaseClient("http://127.0.0.1:9", retries=0) as client:
        socket = live_prices.PriceSocket(Feed(client), "ws://127.0.0.1:9", lambda: [BTC])
        connecting = asyncio.create_task(live_prices.keep_connected(socket), name="websocket")
        await asyncio.wait({connecting})
    assert len(waits) == 12
    for turn, wait in enumerate(waits):
        assert min(2**turn, 60) <= wait <= min(2**turn, 60) + 1


async def test_rest_only_stays_within_half_of_the_rate_limit():
    async with replay_feed(rate=5.0) as up:
        up.wanted, started = [BTC, "ETH-USD"], time.monotonic()
        up.follow(websocket=False, pause=0.05)
        check_hour(await up.advance(120, via="rest"), up.truth())
        check_hour(await up.whole(via="rest", product="ETH-USD"), up.truth("ETH-USD"))
        check_hour(await up.advance(180, via="rest"), up.truth())
        rounds = (time.monotonic() - started) / (4 * 2 / 5.0)
        assert up.asked("ticker") <= 2 * (rounds + 1) and up.connections() == 0 and up.feed.websocket_error == ""


async def test_many_products_are_polled_a_few_at_a_time():
    "Ten at once, over REST only: never more than a few requests in progress, and every hour becomes complete."
    async with replay_feed(products=[f"{coin}-USD" for coin in simulation.COINS]) as up:
        up.wanted, most = up.exchange.exchange.market.products, 0
        up.follow(websocket=False, pause=0.02)

        def all_whole():
            nonlocal most
            most = max(most, live_prices.prices_in_progress(up.feed))
            return len(up.feed.running) == len(up.wanted) and all(hour.whole for hour in up.feed.running.values())

        await until(all_whole, "a whole hour of every product", pause=0.005)
        assert 1 <= most <= live_prices.PRICES_ASKED


async def test_unknown_products_do_not_affect_others():
    async with replay_feed() as up:
        up.wanted = ["NO-SUCH", BTC, "not a product", "ALSO-NOT"]
        up.follow()
        check_hour(await up.advance(60, via="websocket"), up.truth())
        await until(lambda: up.feed.requests_failed["UnknownProductError"] >= 2, "two refused requests for an unknown product")
        assert set(up.feed.running) == {BTC} and up.connections() <= 4 and up.feed.websocket_error == ""


async def test_a_refusal_without_product_names():
    "The product list decides; the longer name is not mistaken for the shorter."
    async with replay_feed() as up:
        nameless = UnknownProductError("the feed refuses: no such product")
        assert await live_prices._unlisted(up.feed, [BTC, "NO-SUCH"], nameless) == {"NO-SUCH"}
        named = UnknownProductError("the feed refuses: BTC-USDC is not a valid product")
        assert await live_prices._unlisted(up.feed, [BTC, "BTC-USDC"], named) == {"BTC-USDC"}


async def test_the_list_of_products_changes():
    async with replay_feed() as up:
        up.follow()
        await up.advance(60, via="websocket")
        up.wanted = ["ETH-USD"]
        check_hour(await up.advance(60, via="websocket", product="ETH-USD"), up.truth("ETH-USD"))
        await until(lambda: set(up.feed.running) == {"ETH-USD"}, "ETH-USD alone")
        up.wanted = []
        await until(lambda: not up.feed.running, "no product")
        up.wanted = [BTC]
        check_hour(await up.advance(60, via="websocket"), up.truth())


async def test_hours_turn_and_one_is_without_trades():
    "Stored hours have no minutes, so the first one is incomplete; the next one is complete, though it has no trades, and so is the one after."
    table = sim_candles(BTC, "2024-01-30T00:00Z", "2024-02-01T00:00Z")
    empty = to_unix("2024-01-31T16:00Z")
    async with replay_feed({BTC: table[table["time"] != empty]}, start="2024-01-31T15:58:00Z") as up:
        up.follow()
        await until(lambda: up.hour() and up.feed.builders[BTC].failed_repairs >= live_prices.REPAIRS_TRIED, "the last repair")
        assert not up.hour().whole and up.hour().start == empty - HOUR
        up.exchange.clock.advance(150)
        await until(lambda: up.hour().start == empty, "the empty hour")
        await until(lambda: up.hour().whole, "a whole hour")
        hour, last = up.hour(), table[table["time"] == empty - HOUR]["close"].iloc[0]
        assert [hour.open, hour.high, hour.low, hour.close, hour.price, hour.volume] == [last] * 5 + [0.0]
        up.exchange.clock.set("2024-01-31T17:02:00Z")
        check_hour(await up.whole(via="websocket"), up.truth())
        asked = up.asked()
        up.exchange.clock.advance(1500)  # more than the exchange remembers, and it has no minutes to tell
        await until(lambda: up.feed.builders[BTC].failed_repairs >= live_prices.REPAIRS_TRIED, "the last repair")
        assert not up.hour().whole and up.hour().price == up.exchange.exchange.histories[BTC].trades[-1].price and up.asked() > asked


async def test_a_gap_too_old_for_trades_is_rebuilt_from_minutes():
    async with replay_feed() as up:
        up.follow()
        await up.advance(60, via="websocket")
        check_hour(await up.advance(1800), up.truth())
        check_hour(await up.advance(3 * HOUR), up.truth())


def test_trade_ids_that_begin_anew():
    "As after a restart of the exchange: lower ids at later times are no duplicates."
    feed, second = Feed(CoinbaseClient("http://127.0.0.1:9")), {"type": "match", "product_id": BTC, "size": "1"}
    for number, moment, price in [(900, "15:20:00", "10"), (899, "15:19:59", "11"), (5, "15:20:30", "12"), (6, "15:20:31", "13")]:
        live_prices.handle_message(feed, {**second, "trade_id": number, "time": f"2024-01-31T{moment}Z", "price": price})
    assert feed.running[BTC].price == 13 and feed.running[BTC].trade_id == 6 and not feed.builders[BTC].missing


async def test_a_clock_that_is_set_back():
    async with replay_feed() as up:
        up.follow()
        await up.advance(60, via="websocket")
        up.exchange.clock.set("2024-01-31T09:30:00Z")
        await until(lambda: up.hour() and up.hour().start == to_unix("2024-01-31T09:00Z"), "the hour from 09:00")
        check_hour(await up.advance(60, via="websocket"), up.truth())


GARBAGE = ['{"type": "tick', b"\xff\x00", "[]", "null", '{"type": 7}', '{"type": "match"}', '{"type": "heartbeat", "product_id": "BTC-USD"}']


async def test_invalid_messages_are_ignored():
    "Invalid messages between two trades lose neither the connection nor a price."

    def match(**changes):
        whole = {"type": "match", "product_id": BTC, "trade_id": 5, "time": "2024-01-31T15:20:01Z", "price": "42000.5", "size": "0.1"}
        return json.dumps({**whole, **changes})

    bad = [match(trade_id=6, price=price) for price in ("NaN", "Infinity", "-1", "0", "", "1e999")]
    bad += [match(trade_id=6, size="NaN"), match(trade_id="x"), match(trade_id=-4), match(time="noon"), match(time=None), match(product_id=["x"])]

    async def talk(socket):
        json.loads(await socket.recv())
        for frame in [match(), *GARBAGE, *bad, match(trade_id=6, price="42001.5")]:
            await socket.send(frame)
        await socket.wait_closed()
    async with replay_feed() as up, serve(talk, "127.0.0.1", 0) as server:
        up.exchange.faults.add("status", times=None)  # no help from REST
        up.tasks.append(asyncio.create_task(follow_prices(up.feed, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: [BTC], 0.5)))
        await until(lambda: up.hour() and up.hour().trade_id == 6, "trade 6")
        hour = up.hour()
        assert [hour.open, hour.high, hour.low, hour.price, hour.volume] == [42000.5, 42001.5, 42000.5, 42001.5, 0.2]
        assert up.feed.reconnects == 0 and not up.feed.builders[BTC].missing


# --- closed hours ---


async def test_two_requests_per_product_and_hour_however_many_wait():
    "Over three hours, with a hundred callers at every moment and `keep_fresh` beside them."
    async with replay_feed() as up:
        up.wanted, products = [BTC, "ETH-USD"], (BTC, "ETH-USD")
        up.tasks.append(asyncio.create_task(keep_fresh(up.feed, lambda: up.wanted, 0.05)))
        ends = set()
        for _ in range(12):
            await set_clock(up.feed)
            end = final_until(up.exchange.clock.now())
            windows = await asyncio.gather(*(candles_for(up.feed, product, end - back * HOUR) for product in products for back in range(50)))
            await until(lambda end=end: all(up.feed.live[product].end == end for product in products), "the new hour of every product")
            assert {len(window.candles) for window in windows} == {300}
            ends.add(end)
            up.exchange.clock.advance(900)
            await until(lambda: up.feed.clock.now() >= up.exchange.clock.now(), "a clock that has caught up")
        assert len(ends) == 4 and up.asked() <= 2 * len(products) * (len(ends) + 1)
        assert up.feed.hits > 1000 and up.feed.hits + up.feed.misses == 1200


async def test_a_newest_candle_that_changes_after_the_hour_is_requested_again():
    async with replay_feed(start="2024-01-31T16:01:00Z", lag=150.0) as up:
        first = await latest(up.feed, BTC)
        up.exchange.clock.advance(240)
        up.feed.clock.remote += 240
        second = await latest(up.feed, BTC)
        truth = sim_candles(BTC, first.start, first.end)
        assert first.end == second.end == to_unix("2024-01-31T16:00Z") and len(first.candles) == len(second.candles)
        assert not first.candles.equals(truth) and second.candles.equals(truth)
        for _ in range(10):
            up.exchange.clock.advance(240)
            up.feed.clock.remote += 240
            assert (await latest(up.feed, BTC)).candles is second.candles
        assert up.asked() == 2


async def test_an_unchanged_candle_stays_the_same_object():
    async with replay_feed(start="2024-01-31T16:01:00Z") as up:
        first = await latest(up.feed, BTC)
        up.exchange.clock.advance(300)
        up.feed.clock.remote += 300
        second = await latest(up.feed, BTC)
        assert second is not first and second.candles is first.candles and up.asked() == 2


# --- clocks ---


@pytest.mark.parametrize("minutes", [10, -10])
async def test_a_clock_ten_minutes_off(minutes):
    "Hours close, and prices belong to hours, by the exchange's clock, whatever ours says."
    async with replay_feed(start=time.time() + 60 * minutes, speed=1.0) as up:
        up.follow()
        early = final_until(up.exchange.clock.now())
        window, recent = await latest(up.feed, BTC), await minutes_for(up.feed, BTC)
        assert abs(up.feed.clock.now() - up.exchange.clock.now()) < 5  # not 600; generous for a busy machine
        assert early <= window.end <= final_until(up.exchange.clock.now())
        assert up.exchange.clock.now() - recent.end < 100
        await until(lambda: up.hour() and up.hour().via == "websocket", "a price from the websocket")
        assert abs(up.hour().time - up.exchange.clock.now()) < 30


async def test_our_clock_is_used_only_until_the_exchange_clock_is_known(monkeypatch):
    "At 16:10:30 by ours it is 16:00:30 there, and the hour is not over."
    async with replay_feed(start="2024-01-31T16:00:30Z") as up:
        monkeypatch.setattr(time, "time", lambda: to_unix("2024-01-31T16:10:30Z"))
        assert final_until(up.feed.clock.now()) == to_unix("2024-01-31T16:00Z")
        assert (await latest(up.feed, BTC)).end == to_unix("2024-01-31T15:00Z")


@pytest.mark.parametrize("speed", [3600.0, 20_000.0])
async def test_no_hour_of_a_fast_replay_is_fetched_too_early(speed):
    "Every window that is kept is the market's own, to the last hour, and the clock is not ahead of the exchange's."
    async with replay_feed(speed=speed) as up:
        up.feed.clock.longest = 60.0
        up.tasks.append(asyncio.create_task(keep_fresh(up.feed, lambda: up.wanted)))
        await until(lambda: up.feed.clock.rate > speed / 2, "the rate of the exchange's clock")
        seen = {}
        end = time.monotonic() + 2
        while time.monotonic() < end:
            ours, true = up.feed.clock.now(), up.exchange.clock.now()
            assert ours <= true + 0.01 * speed / 1000
            window = up.feed.live.get(BTC)
            if window:
                seen[window.end] = window
            await asyncio.sleep(0.005)
        assert len(seen) >= 1
        for window in seen.values():
            assert window.candles.equals(sim_candles(BTC, window.start, window.end))


# --- minutes ---


async def test_minutes_are_fetched_once_and_then_only_what_is_new():
    "Thirty callers at once; the newest minute appears late at a lagging exchange and is in with the next question."
    async with replay_feed(start="2024-01-31T15:20:05Z", lag=90.0) as up:
        await asyncio.gather(*(minutes_for(up.feed, BTC) for _ in range(30)))
        assert up.asked() == 6
        for minute in range(1, 6):
            up.exchange.clock.advance(60)
            up.feed.clock.remote += 60
            windows = await asyncio.gather(*(minutes_for(up.feed, BTC) for _ in range(30)))
            assert len({id(window) for window in windows}) == 1 and up.asked() == 6 + minute
            window = windows[0]
            whole = sim_candles(BTC, window.start, window.end - 120, 60)
            assert window.end == to_unix("2024-01-31T15:20Z") + 60 * minute and window.end - window.start == 60 * minutes.MINUTES
            assert window.candles[window.candles["time"] < window.end - 120].reset_index(drop=True).equals(whole)


async def test_minutes_after_a_long_pause_and_a_clock_set_back():
    async with replay_feed(start="2024-01-31T15:20:05Z", lag=0.0) as up:
        for moment, requests in [("2024-01-31T15:20:05Z", 6), ("2024-01-31T21:20:05Z", 2), ("2024-02-10T00:00:05Z", 6), ("2024-01-20T00:00:05Z", 6)]:
            before = up.asked()
            up.exchange.clock.set(moment)
            up.feed.clock = ExchangeClock()
            window = await minutes_for(up.feed, BTC)
            assert window.candles.equals(sim_candles(BTC, window.start, window.end, 60)) and window.end == to_unix(moment) - 5
            assert up.asked() - before == requests


# --- the exchange misbehaves ---

TROUBLE = [
    {"kind": "status", "status": 429, "message": "Public rate limit exceeded"},
    {"kind": "status", "status": 429, "retry_after": 30},
    {"kind": "status", "status": 500},
    {"kind": "delay", "seconds": 30},
    {"kind": "cut"},
    {"kind": "body"},
    {"kind": "body", "body": '{"rows": []}'},
    {"kind": "disconnect"},
]


@pytest.mark.parametrize("fault", TROUBLE, ids=lambda fault: "-".join(str(value)[:12] for value in fault.values()))
async def test_old_candles_are_served_during_trouble(fault):
    "Hours and minutes late by an hour, callers that wait no longer than `refresh_timeout`, few requests, and a recovery afterwards."
    async with replay_feed() as up:
        up.feed.request_timeout, up.feed.refresh_timeout = 0.5, 0.2
        old, recent = await latest(up.feed, BTC), await minutes_for(up.feed, BTC)
        up.exchange.faults.add(**{"path": "/products/*", "times": None, **fault})
        up.exchange.clock.advance(HOUR)
        up.feed.clock.remote += HOUR
        before = len(up.exchange.requests)
        late = await asyncio.gather(*(ask(up.feed, BTC) for ask in (latest, minutes_for) for _ in range(100)))
        assert {id(window) for window in late} == {id(old), id(recent)}
        assert len(up.exchange.requests) - before <= 6
        await until(lambda: up.feed.failures and not up.feed.pending.tasks, "a failure")
        assert set(up.feed.requests_failed) <= {"ExchangeUnavailableError", "BadAnswerError", "TimeoutError"} and up.feed.requests_failed
        up.exchange.faults.clear()
        up.feed.failures = {key: (0.0, error) for key, (_, error) in up.feed.failures.items()}  # the pause is over
        up.feed.request_timeout = up.feed.refresh_timeout = 20.0
        fresh, news = await latest(up.feed, BTC), await minutes_for(up.feed, BTC)
        assert fresh.end == old.end + HOUR and fresh.candles.equals(sim_candles(BTC, fresh.start, fresh.end))
        assert news.end == recent.end + HOUR


async def test_an_unavailable_exchange_and_nothing_in_memory():
    async with replay_feed() as up:
        await exchange_now(up.feed)
        up.exchange.faults.add("status", status=503, path="/products/*", times=None)
        for ask in (latest, minutes_for):
            with pytest.raises(ExchangeUnavailableError) as refusal:
                await ask(up.feed, BTC)
            assert "503" in str(refusal.value)
        up.follow(pause=0.1)
        await until(lambda: up.feed.requests_failed["ExchangeUnavailableError"] >= 1 and BTC in up.feed.running, "a failed request and a price")
        hour = up.hour()  # the websocket alone; the hour's beginning cannot be had
        assert hour.via == "websocket" and not hour.whole and hour.price > 0


async def test_a_whole_outage_of_prices():
    "Neither websocket nor REST for two hours, then both again: the running hour is whole."
    async with replay_feed() as up:
        up.follow()
        await up.advance(60, via="websocket")
        up.exchange.faults.add("status", path="/", times=None)
        up.exchange.faults.add("disconnect", path="/")
        up.exchange.faults.add("status", path="/products/*", times=None)
        await until(lambda: up.feed.websocket_error and up.feed.requests_failed, "failures of both")
        price = up.hour().price
        up.exchange.clock.advance(2 * HOUR)
        await asyncio.sleep(0.3)
        assert up.hour().price == price  # the last one known, with its time
        up.exchange.faults.clear()
        check_hour(await up.whole(via="websocket"), up.truth())


async def test_cancelling_leaves_no_task_running():
    before = asyncio.all_tasks()
    async with replay_feed() as up:
        up.follow()
        up.tasks.append(asyncio.create_task(keep_fresh(up.feed, lambda: up.wanted, 0.05)))
        await up.advance(60, via="websocket")
        for task in up.tasks:
            task.cancel()
        await asyncio.wait(up.tasks)
        await asyncio.gather(*up.feed.pending.tasks, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == before

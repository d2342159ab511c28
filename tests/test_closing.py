"""Minutes and hours that are closed by trades, confirmed over REST and kept in files, against a replay exchange over real sockets."""

import asyncio
import contextlib
import json
import logging
import math
import random
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from harness import bench
from test_feed import BTC, NOW, replay_feed, until
from test_live import Reader, rows
from waiting import wait_for
from websockets.asyncio.server import serve

from crypto_rti.data.candles import HOUR, MINUTE, to_iso, to_unix
from crypto_rti.data.coinbase import CoinbaseClient
from crypto_rti.data.plausibility import ExchangeClock
from crypto_rti.data.simulation import sim_candles
from crypto_rti.service.candle_builder import Trade
from crypto_rti.service.closing_hour import closed_by_trades, confirmed_for
from crypto_rti.service.feed import Feed, Window, keep_fresh, latest
from crypto_rti.service.live_prices import follow_prices, handle_message
from crypto_rti.service.minute_history import history_missing, keep_minutes, next_minute
from crypto_rti.service.minute_table import HISTORY_MINUTES, MinuteHistory, between, load_minutes, save_minutes
from crypto_rti.service.minutes import MINUTES, minutes_for

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("crypto_rti.service").setLevel(logging.CRITICAL)


def keep(up, folder, pause=0.05):
    "Keep the minutes of the products wanted; the task can be ended."
    task = asyncio.create_task(keep_minutes(up.feed, lambda: up.wanted, Path(folder), pause))
    up.tasks.append(task)
    return task


async def end(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class TrueClock(ExchangeClock):
    "Knows the time of the exchange, also when a test sets it: several jumps in a row look like a clock that runs fast, and that has tests of its own."

    def __init__(self, there):
        super().__init__(measured=0.0, asked=math.inf)
        self.there = there

    def now(self, at=None):
        return self.there.now()


@contextlib.asynccontextmanager
async def closing_feed(source="sim", start=NOW, **options):
    async with replay_feed(source, start=start, **options) as up:
        up.feed.clock = TrueClock(up.exchange.clock)
        yield up


def at(up, moment):
    "Move the exchange's clock to a moment."
    up.exchange.clock.set(moment if isinstance(moment, str) else float(moment))


def check(history):
    "The minutes are the market's own, without a hole."
    truth = sim_candles(history.product, history.start, history.end, MINUTE)
    assert history.candles["time"].tolist() == truth["time"].tolist()
    assert np.allclose(history.candles.to_numpy(), truth.to_numpy(), rtol=1e-6, atol=1e-6)
    assert history.start % MINUTE == history.end % MINUTE == history.confirmed % MINUTE == 0 and history.start <= history.confirmed <= history.end


def fill(folder, until, candles=None, product=BTC):
    "Write the file of a service that has kept all minutes until a moment, so that a test need not fetch them."
    end = to_unix(until) // MINUTE * MINUTE
    start = end - MINUTE * HISTORY_MINUTES
    candles = sim_candles(product, start, end, MINUTE) if candles is None else between(candles, start, end)
    save_minutes(MinuteHistory(product, candles, start, end, end, float(end)), Path(folder))


async def complete(up, product=BTC):
    "Wait until the whole history is there, up to the last minute that is closed."

    def whole():
        history = up.feed.histories.get(product)
        return history if history is not None and history.end - history.start == MINUTE * HISTORY_MINUTES else None

    await until(whole, "all minutes")
    return whole()


# --- over REST, and from the file ---


async def test_minutes_are_caught_up_newest_first_and_a_restart_asks_only_for_what_is_missing(tmp_path):
    async with closing_feed(start="2024-01-31T15:20:05Z", lag=0.0) as up:
        task = keep(up, tmp_path)
        await until(lambda: BTC in up.feed.histories, "the first page")
        assert up.feed.histories[BTC].end == to_unix("2024-01-31T15:20Z")  # the newest minutes come first
        assert history_missing(up.feed, BTC).startswith("one-minute candles: ") and history_missing(up.feed, BTC).endswith("of 193 hours")
        check(await complete(up))
        assert history_missing(up.feed, BTC) == "" and up.asked() == -(-HISTORY_MINUTES // 300)
        await end(task)
    for minutes, pages in ((10, 1), (700, 3), (3000, 8)):  # the last gap is longer than a day: its newest minutes come first
        async with closing_feed(start=to_unix("2024-01-31T15:20:05Z") + MINUTE * minutes, lag=0.0) as up:
            task = keep(up, tmp_path)
            await until(lambda: BTC in up.feed.histories and up.feed.histories[BTC].end > up.exchange.clock.now() - MINUTE, "the last minute")
            check(await complete(up))
            await end(task)
            assert up.asked() == pages


async def test_callers_for_a_day_of_minutes_ask_for_nothing_more(tmp_path):
    async with closing_feed(start="2024-01-31T15:20:05Z", lag=0.0) as up:
        fill(tmp_path, "2024-01-31T15:20Z")
        keep(up, tmp_path)
        history = await complete(up)
        asked = up.asked()
        windows = await asyncio.gather(*(minutes_for(up.feed, BTC) for _ in range(30)))
        window = windows[0]
        assert len({id(one) for one in windows}) == 1 and up.asked() == asked and window.end == history.end
        assert window.candles.equals(sim_candles(BTC, window.end - MINUTE * MINUTES, window.end, MINUTE))


async def test_minutes_close_over_rest_when_the_exchange_has_them(tmp_path):
    "Its candles lag by half a minute: a minute is asked for again until it is there, and confirmed a minute after its end."
    async with closing_feed(start="2024-01-31T15:20:05Z", lag=30.0) as up:
        fill(tmp_path, "2024-01-31T15:18Z")
        keep(up, tmp_path)
        history = await complete(up)
        await until(lambda: not up.feed.pending.tasks, "an answer")
        assert history.end == to_unix("2024-01-31T15:19Z")
        at(up, "2024-01-31T15:20:31Z")
        history = await next_minute(up.feed, BTC, to_unix("2024-01-31T15:19Z"), 20)
        assert (history.end, history.confirmed) == (to_unix("2024-01-31T15:20Z"), to_unix("2024-01-31T15:19Z"))
        assert 31 <= history.closed_at - history.end < 32
        at(up, "2024-01-31T15:21:40Z")
        history = await next_minute(up.feed, BTC, history.end, 20)
        await until(lambda: history.confirmed == to_unix("2024-01-31T15:20Z"), "the confirmation")
        assert history.corrected is None
        check(history)
        with pytest.raises(TimeoutError):
            await next_minute(up.feed, BTC, history.end, 0.05)


async def test_a_minute_without_trades_closes_once_the_exchange_cannot_be_behind(tmp_path):
    table = sim_candles(BTC, "2024-01-20T00:00Z", "2024-01-31T16:00Z", MINUTE)
    silent = to_unix("2024-01-31T15:20Z")
    async with closing_feed({BTC: table[table["time"] != silent]}, start=silent + 5, lag=0.0) as up:
        fill(tmp_path, silent, table)
        keep(up, tmp_path)
        assert (await complete(up)).end == silent
        for seconds in (6, 12, 40, 64):
            asked = up.asked()
            at(up, silent + MINUTE + seconds)
            await until(lambda asked=asked: up.asked() > asked and not up.feed.pending.tasks, "another request")
            assert up.feed.histories[BTC].end == silent
        at(up, silent + 2 * MINUTE + 6)
        history = await next_minute(up.feed, BTC, silent, 20)
        assert history.end == silent + 2 * MINUTE and silent not in set(history.candles["time"])


# --- by trades ---


async def follow(up, folder, moment, product=BTC):
    "Follow prices and keep minutes and hours, until everything up to the newest trade is known."
    fill(folder, to_unix(moment) - 60, product=product)
    up.follow()
    keep(up, folder)
    up.tasks.append(asyncio.create_task(keep_fresh(up.feed, lambda: up.wanted, 0.05)))
    await up.whole(via="websocket")
    await until(lambda: up.feed.histories and up.feed.live and up.feed.builders[product].closing.since, "candles")
    await closed(up, to_unix(moment) // MINUTE * MINUTE, product)


async def closed(up, end, product=BTC):
    "Wait until minutes are closed up to a moment."
    known = up.feed.histories  # Without the product for a moment, when its minutes are discarded
    await until(lambda: product in known and known[product].end == end, lambda: f"the minute that ends at {end}; {known.get(product)}")
    return up.feed.histories[product]


async def test_a_minute_closes_with_the_first_message_after_it(tmp_path):
    "Its candle is the market's, long before the exchange has it, and without a request; a minute later it is confirmed."
    async with closing_feed(start="2024-01-31T15:20:30Z") as up:
        await follow(up, tmp_path, "2024-01-31T15:20:30Z")
        for minute in range(21, 25):
            asked = up.asked()
            end = to_unix(f"2024-01-31T15:{minute}Z")
            at(up, end - 0.5)
            await up.whole(via="websocket")
            assert up.feed.histories[BTC].end == end - MINUTE
            at(up, end + 0.6)
            history = await closed(up, end)
            assert history.closed_at - end < 2 and history.confirmed < end and history.corrected is None
            assert up.asked() <= asked + 1  # the confirmation of earlier ones
            check(history)
        at(up, end + 70)
        await until(lambda: history.confirmed == end, "the confirmation")
        assert history.corrected is None
        check(history)


async def test_an_hour_closes_with_the_first_message_after_it(tmp_path):
    "A provisional window, without a request; its confirmation changes nothing, not even the object."
    async with closing_feed(start="2024-01-31T15:59:30Z") as up:
        await follow(up, tmp_path, "2024-01-31T15:59:30Z")
        end, before, hours = to_unix("2024-01-31T16:00Z"), up.feed.live[BTC], hourly_requests(up)
        at(up, end + 0.6)
        await until(lambda: up.feed.live[BTC].end == end, "the hour")
        window = up.feed.live[BTC]
        assert (window.provisional, window.corrected, window.start) == (True, False, before.start + HOUR) and window.asked_at - end < 2
        truth = sim_candles(BTC, window.start, end)
        assert window.candles["time"].tolist() == truth["time"].tolist() and np.allclose(window.candles.to_numpy(), truth.to_numpy(), rtol=1e-6)
        assert hourly_requests(up) == hours and (await latest(up.feed, BTC)) is window
        cut = await confirmed_for(up.feed, BTC, end)
        assert (cut.end, cut.provisional, cut.last_end) == (end - HOUR, False, end - HOUR)
        for seconds, attempts in ((61, 1), (302, 2)):
            at(up, end + seconds)
            await until(lambda attempts=attempts: up.feed.live[BTC].attempts == attempts, "the confirmation")
            now = up.feed.live[BTC]
            assert (now.end, now.provisional, now.corrected) == (end, False, False) and now.candles is window.candles
        assert hourly_requests(up) == hours + 2 and (await confirmed_for(up.feed, BTC, end)) is now


async def test_two_hundred_hours_close_without_a_request():
    "The last hour of each coin is known but for its last trade, which comes after the first one of the next hour for every other coin."
    end, coins = to_unix("2024-01-31T16:00Z"), [f"C{number}-USD" for number in range(200)]
    hours = sim_candles(BTC, end - 301 * HOUR, end - HOUR)
    price = float(hours["close"].iloc[-1])

    def message(coin, number, second):
        return json.loads(match(coin, Trade(number, end + second, price + number, 1.5)))

    async with CoinbaseClient("http://127.0.0.1:9") as client:
        feed = Feed(client)
        feed.clock.remote, feed.clock.measured = end + 0.5, time.monotonic()
        for coin in coins:
            feed.live[coin] = Window(hours, end - 301 * HOUR, end - HOUR, end - HOUR + 61)
            handle_message(feed, message(coin, 7, -HOUR + 1.0))
            feed.builders[coin].start_known = True
        for coin in coins[::2]:
            handle_message(feed, message(coin, 8, -0.1))
            handle_message(feed, message(coin, 9, 0.1))
        for coin in coins[1::2]:
            handle_message(feed, message(coin, 9, 0.1))
        assert {coin for coin in coins if feed.live[coin].provisional} == set(coins[::2])
        for coin in coins[1::2]:
            handle_message(feed, message(coin, 8, -0.1))
        assert all(feed.live[coin].provisional and feed.live[coin].end == end for coin in coins)
        rows = {tuple(feed.live[coin].candles.iloc[-1]) for coin in coins}
        assert rows == {(end - HOUR, price + 7, price + 8, price + 7, price + 8, 3.0)} and client.requests == 0 and not feed.pending.tasks
        feed.clock.remote += HOUR  # The exchange has confirmed nothing meanwhile: no second hour is appended
        for coin in coins[:10]:
            handle_message(feed, message(coin, 10, HOUR - 0.1))
            handle_message(feed, message(coin, 11, HOUR + 0.1))
        assert {feed.live[coin].end for coin in coins} == {end} and closed_by_trades(feed, coins[0]) == end + HOUR


def hourly_requests(up):
    return sum(request.path.endswith("candles") and request.query["granularity"] == "3600" for request in up.exchange.requests)


# --- faults ---


@pytest.mark.parametrize("seed", range(5))
async def test_trades_out_of_order_twice_and_of_another_product(tmp_path, seed):
    "The websocket sends the trades around two closes shuffled, some twice, with those of another coin between: minute and hour are the market's."
    chance, ready = random.Random(seed), asyncio.Event()
    async with closing_feed(start="2024-01-31T15:58:30Z") as up:

        async def talk(socket):
            json.loads(await socket.recv())
            await ready.wait()
            at(up, end + 3.0)
            first = up.feed.builders[BTC].candle.trade_id
            messages = [match(BTC, trade) for trade in up.exchange.exchange.trades(BTC).trades if trade.trade_id > first]
            messages += chance.choices(messages, k=40) + [match("ETH-USD", trade) for trade in list(up.exchange.exchange.trades("ETH-USD").trades)[-80:]]
            chance.shuffle(messages)
            for message in messages:
                await socket.send(message)
            await socket.wait_closed()

        end = to_unix("2024-01-31T16:00Z")
        async with serve(talk, "127.0.0.1", 0) as server:
            fill(tmp_path, "2024-01-31T15:57Z")
            up.tasks.append(asyncio.create_task(follow_prices(up.feed, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: [BTC], 0.1)))
            up.tasks.append(asyncio.create_task(keep_fresh(up.feed, lambda: up.wanted, 0.05)))
            keep(up, tmp_path)
            await up.whole(via="rest")
            await until(lambda: BTC in up.feed.histories and BTC in up.feed.live, "candles")
            up.exchange.faults.add("status", path="/products/*", times=None)  # No help from REST
            ready.set()
            history = await closed(up, end)
            await until(lambda: up.feed.live[BTC].end == end, "the hour")
        check(history)
        window = up.feed.live[BTC]
        assert window.provisional and history.closed_at - end < 5
        assert np.allclose(window.candles.to_numpy(), sim_candles(BTC, window.start, end).to_numpy(), rtol=1e-6)


def match(product, trade):
    "A trade as the websocket sends it."
    moment = datetime.fromtimestamp(trade.time, timezone.utc).isoformat()
    size, price = f"{trade.size:.8f}", repr(trade.price)
    return json.dumps({"type": "match", "product_id": product, "trade_id": trade.trade_id, "time": moment, "price": price, "size": size})


async def test_lost_trades_are_fetched_before_a_minute_and_an_hour_close(tmp_path):
    "The websocket loses the last trades of the hour, and the first of the next one."
    async with closing_feed(start="2024-01-31T15:59:30Z") as up:
        await follow(up, tmp_path, "2024-01-31T15:59:30Z")
        end = to_unix("2024-01-31T16:00Z")
        lost = up.exchange.faults.add("lose", path="/", times=8)
        at(up, end - 3.5)
        await until(lambda: lost not in up.exchange.faults.active() or up.feed.builders[BTC].missing, "lost trades")
        at(up, end + 8.5)
        await closed(up, end)
        await until(lambda: up.feed.live[BTC].end == end, "the hour")
        check(up.feed.histories[BTC])
        window = up.feed.live[BTC]
        assert window.provisional and np.allclose(window.candles.to_numpy(), sim_candles(BTC, window.start, end).to_numpy(), rtol=1e-6)


@pytest.mark.parametrize("lag", [0.0, 60.0])
async def test_a_websocket_that_falls_silent_across_a_close(tmp_path, lag):
    "Nothing is closed too early or from half of the trades; REST closes both, whether it has the candle at once or after a minute."
    async with closing_feed(start="2024-01-31T15:59:30Z", lag=lag) as up:
        await follow(up, tmp_path, "2024-01-31T15:59:30Z")
        end = to_unix("2024-01-31T16:00Z")
        at(up, end - 10.5)
        await up.whole(via="websocket")
        up.exchange.faults.add("silence", path="/")
        up.exchange.faults.add("status", path="/products/*/t*", times=None)  # No trades and tickers over REST either
        for seconds in (0.6, 4.0):
            at(up, end + seconds)
            await asyncio.sleep(0.5)
            assert up.feed.histories[BTC].end == end - MINUTE and up.feed.live[BTC].end == end - HOUR
        at(up, end + 5.5)
        history = up.feed.histories[BTC]
        if lag:
            await asyncio.sleep(0.5)
            assert history.end == end - MINUTE
            at(up, end + 61)
        await closed(up, end)
        at(up, end + 66)
        await until(lambda: up.feed.live[BTC].end == end and history.confirmed == end, "the hour")
        window = up.feed.live[BTC]
        check(history)
        assert not window.provisional and window.candles.equals(sim_candles(BTC, window.start, end))
        up.exchange.faults.clear()
        at(up, end + 130)
        await up.whole(via="websocket")
        check(await closed(up, end + 2 * MINUTE))


async def test_a_correction_after_the_close(tmp_path):
    "A trade that the websocket reports with another price: the exchange's own candles replace minute and hour, and what was wrong is named."
    async with closing_feed(start="2024-01-31T15:59:30Z") as up:
        await follow(up, tmp_path, "2024-01-31T15:59:30Z")
        end = to_unix("2024-01-31T16:00Z")
        up.exchange.faults.add("trade", path="/", price=0.9 * up.hour().price, times=1)
        at(up, end - 20)
        await up.whole(via="websocket")
        at(up, end + 0.6)
        history = await closed(up, end)
        await until(lambda: up.feed.live[BTC].end == end, "the hour")
        wrong, truth = up.feed.live[BTC], sim_candles(BTC, end - HOUR, end)["low"].iloc[0]
        assert wrong.provisional and wrong.candles["low"].iloc[-1] < 0.91 * truth and history.candles["low"].iloc[-1] < 0.91 * truth
        changes = history.changes
        assert history.corrected is None
        at(up, end + 66)
        await until(lambda: history.confirmed == end and not up.feed.live[BTC].provisional, "the confirmation")
        right = up.feed.live[BTC]
        assert (right.end, right.corrected) == (end, True) and right.candles is not wrong.candles
        assert right.candles["low"].iloc[-1] == truth and history.corrected == end - MINUTE and history.changes > changes
        check(history)
        up.exchange.faults.add("gap", path="/products/*/candles", start=end - 9 * HOUR, end=end - 8 * HOUR)
        at(up, end + 302)
        await until(lambda: up.feed.live[BTC].attempts == 2, "the second answer")
        assert up.feed.live[BTC].corrected and len(up.feed.live[BTC].candles) == len(right.candles) - 1


async def test_an_exchange_that_is_late_to_confirm(tmp_path):
    "An hour that it does not have yet when it is final keeps its candle until it is asked again; one that it still does not have is dropped."
    async with closing_feed(start="2024-01-31T15:59:30Z") as up:
        await follow(up, tmp_path, "2024-01-31T15:59:30Z")
        end = to_unix("2024-01-31T16:00Z")
        at(up, end + 0.6)
        await until(lambda: up.feed.live[BTC].end == end, "the hour")
        window = up.feed.live[BTC]
        up.exchange.faults.add("gap", path="/products/*/candles", start=end - HOUR, end=end)
        at(up, end + 61)
        await until(lambda: up.feed.live[BTC].attempts == 1, "the first answer")
        assert up.feed.live[BTC].provisional and up.feed.live[BTC].candles is window.candles
        at(up, end + 122)
        await until(lambda: up.feed.live[BTC].attempts == 2, "the second answer")
        late = up.feed.live[BTC]
        assert (late.end, late.last_end, late.provisional, late.corrected) == (end, end - HOUR, False, True)


@pytest.mark.parametrize("minutes", [10, -10])
async def test_minutes_close_by_the_exchange_clock_when_ours_is_ten_minutes_off(tmp_path, minutes):
    start = time.time() // MINUTE * MINUTE + MINUTE * minutes + 52
    async with replay_feed(start=start, speed=1.0) as up:
        fill(tmp_path, start - MINUTE)
        up.follow()
        keep(up, tmp_path)
        end = int(start // MINUTE + 1) * MINUTE
        history = await next_minute(up.feed, BTC, end - MINUTE, 60)
        assert history.end == end and end <= up.exchange.clock.now() and history.confirmed < end
        check(history)


async def test_a_clock_that_was_ten_minutes_ahead_and_is_set_back(tmp_path):
    "Minutes that have not come are discarded, and fetched when they come."
    async with closing_feed(start="2024-01-31T15:30:05Z", lag=0.0) as up:
        fill(tmp_path, "2024-01-31T15:30Z")
        keep(up, tmp_path)
        await complete(up)
        at(up, "2024-01-31T15:20:05Z")
        check(await closed(up, to_unix("2024-01-31T15:20Z")))
        assert load_minutes(tmp_path, BTC, to_unix("2024-01-31T15:20Z")).end == to_unix("2024-01-31T15:20Z")


async def test_a_file_that_is_cut_in_the_middle_of_a_write(tmp_path, monkeypatch):
    "The file of before is still there; one that was cut all the same is named in the log, and its minutes are fetched again."
    async with closing_feed(start="2024-01-31T15:20:05Z", lag=0.0) as up:
        fill(tmp_path, "2024-01-31T15:10Z")
        before = (tmp_path / f"{BTC}.npz").read_bytes()
        task = keep(up, tmp_path)
        await closed_when_known(up, to_unix("2024-01-31T15:20Z"))

        def interrupted(file, **arrays):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(np, "savez", interrupted)
            await end(task)
        assert (tmp_path / f"{BTC}.npz").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
        del up.feed.histories[BTC]
        (tmp_path / f"{BTC}.npz").write_bytes(before[: len(before) // 2])
        task = keep(up, tmp_path)
        history = await complete(up)
        check(history)
        await end(task)
        assert load_minutes(tmp_path, BTC, history.end).end == history.confirmed == to_unix("2024-01-31T15:19Z")


async def closed_when_known(up, moment):
    await until(lambda: BTC in up.feed.histories, "a history")
    return await closed(up, moment)


def test_no_damage_to_a_file_raises_or_passes(tmp_path):
    "Cut anywhere, or with a changed byte in the numbers."
    fill(tmp_path, "2024-01-31T15:20Z")
    path, chance, until_ = tmp_path / f"{BTC}.npz", random.Random(0), to_unix("2024-01-31T15:20Z")
    whole = path.read_bytes()
    for _ in range(40):
        path.write_bytes(whole[: chance.randrange(len(whole))])
        assert load_minutes(tmp_path, BTC, until_) is None
        place = chance.randrange(1000, len(whole) - 3000)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        found = load_minutes(tmp_path, BTC, until_)
        assert found is None or found.candles.equals(sim_candles(BTC, found.start, found.end, MINUTE))
    path.write_bytes(whole)
    assert load_minutes(tmp_path, BTC, until_) is not None and load_minutes(tmp_path, BTC, until_ - 900 * MINUTE).end == until_ - 900 * MINUTE


# --- in the service ---


def test_a_service_scores_an_hour_when_it_is_confirmed(tmp_path):
    "The websocket's last trade of the hour has another price than the exchange's candle, and the exchange is a minute late with that."
    options = {"live_feed": True, "horizons": "15 60"}
    with bench(tmp_path, start="2024-01-31T15:59:30Z", products="BTC-USD", options=options) as up:
        end, feed = to_unix("2024-01-31T16:00Z"), up.service.feed
        up.service.feed.clock = TrueClock(up.exchange.clock)
        wait_for(lambda: up.hourly.settled == end - HOUR, 60, "the settled hour")
        wait_for(lambda: BTC in feed.running and feed.running[BTC].whole and feed.running[BTC].via == "websocket", 60, "the running hour")
        reader = Reader(up.url, f"coin={BTC}").wait(lambda it: it.of("forecast"))
        gap = up.exchange.faults.add("gap", path="/products/*/candles", start=end - HOUR, end=end)
        up.exchange.clock.set(end - 0.6)
        wait_for(lambda: feed.running[BTC].time > end - 1.5, 60, "the last but one trade")
        up.exchange.faults.add("trade", path="/", price=round(0.99 * feed.running[BTC].price, 2), times=1)
        up.exchange.clock.set(end + 0.6)
        wait_for(lambda: feed.live[BTC].end == end, 60, "the hour")
        wrong = float(feed.live[BTC].candles["close"].iloc[-1])
        truth = sim_candles(BTC, end - HOUR, end)["close"].iloc[0]
        assert feed.live[BTC].provisional and wrong < 0.995 * truth
        wait_for(lambda: end in up.hourly.made.values(), 60, "the forecast from the hour")
        up.exchange.clock.set(end + 61.0)
        wait_for(lambda: feed.live[BTC].attempts == 1, 60, "the first answer of REST")
        assert feed.live[BTC].provisional and up.hourly.settled == end - HOUR
        time.sleep(1.5)  # The hourly work looks once a second
        assert up.hourly.settled == end - HOUR
        up.exchange.faults.clear()
        assert gap not in up.exchange.faults.active()
        up.exchange.clock.set(end + 125.0)
        wait_for(lambda: up.hourly.settled == end, 60, "the settled hour")
        scored = {row["predicted_for"]: row["actual_price"] for row in rows(up) if row["made_at"] < row["predicted_for"]}
        assert scored["2024-01-31T16:00:00Z"] == truth
        made = wait_for(lambda: [row for row in rows(up) if row["data_until"] == to_iso(end) and row["kind"] == "lasso"], 60, "the row")
        assert [(row["current_price"], row["corrected_current_price"]) for row in made] == [(wrong, truth)]
        assert end <= to_unix(made[0]["issued_at"]) < end + 5 and made[0]["issued_price"] > 0
        reader.wait(lambda it: len([one for one in it.of("forecast") if one["prediction"]["data_until"] == to_iso(end)]) == 2)
        told = [one["prediction"] for one in reader.of("forecast") if one["prediction"]["data_until"] == to_iso(end)]
        assert [(one["current_price"], one["provisional"]) for one in told] == [(wrong, True), (truth, False)]


def test_the_hour_of_a_coin_that_is_only_read_by_a_model_closes_by_trades_too(tmp_path):
    "Otherwise every forecast of that model would wait until REST has the candle."
    with bench(tmp_path, start="2024-01-31T15:59:30Z", products=BTC, options={"live_feed": True}, slope=0.01, reference="ETH-USD") as up:
        end, feed = to_unix("2024-01-31T16:00Z"), up.service.feed
        feed.clock = TrueClock(up.exchange.clock)
        wait_for(lambda: all(coin in feed.running and feed.running[coin].whole and coin in feed.live for coin in (BTC, "ETH-USD")), 60, "the running hours")
        up.exchange.clock.set(end + 0.6)
        wait_for(lambda: all(feed.live[coin].end == end for coin in (BTC, "ETH-USD")), 60, "the hours")
        assert feed.live["ETH-USD"].provisional and up.answer()["data_until"] == to_iso(end)


@pytest.mark.parametrize("horizons", ["60", "15 60"])
def test_minutes_are_kept_where_horizons_below_the_hour_are_wanted(tmp_path, horizons):
    fill(tmp_path / "minutes" / "sim", "2024-01-31T15:18Z")
    with bench(tmp_path, products="BTC-USD", options={"live_feed": True, "horizons": horizons}) as up:
        up.service.feed.clock = TrueClock(up.exchange.clock)
        wait_for(lambda: BTC in up.service.feed.running and up.service.feed.running[BTC].whole, 60, "the running hour")
        asked = [request for request in up.exchange.requests if request.query.get("granularity") == "60"]
        if horizons == "60":
            assert not up.service.feed.histories and len(asked) == 1  # The beginning of the running hour
            return
        history = wait_for(lambda: up.service.feed.histories.get(BTC), 60, "the history")
        wait_for(lambda: history.end == to_unix("2024-01-31T15:20Z"), 60, "the last minute")
        assert history_missing(up.service.feed, BTC) == ""
    found = load_minutes(tmp_path / "minutes" / "sim", BTC, history.end)
    assert found.end == history.confirmed > to_unix("2024-01-31T15:18Z")
    check(found)


# --- replays at speed ---


@pytest.mark.parametrize("speed", [60.0, 3600.0])
async def test_minutes_of_a_replay_at_speed_are_the_markets(tmp_path, speed):
    "Its trades are a sample of one every fifteen seconds and more: nothing is closed by them, and minutes come from REST, many in one request."
    async with replay_feed(start="2024-01-31T15:20:30Z", speed=speed) as up:
        fill(tmp_path, "2024-01-31T15:15Z")
        up.follow()
        keep(up, tmp_path)
        await until(lambda: up.feed.clock.rate > 0.9 * speed, "the rate of the exchange's clock")
        begun, asked, started = up.exchange.clock.now(), up.asked(), time.monotonic()
        await until(lambda: BTC in up.feed.histories and up.feed.histories[BTC].confirmed > begun + 3 * speed, "minutes")
        history = up.feed.histories[BTC]
        truth = sim_candles(BTC, history.start, history.confirmed, MINUTE)
        assert np.allclose(between(history.candles, history.start, history.confirmed).to_numpy(), truth.to_numpy(), rtol=1e-6, atol=1e-6)
        assert closed_by_trades(up.feed, BTC) == 0 and up.asked() - asked < 20 + 5 * (time.monotonic() - started)

"""Minutes and hours that are closed by trades, confirmed over REST and kept in files, against a replay exchange over real sockets."""

import asyncio
import contextlib
import logging
from pathlib import Path

import numpy as np
import pytest
from test_feed import BTC, replay_feed, until

from crypto_rti.data.candles import MINUTE, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.service.minute_history import history_missing, keep_minutes, next_minute
from crypto_rti.service.minute_table import HISTORY_MINUTES, MinuteHistory, between, save_minutes
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


def at(up, moment):
    "Move the exchange's clock to a moment, and the feed's with it."
    apart = to_unix(moment) - up.exchange.clock.now()
    up.exchange.clock.advance(apart)
    up.feed.clock.remote += apart


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
    async with replay_feed(start="2024-01-31T15:20:05Z", lag=0.0) as up:
        task = keep(up, tmp_path)
        await until(lambda: BTC in up.feed.histories, "the first page")
        assert up.feed.histories[BTC].end == to_unix("2024-01-31T15:20Z")  # the newest minutes come first
        assert history_missing(up.feed, BTC).startswith("one-minute candles: ") and history_missing(up.feed, BTC).endswith("of 193 hours")
        check(await complete(up))
        assert history_missing(up.feed, BTC) == "" and up.asked() == -(-HISTORY_MINUTES // 300)
        await end(task)
    for minutes, pages in ((10, 1), (700, 3), (3000, 8)):  # the last gap is longer than a day: its newest minutes come first
        async with replay_feed(start=to_unix("2024-01-31T15:20:05Z") + MINUTE * minutes, lag=0.0) as up:
            task = keep(up, tmp_path)
            await until(lambda: BTC in up.feed.histories and up.feed.histories[BTC].end > up.exchange.clock.now() - MINUTE, "the last minute")
            check(await complete(up))
            await end(task)
            assert up.asked() == pages


async def test_callers_for_a_day_of_minutes_ask_for_nothing_more(tmp_path):
    async with replay_feed(start="2024-01-31T15:20:05Z", lag=0.0) as up:
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
    async with replay_feed(start="2024-01-31T15:20:05Z", lag=30.0) as up:
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
    async with replay_feed({BTC: table[table["time"] != silent]}, start=silent + 5, lag=0.0) as up:
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

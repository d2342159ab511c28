"""One value from outside: wrong clocks, trades of another century, prices that no market has. None of them moves a mark for good or deletes anything."""

import contextlib
import logging
import re
import time

import pytest
from harness import bench
from test_live import Reader
from waiting import wait_for

from crypto_rti.data.candles import HOUR, final_until, to_iso, to_unix
from crypto_rti.data.connection import ClockDoubtedError
from crypto_rti.data.fetch import fetch
from crypto_rti.data.sources import parse_source
from crypto_rti.data.store import CandleStore
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.ledger import Series, open_ledger
from crypto_rti.service.recorded import read_forecasts
from crypto_rti.service.scores import Scorer
from crypto_rti.service.server import running_service
from crypto_rti.service.writer import Entry, write_entries
from crypto_rti.settings import load_settings

ROWS = 2000


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("crypto_rti.service").setLevel(logging.CRITICAL)


def fill(home, until, source="sim"):
    "A ledger of scored forecasts, one for each of `ROWS` hours."
    with contextlib.closing(Opened(home)) as opened:
        moments = range(until - ROWS * HOUR, until, HOUR)
        prices, quantiles = (98.0, 99.5, 100.0, 100.5, 102.0), (-2.0, -0.5, 0.0, 0.5, 2.0)
        write_entries(opened.ledger, [Entry(source, "BTC-USD", "lasso", "1", at - HOUR, at, at - 3500, 100.0, prices, 0.01, quantiles) for at in moments])
        Scorer(opened.ledger, source).score("BTC-USD", dict.fromkeys(moments, 100.0))


class Opened:
    "The ledger of a home, read from outside."

    def __init__(self, home):
        self.ledger = open_ledger(f"sqlite:///{home}/ledger.db")
        self.close = lambda: self.ledger.close()


def held(home, source="sim"):
    "How many of the rows of `fill` are there."
    with contextlib.closing(Opened(home)) as opened:
        return len(read_forecasts(opened.ledger, Series(source, "BTC-USD", "lasso", "1"), 0))


def ready(up):
    "What readiness tells."
    return " ".join(up.http.get("/health/ready").json().get("problems", []))


def metric(up, name):
    "The value of a metric, its labels left out."
    return sum(float(value) for value in re.findall(rf"^crypto_rti_{name}(?:{{.*}})? (\S+)$", up.http.get("/metrics").text, re.MULTILINE))


# --- clocks ---


BEFORE = {"2109-01-01T00:30:00Z": "2,003 of 2,003 rows gone, no score until a restart", "1971-01-01T00:30:00Z": "every question is answered with 409"}


@pytest.mark.parametrize("wrong", BEFORE)
def test_a_wrong_time_deletes_nothing_and_stops_no_score(tmp_path, attack, wrong):
    "The exchange's clock agrees with ours, and `/time` is wrong for as long as it takes to be asked ten times."
    now = (began := time.time()) // HOUR * HOUR + min(max(began % HOUR, 660), 3300)  # Within 15 minutes of ours, and away from the hour's ends
    fill(tmp_path, int(now) // HOUR * HOUR - HOUR)
    with bench(tmp_path, start=now, products="BTC-USD", slope=0.01) as up:
        up.hour(0)
        kept, settled = held(tmp_path), up.hourly.settled
        fault = up.exchange.faults.add("time", path="/time", now=wrong, times=10)
        told = wait_for(lambda: "clock is in doubt" in (text := ready(up)) and text, 90, "a clock in doubt")
        assert metric(up, "clock_doubted") == 1 and wrong[:10] in told
        wait_for(lambda: fault not in up.exchange.faults.active(), 90, "the end of the fault")
        assert held(tmp_path) == kept >= ROWS and up.hourly.settled == settled and up.answer()["data_until"] == to_iso(settled)
        wait_for(lambda: metric(up, "clock_doubted") == 0, 90, "a clock that is trusted again")
        up.hour()
        assert up.accuracy()["n"] >= 1 and held(tmp_path) > kept and metric(up, "upstream_times_doubted_total") >= 10
        after = f"{kept - min(held(tmp_path), kept)} of {kept} rows gone, the next hour is scored"
    attack(f"/time says {wrong[:4]}", before=BEFORE[wrong], after=after)


def test_a_wrong_time_that_is_believed_deletes_nothing_either(tmp_path, attack):
    "A replay of 2024 has no second clock to compare with, so three agreeing answers move it to 2109 and three move it back."
    start = to_unix("2024-01-31T15:20:00Z")
    fill(tmp_path, to_unix("2024-01-31T14:00:00Z"))
    with bench(tmp_path, start=start, products="BTC-USD", slope=0.01) as up:
        up.hour(0)
        kept = held(tmp_path)
        up.exchange.faults.add("time", path="/time", now="2109-01-01T00:30:00Z", times=None)
        wait_for(lambda: up.service.feed.clock.now() > 4e9, 90, "the wrong time")
        time.sleep(1.5)  # Long enough for the hourly work to look at it
        up.exchange.faults.clear()
        wait_for(lambda: up.service.feed.clock.now() < start + HOUR, 90, "the true time")
        assert held(tmp_path) >= kept >= ROWS
        up.hour()
        assert up.accuracy()["n"] >= 1 and up.answer()["data_until"] == to_iso(to_unix("2024-01-31T16:00:00Z"))
        after = f"{kept - min(held(tmp_path), kept)} of {kept} rows gone, the next hour is scored"
    attack("/time of a replay says 2109", before="2,003 of 2,003 rows gone", after=after)


def test_a_replay_of_a_later_year_leaves_the_rows_of_others(tmp_path, attack):
    "It is served, and what is old by its clock is old for nobody else."
    until = to_unix("2025-06-01")
    for source in ("sim", "replay"):
        fill(tmp_path, until, source)
    with running_exchange("sim", start="2029-03-01T12:20:00Z", speed=0, products=["BTC-USD"], rate_limit=False) as exchange:
        given = {"home": tmp_path, "source": f"replay={exchange.url}", "products": "BTC-USD", "requests_per_second": 10, "live_feed": False}
        with running_service(load_settings(**given)) as running:
            wait_for(lambda: running.hourly.settled == to_unix("2029-03-01T12:00:00Z"), 90, "the settled hour")
            assert running.hourly.removed == 0
    found = {source: held(tmp_path, source) for source in ("sim", "replay")}
    assert found == {"sim": ROWS, "replay": ROWS}
    attack("a replay of 2029 in the same home", before="4,000 of 4,000 rows gone", after=f"{2 * ROWS - sum(found.values())} of {2 * ROWS} rows gone")


def test_fetching_under_a_wrong_clock_marks_nothing_as_asked_for(tmp_path, attack):
    "Hours that were answered for are not asked for again, so a clock that is ahead would silence the store."
    now = final_until()
    with running_exchange("sim", start=now + 1200, speed=1, products=["BTC-USD"], rate_limit=False) as exchange:
        settings, start = load_settings(home=tmp_path, source=f"replay={exchange.url}", requests_per_second=10, retries=0), to_iso(now - 100 * HOUR)
        exchange.faults.add("time", shift=40 * 24 * HOUR, times=None)
        with pytest.raises(ClockDoubtedError, match=r"40 days ahead of this machine's clock, and BTC-USD has no candles of that time; correct"):
            fetch(settings, ["BTC-USD"], start, progress=False)
        exchange.faults.clear()
        (summary,) = fetch(settings, ["BTC-USD"], start, progress=False)
    covered = CandleStore(settings.candles_dir).series(parse_source(settings.source), "BTC-USD").covered
    assert covered[-1][1] == summary.end <= final_until() and summary.rows >= 100
    attack("fetch while /time is 40 days ahead", before="40 days to come are marked as answered", after="refused, nothing is written")


# --- prices ---


def prices(reader, since=0):
    "What a stream has told of prices."
    return [(to_unix(tick["time"]), tick["price"]) for tick in reader.of("price")[since:]]


@pytest.mark.parametrize("path", ["/", "/products/*"])
def test_a_trade_of_2120_and_a_price_of_1e300_silence_nothing(tmp_path, attack, path):
    "On the websocket one after the other; over REST, where the websocket is refused, both at once."
    future, absurd, past = {"now": "2120-01-01T00:00:00Z"}, {"price": 1e300}, {"now": "1971-01-01T00:00:00Z", "price": 1e9}
    wrongs, arm = ([future, absurd, past], []) if path == "/" else ([future | absurd], [{"kind": "status", "path": "/", "times": None}])
    with bench(tmp_path, speed=1.0, products="BTC-USD", options={"live_feed": True}, arm=arm) as up:
        reader = Reader(up.url, "coin=BTC-USD").wait(lambda it: len(it.of("price")) >= 2, 90)
        for wrong in wrongs:
            refused, seen = sum(up.service.feed.trades_refused.values()), len(reader.of("price"))
            up.exchange.faults.add("trade", path=path, times=2, **wrong)
            wait_for(lambda refused=refused: sum(up.service.feed.trades_refused.values()) > refused, 90, "a refused trade")
            reader.wait(lambda it, seen=seen: len(it.of("price")) >= seen + 2, 90)
        assert "BTC-USD: prices are in doubt" in ready(up) and metric(up, "upstream_trades_refused_total") >= len(wrongs)
        told = prices(reader)
    assert all(to_unix("2024-01-01") < moment < to_unix("2025-01-01") and 1e3 < price < 1e6 for moment, price in told), told
    where = "websocket" if path == "/" else "REST"
    attack(f"trades of 2120 and of 1e300 by {where}", before="the stream is silent, 1e300 is passed on", after=f"refused, {len(told)} right prices")


def test_a_crash_of_sixty_percent_comes_through(tmp_path, attack):
    "Every trade says so, and the third one is believed."
    with bench(tmp_path, speed=1.0, products="BTC-USD", options={"live_feed": True}) as up:
        reader = Reader(up.url, "coin=BTC-USD").wait(lambda it: len(it.of("price")) >= 2, 90)
        level = reader.of("price")[-1]["price"]
        up.exchange.faults.add("trade", path="/", price=round(0.4 * level, 2), times=None)
        started = time.monotonic()
        reader.wait(lambda it: it.of("price")[-1]["price"] < 0.5 * level, 90)
        seconds = time.monotonic() - started
    attack("a real crash of 60 %", before="passed on", after=f"passed on after {seconds:.1f} s")


def test_candles_that_no_market_has_are_left_out(tmp_path, attack):
    "One hour of every answer holds 1e300; the forecast knows nothing of it."
    arm = [{"kind": "rows", "damage": "absurd", "path": "/products/*", "times": None}]
    with bench(tmp_path, products="BTC-USD", slope=0.01, arm=arm) as up:
        answer = up.answer()
        low, high = answer["interval"]["low"], answer["interval"]["high"]
        assert 0.9 * answer["current_price"] < low < high < 1.1 * answer["current_price"] < 1e6
        assert metric(up, "upstream_rows_refused_total") >= 1
    attack("a candle of 1e300", before="served", after=f"left out, the interval is {100 * (high / low - 1):.1f} % wide")

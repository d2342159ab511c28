"""The replay exchange over real sockets and processes, and the simulated market over random windows."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pandas as pd
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from crypto_rti.data.candles import COLUMNS, HOUR, CandleError, check_candles, resample_candles, to_unix
from crypto_rti.data.simulation import DAY, SIM_END, SIM_START, sim_candles
from crypto_rti.replay.clock import ReplayError
from crypto_rti.replay.server import make_exchange, running_exchange
from crypto_rti.settings import CryptoRTIError, load_settings

NOON = to_unix("2024-01-31T12:00Z")
CANDLES = "/products/BTC-USD/candles"


@pytest.fixture
def replay():
    with running_exchange("sim", start=NOON, speed=0, rate_limit=False) as running, httpx.Client(base_url=running.url) as client:
        yield running, client


def hourly(start=NOON - 200 * HOUR, count=400, level=100.0, seed=0):
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0, 0.005, count)))
    open_ = np.concatenate([[level], close[:-1]])
    low, high = np.minimum(open_, close) * 0.999, np.maximum(open_, close) * 1.001
    return pd.DataFrame({"time": start + HOUR * np.arange(count), "low": low, "high": high, "open": open_, "close": close, "volume": rng.exponential(5, count)})


def ask(client, start, end, step=HOUR, path=CANDLES):
    return client.get(path, params={"granularity": step, "start": start, "end": end})


# ---- the simulated market


@given(
    product=st.sampled_from(["BTC-USD", "XRP-USDT", "A-B", "MOON-EUR"]),
    seed=st.integers(0, 5),
    start=st.integers(SIM_START, SIM_END - 1),
    length=st.integers(0, 3 * DAY),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    step=st.sampled_from([60, 900, HOUR, 6 * HOUR, DAY]),
)
def test_any_window_is_valid_and_a_slice_of_any_larger_one(product, seed, start, length, cut, step):
    outer = check_candles(sim_candles(product, start, start + length, step, seed), step=step)
    first, last = (start + int(part * length) for part in sorted(cut))
    inner = sim_candles(product, first, last, step, seed)
    assert inner.equals(outer[(outer["time"] >= first) & (outer["time"] < last)].reset_index(drop=True))
    assert (outer["volume"] > 0).all()


def test_hours_are_the_sums_of_minutes_and_seeds_differ():
    minutes = sim_candles("SOL-USD", "2040-02-27", "2040-03-02", 60)
    hours = sim_candles("SOL-USD", "2040-02-27", "2040-03-02")
    assert hours.equals(resample_candles(minutes))
    assert not hours.equals(sim_candles("SOL-USD", "2040-02-27", "2040-03-02", seed=1))


def test_the_market_is_the_same_in_another_process():
    code = "from crypto_rti.data.simulation import sim_candles; print(sim_candles('ETH-USD', 1700000000, 1700100000).to_json())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == sim_candles("ETH-USD", 1700000000, 1700100000).to_json()


def test_stylised_facts():
    table = sim_candles("BTC-USD", "2023-01-01", "2025-01-01")
    r = np.log(table["close"]).diff().iloc[1:]
    assert 0.004 < r.std() < 0.009
    assert r.kurt() > 4
    assert -0.12 < r.autocorr(1) < -0.02
    assert r.abs().autocorr(1) > 0.2 and r.abs().autocorr(24) > 0.1
    by_hour = table["volume"].groupby(table["time"] // HOUR % 24).mean()
    assert by_hour.max() > 1.5 * by_hour.min()
    missing = 2 * 366 * 24 - 24 - len(table)
    assert 2 <= missing <= 60


# ---- the protocol


def test_window_rules(replay):
    _, client = replay
    end = NOON - HOUR
    assert len(ask(client, end - 5 * HOUR, end).json()) == 6
    assert len(ask(client, end - 300 * HOUR, end).json()) == 301
    refused = ask(client, end - 301 * HOUR, end)
    assert refused.status_code == 400
    assert refused.json() == {"message": "granularity too small for the requested time range. Count of aggregations requested exceeds 300"}
    for step in (120, 1800, 14400, 604800, "x", "-60", "60.0", ""):
        answer = ask(client, end - HOUR, end, step)
        assert (answer.status_code, answer.json()) == (400, {"message": "Unsupported granularity"})
    assert client.get("/products/NO-SUCH/candles").json() == {"message": "NotFound"}
    for path in ("/products/NO-SUCH", "/products/NO-SUCH/ticker", "/products/NO-SUCH/candles", "/nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (404, {"message": "NotFound"})
    assert ask(client, "2010-01-01", "2010-01-02").json() == []
    assert ask(client, NOON + 10 * HOUR, NOON + 20 * HOUR).json() == []
    for start, stop in ((end, end - HOUR), ("soon", end), (end, "1e99"), (1706713200000, 1706713200001)):
        assert ask(client, start, stop).status_code == 400


def test_rows_are_newest_first_in_the_order_of_the_protocol(replay):
    _, client = replay
    answer = ask(client, "2024-01-30T00:00:00Z", "2024-01-30T12:00:00+00:00")
    assert answer.headers["x-candle-source"] == "sim"
    rows = answer.json()
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
    assert all(isinstance(row[0], int) for row in rows)
    expected = sim_candles("BTC-USD", "2024-01-30T00:00Z", "2024-01-30T13:00Z").to_numpy()[::-1]
    assert rows == [[int(row[0]), *row[1:]] for row in expected.tolist()]


def test_without_both_ends_the_newest_350_rows_come_up_to_five_minutes_old(replay):
    running, client = replay
    running.clock.freeze(NOON + 899)
    for query in ({}, {"start": "2020-01-01"}, {"end": "2020-01-01"}):
        rows = client.get(CANDLES, params={"granularity": 3600, **query}).json()
        assert len(rows) == 350
        assert rows[0][0] == NOON
    as_of = {}
    for now in (NOON + 600, NOON + 899):
        running.clock.freeze(now)
        as_of[now] = client.get(CANDLES, params={"granularity": 60}).json()
    assert as_of[NOON + 600] == as_of[NOON + 899]
    assert as_of[NOON + 600][0][0] == NOON + 600 - 120


def test_newest_candle_is_unfinished_and_lags_until_it_is_final(replay):
    running, client = replay
    final = sim_candles("BTC-USD", NOON - HOUR, NOON).to_numpy().tolist()[0]
    seen = []
    for now in (NOON - 30 * 60, NOON, NOON + 59, NOON + 60, NOON + 61):
        running.clock.freeze(now)
        seen.append(ask(client, NOON - HOUR, NOON - HOUR).json()[0])
    volumes = [row[5] for row in seen]
    assert volumes == sorted(volumes)
    assert volumes[2] < volumes[3]
    assert seen[3] == seen[4] == final
    running.exchange.lag = 600
    assert ask(client, NOON - HOUR, NOON - HOUR).json()[0] != final


@pytest.mark.parametrize("step", [60, 300, 900, HOUR, 6 * HOUR, DAY])
def test_every_granularity(replay, step):
    running, client = replay
    running.clock.freeze("2024-02-10T12:34:56Z")
    start = to_unix("2024-02-01")
    rows = ask(client, start, start + 8 * step, step).json()[::-1]
    assert rows == [[int(row[0]), *row[1:]] for row in sim_candles("BTC-USD", start, start + 9 * step, step).to_numpy().tolist()]


def test_products_time_ticker_and_trades(replay):
    _, client = replay
    products = client.get("/products").json()
    assert {"BTC-USD", "ETH-USD"} <= {product["id"] for product in products}
    assert client.get("/products/BTC-USD").json() == next(product for product in products if product["id"] == "BTC-USD")
    assert client.get("/time").json() == {"iso": "2024-01-31T12:00:00.000Z", "epoch": NOON}
    ticker = client.get("/products/BTC-USD/ticker").json()
    assert isinstance(ticker["trade_id"], int)
    assert all(isinstance(ticker[name], str) and float(ticker[name]) > 0 for name in ("ask", "bid", "volume", "price", "size"))
    assert float(ticker["bid"]) < float(ticker["price"]) < float(ticker["ask"])
    assert float(ticker["price"]) == sim_candles("BTC-USD", NOON - HOUR, NOON)["close"].iloc[0]
    trades = client.get("/products/BTC-USD/trades", params={"limit": 10}).json()
    assert [trade["trade_id"] for trade in trades] == list(range(ticker["trade_id"], ticker["trade_id"] - 10, -1))
    older = client.get("/products/BTC-USD/trades", params={"limit": 3, "after": trades[-1]["trade_id"]}).json()
    assert [trade["trade_id"] for trade in older] == [trades[-1]["trade_id"] - n for n in (1, 2, 3)]
    assert client.post("/time").status_code == 405


@pytest.mark.anyio
async def test_more_than_ten_requests_a_second_are_429():
    async def storm():
        async with httpx.AsyncClient(base_url=running.url) as client:
            return await asyncio.gather(*(client.get("/time") for _ in range(60)))

    with running_exchange("sim", start=NOON, speed=0) as running:
        running.exchange.rate_limit = True
        began = time.monotonic()
        answers = await storm()
        allowed = 15 + 10 * (time.monotonic() - began) + 1
        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 15 <= len(served) <= allowed
        assert refused and refused[0].json() == {"message": "Public rate limit exceeded"}
        assert refused[0].headers["x-candle-source"] == "sim"
        running.exchange.rate_limit = False
        assert {answer.status_code for answer in await storm()} == {200}


# ---- the clock, and what lies ahead of it


def told(table, width):
    """Everything that an exchange over `table` says at some moments around noon."""
    paths = ["/products", "/products/BTC-USD", "/products/BTC-USD/ticker", "/products/BTC-USD/trades", f"{CANDLES}?granularity={width}"]
    with running_exchange({"BTC-USD": table}, start=NOON, speed=0, rate_limit=False) as running, httpx.Client(base_url=running.url) as client:
        for late in (0, 1, 59, 61, 1800):
            running.clock.freeze(NOON + late)
            yield from (client.get(path).text for path in paths)
            yield from (ask(client, NOON - 295 * step, NOON + 5 * step, step).text for step in (width, 900, HOUR, 6 * HOUR, DAY) if step >= width)


@pytest.mark.parametrize("width", [60, HOUR])
def test_nothing_after_now_is_told(width):
    table = hourly() if width == HOUR else sim_candles("BTC-USD", NOON - 2 * DAY, NOON + DAY, 60)
    ahead = table["time"] > NOON + 1800  # A table knows whole candles only: the end of the running one is not ahead of it
    changed = table.copy()
    changed.loc[ahead, COLUMNS[1:]] *= 1000
    truth = list(told(table, width))
    assert truth == list(told(changed, width))
    assert truth == list(told(table[~ahead].reset_index(drop=True), width))


def test_the_clock_runs_faster_than_life_and_takes_orders(replay):
    running, client = replay
    running.clock.set(NOON, speed=36000)
    time.sleep(0.2)
    first, second = client.get("/time").json()["epoch"], client.get("/time").json()["epoch"]
    assert NOON + 7000 < first < second
    assert client.post("/_clock", json={"now": "2030-01-01T00:00Z", "speed": 0}).json() == {"now": "2030-01-01T00:00:00.000000Z", "speed": 0.0}
    assert client.get("/time").json()["iso"] == "2030-01-01T00:00:00.000Z"
    for order in ({"now": "never"}, {"speed": -1}, {"pace": 2}, []):
        assert client.post("/_clock", json=order).status_code == 422
    with pytest.raises(ReplayError, match="cannot run at speed -1"):
        running.clock.set(speed=-1)


# ---- folders


def write(folder, **tables):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name.replace('_', '-')}.parquet", index=False)
    return folder


def test_a_folder_starts_when_its_last_candle_is_final_and_gives_its_rows_back(tmp_path):
    table = hourly().drop(index=[100, 101]).reset_index(drop=True)
    with running_exchange(write(tmp_path / "market", BTC_USD=table, ETH_USD=hourly(level=2000, seed=1)), speed=0) as running:
        assert running.clock.now() == table["time"].iloc[-1] + HOUR + 60
        with httpx.Client(base_url=running.url) as client:
            answer = ask(client, int(table["time"].iloc[0]), int(table["time"].iloc[0]) + 300 * HOUR)
            assert answer.headers["x-candle-source"] == "market"
            assert answer.json()[::-1] == table.head(299).to_numpy().tolist()
            assert ask(client, NOON, NOON + HOUR, 60).json() == {"message": "Unsupported granularity"}
            for hour in range(5):  # At its end an invented hour is the stored one, in candle and ticker
                row = table.iloc[200 + hour]
                running.clock.freeze(float(row["time"]) + HOUR)
                assert float(client.get("/products/BTC-USD/ticker").json()["price"]) == pytest.approx(row["close"], rel=1e-5)
                running.clock.advance(60)
                assert ask(client, int(row["time"]), int(row["time"])).json() == [row.tolist()]


def test_a_broken_folder_is_refused_before_the_first_request(tmp_path):
    upside_down = hourly()
    upside_down.loc[7, ["low", "high"]] = [200.0, 100.0]
    with pytest.raises(CandleError, match=r"BTC-USD\.parquet, row 7"):
        make_exchange(write(tmp_path / "inverted", BTC_USD=upside_down))
    shifted = hourly()
    shifted.loc[9, "time"] += 60
    with pytest.raises(CandleError, match="row 9"):
        make_exchange(write(tmp_path / "shifted", BTC_USD=shifted))
    cut = write(tmp_path / "cut", BTC_USD=hourly()) / "BTC-USD.parquet"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(CryptoRTIError, match=r"BTC-USD\.parquet"):
        make_exchange(cut.parent)
    with pytest.raises(ReplayError, match="has no ETH-USD"):
        make_exchange(write(tmp_path / "whole", BTC_USD=hourly()), products=["ETH-USD"])
    (tmp_path / "empty").mkdir()
    refused = {
        tmp_path / "empty": "has no products",
        tmp_path / "absent": "is not a source",
        "coinbase": "is an exchange already",
        "http://localhost:1": "is an exchange already",
    }
    for source, says in refused.items():
        with pytest.raises(CryptoRTIError, match=says):
            make_exchange(source)


def test_a_folder_of_minutes_is_served_as_minutes(tmp_path):
    minutes = sim_candles("BTC-USD", NOON - DAY, NOON, 60)
    with running_exchange(write(tmp_path / "fine", BTC_USD=minutes), speed=0) as running, httpx.Client(base_url=running.url) as client:
        assert running.clock.now() == NOON + 60
        assert ask(client, NOON - HOUR, NOON, 60).json()[::-1] == minutes[minutes["time"] >= NOON - HOUR].to_numpy().tolist()
        hours = ask(client, NOON - DAY, NOON).json()[::-1]
        assert hours == sim_candles("BTC-USD", NOON - DAY, NOON).to_numpy().tolist()


def test_real_candles_come_back_bit_for_bit():
    folder = load_settings().shared / "candles" / "binance"
    if not folder.exists():
        pytest.skip("no ../shared/candles/binance")
    with running_exchange(folder, start="2023-06-01T00:00Z", speed=0) as running, httpx.Client(base_url=running.url) as client:
        table = pd.read_parquet(folder / "BTC-USDT.parquet")
        before = table[table["time"] < to_unix("2023-03-25")]
        gap = int(before["time"][before["time"].diff() > HOUR].iloc[-1])
        rows = ask(client, gap - 50 * HOUR, gap + 50 * HOUR, path="/products/BTC-USDT/candles").json()[::-1]
        assert rows == table[(table["time"] >= gap - 50 * HOUR) & (table["time"] <= gap + 50 * HOUR)].to_numpy().tolist()
        assert len(rows) < 101


# ---- faults


def test_faults_strike_as_ordered(replay):
    running, client = replay
    faults = running.faults
    faults.add("status", status=429, message="Slow down", retry_after=2, path=CANDLES, times=2)
    answers = [ask(client, NOON - HOUR, NOON) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "2" and answers[0].json() == {"message": "Slow down"}
    assert client.get("/time").status_code == 200

    faults.add("delay", seconds=0.3)
    faults.add("status", status=500)
    began = time.monotonic()
    assert client.get("/time").status_code == 500
    assert time.monotonic() - began >= 0.3
    assert faults.active() == []

    faults.add("disconnect")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/time")
    faults.add("cut")
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        client.get("/products")
    faults.add("body", body="<html>")
    assert client.get("/time").text == "<html>"
    assert client.get("/time").status_code == 200
    assert [request.status for request in running.requests if request.path == "/time"] == [200, 500, None, 200, 200]


@pytest.mark.parametrize("damage", ["duplicate", "unsorted", "null", "text", "negative", "inverted", "short", "milliseconds", "offgrid", "outside"])
def test_damaged_rows_differ_and_heal(replay, damage):
    running, client = replay
    whole = ask(client, NOON - 9 * HOUR, NOON - HOUR).json()
    running.faults.add("rows", damage=damage)
    assert ask(client, NOON - 9 * HOUR, NOON - HOUR).json() != whole
    assert ask(client, NOON - 9 * HOUR, NOON - HOUR).json() == whole


def test_gaps_last_until_cleared(replay):
    running, client = replay
    running.faults.add("gap", start=NOON - 5 * HOUR, end=NOON - 3 * HOUR, path=CANDLES)
    for _ in range(2):
        hours = [(NOON - row[0]) // HOUR for row in ask(client, NOON - 6 * HOUR, NOON - HOUR).json()]
        assert hours == [1, 2, 3, 6]
    running.faults.clear()
    assert len(ask(client, NOON - 6 * HOUR, NOON - HOUR).json()) == 6


def test_faults_by_http_are_validated(replay):
    running, client = replay
    armed = client.post("/_faults", json=[{"kind": "delay", "seconds": 0.01}, {"kind": "gap", "start": "2024-01-01", "end": "2024-01-02"}])
    assert [fault["kind"] for fault in armed.json()] == ["delay", "gap"]
    wrong = [{"kind": "explode"}, {"kind": "status", "status": 200}, {"kind": "delay", "seconds": -1}, {"kind": "gap"}, {"kind": "delay", "mins": 1}, [1], 7]
    for order in wrong:
        answer = client.post("/_faults", json=order)
        assert answer.status_code == 422 and answer.json()["message"], order
    assert client.post("/_faults", content=b"{not json").status_code == 422
    assert len(client.get("/_faults").json()) == 2
    assert client.delete("/_faults").json() == []
    assert not any(request.path.startswith("/_") for request in running.requests)


# ---- the websocket


@contextlib.asynccontextmanager
async def connected(running):
    async with asyncio.timeout(60), websockets.connect(running.ws_url) as feed:
        yield feed


def subscribe(channels=("ticker", "heartbeat"), products=("BTC-USD",)):
    return json.dumps({"type": "subscribe", "product_ids": list(products), "channels": list(channels)})


async def receive(feed):
    return json.loads(await feed.recv())


@pytest.mark.anyio
async def test_ticker_and_heartbeat(replay):
    running, _ = replay
    running.clock.set(NOON - 5 * HOUR, speed=3600)
    async with connected(running) as feed:
        assert feed.response.headers["x-candle-source"] == "sim"
        await feed.send(subscribe(products=["BTC-USD", "ETH-USD"]))
        echo, *messages = [await receive(feed) for _ in range(30)]
    assert echo["type"] == "subscriptions"
    assert {channel["name"]: channel["product_ids"] for channel in echo["channels"]} == {name: ["BTC-USD", "ETH-USD"] for name in ("ticker", "heartbeat")}
    tickers = [message for message in messages if message["type"] == "ticker" and message["product_id"] == "BTC-USD"]
    beats = [message for message in messages if message["type"] == "heartbeat" and message["product_id"] == "BTC-USD"]
    assert np.diff([message["trade_id"] for message in tickers]).tolist() == [1] * (len(tickers) - 1)
    assert beats and beats[-1]["last_trade_id"] <= tickers[-1]["trade_id"] + 1
    strings = set(tickers[0]) - {"sequence", "trade_id"}
    assert {"price", "open_24h", "volume_24h", "low_24h", "high_24h", "volume_30d", "best_bid", "best_ask", "side", "time", "last_size"} <= strings
    assert all(isinstance(tickers[0][name], str) for name in strings)
    assert all(isinstance(tickers[0][name], int) for name in ("sequence", "trade_id"))
    for message in tickers:
        moment = to_unix(message["time"])
        hour = sim_candles("BTC-USD", moment // HOUR * HOUR, moment // HOUR * HOUR + HOUR).iloc[0]
        assert hour["low"] <= float(message["price"]) <= hour["high"]


@pytest.mark.anyio
async def test_subscriptions_are_refused_in_words_and_end(replay):
    running, _ = replay
    reasons = []
    async with connected(running) as feed:
        for message in ("nonsense", "[]", '{"type": "subscribe"}', subscribe(["level2"]), subscribe(["user"]), subscribe(["candy"]),
                        subscribe(products=["NO-PE"]), subscribe(products=[]), '{"type": "dance", "channels": [], "product_ids": []}',
                        '{"type": "subscribe", "channels": [[1]], "product_ids": 5}'):  # fmt: skip
            await feed.send(message)
            answer = await receive(feed)
            assert (answer["type"], answer["message"]) == ("error", "Failed to subscribe")
            reasons.append(answer["reason"])
        await feed.send(subscribe(["ticker"]))
        assert (await receive(feed))["type"] == "subscriptions"
        await feed.send(subscribe(["ticker"]).replace("subscribe", "unsubscribe"))
        while (echo := await receive(feed))["type"] != "subscriptions":
            pass
    assert "requires authentication" in reasons[3] and "requires authentication" in reasons[4]
    assert "NO-PE is not a valid product" in reasons[6]
    assert echo["channels"] == []


@pytest.mark.anyio
async def test_a_connection_without_a_subscription_is_closed():
    with running_exchange("sim", start=NOON, subscribe_seconds=0.3) as running:
        began = time.monotonic()
        async with connected(running) as feed:
            await feed.send("nonsense")
            await receive(feed)
            with pytest.raises(websockets.ConnectionClosed):
                await receive(feed)
        assert time.monotonic() - began >= 0.3


@pytest.mark.anyio
async def test_websocket_faults(replay):
    running, _ = replay
    running.clock.set(NOON, speed=20)
    async with connected(running) as feed:
        await feed.send(subscribe(["ticker"]))
        await receive(feed)
        ids = [(await receive(feed))["trade_id"]]
        running.faults.add("lose", times=2)
        while len(ids) < 2 or ids[-1] - ids[-2] == 1:
            ids.append((await receive(feed))["trade_id"])
        assert ids[-1] - ids[-2] == 3
    async with connected(running) as feed:
        await feed.send(subscribe())
        await receive(feed)
        running.faults.add("silence")
        await asyncio.sleep(0.3)
        try:
            while True:
                await asyncio.wait_for(feed.recv(), 0.01)  # What was on its way
        except TimeoutError:
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(feed.recv(), 1.2)
        running.faults.clear()
        assert (await receive(feed))["type"] in ("ticker", "heartbeat")
    async with connected(running) as feed:
        await feed.send(subscribe())
        await receive(feed)
        running.faults.add("disconnect", path="/")
        with pytest.raises(websockets.ConnectionClosedError) as ended:
            while True:
                await receive(feed)
        assert ended.value.rcvd is None
    running.faults.add("status", path="/")
    with pytest.raises(websockets.InvalidStatus):
        async with connected(running):
            pass
    assert [request.status for request in running.requests if request.path == "/"] == [101, 101, 101]


def test_nobody_trades_in_a_silent_hour_and_ids_go_on_without_a_jump():
    table = hourly().drop(index=[200, 201]).reset_index(drop=True)
    with running_exchange({"BTC-USD": table}, start=NOON - 60, speed=0, rate_limit=False) as running, httpx.Client(base_url=running.url) as client:
        before = client.get("/products/BTC-USD/ticker").json()
        for now in (NOON, NOON + 1800, NOON + 2 * HOUR - 1, NOON + 2 * HOUR):
            running.clock.freeze(now)
            last = client.get("/products/BTC-USD/ticker").json()
        assert last["time"] < "2024-01-31T12:00:00"
        running.clock.advance(3)
        awake = client.get("/products/BTC-USD/ticker").json()
        assert awake["trade_id"] == last["trade_id"] + 3
        assert last["trade_id"] == before["trade_id"] + 60


# ---- processes


def test_it_runs_without_pyarrow():
    code = """
import sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyarrow", "filelock", "matplotlib", "sklearn", "lightgbm", "mlflow"):
            raise ImportError(name + " is barred")
sys.meta_path.insert(0, Barred())
import httpx
from crypto_rti.replay.server import running_exchange
with running_exchange("sim", start="2024-01-31", speed=0) as replay:
    print(len(httpx.get(replay.url + "/products/BTC-USD/candles?granularity=3600").json()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "350", done.stderr


def test_serve_exchange_blocks_until_it_is_told_to_stop():
    code = "from crypto_rti.replay.server import serve_exchange; serve_exchange('sim', port=0, start='2024-01-31T00:00Z', speed=3600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("Replaying sim (BTC-USD") and "at speed 3600" in line
        url = line.split()[-1]

        def answers():
            with contextlib.suppress(httpx.ConnectError):
                return httpx.get(f"{url}/time")

        answer = wait_for(answers, 60, "an answer of the exchange", process)
        assert answer.json()["iso"].startswith("2024-01-31")
        taken = subprocess.run([sys.executable, "-c", code.replace("port=0", f"port={url.rsplit(':')[-1]}")], capture_output=True, text=True, timeout=60)
        assert taken.returncode and "choose another port" in taken.stderr
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(10) in (0, -signal.SIGTERM)


def test_start_and_stop_many_times():
    began = time.monotonic()
    for _ in range(5):
        with running_exchange("sim") as running:
            assert httpx.get(f"{running.url}/time").status_code == 200
    assert time.monotonic() - began < 20
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/time")


# ---- prices of any size

COINS_OF_ANY_SIZE = {"MOG-BTC": 2.3e-11, "PEPE-USD": 8.1e-8, "SHIB-USD": 1.305e-5, "FALLEN-USD": 140.0, "BTC-VND": 3.1e13}


def tables_of_any_size():
    """Hours with all the digits of a float64; the price of one coin falls to a ten-millionth."""
    tables = {product: hourly(level=level, seed=number) for number, (product, level) in enumerate(COINS_OF_ANY_SIZE.items())}
    tables["FALLEN-USD"].loc[100:, ["low", "high", "open", "close"]] /= 1e7
    return tables


async def hear_trades(running, products):
    """The ticker and match messages of the next minute, and the last trade before it."""
    async with websockets.connect(running.ws_url) as feed:
        await feed.send(json.dumps({"type": "subscribe", "product_ids": products, "channels": ["ticker", "matches"]}))
        heard = [json.loads(await feed.recv()) for _ in range(1 + 2 * len(products))]
        running.clock.advance(60)
        return heard[1:] + [json.loads(await feed.recv()) for _ in range(2 * 60 * len(products))]


def test_prices_of_any_size_survive_the_protocol():
    tables = tables_of_any_size()
    with running_exchange(tables, start=NOON - 60, speed=0, lag=0, rate_limit=False) as running, httpx.Client(base_url=running.url) as client:
        for product, table in tables.items():
            rows = ask(client, NOON - 50 * HOUR, NOON - 2 * HOUR, path=f"/products/{product}/candles").json()
            stored = table[(table["time"] >= NOON - 50 * HOUR) & (table["time"] <= NOON - 2 * HOUR)].to_numpy()[::-1].tolist()
            assert rows == stored, product
            ticker = client.get(f"/products/{product}/ticker").json()
            assert 0 < float(ticker["bid"]) < float(ticker["price"]) < float(ticker["ask"]), ticker
        heard = asyncio.run(hear_trades(running, list(tables)))
        trades = {product: client.get(f"/products/{product}/trades").json() for product in tables}
    for product, table in tables.items():
        tickers = [message for message in heard if message["type"] == "ticker" and message["product_id"] == product]
        matches = [message for message in heard if "match" in message["type"] and message["product_id"] == product]
        assert all(0 < float(each["best_bid"]) < float(each["price"]) < float(each["best_ask"]) for each in tickers), product
        assert [each["price"] for each in tickers] == [each["price"] for each in matches] == [each["price"] for each in trades[product][60::-1]]
        hour, day = table[table["time"] == NOON - HOUR].iloc[0], table[(table["time"] >= NOON - 25 * HOUR) & (table["time"] < NOON - HOUR)]
        assert float(tickers[-1]["price"]) == hour["close"], product  # The last trade of the hour, to the last digit
        assert [float(tickers[0][name]) for name in ("open_24h", "high_24h", "low_24h")] == [day["open"].iloc[0], day["high"].max(), day["low"].min()]
        assert all(hour["low"] <= float(each["price"]) <= hour["high"] for each in tickers), product
        assert len({each["price"] for each in tickers}) > 10, product  # A price that moves, not one that was rounded to a point
        assert not any("e" in each[name] for each in tickers for name in ("price", "best_bid", "best_ask", "low_24h"))

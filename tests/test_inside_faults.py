"""Faults inside the hour, against the whole service over real sockets: corrections, restarts, a ledger that is locked, a coin without minutes."""

import contextlib
import sqlite3

import numpy as np
import pytest
from harness import bench
from test_closing import BTC
from test_inside_live import CLOSE, START, export_quarter, inside, pass_to, quarters
from test_live import Reader, rows
from waiting import wait_for

from crypto_rti.data.candles import HOUR, MINUTE, to_iso, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.server import running_service
from crypto_rti.settings import load_settings


def row_of(up, moment, horizon=15):
    found = [row for row in quarters(up) if row["data_until"] == to_iso(moment) and row["horizon"] == horizon]
    assert len(found) <= 1, found
    return found[0] if found else None


def corrected(row):
    return {name: value for name, value in row.items() if name.startswith("corrected")}


def test_a_minute_that_is_corrected_is_forecast_again_at_once(tmp_path):
    "The last trade of the quarter has another price than the exchange's candle. What was issued first stays, and is what is scored."
    with inside(tmp_path) as up:
        feed, truth = up.service.feed, sim_candles(BTC, CLOSE - MINUTE, CLOSE, MINUTE)["close"].iloc[0]
        reader = Reader(up.url, f"coin={BTC}").wait(lambda it: it.of("forecast"))
        up.exchange.clock.set(CLOSE - 0.6)
        wait_for(lambda: feed.running[BTC].time > CLOSE - 1.5, 60, "the last but one trade")
        up.exchange.faults.add("trade", path="/", price=round(0.99 * feed.running[BTC].price, 2), times=1)
        pass_to(up, CLOSE)
        issued = wait_for(lambda: row_of(up, CLOSE), 60, "the row")
        assert issued["current_price"] < 0.995 * truth and set(corrected(issued).values()) == {None}
        pass_to(up, CLOSE + MINUTE)
        reader.wait(lambda it: any(path["data_until"] == to_iso(CLOSE + MINUTE) for path in it.of("path")))

        up.exchange.clock.set(CLOSE + 66.0)  # The exchange confirms the first minute, and no other one has closed since
        wait_for(lambda: feed.histories[BTC].confirmed >= CLOSE, 60, "the confirmation")
        after = wait_for(lambda: (row := row_of(up, CLOSE)) and row["corrected_current_price"] and row, 60, "the correction")
        assert after["corrected_current_price"] == truth and None not in corrected(after).values()
        assert issued | corrected(after) == after
        wait_for(lambda: up.answer(horizon=15, time_from=to_iso(CLOSE))["current_price"] == truth, 60, "the answer")
        sent = lambda it: [path for path in it.of("path") if path["data_until"] == to_iso(CLOSE + MINUTE)]  # noqa: E731
        reader.wait(lambda it: len(sent(it)) == 2)  # With the close, and with the correction
        first, second = sent(reader)
        assert first["points"][0]["volatility"]["bps"] > second["points"][0]["volatility"]["bps"]

        pass_to(up, CLOSE + 16 * MINUTE)
        up.exchange.clock.set(CLOSE + 21 * MINUTE)
        score = wait_for(lambda: (found := up.accuracy(horizon=15, minute=45)) and found["unscored"] == 0 and found["n"] and found, 60, "the score")
        outcome = sim_candles(BTC, CLOSE + 14 * MINUTE, CLOSE + 15 * MINUTE, MINUTE)["close"].iloc[0]
        assert score["n"] == 1 and score["mae"] == pytest.approx(abs(outcome - issued["predicted_price"]))
        scored = row_of(up, CLOSE)
        assert {name: value for name, value in after.items() if value is not None and scored[name] != value} == {}


def states(service):
    "By horizon and quarter: what its interval has learned, the losses that decide the size, and the forecasts that wait for their outcome."
    found = {}
    for (_, _, version, *place), state in service.inside.states.items():
        if version == "2":
            numbers = [*(row for _, row in sorted(state.size.sums.items())), *(np.append(issued.quantiles, issued[1:]) for issued in state.issued.values())]
            exact = (state.begun, state.interval.alpha, state.interval.until, sorted(state.size.sums), list(state.issued))
            found[tuple(place)] = exact, np.concatenate(numbers)
    return found


def test_a_restart_asks_for_missing_minutes_alone_and_has_the_same_states(tmp_path):
    with inside(tmp_path) as up:
        pass_to(up, CLOSE)
        up.exchange.clock.set(CLOSE + 66.0)
        wait_for(lambda: up.service.feed.histories[BTC].confirmed >= CLOSE, 60, "the confirmation")
        pass_to(up, CLOSE + 2 * MINUTE)
        wait_for(lambda: states(up.service)[15, 30][0][2] == CLOSE, 60, "the outcome of half past three")
        first = states(up.service)
    assert len(first) == 4
    with running_exchange("sim", start=CLOSE + 2 * MINUTE + 10.0, speed=0, rate_limit=False) as exchange:
        options = {"products": BTC, "horizons": "15 60", "live_feed": True, "requests_per_second": 10}
        with running_service(load_settings(home=tmp_path, source=f"sim={exchange.url}", **options)) as again:
            marks = lambda found: {place: exact for place, (exact, _) in found.items()}  # noqa: E731
            wait_for(lambda: marks(states(again.service)) == marks(first), 60, lambda: f"{marks(first)}; {marks(states(again.service))}")
            for place, (_, numbers) in states(again.service).items():
                np.testing.assert_allclose(numbers, first[place][1], rtol=1e-9)  # Sums over windows begin elsewhere
            wait_for(lambda: again.service.feed.histories[BTC].end == CLOSE + 2 * MINUTE, 60, "the minutes since the file was written")
            asked = [request.query for request in exchange.requests if request.query.get("granularity") == "60"]
            assert 0 < sum(to_unix(query["end"]) - to_unix(query["start"]) for query in asked) < 2 * HOUR  # Of ten days


def test_a_ledger_that_is_locked_for_ten_minutes_at_a_quarter_loses_nothing(tmp_path):
    with inside(tmp_path) as up:
        recorder = up.service.recorder
        assert recorder.flush(60)
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db", timeout=30, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            pass_to(up, CLOSE)
            wait_for(lambda: recorder.queue.entries, 60, "forecasts that wait")
            assert up.answer(horizon=15)["data_until"] == to_iso(CLOSE)
            pass_to(up, CLOSE + 10 * MINUTE)
            assert up.answer(horizon=15)["data_until"] == to_iso(CLOSE + 10 * MINUTE) and recorder.queue.entries and recorder.fault
            lock.execute("ROLLBACK")
        wait_for(lambda: not recorder.queue.entries, 60, "the end of the queue")
        assert row_of(up, CLOSE)["predicted_price"] and recorder.queue.dropped == recorder.refused == 0


def test_a_coin_without_minutes_is_forecast_from_hours(tmp_path):
    "The exchange has its hours alone. Readiness and errors name what is missing."
    hours = {BTC: sim_candles(BTC, to_unix("2024-01-10T00:00Z"), to_unix("2024-02-02T00:00Z"))}
    with bench(tmp_path, start=START, products=BTC, market=hours, options={"horizons": "15 60"}) as up:
        export_quarter(up.bundles, "2")
        wait_for(lambda: up.http.get("/api/models?horizon=15").json()["models"][0]["serving"].get("champion") == "2", 60, "the model")
        assert up.answer()["mode"] == "hour"
        for refused in (up.predict(horizon=15), up.http.get(f"/api/path?coin={BTC}")):
            assert refused.status_code == 409 and "no one-minute candles" in refused.text and "horizon=60" in refused.text, refused.text
        assert any("one-minute candles: 0 of 193 hours" in text for text in up.http.get("/health/ready").json()["problems"])
        assert len([request for request in up.exchange.requests if request.query.get("granularity") == "60"]) <= 2
        assert {row["horizon"] for row in rows(up)} == {60}

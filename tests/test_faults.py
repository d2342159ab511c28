"""What goes wrong around a live service, and what becomes of its record: the exchange, the database, the process itself."""

import json
import os
import re
import signal

import pytest
from harness import UNTIL, bench
from test_live import Reader, rows, start, wait_for_answer
from toys import export_toy
from waiting import wait_for

from crypto_rti.data.candles import HOUR, to_iso, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import ConformalState
from crypto_rti.replay.server import running_exchange
from crypto_rti.service import answers
from crypto_rti.service.forecasts import make_forecast
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.recorded import export_forecasts

STATE = ConformalState((0.5, 0.1), ((0.5, 1.0, 1.5),) * 4, 0.05).to_dict()


def in_time(up, kind="lasso"):
    "Hours from which a kind forecast before they were over."
    return [row["data_until"] for row in rows(up) if row["kind"] == kind and row["coin"] == "BTC-USD" and row["made_at"] < row["predicted_for"]]


# --- the exchange ---


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429, "retry_after": 1},
        {"kind": "status", "status": 500},
        {"kind": "delay", "seconds": 30},
        {"kind": "cut"},
        {"kind": "body"},
        {"kind": "disconnect"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
def test_while_candles_cannot_be_had_the_last_ones_are_served_and_the_hour_is_made_good(tmp_path, fault):
    with bench(tmp_path, products="BTC-USD", slope=0.01, interval=STATE) as up:
        up.hour(0)
        up.service.feed.request_timeout = 1.0
        up.exchange.faults.add(**fault, path="/products/*", times=None)
        up.jump(1)
        stale = up.until(lambda response: response.json()["prediction"]["stale"]).json()["prediction"]
        assert stale["data_until"] == to_iso(UNTIL)
        assert up.http.get("/health/ready").status_code == 200 and up.http.get("/metrics").status_code == 200
        up.exchange.faults.clear()
        wait_for(lambda: in_time(up) == [to_iso(UNTIL), to_iso(UNTIL + HOUR)], 60, "the forecast after the fault")
        up.hour()
        assert up.accuracy()["n"] == 2


def test_a_row_that_cannot_be_a_candle_keeps_no_hour_from_being_served(tmp_path):
    with bench(tmp_path, products="BTC-USD", slope=0.01, interval=STATE) as up:
        up.hour(0)
        up.exchange.faults.add("rows", damage="inverted", path="/products/*", times=None)  # In the middle of every window
        up.jump(1)
        fresh = up.until(lambda response: response.json()["prediction"]["data_until"] == to_iso(UNTIL + HOUR)).json()["prediction"]
        assert not fresh["stale"] and up.service.feed.rows_refused >= 1
        assert re.search(r"^crypto_rti_upstream_rows_refused_total [1-9]", up.http.get("/metrics").text, re.MULTILINE)


def test_an_outage_of_three_hours(tmp_path):
    "Nothing is invented: the hours in between are made up for, and do not count."
    with bench(tmp_path, products="BTC-USD", slope=0.01, interval=STATE) as up:
        up.hour(0)
        up.exchange.faults.add("status", status=503, path="/products/*", times=None)
        up.jump(3)
        up.until(lambda response: response.json()["prediction"]["stale"])
        up.exchange.faults.clear()
        wait_for(lambda: in_time(up) == [to_iso(UNTIL), to_iso(UNTIL + 3 * HOUR)], 60, "the forecast after the outage")
        up.hour()
        made = [row for row in rows(up) if row["kind"] == "lasso"]
        hours = [to_unix(row["data_until"]) for row in made]
        assert hours == list(range(hours[0], UNTIL + 5 * HOUR, HOUR))
        assert up.accuracy()["n"] == 2 and up.accuracy()["unscored"] == 0


def test_a_candle_that_is_corrected_later_changes_the_answer_and_not_the_record(tmp_path):
    with bench(tmp_path, start="2024-01-31T16:01:00Z", products="BTC-USD", lag=150.0, interval=STATE) as up:
        up.hour(0)
        first = up.answer()
        up.jump(1 / 12)
        truth = sim_candles("BTC-USD", UNTIL, UNTIL + HOUR)["close"].iloc[0]
        second = up.until(lambda response: response.json()["prediction"]["current_price"] == truth).json()["prediction"]
        assert first["current_price"] != truth and second["data_until"] == first["data_until"]
        (row,) = (row for row in rows(up) if row["kind"] == "lasso" and row["data_until"] == first["data_until"])
        assert row["current_price"] == first["current_price"]


def test_an_hour_without_trades(tmp_path):
    with bench(tmp_path, products="BTC-USD", slope=0.01, interval=STATE) as up:
        up.hour(0)
        silent = UNTIL, UNTIL + HOUR
        up.exchange.faults.add("gap", start=to_iso(silent[0]), end=to_iso(silent[1]))
        up.jump(1)
        assert up.until(lambda response: response.status_code == 409).headers["content-type"] == "application/problem+json"
        up.jump(1)
        wait_for(lambda: up.accuracy()["without_trades"] == 1, 60, "an hour without trades")
        score = up.accuracy()
        assert (score["n"], score["unscored"]) == (0, 0) and up.answer(time_from=3)["actual_price"] is not None


def test_the_websocket_falls_silent_and_prices_go_on(tmp_path):
    with bench(tmp_path, products="BTC-USD", speed=1.0, options={"live_feed": True}) as up:
        reader = Reader(up.url, "coin=BTC-USD").wait(lambda it: any(tick["via"] == "websocket" for tick in it.of("price")))
        up.exchange.faults.add("silence", path="/")
        reader.wait(lambda it: it.of("price")[-1]["via"] == "rest", 60)
        before = reader.of("price")[-1]["time"]
        reader.wait(lambda it: it.of("price")[-1]["time"] > before, 60)
        wait_for(lambda: any("websocket" in text for text in up.http.get("/health/ready").json()["problems"]), 60, "a problem with the websocket")
        up.exchange.faults.clear()
        reader.wait(lambda it: it.of("price")[-1]["via"] == "websocket", 90)


def test_a_model_that_breaks_keeps_no_other_from_its_hour(tmp_path, monkeypatch):
    true = make_forecast

    def make(candles, data_until, model, *rest):
        if model.kind == "lasso":
            raise RuntimeError("a runtime's own error")
        return true(candles, data_until, model, *rest)

    monkeypatch.setattr(answers, "make_forecast", make)
    with bench(tmp_path, products="BTC-USD") as up:
        up.hour(0)
        assert in_time(up, "persistence") == [to_iso(UNTIL)] and not in_time(up, "lasso")
        assert up.predict().status_code == 500 and up.answer(model_name="persistence")["model"] == "persistence"


# --- the database ---


def test_postgresql_restarts_under_a_live_service(tmp_path, server):
    with bench(tmp_path, products="BTC-USD", slope=0.01, interval=STATE, options={"ledger_url": server.empty()}) as up:
        up.hour(0)
        server.control("stop", "-m", "immediate")
        try:
            up.jump(1)
            up.until(lambda response: response.json()["prediction"]["data_until"] == to_iso(UNTIL + HOUR))
            refused = wait_for(lambda: (found := up.http.get("/api/accuracy?coin=BTC-USD")).status_code == 503 and found, 60, "a refusal")
            assert refused.headers["retry-after"] and "127.0.0.1" not in refused.text
            wait_for(lambda: any("ledger" in text for text in up.http.get("/health/ready").json()["problems"]), 60, "a problem with the ledger")
        finally:
            server.control("start")
        wait_for(lambda: up.hourly.settled == UNTIL + HOUR, 60, "the settled hour")
        assert in_time(up) == [to_iso(UNTIL), to_iso(UNTIL + HOUR)] and up.accuracy()["n"] == 1
        wait_for(lambda: not any("ledger" in text for text in up.http.get("/health/ready").json()["problems"]), 60, "the end of the problem with the ledger")


# --- the process ---


def recorded(home):
    "The ledger, read from outside."
    ledger = open_ledger(f"sqlite:///{home}/ledger.db")
    export_forecasts(ledger, home / "rows.jsonl")
    ledger.close()
    return [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]


def settled(home, hour):
    "Whether the forecast from `hour` is in the ledger, and the one before has its score."
    made = {row["data_until"]: row for row in recorded(home) if row["kind"] == "lasso"}
    return to_iso(hour) in made and made.get(to_iso(hour - HOUR), {}).get("scored_at")


def test_killed_again_and_again_it_loses_nothing_and_counts_nothing_twice(tmp_path):
    export_toy(tmp_path / "bundles", slope=0.01, interval=STATE)
    with running_exchange("sim", start=UNTIL + 1200, speed=0, rate_limit=False) as exchange:
        seen = set()
        for turn in range(4):
            process, url = start(tmp_path, exchange.url, live_feed="false")
            try:
                wait_for_answer(url, "/api/predict?coin=BTC-USD")
                if turn:  # The first is killed as soon as it answers, whatever it is writing
                    wait_for(lambda now=UNTIL + turn * HOUR: settled(tmp_path, now), 60, "the forecast and the score of the hour")
            finally:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            made = recorded(tmp_path)
            keys = [(row["coin"], row["kind"], row["version"], row["mode"], row["predicted_for"]) for row in made]
            assert len(keys) == len(set(keys)) and seen <= set(keys)
            seen = set(keys)
            exchange.clock.advance(HOUR)
    lasso = sorted(to_unix(row["data_until"]) for row in made if row["kind"] == "lasso")
    assert lasso == list(range(lasso[0], UNTIL + 4 * HOUR, HOUR))
    assert sum(row["actual_price"] is not None for row in made if row["kind"] == "lasso") == len(lasso) - 1

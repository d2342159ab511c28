"""What makes the service live: the hourly record, accuracy, the stream, several workers, a quiet end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import skew
from harness import UNTIL, bench
from toys import export_toy
from waiting import wait_for

from crypto_rti.data.candles import HOUR, final_until, to_iso
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import ConformalState
from crypto_rti.replay.server import running_exchange
from crypto_rti.service import stream as streaming
from crypto_rti.service.ledger import Series, open_ledger
from crypto_rti.service.recorded import export_forecasts, read_outcomes
from crypto_rti.service.scores import Scorer
from crypto_rti.service.writer import Entry, write_entries
from crypto_rti.settings import load_settings

SHARED = load_settings().shared / "candles" / "coinbase"
STATE = ConformalState((0.5, 0.1), ((0.5, 1.0, 1.5),) * 4, 0.05).to_dict()


def rows(up):
    "The ledger, oldest first."
    path = up.bundles.parent / "rows.jsonl"
    up.service.recorder.flush()
    export_forecasts(up.service.ledger, path)
    return sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda row: (row["predicted_for"], row["kind"]))


class Reader(threading.Thread):
    "Reads a stream in the background: events as (id, kind, data)."

    def __init__(self, url, query, **headers):
        super().__init__(daemon=True)
        self.url, self.query, self.headers, self.events, self.comments, self.ended = url, query, headers, [], 0, None
        self.start()

    def run(self):
        try:
            with httpx.stream("GET", f"{self.url}/api/stream?{self.query}", headers=self.headers, timeout=60) as answer:
                self.status, event = answer.status_code, {}
                for line in answer.iter_lines():
                    if line.startswith(":"):
                        self.comments += 1
                    elif line:
                        name, _, value = line.partition(": ")
                        event[name] = value
                    elif "event" in event:
                        self.events.append((event["id"], event["event"], json.loads(event["data"])))
                        event = {}
            self.ended = "by the server"
        except httpx.HTTPError as error:
            self.ended = type(error).__name__

    def wait(self, wanted, seconds=60):
        wait_for(lambda: wanted(self), seconds, lambda: f"the events that were wanted; the last ones: {self.events[-3:]}, ended: {self.ended}")
        return self

    def of(self, kind):
        return [data for _, name, data in self.events if name == kind]


# --- the record ---


def test_every_model_forecasts_every_hour_unasked(tmp_path):
    with bench(tmp_path, slope=0.01, interval=STATE) as up:
        up.hour(0)
        for _ in range(3):
            up.hour()
        live = [row for row in rows(up) if row["made_at"] < row["predicted_for"]]
        kinds = {(row["coin"], row["kind"]) for row in live}
        assert kinds == {("BTC-USD", "lasso"), ("BTC-USD", "persistence"), ("ETH-USD", "persistence")}
        assert {row["data_until"] for row in live} == {to_iso(UNTIL + hours * HOUR) for hours in range(4)}
        score = up.accuracy()
        assert (score["model"], score["n"], score["unscored"]) == ("lasso", 3, 0)
        assert score["backtest"] == {"mase": 0.992, "coverage_90": 0.904} and score["this_version"]["n"] == 3
        assert sum(day["n"] for day in score["by_day"]) == 3
        truth = sim_candles("BTC-USD", UNTIL, UNTIL + 3 * HOUR)["close"].tolist()
        assert [row["actual_price"] for row in live if row["kind"] == "lasso"][:3] == truth


def test_asking_changes_nothing_on_record(tmp_path):
    with bench(tmp_path, interval=STATE) as up:
        up.hour(0)
        before = rows(up)
        for time_from in ("now", "3", "30", to_iso(UNTIL - 500 * HOUR)):
            up.answer(time_from=time_from)
        assert rows(up) == before


def test_an_outage_is_made_up_for_and_not_counted(tmp_path):
    export_toy(tmp_path / "bundles", slope=0.01, interval=STATE)
    with running_exchange("sim", start=UNTIL + 1200, speed=0, rate_limit=False) as exchange:
        counted = []
        for hours in (0, 2, 7):
            exchange.clock.advance(hours * HOUR)
            settings = load_settings(home=tmp_path, source=f"sim={exchange.url}", products="BTC-USD", live_feed=False)
            with keeping_service(settings) as running:
                counted.append(running.http.get("/api/accuracy?coin=BTC-USD&days=7").json()["accuracy"]["n"])
    assert counted == [0, 1, 2]
    ledger = open_ledger(settings.ledger_address)
    series = read_outcomes(ledger, Series("sim", "BTC-USD", "lasso", "1"))
    assert len(series) == 44 and (series.predicted_for[1:] - series.predicted_for[:-1] == HOUR).all()
    ledger.close()


class keeping_service:
    "A service that has settled its hour, with a client."

    def __init__(self, settings):
        from crypto_rti.service.server import running_service

        self.context = running_service(settings)

    def __enter__(self):
        running = self.context.__enter__()
        self.http, hourly = httpx.Client(base_url=running.url, timeout=20), running.hourly
        wait_for(lambda: hourly.settled and hourly.settled >= final_until(running.service.feed.clock.now()), 60, "the settled hour")
        return self

    def __exit__(self, *error):
        self.http.close()
        return self.context.__exit__(*error)


def test_intervals_learn_from_the_ledger_and_a_restart_forgets_nothing(tmp_path):
    with bench(tmp_path, slope=0.01, interval=STATE) as up:
        up.hour(0)
        for _ in range(3):
            up.hour()
        (states,) = (known for key, known in up.service.states.items() if key[1] == "lasso")
        answers = {hours: up.answer(time_from=hours) for hours in (1, 2)} | {0: up.answer()}
        assert states.at(UNTIL + 10 * HOUR).until == UNTIL + 3 * HOUR
    with running_exchange("sim", start=UNTIL + 3 * HOUR + 1200, speed=0) as exchange:
        settings = load_settings(home=tmp_path, source=f"sim={exchange.url}", products="BTC-USD", live_feed=False)
        with keeping_service(settings) as again:
            for hours, before in answers.items():
                after = again.http.get("/api/predict", params={"coin": "BTC-USD", "time_from": hours or "now"}).json()["prediction"]
                assert after["interval"] == before["interval"] and after["interval_50"] == before["interval_50"]


def test_the_record_is_the_whole_ledger_and_carries_its_test(tmp_path):
    "1000 hours by a model that knows a tenth of each move, and persistence beside it."
    moves = np.random.default_rng(0).normal(0, 1, 1000)
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    for kind, version, part in (("lasso", "1", 0.1), ("persistence", "builtin", 0.0)):
        prices = [(98.0, 99.5, 100 + part * move, 100.5, 102.0) for move in moves.tolist()]
        hours = range(UNTIL - 1000 * HOUR, UNTIL, HOUR)
        quantiles = -2.0, -0.5, 0.0, 0.5, 2.0
        said = zip(hours, prices, strict=True)
        write_entries(ledger, [Entry("sim", "BTC-USD", kind, version, at, at + HOUR, at + 61, 100.0, each, 0.01, quantiles) for at, each in said])
    Scorer(ledger, "sim").score("BTC-USD", {UNTIL - (999 - index) * HOUR: 100 + move for index, move in enumerate(moves.tolist())})
    ledger.close()
    with bench(tmp_path) as up:
        whole, month = up.accuracy(days="all"), up.accuracy(days=30)
        assert up.accuracy() == whole and (whole["n"], whole["days"], month["n"], month["days"]) == (1000, 43, 720, 30)
        assert whole["since"] == "2023-12-20T00:00:00Z" and len(whole["by_day"]) == 43
        assert whole["dm_t"] < month["dm_t"] < -month["luck"]["t"] < 0 and whole["dm_p"] < 0.001
        assert whole["mase"] < whole["luck"]["mase_low"] < 1 < whole["luck"]["mase_high"]
        for other in (up.accuracy(model_name="persistence"), up.accuracy(mode="rolling")):
            assert (other["dm_t"], other["dm_p"], other["luck"]) == (None, None, None)
        assert up.accuracy(model_name="persistence")["mase"] == 1


def test_what_accuracy_refuses(tmp_path):
    with bench(tmp_path) as up:
        for query, status in (("days=0", 422), ("days=All", 422), ("days=3651", 422), ("mode=day", 422), ("model_name=oracle", 404), ("tage=3", 422)):
            assert up.http.get(f"/api/accuracy?coin=BTC-USD&{query}").status_code == status, query
        assert up.http.get("/api/accuracy?coin=DOGE-EUR").status_code == 404


def test_a_ledger_that_is_away_stops_nothing_else(tmp_path):
    with bench(tmp_path, options={"ledger_url": f"sqlite:///{tmp_path}/bundles/nothing.txt/ledger.db"}) as up:
        (tmp_path / "bundles" / "nothing.txt").touch()
        assert up.answer()["model"] == "lasso"
        fault = wait_for(lambda: [text for text in up.http.get("/health/ready").json()["problems"] if "ledger" in text], 60, "a problem with the ledger")
        refused = up.http.get("/api/accuracy?coin=BTC-USD")
        assert refused.status_code == 503 and refused.headers["retry-after"] and str(tmp_path) not in refused.text + str(fault)


# --- the past in one piece ---


def as_recorded(row):
    "A row of the ledger in the form of the history."
    plain = {name: row[name] for name in ("predicted_for", "predicted_price", "current_price", "actual_price")}
    fans = {name: {"level": level / 100, "low": row[f"low_{level}"], "high": row[f"high_{level}"]} for name, level in (("interval", 90), ("interval_50", 50))}
    return {**plain, **fans, "model_version": row["version"], "requested": row["made_at"], "late": row["made_at"] >= row["predicted_for"]}


def test_history_shows_the_recorded_forecasts(tmp_path):
    with bench(tmp_path, slope=0.01, interval=STATE) as up:
        up.hour(0)
        for hour in range(4):
            recorded = up.history(hours=24)
            last = {row["predicted_for"]: as_recorded(row) for row in rows(up) if (row["coin"], row["kind"]) == ("BTC-USD", "lasso")}
            assert (recorded["until"], recorded["stale"]) == (to_iso(UNTIL + hour * HOUR), False)
            assert recorded["forecasts"] == list(last.values())[-25:] and [one["late"] for one in recorded["forecasts"][-1 - hour :]] == [False] * (1 + hour)
            assert recorded["prices"] == up.answer()["past_24_hour_prices"]
            assert [one["actual_price"] for one in recorded["forecasts"]] == [price["close"] for price in recorded["prices"]] + [None]
            up.hour()
        export_toy(up.bundles, slope=0.05, version="2", interval=STATE)
        up.until(lambda response: response.json()["prediction"]["model_version"] == "2")
        up.hour()
        after = up.history(hours=24)
        assert after["model_version"] == "2" and [one["model_version"] for one in after["forecasts"][-6:]] == ["1"] * 4 + ["2"] * 2
        assert [{**one, "actual_price": 0} for one in after["forecasts"][-6:-2]] == [{**one, "actual_price": 0} for one in recorded["forecasts"][-4:]]


def test_thirty_days_are_two_requests_once(tmp_path):
    with bench(tmp_path, products="BTC-USD", interval=STATE) as up:
        up.hour(0)
        before = up.candle_requests()
        day = up.history()
        assert up.candle_requests() == before and len(day["prices"]) == 24
        readers = [threading.Thread(target=up.history, kwargs={"hours": 720}) for _ in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        month = up.history(hours=720)
        for hours in (301, 500, 719):
            assert up.history(hours=hours)["prices"] == month["prices"][-hours:]
        assert up.candle_requests() == before + 2 and len(month["prices"]) == 720 and month["prices"][-24:] == day["prices"]
        truth = sim_candles("BTC-USD", UNTIL - 720 * HOUR, UNTIL)
        assert [price["close"] for price in month["prices"]] == truth["close"].tolist()
        assert [price["time"] for price in month["prices"]] == [to_iso(start + HOUR) for start in truth["time"].tolist()]
        for hours in range(1, 100):
            up.history(hours=hours)
        histories = up.track_record.histories
        assert 0 < histories.kept.size <= histories.kept.most and not histories.work.shared


def test_a_history_across_an_outage(tmp_path):
    export_toy(tmp_path / "bundles", slope=0.01, interval=STATE)
    with running_exchange("sim", start=UNTIL + 1200, speed=0, rate_limit=False) as exchange:
        for hours in (0, 1, 6):
            exchange.clock.advance(hours * HOUR)
            settings = load_settings(home=tmp_path, source=f"sim={exchange.url}", products="BTC-USD", live_feed=False)
            with keeping_service(settings) as running:
                recorded = running.http.get("/api/history?coin=BTC-USD&hours=12").json()["history"]["forecasts"]
                assert running.http.get("/api/accuracy?coin=BTC-USD").json()["accuracy"]["n"] <= sum(not one["late"] for one in recorded[:-1])
    assert [one["predicted_for"] for one in recorded] == [to_iso(UNTIL + hour * HOUR) for hour in range(-4, 9)]
    assert [one["late"] for one in recorded] == [True] * 5 + [False] * 2 + [True] * 5 + [False]
    assert all(one["actual_price"] for one in recorded[:-1]) and recorded[-1]["actual_price"] is None


def test_a_history_while_the_exchange_is_away(tmp_path):
    with bench(tmp_path, products="BTC-USD", interval=STATE) as up:
        up.hour(0)
        fresh = up.history(hours=48)
        up.exchange.faults.add("status", status=503, path="/products/*", times=None)
        older = up.history(hours=720)  # What is at hand, and no more
        assert older["stale"] and len(older["prices"]) == 300 and older["forecasts"][-49:] == fresh["forecasts"]
        assert up.history(hours=48) == fresh
        up.jump(1)
        up.until(lambda response: response.json()["prediction"]["stale"])
        stale = up.history(hours=48)
        assert {**stale, "stale": False} == fresh and stale["stale"] and stale["until"] == up.answer()["data_until"]
        up.exchange.faults.clear()
        up.until(lambda response: not response.json()["prediction"]["stale"])
        up.hour(0)
        back = up.history(hours=720)
        assert (back["stale"], back["until"], len(back["prices"])) == (False, to_iso(UNTIL + HOUR), 720)


def test_a_history_without_an_exchange_or_a_ledger(tmp_path):
    with bench(tmp_path / "one", wait=False, arm=[{"kind": "status", "status": 503, "times": None}]) as up:
        refused = up.http.get("/api/history?coin=BTC-USD")
        assert refused.status_code == 503 and refused.headers["retry-after"]
    with bench(tmp_path / "two", options={"ledger_url": f"sqlite:///{tmp_path}/two/bundles/nothing.txt/ledger.db"}) as up:
        (tmp_path / "two" / "bundles" / "nothing.txt").touch()
        for _ in range(2):
            refused = up.http.get("/api/history?coin=BTC-USD")
            assert refused.status_code == 503 and refused.headers["retry-after"] and str(tmp_path) not in refused.text


def test_what_history_refuses(tmp_path):
    with bench(tmp_path) as up:
        for query, status in (("hours=0", 422), ("hours=721", 422), ("hours=1e2", 422), ("model_name=oracle", 404), ("days=3", 422), ("hours=%D9%A3", 422)):
            refused = up.http.get(f"/api/history?coin=BTC-USD&{query}")
            assert refused.status_code == status and query.partition("=")[2 * (status == 404)].split("%")[0] in refused.text, query
        assert "hours='721' is not allowed: give a whole number from 1 to 720" in up.http.get("/api/history?coin=BTC-USD&hours=721").text
        assert up.http.get("/api/history?coin=DOGE-EUR").status_code == 404 and up.http.get("/api/history").status_code == 422


@pytest.mark.skipif(not SHARED.exists(), reason="real candles are not here (../shared/candles)")
def test_two_days_replayed_live_are_what_the_backtest_says():
    figures = skew.compare(SHARED.parent.parent, days=2)
    assert figures["hours"] >= 36 and figures["in_time"] > 18 and figures["largest_difference"] < 1e-6, figures


# --- the stream ---


def test_a_stream_tells_prices_forecasts_and_scores(tmp_path):
    with bench(tmp_path, speed=1.0, slope=0.01, options={"live_feed": True}) as up:
        before = up.accuracy()
        reader = Reader(up.url, "coin=BTC-USD").wait(lambda it: len(it.of("price")) >= 3)
        assert reader.events[0][1] == "forecast" and reader.of("forecast")[0]["prediction"]["data_until"] == to_iso(UNTIL)
        price = reader.of("price")[-1]
        assert price["coin"] == "BTC-USD" and price["price"] > 0 and price["hour"]["low"] <= price["price"] <= price["hour"]["high"]
        up.jump(1)
        reader.wait(lambda it: len(it.of("forecast")) == 2 and it.of("scored"))
        assert up.accuracy()["n"] == before["n"] + 1, "who hears of a score finds it counted"
        forecast, (scored,) = reader.of("forecast")[1]["prediction"], reader.of("scored")
        assert forecast == {**up.answer(), "request_time": forecast["request_time"]}
        assert scored["predicted_for"] == forecast["data_until"] and scored["actual_price"] == forecast["current_price"]
        assert scored["predicted_price"] == reader.of("forecast")[0]["prediction"]["predicted_price"]


def test_a_reader_that_comes_back_misses_nothing(tmp_path):
    with bench(tmp_path, speed=1.0, options={"live_feed": True}) as up:
        steady = Reader(up.url, "coin=BTC-USD").wait(lambda it: len(it.of("price")) >= 2)
        seen = steady.events[-1][0]
        steady.wait(lambda it: len(it.of("price")) >= 5)
        back = Reader(up.url, "coin=BTC-USD", **{"last-event-id": seen}).wait(lambda it: len(it.events) >= 3)
        ids = [event[0] for event in steady.events]
        assert [event[0] for event in back.events][:3] == ids[ids.index(seen) + 1 :][:3]
        by_query = Reader(up.url, f"coin=BTC-USD&last_event_id={seen}").wait(lambda it: it.events)
        assert by_query.events[0][0] == back.events[0][0]
        anew = Reader(up.url, "coin=BTC-USD", **{"last-event-id": "gone-17"}).wait(lambda it: it.events)
        assert anew.events[0][1] == "forecast"


def test_what_the_stream_refuses(tmp_path):
    with bench(tmp_path, options={"stream_readers": 1}) as up:
        for query, status in (("coin=DOGE-EUR", 404), ("coin=BTC-USD&time_from=5", 422), ("coin=BTC-USD&x=1", 422), ("coin=BTC-USD&model_name=o", 404)):
            assert up.http.get(f"/api/stream?{query}").status_code == status, query
        assert up.http.head("/api/stream?coin=BTC-USD").headers["content-type"].startswith("text/event-stream")
        Reader(up.url, "coin=BTC-USD").wait(lambda it: it.events)
        refused = up.http.get("/api/stream?coin=BTC-USD")
        assert refused.status_code == 503 and refused.headers["retry-after"]


def test_pings_keep_a_silent_line_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "PING_SECONDS", 0.1)
    with bench(tmp_path) as up:
        Reader(up.url, "coin=BTC-USD").wait(lambda it: it.comments >= 3)


def test_a_reader_that_takes_nothing_in_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "SEND_TIMEOUT", 0.3)
    with bench(tmp_path) as up:
        address = urlsplit(up.url)
        with socket.create_connection((address.hostname, address.port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(f"GET /api/stream?coin=BTC-USD HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
            wait_for(lambda: up.hub.readers, 60, "the reader")
            (channel,) = up.hub.channels.values()
            text = json.dumps({"padding": "x" * 60_000})
            wait_for(lambda: up.in_loop(channel.publish, "price", text) or up.hub.cut_off, 60, "the end of the reader", pause=0.01)
        assert up.hub.readers == 0 and up.http.get("/health/live").status_code == 200


def test_a_rolling_stream_forecasts_each_minute(tmp_path):
    with bench(tmp_path, slope=0.01) as up:
        reader = Reader(up.url, "coin=BTC-USD&time_from=rolling").wait(lambda it: it.events)
        up.jump(1 / 60)
        reader.wait(lambda it: len(it.of("forecast")) >= 2)
        first, second = (event["prediction"] for event in reader.of("forecast")[:2])
        assert first["mode"] == second["mode"] == "rolling" and second["data_until"] > first["data_until"]


# --- processes ---


def start(home, url, **options):
    "A service in a process of its own; returns it and its address."
    given = {"HOME": home, "SOURCE": f"sim={url}", "PORT": 0, "PRODUCTS": "BTC-USD", "LOG_LEVEL": "warning", **options}
    environment = {**os.environ, **{f"CRYPTO_RTI_{name.upper()}": str(value) for name, value in given.items()}}
    command = [sys.executable, "-c", "from crypto_rti.cli import main; main()", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def wait_for_answer(url, path):
    "Ask until it is answered."

    def answered():
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(url + path, timeout=10)
            return answer if answer.status_code == 200 else None

    return wait_for(answered, 60, f"an answer to {path}", pause=0.1)


def test_a_stop_ends_streams_and_writes_what_waits(tmp_path):
    export_toy(tmp_path / "bundles")
    with running_exchange("sim", start=UNTIL + 1200, speed=0) as exchange:
        process, url = start(tmp_path, exchange.url)
        wait_for_answer(url, "/api/predict?coin=BTC-USD")
        reader = Reader(url, "coin=BTC-USD").wait(lambda it: it.events)
        process.send_signal(signal.SIGTERM)
        reader.wait(lambda it: it.ended)
        assert process.wait(20) == 0 and reader.ended == "by the server", process.stderr.read()
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    assert "BTC-USD" in Scorer(ledger, "sim").unscored(UNTIL + 2 * HOUR)
    ledger.close()


def counted(metrics):
    "Forecasts answered, as the metrics of all workers have it."
    lines = [line for line in metrics.splitlines() if line.startswith("crypto_rti_http_requests_total") and "/api/predict" in line and '"200"' in line]
    return sum(float(line.split()[-1]) for line in lines)


def test_several_workers_share_port_ledger_and_counters(tmp_path):
    export_toy(tmp_path / "bundles")
    with running_exchange("sim", start=UNTIL + 1200, speed=0, rate_limit=False) as exchange:
        process, url = start(tmp_path, exchange.url, service_workers=2)
        try:
            answers = [wait_for_answer(url, "/api/predict?coin=BTC-USD").json() for _ in range(30)]
            own = {"request_time": "", "issued_after": None}  # Each worker made it at a moment of its own; the ledger keeps the first
            assert len({json.dumps({**answer["prediction"], **own}) for answer in answers}) == 1
            assert len(psutil.Process(process.pid).children()) >= 2
            # A worker tells the others every few seconds
            wait_for(lambda: counted(wait_for_answer(url, "/metrics").text) >= 30, 60, "30 requests in the metrics of all workers", pause=0.2)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    assert Scorer(ledger, "sim").unscored(UNTIL + 2 * HOUR)["BTC-USD"] == [UNTIL + HOUR]
    ledger.close()


# --- who may ask ---


def test_with_keys_a_limit_and_an_origin(tmp_path):
    given = {"api_keys": "key-of-a-good-friend another-key-of-mine", "rate_limit": 0.5, "rate_burst": 5, "cors_origins": "https://page.example"}
    with bench(tmp_path, options=given) as up:
        question, key = "/api/predict?coin=BTC-USD", {"x-api-key": "another-key-of-mine"}
        assert [up.http.get(path).status_code for path in (question, "/metrics", "/api/stream?coin=BTC-USD", "/health/live", "/docs")] == [401] * 3 + [200] * 2
        answer = up.http.get(question, headers={"authorization": "Bearer key-of-a-good-friend", "origin": "https://page.example"})
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://page.example" and answer.headers["x-request-id"]
        statuses = [up.http.get(question, headers=key).status_code for _ in range(8)]
        assert statuses[0] == 200 and statuses[-1] == 429
        refused = up.http.get(question, headers=key)
        assert refused.headers["content-type"] == "application/problem+json" and int(refused.headers["retry-after"]) >= 1

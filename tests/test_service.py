"""The service over real sockets, against a replay exchange: contract, models, faults, hostile input."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import httpx
import jsonschema
import numpy as np
import pytest
from harness import NOW, UNTIL, bench
from hypothesis import given
from hypothesis import strategies as st
from toys import SPREAD, export_toy
from waiting import wait_for

from crypto_rti import settings
from crypto_rti.data.candles import HOUR, to_iso, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.sources import Source
from crypto_rti.inputs import INPUTS, model_inputs
from crypto_rti.registry.bundle import load_bundle
from crypto_rti.service import answers, errors, forecasts, models, once
from crypto_rti.service.errors import ServiceError
from crypto_rti.service.forecasts import make_forecast
from crypto_rti.service.server import make_app, open_socket, running_service
from crypto_rti.settings import load_settings
from crypto_rti.targets import QUANTILES, to_prices

KEYS = (
    "coin model model_version source mode horizon_minutes request_time data_until predicted_for provisional issued_after "
    "current_price predicted_price difference difference_bps interval interval_50 volatility probability_up size "
    "past_24_hour_prices actual_price stale unusual_hours backtest new"
)


@pytest.fixture(autouse=True)
def _quiet(caplog):
    for name in ("crypto_rti.service", "crypto_rti.access"):
        caplog.set_level(logging.CRITICAL, name)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    "One service for all tests that only ask."
    with bench(tmp_path_factory.mktemp("calm"), shift=0.1) as up:
        yield up


# --- the contract ---


def test_answer_is_the_contract(calm):
    answer = calm.answer(time_from="now", model_name="champion")
    assert list(answer) == KEYS.split()
    assert (answer["coin"], answer["model"], answer["model_version"], answer["source"]) == ("BTC-USD", "lasso", "1", "sim")
    assert (answer["data_until"], answer["predicted_for"]) == ("2024-01-31T15:00:00Z", "2024-01-31T16:00:00Z")
    assert abs(to_unix(answer["request_time"]) - to_unix(NOW)) <= 5
    assert answer["interval"]["level"] == 0.9 and answer["interval_50"]["level"] == 0.5
    assert answer["interval"]["low"] < answer["interval_50"]["low"] < answer["predicted_price"] < answer["interval_50"]["high"] < answer["interval"]["high"]
    assert answer["difference"] == answer["predicted_price"] - answer["current_price"]
    assert answer["difference_bps"] == pytest.approx(1e4 * answer["difference"] / answer["current_price"])
    assert answer["actual_price"] is None and answer["stale"] is False
    assert answer["backtest"] == {"mase": 0.992, "coverage_90": 0.904}
    past = answer["past_24_hour_prices"]
    assert [to_unix(row["time"]) for row in past] == [UNTIL - hours * HOUR for hours in range(23, -1, -1)]
    assert past[-1]["close"] == answer["current_price"]


def test_defaults_are_now_and_champion(calm):
    full, short = calm.answer(time_from="now", model_name="champion"), calm.answer()
    assert {**full, "request_time": ""} == {**short, "request_time": ""}


@pytest.mark.parametrize(
    ("time_from", "until"),
    [
        ("now", "2024-01-31T15:00Z"),
        ("1", "2024-01-31T14:00Z"),
        ("72", "2024-01-28T15:00Z"),
        ("2024-01-31T15:00:00Z", "2024-01-31T15:00Z"),
        ("2024-01-31T14:59:59Z", "2024-01-31T14:00Z"),
        ("2024-01-30T07:30", "2024-01-30T07:00Z"),
        ("2024-01-30T07:30+02:00", "2024-01-30T05:00Z"),
        ("2023-06-01", "2023-06-01T00:00Z"),
        ("2020-02-29T12:00Z", "2020-02-29T12:00Z"),
    ],
)
def test_every_kind_of_time(calm, time_from, until):
    answer, end = calm.answer(time_from=time_from), to_unix(until)
    truth = sim_candles("BTC-USD", end - 24 * HOUR, end + HOUR)
    assert answer["data_until"] == to_iso(end)
    assert [row["close"] for row in answer["past_24_hour_prices"]] == truth["close"].tolist()[:24]
    assert answer["actual_price"] == (None if end == UNTIL else truth["close"].iloc[-1])


def test_the_forecast_is_what_offline_code_computes(tmp_path):
    with bench(tmp_path, slope=0.01) as up:
        folder = up.bundles / "sim.BTC-USD" / "1"
        candles = sim_candles("BTC-USD", UNTIL - 1000 * HOUR, UNTIL + 100 * HOUR)
        rows, bundle = model_inputs(candles), load_bundle(folder)
        for hours in (1, 7, 30, 71):
            answer = up.answer(time_from=hours)
            row = rows[rows.index.as_unit("s").asi8 == UNTIL - (hours + 1) * HOUR]
            prices = to_prices(row["close"].iloc[0], row["volatility"].iloc[0], bundle.predict(row[INPUTS].to_numpy()))[0]
            wide, narrow = answer["interval"], answer["interval_50"]
            given = [wide["low"], narrow["low"], answer["predicted_price"], narrow["high"], wide["high"]]
            assert given == prices.tolist()
            assert len(QUANTILES) == len(SPREAD) == len(given)


def test_a_model_is_given_its_reference_coin(tmp_path):
    with bench(tmp_path, products="BTC-USD", slope=0.01, reference="ETH-USD") as up:
        start, end = UNTIL - 1000 * HOUR, UNTIL + 100 * HOUR
        rows = model_inputs(sim_candles("BTC-USD", start, end), sim_candles("ETH-USD", start, end))
        bundle = load_bundle(up.bundles / "sim.BTC-USD" / "1")
        for hours in (1, 30):
            row = rows[rows.index.as_unit("s").asi8 == UNTIL - (hours + 1) * HOUR]
            prices = to_prices(row["close"].iloc[0], row["volatility"].iloc[0], bundle.predict(row[INPUTS].to_numpy()))[0]
            assert up.answer(time_from=hours)["predicted_price"] == prices[2]


def test_without_its_reference_coin_a_model_still_answers_and_makes_up_for_it_later(tmp_path):
    away = {"kind": "status", "status": 500, "path": "/products/ETH-USD/*", "times": None}
    with bench(tmp_path, products="BTC-USD", slope=0.01, reference="ETH-USD", arm=[away]) as up:
        alone = up.answer()["predicted_price"]
        assert up.answer()["predicted_price"] == alone
        up.exchange.faults.clear()
        proper = up.until(lambda response: response.json()["prediction"]["predicted_price"] != alone).json()["prediction"]
        assert not proper["stale"] and up.answer()["predicted_price"] == proper["predicted_price"]


def test_the_unfinished_hour_is_never_used(tmp_path):
    with bench(tmp_path, start="2024-01-31T16:00:30Z") as up:
        assert up.answer()["data_until"] == "2024-01-31T15:00:00Z"
        assert up.answer(time_from="2024-01-31T16:00Z")["data_until"] == "2024-01-31T15:00:00Z"
        assert up.answer(time_from=1)["actual_price"] is not None
        up.exchange.clock.freeze("2024-01-31T16:01:05Z")
        fresh = up.until(lambda response: response.json()["prediction"]["data_until"] == "2024-01-31T16:00:00Z").json()["prediction"]
        assert not fresh["stale"] and fresh["current_price"] == sim_candles("BTC-USD", UNTIL, UNTIL + HOUR)["close"].iloc[0]


def test_persistence_and_a_coin_without_models(calm):
    for coin in ("BTC-USD", "ETH-USD"):
        answer = calm.answer(coin=coin, model_name="persistence")
        assert answer["model"] == "persistence" and answer["difference"] == 0
        assert answer["backtest"] == {"mase": 1.0, "coverage_90": None}
    assert calm.answer(coin="ETH-USD")["model"] == "persistence"
    assert calm.answer(model_name="lasso")["model"] == "lasso"


def test_answers_from_memory_keep_telling_the_time(tmp_path):
    with bench(tmp_path, speed=1.0) as up:
        first, *_ = up.answer(), time.sleep(1.2)
        second = up.answer()
        assert 1 <= to_unix(second["request_time"]) - to_unix(first["request_time"]) <= 3
        assert {**first, "request_time": ""} == {**second, "request_time": ""}
        assert len(up.service.answers) == 1


def test_a_forecast_is_computed_once(tmp_path, monkeypatch):
    computed = []
    true = make_forecast
    monkeypatch.setattr(answers, "make_forecast", lambda *args: computed.append((args[3], args[2].kind, args[1])) or true(*args))
    with bench(tmp_path) as up:
        for _ in range(3):
            for query in ({}, {"time_from": "now"}, {"time_from": "2024-01-31T15:00Z"}, {"time_from": "2024-01-31T15:10Z"}, {"time_from": 1}):
                up.answer(**query)
    assert len(computed) == len(set(computed))
    assert sorted(hour for coin, kind, hour in computed if (coin, kind) == ("BTC-USD", "lasso")) == [UNTIL - HOUR, UNTIL]


def test_one_request_however_many_ask(tmp_path):
    with bench(tmp_path, wait=False, arm=[{"kind": "delay", "seconds": 0.5, "path": "/products/*", "times": None}]) as up, ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda hours: up.answer(time_from=hours), list(range(1, 41)) * 3))
        assert len(answers) == 120 and not any(answer["stale"] for answer in answers)
        assert [up.candle_requests(), len({answer["data_until"] for answer in answers})] in ([1, 40], [2, 40])  # BTC, and perhaps ETH by now


# --- coins, models, health, the document ---


def test_coins_and_models(calm):
    coins = {row["coin"]: row for row in calm.http.get("/api/coins").json()["coins"]}
    assert coins["BTC-USD"] == {
        "coin": "BTC-USD", "source": "sim", "champion": "lasso", "champion_version": "1", "models": ["champion", "lasso", "persistence"],
        "horizons": [60], "data_until": "2024-01-31T15:00:00Z",
    }  # fmt: skip
    assert coins["ETH-USD"]["champion"] == "persistence"
    model = calm.http.get("/api/models").json()["models"][0]
    assert model["name"] == "sim.BTC-USD" and model["aliases"] == {"champion": "1", "lasso": "1"} and model["faults"] == {}
    assert model["versions"]["1"]["metrics"]["mase"] == 0.992 and model["versions"]["1"]["train_span"][0] == "2022-01-01T00:00:00Z"
    assert model["last_retrained"] == "2023-12-02T00:00:00Z" and "above persistence" in model["last_decision"]["reasons"][0]
    assert model["serving"] == {"champion": "1", "lasso": "1", "persistence": "builtin"}


def test_every_answer_fits_the_document(calm):
    document = calm.http.get("/openapi.json").json()
    good = "/api/predict?coin=BTC-USD"
    queries = [good, f"{good}&time_from=3", "/api/predict", "/api/predict?coin=X", f"{good}&time_from=0", f"{good}&time_from=2015-01-01", f"{good}{'x' * 2000}"]
    seen = set()
    for query in [*queries, "/api/coins", "/api/models", "/health/live", "/health/ready"]:
        response = calm.http.get(query)
        content = document["paths"][urlsplit(query).path]["get"]["responses"][str(response.status_code)]["content"]
        [(kind, schema)] = content.items()
        assert response.headers["content-type"] == kind
        jsonschema.validate(response.json(), {**schema["schema"], "components": document["components"]})
        seen.add(response.status_code)
    assert seen == {200, 404, 409, 414, 422}
    assert calm.http.get("/docs").status_code == 200


def test_headers_on_everything(calm):
    for path in ("/api/predict?coin=BTC-USD", "/api/predict?coin=BTC-USD", "/api/predict?coin=X", "/health/live", "/nothing", "/docs", "/openapi.json"):
        headers = calm.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY" and "server" not in headers


def test_head_is_get_without_a_body(calm):
    for path in ("/health/live", "/api/predict?coin=BTC-USD"):
        response = calm.http.head(path)
        assert response.status_code == 200 and not response.content and int(response.headers["content-length"]) > 10


def test_other_routes_and_methods_are_problems(calm):
    absent = [("GET", path, 404) for path in ("/nothing", "/api/predict/", "/../../etc/passwd")]
    for method, path, status in [*absent, ("POST", "/api/predict", 405), ("DELETE", "/api/coins", 405)]:
        response = calm.http.request(method, path)
        assert response.status_code == status and response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status and set(response.json()) == {"type", "title", "status", "detail"}
        assert status != 405 or "GET" in response.headers["allow"]


# --- bad input ---

HOSTILE = [
    "", "NOW", "0", "-1", "73", "1.5", "1e1", "٣", "²", "now\r\nX-Evil: 1", "now\x00", "\x00", "../../etc/passwd", "2024-13-01", "2024-01-31T25:00Z",
    "99999999999999", "2030-01-01", "9999-12-31T23:59:59Z", "0001-01-01T00:00+23:59", "1706713200", "NaN", "inf", "' OR 1=1 --",
    "<script>alert(1)</script>", "\U0001f4a9", "now" * 200, "%", "{}",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_are_refused_politely(calm, value):
    for query, status in (({"time_from": value}, 422), ({"coin": value}, 404), ({"model_name": value}, 404)):
        response = calm.predict(**query)
        assert response.status_code == status, response.text
        assert "x-evil" not in response.headers and len(response.content) < 700
        detail = response.json()["detail"]
        assert detail.isprintable() and any(remedy in detail for remedy in ("choose one of", "give `now`"))


def test_unknown_repeated_and_oversized_parameters(calm):
    assert "tim_from" in calm.predict(tim_from=5).json()["detail"]
    assert calm.http.get("/api/predict?coin=BTC-USD&coin=NOPE").status_code == 404
    assert calm.http.get("/api/predict?coin=BTC-USD&time_from=" + "1" * 20_000).status_code == 414
    missing = calm.http.get("/api/predict")
    assert missing.status_code == 422 and "BTC-USD, ETH-USD" in missing.json()["detail"]


RAW = [
    b"GET /api/predict?coin=%00%0d%0aSet-Cookie:%20a=b HTTP/1.1",
    b"GET /%ff%fe?\xff\xfe HTTP/1.1",
    b"\x00\x01\x02",
    b"GET http://evil/api/predict?coin=BTC-USD HTTP/1.1",
]


@pytest.mark.parametrize("line", RAW)
def test_raw_bytes_do_no_harm(calm, line):
    address = urlsplit(calm.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
        raw.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        reply = b""
        while chunk := raw.recv(65536):
            reply += chunk
    assert b"\nSet-Cookie" not in reply and b"Traceback" not in reply and not reply.startswith(b"HTTP/1.1 5")
    assert calm.http.get("/health/live").status_code == 200


VALUES = st.one_of(st.text(max_size=30), st.sampled_from(["BTC-USD", "now", "5", "champion", "2024-01-30"]))


@given(st.dictionaries(st.sampled_from(["coin", "time_from", "model_name", "x"]), VALUES, max_size=4))
def test_no_query_breaks_it(calm, query):
    response = calm.http.get("/api/predict?" + "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query.items()))
    assert response.status_code in (200, 404, 409, 414, 422)


def test_a_bug_reveals_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret at /srv/var: hunter2")

    with bench(tmp_path) as up:
        monkeypatch.setattr(answers, "last_closed_hour", broken)
        response = up.predict()
        assert response.status_code == 500 and response.headers["content-type"] == "application/problem+json"
        assert not any(word in response.text for word in ("hunter2", "/srv", "RuntimeError", "Traceback"))
        assert response.headers["x-content-type-options"] == "nosniff"
        assert up.http.get("/health/live").status_code == 200


# --- models on duty ---


def test_the_alias_moves(tmp_path):
    with bench(tmp_path, shift=0.1) as up:
        assert up.answer()["difference"] > 0
        export_toy(up.bundles, version="2", kind="lightgbm", shift=-0.1)
        moved = up.until(lambda response: response.json()["prediction"]["model_version"] == "2").json()["prediction"]
        assert moved["difference"] < 0 and moved["model"] == "lightgbm"
        assert up.answer(model_name="lasso")["model_version"] == "1"
        export_toy(up.bundles, product="SOL-USD")
        up.until(lambda response: response.status_code == 200, coin="SOL-USD")


def test_a_corrupted_bundle_is_kept_out(tmp_path):
    with bench(tmp_path) as up:
        up.answer()
        folder = export_toy(up.bundles, version="2", shift=0.3)
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-3])
        model = wait_for(lambda: (listed := up.http.get("/api/models").json()["models"][0])["faults"] and listed, 60, "a fault of the bundle")
        assert "hash" in model["faults"]["2"] and str(tmp_path) not in json.dumps(model)
        assert model["aliases"]["champion"] == "2" and model["serving"]["champion"] == "1"
        assert up.answer()["model_version"] == "1"
        assert any("unusable" in text for text in up.http.get("/health/ready").json()["problems"])
        (up.bundles / "sim.BTC-USD" / "index.json").write_text('{"na')
        time.sleep(1.5)
        assert up.answer()["model_version"] == "1"
        export_toy_over_garbage(up)
        up.until(lambda response: response.json()["prediction"]["model_version"] == "3")


def export_toy_over_garbage(up):
    (up.bundles / "sim.BTC-USD" / "index.json").unlink()
    export_toy(up.bundles, version="3")


def test_aliases_moving_under_load(tmp_path):
    with bench(tmp_path, shift=0.1) as up, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lambda: [up.predict(time_from=n % 5 + 1).status_code for n in range(150)]) for _ in range(4)]
        for version in range(2, 6):
            export_toy(up.bundles, version=str(version), shift=0.1 * version)
            time.sleep(0.4)
        assert {status for task in asked for status in task.result()} == {200}
        up.until(lambda response: response.json()["prediction"]["model_version"] == "5")


# --- the exchange misbehaves ---


def test_nothing_to_answer_with_and_recovery(tmp_path):
    dead = [{"kind": "status", "status": 503, "times": None}]
    with bench(tmp_path, wait=False, arm=dead) as up:
        refused = up.predict()
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1 and refused.json()["title"] == "Candles not available"
        assert "127.0.0.1" not in refused.text and "unavailable" in refused.json()["detail"]
        waiting = up.http.get("/health/ready")
        detail = waiting.json()["detail"]
        assert waiting.status_code == 503 and "the exchange is unavailable" in detail and "BTC-USD: no candles yet" in detail
        assert up.http.get("/health/live").status_code == 200
        assert up.predict(time_from="yesterday").status_code in (422, 503)
        before = len(up.exchange.requests)
        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(lambda _: up.predict().status_code, range(200))) == {503}
        assert len(up.exchange.requests) - before <= 6  # 200 callers cause few requests
        up.exchange.faults.clear()
        assert up.until(lambda response: response.status_code == 200).json()["prediction"]["stale"] is False
        assert up.ready()


def test_late_candles_are_marked_and_made_good(tmp_path):
    with bench(tmp_path) as up:
        up.answer()
        up.exchange.faults.add("status", status=500, path="/products/*", times=None)
        up.exchange.clock.advance(2 * HOUR)
        late = up.until(lambda response: response.json()["prediction"]["stale"]).json()["prediction"]
        assert late["data_until"] == "2024-01-31T15:00:00Z" and late["actual_price"] is None
        known = up.answer(time_from="2024-01-31T12:00Z")
        assert known["stale"] is False and known["actual_price"] is not None
        assert "2 h late" in up.http.get("/health/ready").text
        up.exchange.faults.clear()
        fresh = up.until(lambda response: not response.json()["prediction"]["stale"]).json()["prediction"]
        assert fresh["data_until"] == "2024-01-31T17:00:00Z"


def test_a_stalled_exchange_does_not_stall_readers(tmp_path):
    with bench(tmp_path) as up:
        up.answer()
        up.exchange.faults.add("delay", seconds=30, path="/products/*", times=None)
        up.exchange.clock.advance(HOUR)
        up.until(lambda response: response.json()["prediction"]["stale"])
        started = time.monotonic()
        assert up.answer()["stale"] is True
        assert time.monotonic() - started < 4
        up.exchange.faults.clear()


@pytest.mark.parametrize("kind", ["cut", "body", "rows", "disconnect", "status"])
def test_one_bad_answer_is_got_over(tmp_path, kind):
    with bench(tmp_path, wait=False, arm=[{"kind": kind, "path": "/products/*"}]) as up:
        assert up.until(lambda response: response.status_code == 200).json()["prediction"]["stale"] is False


def test_a_hole_in_the_history(tmp_path):
    with bench(tmp_path, wait=False, arm=[{"kind": "gap", "start": "2024-01-31T05:00Z", "end": "2024-01-31T07:00Z"}]) as up:
        refused = up.until(lambda response: response.status_code == 409).json()
        assert refused["title"] == "Not enough history" and "2024-01-31T05:00:00Z .. 2024-01-31T07:00:00Z (2 missing)" in refused["detail"]
        assert up.answer(time_from="2024-01-31T05:00Z")["actual_price"] is None
        assert up.answer(time_from="2024-01-31T04:00Z")["actual_price"] is not None


def test_a_coin_the_exchange_does_not_have(tmp_path):
    with bench(tmp_path, products="BTC-USD NO-SUCH") as up:
        assert up.answer()["stale"] is False
        missing = up.until(lambda response: response.status_code == 404, coin="NO-SUCH").json()
        assert missing["detail"] == "The exchange does not list this coin."
        assert up.http.get("/health/ready").status_code == 200


@pytest.mark.parametrize("start", ["2016-05-01T12:34Z", "2098-05-01T12:34Z"])
def test_the_exchange_tells_the_time(tmp_path, start):
    with bench(tmp_path, start=start) as up:
        assert up.answer()["data_until"] == to_iso(to_unix(start) // HOUR * HOUR)


def test_a_replay_at_speed_stays_in_step(tmp_path):
    with bench(tmp_path, speed=3600.0) as up:
        time.sleep(4)
        seen = []
        for _ in range(20):
            time.sleep(0.1)
            answer, true = up.answer(), up.exchange.clock.now()
            seen.append((true - to_unix(answer["request_time"])) / HOUR)
        assert abs(np.median(seen)) < 0.5


# --- starting and stopping ---


def test_a_taken_port_is_named(tmp_path):
    with contextlib.closing(open_socket("127.0.0.1", 0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"{port}.*choose another CRYPTO_RTI_PORT"):
            open_socket("127.0.0.1", port)
        with contextlib.closing(open_socket("127.0.0.1", port, any_port=True)) as other:
            assert other.getsockname()[1] != port


SERVE = """
from crypto_rti.settings import load_settings
from crypto_rti.service.server import serve
serve(load_settings())
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_as_a_process(tmp_path, ending):
    "Start over the simulated market, answer, and end with code 0 when asked to."
    export_toy(tmp_path / "bundles")
    env = {**os.environ, "CRYPTO_RTI_HOME": str(tmp_path), "CRYPTO_RTI_SOURCE": "sim", "CRYPTO_RTI_PORT": "0"}
    with subprocess.Popen([sys.executable, "-c", SERVE], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            url = line.split()[4]
            assert line.startswith("crypto_rti serves sim on http://127.0.0.1:")
            answer = httpx.Client(transport=httpx.HTTPTransport(retries=5)).get(f"{url}/api/predict?coin=BTC-USD", timeout=20).json()["prediction"]
            assert (answer["source"], answer["model"]) == ("sim", "lasso") and abs(to_unix(answer["data_until"]) - time.time()) < 2 * HOUR
        finally:
            process.send_signal(ending)
            try:
                errors = process.communicate(timeout=20)[1]
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert process.returncode == 0 and "Traceback" not in errors


def test_a_folder_is_served_under_its_name(tmp_path):
    folder = tmp_path / "myhours"
    folder.mkdir()
    candles = sim_candles("BTC-USD", UNTIL - 400 * HOUR, UNTIL)
    candles.to_parquet(folder / "BTC-USD.parquet")
    result = once.predict_once(load_settings(home=tmp_path, source=str(folder), products="BTC-USD"), "BTC-USD")
    assert result.source == "myhours" and result.data_until == to_iso(UNTIL) and result.current_price == candles["close"].iloc[-1]
    with running_service(load_settings(home=tmp_path, source=str(folder), products="BTC-USD")) as running:
        answer = httpx.get(f"{running.url}/api/predict?coin=BTC-USD", timeout=20).json()["prediction"]
    assert answer["source"] == "myhours" and answer["current_price"] == result.current_price


def test_the_error_table_is_complete():
    "Every error class of a module that a request passes through has a rule of its own, and special rules come first."
    from crypto_rti import features, inputs
    from crypto_rti.data import candles, coinbase, connection, sources
    from crypto_rti.registry import bundle, manifest, pull

    modules = (candles, sources, connection, coinbase, features, inputs, manifest, bundle, pull, models, forecasts)
    found = [getattr(module, name) for module in modules for name in dir(module)]
    classes = {item for item in found if isinstance(item, type) and issubclass(item, settings.CryptoRTIError)} - {settings.CryptoRTIError}
    outside = {error.__name__ for error in classes if errors.find_rule(error.__new__(error)) is errors.BUG}
    assert outside <= {"CandleError", "SourceError", "SettingsError"}  # faults of a table or of a start, never of a request
    rules = [rule.error for rule in errors.ERROR_TABLE]
    assert all(not issubclass(later, earlier) for n, earlier in enumerate(rules) for later in rules[n + 1 :])


def test_make_app_needs_no_running_loop(tmp_path):
    assert make_app(load_settings(home=tmp_path), Source("coinbase", "coinbase")).state.service.source.name == "coinbase"

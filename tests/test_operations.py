"""Metrics, logs, keys and limits where a notebook cannot look: real sockets, several processes, hostile input, and Prometheus's own checks of the alerts."""

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from toys import export_toy
from waiting import wait_for

from crypto_rti.data.sources import Source
from crypto_rti.service import logs, metrics, middleware, security
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.logs import LineFormatter
from crypto_rti.service.metrics import Metrics, Snapshot, make_metrics, render_metrics
from crypto_rti.service.middleware import AuthenticationMiddleware, ObservabilityMiddleware, install_middleware
from crypto_rti.service.models import ModelCache
from crypto_rti.service.response_cache import ResponseCacheMiddleware
from crypto_rti.service.security import RateLimit
from crypto_rti.service.server import make_app
from crypto_rti.service.writer import Recorder
from crypto_rti.settings import load_settings, secrets_of

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy" / "alerts.yml"
KEY = "a-key-nobody-knows"
NOTHING = Snapshot(now=1706714400.0)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    render_metrics(metrics)
    return metrics.registry.get_sample_value(name, labels)


# --- alerts


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    return found


def promtool(*arguments: str | Path) -> str:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed; it is in the Debian package prometheus (`make system`)")
    answer = subprocess.run([tool, *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_promtool_accepts_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)


def test_each_rule_fires_when_it_should_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULES.parent / "alerts_test.yml")


def test_each_rule_is_tested() -> None:
    tested = (RULES.parent / "alerts_test.yml").read_text(encoding="utf-8")
    assert [rule["alert"] for rule in rules() if f'"{rule["alert"]}"' not in tested] == []


def test_each_rule_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert 20 < len(rule["annotations"]["summary"]) < 140
        assert len(rule["annotations"]["description"]) > 100


FULL = {
    "ServiceDown": ("The service does not answer on pi", {'up{job="crypto_rti", instance="pi"}': 0}),
    "CandlesStale": ("Candles of X are 3h 0m 0s old", {'crypto_rti_candles_age_seconds{coin="X"}': 10800}),
    "ForecastStale": ("The newest forecast of X is 3h 0m 0s old", {'crypto_rti_forecast_age_seconds{coin="X"}': 10800}),
    "CoverageCollapse": (
        "Only 81.25% of outcomes fall inside the 90 % interval of m for X",
        {'crypto_rti_live_coverage_90{coin="X", model="m"}': 0.8125, 'crypto_rti_live_forecasts{coin="X", model="m"}': 300},
    ),
    "WorseThanPersistence": (
        "m for X does harm: MASE 1.234 over 30 days",
        {'crypto_rti_live_mase{coin="X", model="m"}': 1.234, 'crypto_rti_live_forecasts{coin="X", model="m"}': 600},
    ),
    "RetrainingOverdue": (
        "The models of X were last retrained 9d 1h 30m 0s ago",
        {'crypto_rti_model_last_retrained_timestamp_seconds{coin="X"}': 90 * 60 - 9 * 86400 - 90 * 60},
    ),
    "ModelKeptOut": ("A promoted model of X cannot be served", {'crypto_rti_models_kept_out{coin="X"}': 1}),
}


@pytest.mark.parametrize("alert", FULL)
def test_summaries_read_well(alert: str, tmp_path: Path) -> None:
    "By a test that expects the summary with everything else as it stands in the rules."
    summary, series = FULL[alert]
    rule = next(rule for rule in rules() if rule["alert"] == alert)
    labels = dict(re.findall(r'(\w+)="([^"]*)"', next(iter(series)))) | rule["labels"]
    expected = {"exp_labels": labels, "exp_annotations": rule["annotations"] | {"summary": summary}}
    check = {
        "rule_files": [str(RULES)],
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": name, "values": f"{number}x120"} for name, number in series.items()],
            "alert_rule_test": [{"alertname": alert, "eval_time": "90m", "exp_alerts": [expected]}],
        }],
    }  # fmt: skip
    path = tmp_path / "check.yml"
    path.write_text(yaml.safe_dump(check), encoding="utf-8")
    promtool("test", "rules", path)


@pytest.fixture
def full(tmp_path: Path) -> Metrics:
    "Metrics of a service of which everything is known."
    export_toy(tmp_path / "bundles", "BTC-USD", "3")
    cache = ModelCache(tmp_path / "bundles", "sim")
    cache.refresh()
    scores = {("BTC-USD", "lasso"): {"n": 600, "mase": 0.99, "coverage_50": 0.5, "coverage_90": 0.9, "mae": 1.0}, ("BTC-USD", "young"): {"n": 0, "mase": None}}
    recorder = Recorder(open_ledger(f"sqlite:///{tmp_path}/ledger.db"), written=7)
    recorder.queue.dropped = 2
    shot = Snapshot(
        now=1706714400.0, source="sim", coins=("BTC-USD",), candles_until={"BTC-USD": 1706713200}, forecast_until={"BTC-USD": 1706713200},
        price_at={"BTC-USD": 1706714398.5}, away=True, upstream_errors={"ExchangeUnavailableError": 2}, reconnects=1, lookups={"answers": (9, 1)},
        readers=4, slow_readers=1, connections=5, connections_refused={"full": 1},
        horizon_until={("BTC-USD", 15): 1706714100.0}, lateness={("BTC-USD", 15): 0.6},
        horizon_scores={("BTC-USD", "lasso", 15): {"n": 2800, "mase": 0.99, "mase_as_issued": 0.995, "coverage_90": 0.9}},
        recorder=recorder, scores=scores, models=cache,
    )  # fmt: skip
    metrics = make_metrics(lambda: shot)
    asyncio.run(ask(ObservabilityMiddleware(answer, metrics, ["/api/predict"]), "/api/predict"))
    return metrics


def test_every_number_that_a_rule_waits_for_is_given(full: Metrics) -> None:
    text = render_metrics(full)[0].decode()
    exposed: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        exposed.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    for rule in rules():
        wanted = re.findall(r"(crypto_rti_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert wanted or rule["alert"] == "ServiceDown"
        for name, matchers in wanted:
            assert name in exposed, f"{rule['alert']} waits for {name}, which the service does not give"
            assert set(re.findall(r"(\w+)[!=]=?~?\"", matchers)) <= exposed[name]
        said = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) - {"instance"}
        assert said <= set().union(*(exposed[name] for name, _ in wanted), set()), f"{rule['alert']} speaks of labels that its numbers do not have"


def test_routes_that_rules_name_are_routes_of_the_service(tmp_path: Path) -> None:
    app = make_app(load_settings(home=tmp_path, api_keys=KEY, rate_limit=1, cors_origins="https://a.example"), Source("sim", "http", "http://127.0.0.1:9"))
    observe = next(middleware for middleware in app.user_middleware if middleware.cls is ObservabilityMiddleware)
    named = {route for rule in rules() for route in re.findall(r'route="([^"]+)"', rule["expr"])}
    assert named and named | {"/metrics", "/health/live", "/health/ready", "/api/stream"} <= set(observe.kwargs["routes"])
    order = [middleware.cls for middleware in app.user_middleware]
    wanted = [ObservabilityMiddleware, middleware.CrossOriginMiddleware, AuthenticationMiddleware, ResponseCacheMiddleware]
    assert sorted(wanted, key=order.index) == wanted


def test_everything_that_is_declared_is_given(full: Metrics) -> None:
    text = render_metrics(full)[0].decode()
    for name in [*metrics.TOTALS, *metrics.LEVELS, *metrics.FACTS]:
        assert re.search(rf"^{metrics.PREFIX}{name}(_total)?(\{{.*\}})? [-+.\dInfe]+$", text, re.MULTILINE), name
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text
    assert full.registry.get_sample_value("crypto_rti_model_last_retrained_timestamp_seconds", {"coin": "BTC-USD"}) == 1701475200
    assert full.registry.get_sample_value("crypto_rti_model_last_promoted", {"coin": "BTC-USD"}) == 0
    assert full.registry.get_sample_value("crypto_rti_price_age_seconds", {"coin": "BTC-USD"}) == 1.5
    info = {"coin": "BTC-USD", "alias": "champion", "kind": "lasso", "version": "3"}
    assert full.registry.get_sample_value("crypto_rti_model_info", info) == 1


def test_promtool_finds_the_metrics_well_named(full: Metrics) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed; it is in the Debian package prometheus (`make system`)")
    answer = subprocess.run([tool, "check", "metrics"], check=False, input=render_metrics(full)[0], capture_output=True, timeout=60)
    assert answer.returncode == 0, answer.stdout.decode() + answer.stderr.decode()


def test_openmetrics_when_asked_for(full: Metrics) -> None:
    body, kind = render_metrics(full, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert render_metrics(full)[1].startswith("text/plain; version=0.0.4")


def test_a_coin_that_is_gone_is_forgotten() -> None:
    coins = ["BTC-USD", "ETH-USD"]
    metrics = make_metrics(lambda: Snapshot(now=100.0, coins=tuple(coins), candles_until=dict.fromkeys(coins, 40.0)))
    assert value(metrics, "crypto_rti_candles_age_seconds", coin="ETH-USD") == 60
    coins.pop()
    assert value(metrics, "crypto_rti_candles_age_seconds", coin="ETH-USD") is None
    assert value(metrics, "crypto_rti_forecast_age_seconds", coin="BTC-USD") == float("inf")


@pytest.mark.anyio
async def test_two_services_in_one_process_count_for_themselves() -> None:
    first, second = make_metrics(lambda: NOTHING), make_metrics(lambda: NOTHING)
    await ask(ObservabilityMiddleware(answer, first, ["/"]), "/")
    assert value(first, "crypto_rti_http_requests_total", route="/", status="200") == 1
    assert value(second, "crypto_rti_http_requests_total", route="/", status="200") is None


@pytest.mark.parametrize("kind", [FastAPI, Starlette])
def test_a_label_is_a_route_and_never_what_a_stranger_sent(kind: type[Starlette], tmp_path: Path) -> None:
    async def nothing(request: Request) -> Response:
        return JSONResponse({})

    routes = [Route("/api/plain", nothing), Route("/api/coins/{coin}", nothing)]
    if issubclass(kind, FastAPI):
        router = APIRouter()
        for path in ("/api/plain", "/api/coins/{coin}"):
            router.add_api_route(path, nothing)
        app: Starlette = FastAPI()
        app.include_router(router)  # type: ignore[attr-defined]
    else:
        app = kind(routes=routes)
    metrics = make_metrics(lambda: NOTHING)
    install_middleware(app, metrics, load_settings(home=tmp_path, api_keys=KEY))
    with running(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/api/plain").status_code == 401  # Known although it never reached the framework
        for coin in range(20):
            assert client.get(f"/api/coins/{coin}", headers={"x-api-key": KEY}).status_code == 200
            assert client.get(f"/{coin}").status_code == 404
    render_metrics(metrics)
    labels = {(sample.labels["route"], sample.labels["status"]) for metric in metrics.requests.collect() for sample in metric.samples}
    assert labels == {("/api/plain", "401"), ("/api/coins/{coin}", "200"), ("other", "404")}


@given(st.lists(st.floats(0, 20) | st.sampled_from(metrics.BUCKETS), max_size=30))
def test_latencies_are_counted_as_prometheus_would(seconds: list[float]) -> None:
    "The table by which requests are noted goes around `Histogram.observe`; here it is the judge."
    made = make_metrics(lambda: NOTHING)
    observe = ObservabilityMiddleware(answer, made, ["/"])
    judge = Histogram("judge", "", registry=CollectorRegistry(), buckets=metrics.BUCKETS)
    for number, latency in enumerate(seconds):
        observe.count({"type": "http", "path": "/"}, 200, latency)
        judge.observe(latency)
        if number % 7 == 0:
            render_metrics(made)
    render_metrics(made)
    bounds = [*map(float, metrics.BUCKETS), float("inf")]
    expected = {sample.labels["le"]: sample.value for metric in judge.collect() for sample in metric.samples if sample.name == "judge_bucket"}
    assert len(expected) == len(bounds)
    name = "crypto_rti_http_request_duration_seconds"
    for bound, count in expected.items():
        assert (made.registry.get_sample_value(f"{name}_bucket", {"route": "/", "le": bound}) or 0.0) == count
    assert made.registry.get_sample_value(f"{name}_sum", {"route": "/"}) == (pytest.approx(sum(seconds)) if seconds else None)


# --- several workers

WORKER = """
import asyncio, os, sys
from pathlib import Path
from crypto_rti.service.writer import Recorder
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.middleware import ObservabilityMiddleware
from crypto_rti.service.metrics import Snapshot, make_metrics, render_metrics

requests, age, readers, lives_on = (int(word) for word in sys.argv[1:])
recorder = Recorder(open_ledger("sqlite:///nowhere.db"), written=requests)
metrics = make_metrics(lambda: Snapshot(now=1000.0, coins=("BTC-USD",), candles_until={"BTC-USD": 1000 - age}, readers=readers, recorder=recorder,
                                        scores={("BTC-USD", "lasso"): {"n": 5}}))
assert metrics.shared

async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def nothing(*_): pass

async def main():
    app = ObservabilityMiddleware(answer, metrics, ["/api/predict"])
    for _ in range(requests):
        await app({"type": "http", "method": "GET", "path": "/api/predict", "headers": []}, nothing, nothing)

asyncio.run(main())
metrics.refresh()
metrics.refresh()
print("ready", flush=True)
while lives_on and sys.stdin.readline():
    print(render_metrics(metrics)[0].decode(), "# end", sep="", flush=True)
"""


def start_worker(folder: Path, *words: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", WORKER, *map(str, words)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=folder, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def scrape(worker: subprocess.Popen[str]) -> dict[str, float]:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    lines = []
    while (line := worker.stdout.readline().strip()) != "# end":
        lines.append(line)
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    workers = [start_worker(tmp_path, 3, 100, 10, 1), start_worker(tmp_path, 4, 5000, 20, 1)]
    try:
        for worker in workers:
            numbers = scrape(worker)
            assert numbers['crypto_rti_http_requests_total{route="/api/predict",status="200"}'] == 7
            assert numbers['crypto_rti_http_request_duration_seconds_count{route="/api/predict"}'] == 7
            assert numbers['crypto_rti_ledger_forecasts_total{outcome="written"}'] == 7
            assert numbers['crypto_rti_candles_age_seconds{coin="BTC-USD"}'] == 5000
            assert numbers["crypto_rti_stream_readers"] == 30
            assert numbers['crypto_rti_live_forecasts{coin="BTC-USD",model="lasso"}'] == 5
        workers[1].kill()
        workers[1].wait(30)
        numbers = scrape(workers[0])  # What it counted stays, how it was does not
        assert numbers['crypto_rti_http_requests_total{route="/api/predict",status="200"}'] == 7
        assert numbers['crypto_rti_ledger_forecasts_total{outcome="written"}'] == 7
        assert numbers['crypto_rti_candles_age_seconds{coin="BTC-USD"}'] == 100
        assert numbers["crypto_rti_stream_readers"] == 10
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


# --- requests


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": ALWAYS})
    await send({"type": "http.response.body", "body": b"{}"})


ALWAYS = [(b"content-type", b"application/json"), (b"content-length", b"2")]
"Headers of an answer that is sent again and again."


async def ask(app: Any, path: str, headers: list[tuple[bytes, bytes]] | None = None, **scope: Any) -> tuple[int, dict[bytes, bytes]]:
    "Ask without a server; status and headers."
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    full = {"type": "http", "method": "GET", "path": path, "headers": headers or [], "client": ("10.1.2.3", 1), "root_path": "", **scope}
    await app(full, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.anyio
async def test_what_is_sent_again_is_never_changed() -> None:
    "The remembered answer's header list is shared by all answers; a middleware that wrote into it would leak one request's name into the next."
    before = list(ALWAYS)
    app = ObservabilityMiddleware(middleware.CrossOriginMiddleware(answer, ["https://a.example"]), make_metrics(lambda: NOTHING), ["/"])
    for name in (b"first", b"second"):
        _, headers = await ask(app, "/", [(b"x-request-id", name), (b"origin", b"https://a.example")])
        assert headers[b"x-request-id"] == name
        assert headers[b"access-control-allow-origin"] == b"https://a.example"
    assert before == ALWAYS


words = st.binary(max_size=40) | st.sampled_from([KEY.encode(), b"Bearer", b"bearer ", b"Basic " + KEY.encode(), KEY.upper().encode(), KEY[:-1].encode()])
names = st.sampled_from([b"x-api-key", b"authorization", b"x-api-keys", b"cookie", b"x-forwarded-for"])


@given(st.lists(st.tuples(names, words), max_size=4), st.sampled_from(["/api/predict", "/api/", "/api", "/metrics", "/api/../health/live", "/metrics/x"]))
def test_nothing_but_the_key_opens(headers: list[tuple[bytes, bytes]], path: str) -> None:
    offered = [(name, value) for name, value in headers if name == b"x-api-key" or (name == b"authorization" and value[:7].lower() == b"bearer ")]
    status, said = asyncio.run(ask(AuthenticationMiddleware(answer, [KEY, "another-key-of-ours"]), path, headers))
    assert status == (200 if (b"x-api-key", KEY.encode()) in offered[:2] else 401), "more than two keys are guesses"
    assert (b"www-authenticate" in said) == (status == 401)


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/index.html"])
async def test_what_stays_open(path: str) -> None:
    assert (await ask(AuthenticationMiddleware(answer, [KEY]), path))[0] == 200


@pytest.mark.anyio
async def test_a_prefix_of_the_server_opens_nothing() -> None:
    assert (await ask(AuthenticationMiddleware(answer, [KEY]), "/base/api/predict", root_path="/base"))[0] == 401


@pytest.mark.anyio
async def test_limits_are_by_network_and_for_the_api_alone() -> None:
    now = [0.0]
    app = AuthenticationMiddleware(answer, limit=RateLimit(0.5, 1), clock=lambda: now[0])

    async def statuses(*hosts: str | None, path: str = "/api/predict") -> list[int]:
        return [(await ask(app, path, client=None if host is None else (host, 1)))[0] for host in hosts]

    assert await statuses("2001:db8::1", "2001:db8::2", "2001:db8:0:1::2") == [200, 429, 200]
    assert await statuses("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2") == [200, 429, 200]
    assert await statuses(None, None) == [200, 429]
    for path in ("/metrics", "/health/live", "/docs"):
        assert await statuses("10.0.0.1", path=path) == [200]
    _, headers = await ask(app, "/api/stream", client=("10.0.0.1", 1))
    assert headers[b"retry-after"] == b"2"
    now[0] = 2.0
    assert await statuses("10.0.0.1", "10.0.0.1") == [200, 429]


def test_a_million_addresses_do_not_fill_the_memory() -> None:
    limit = RateLimit(1.0, 5, clients=1000)
    most = 0
    for number in range(100_000):
        limit.take(b"%d" % number, number * 1e-4)
        most = max(most, len(limit.full_at))
    assert most <= 1001


def test_keys_that_cannot_work_are_refused_before_the_first_request(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, api_keys=(" ",))
    with pytest.raises(logs.OperationsError, match="empty"):
        install_middleware(Starlette(), make_metrics(lambda: NOTHING), settings)


# --- logs

TEXT = st.text(max_size=60) | st.sampled_from(["a\nb", "\x1b[31m", "\u2028", "\u202e", "\x85", "\r\n2024-01-31T15:00:00.000Z ERROR x: y", "%s %d", "\udc80"])


def to_record(message: str, *arguments: object, **facts: object) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "x", "levelno": 20, "levelname": "INFO", "msg": message, "args": arguments})
    vars(record).update(facts)
    return record


@given(TEXT, TEXT)
def test_nobody_writes_a_line_of_his_own(first: str, second: str) -> None:
    record = to_record("asked for %s", first, path=second)
    for as_json in (True, False):
        line = LineFormatter(as_json).format(record)
        assert len(line.splitlines()) == 1
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", line)
        line.encode()
    assert json.loads(LineFormatter(True).format(record))["message"] == f"asked for {first}"


@given(TEXT)
def test_an_error_cannot_forge_a_line_either(text: str) -> None:
    record = to_record("failed")
    try:
        raise ValueError(f"{text}\nERROR all is lost")
    except ValueError:
        record.exc_info = sys.exc_info()
    lines = LineFormatter(False).format(record).splitlines()
    assert all(line.startswith("    ") for line in lines[1:])
    told = json.loads(LineFormatter(True).format(record))
    assert told["exception"]["type"] == "ValueError"
    assert "Traceback" in told["exception"]["stack"]


def test_a_message_that_does_not_fit_is_written_nevertheless() -> None:
    told = json.loads(LineFormatter(True).format(to_record("%d of %s", "three", odd=float("inf"), thing=Path("a/b"))))
    assert "three" in told["message"]
    assert (told["odd"], told["thing"]) == ("inf", "a/b")


@pytest.mark.parametrize("address", ["postgresql://me:p%40ss-w0rd@db/x", "postgresql://db/x?user=me&password=p%40ss-w0rd"])
@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_masked_wherever_they_turn_up(address: str, as_json: bool, tmp_path: Path) -> None:
    hidden = secrets_of(load_settings(home=tmp_path, ledger_url=address, api_keys=f"{KEY} {KEY}-2"))
    record = to_record("%s said %s, %s-2 and p@ss-w0rd", address, KEY, KEY, path=f"/api/{KEY}", nested={"key": KEY})
    try:
        raise OSError(f"cannot reach {address} with {KEY}")
    except OSError:
        record.exc_info = sys.exc_info()
    line = LineFormatter(as_json, hidden).format(record)
    assert not [secret for secret in (KEY, "p%40ss-w0rd", "p@ss-w0rd", "***-2") if secret in line]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    "Where the log goes during one test."
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access", *logs.QUIET_LOGGERS)]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield io.StringIO()
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:], logger.propagate = handlers, propagate


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_libraries_speak_the_same_language(stream: io.StringIO) -> None:
    uvicorn.Config(answer)  # Its default configuration gives its loggers handlers of their own
    for _ in range(2):
        logs.configure_logging("info", "auto", stream=stream)  # A second call changes nothing
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[31mStarted"})
    logging.getLogger("uvicorn.access").info("GET /?key=secret")
    assert not logging.getLogger("uvicorn.access").hasHandlers()  # So that uvicorn does not even make its lines
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("httpx").warning("odd")
    logging.getLogger("crypto_rti.service").debug("too much")
    assert [(line["logger"], line["message"]) for line in logged(stream)] == [("uvicorn.error", "Started"), ("httpx", "odd")]
    assert set(logged(stream)[0]) == {"time", "level", "logger", "message"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", logged(stream)[0]["time"])


def test_an_unknown_level_is_named(stream: io.StringIO) -> None:
    with pytest.raises(logs.OperationsError, match=r"CRYPTO_RTI_LOG_LEVEL='loud'"):
        logs.configure_logging("loud", stream=stream)


# --- over sockets


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    "A real server in a thread."
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(app, loop="uvloop", http="httptools", log_config=None, access_log=False, server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_for(lambda: server.started, 60, "the start of the server")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


async def speaks(request: Request) -> Response:
    logging.getLogger("crypto_rti.test").info("answering %s", request.query_params["n"])
    await asyncio.sleep(0.01)
    await asyncio.to_thread(logging.getLogger("crypto_rti.test").info, "still %s", request.query_params["n"])
    return JSONResponse({})


async def fails(request: Request) -> Response:
    raise RuntimeError(f"{KEY} is in the message")


async def endless(request: Request) -> Response:
    async def pieces() -> Any:
        while True:
            yield b": ping\n\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(pieces(), media_type="text/event-stream")


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., tuple[Starlette, Metrics]]:
    def make(**changes: Any) -> tuple[Starlette, Metrics]:
        app = Starlette(routes=[Route("/api/speaks", speaks), Route("/api/fails", fails), Route("/api/stream", endless)])
        metrics = make_metrics(lambda: NOTHING)
        install_middleware(app, metrics, load_settings(home=tmp_path, **changes))
        return app, metrics

    return make


@pytest.mark.anyio
async def test_every_line_carries_the_name_of_its_request(small: Any, stream: io.StringIO) -> None:
    logs.configure_logging("info", "json", [KEY], stream)
    app, metrics = small()
    with running(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            answers = await asyncio.gather(*(client.get(f"/api/speaks?n={n}", headers={"x-request-id": f"name-{n}"}) for n in range(100)))
            assert [answer.headers["x-request-id"] for answer in answers] == [f"name-{n}" for n in range(100)]
            unnamed = [(await client.get("/api/speaks?n=x")).headers["x-request-id"] for _ in range(20)]
            assert len(set(unnamed)) == 20
            failed = await client.get("/api/fails", headers={"x-request-id": "bug-1"})
            assert (failed.status_code, failed.headers["x-request-id"], failed.json()["status"]) == (500, "bug-1", 500)
            assert KEY not in failed.text
    lines = logged(stream)
    for line in lines:
        if found := re.fullmatch(r"(?:answering|still) (\d+)", line["message"]):
            assert line["request_id"] == f"name-{found[1]}"
    assert sum(line["message"].startswith("answering") for line in lines) == 120
    bug = [line for line in lines if line.get("request_id") == "bug-1"]
    assert [(line["level"], line.get("status")) for line in bug] == [("error", None), ("warning", 500)]
    assert bug[0]["exception"]["type"] == "RuntimeError"
    assert KEY not in stream.getvalue()
    assert value(metrics, "crypto_rti_http_requests_total", route="/api/speaks", status="200") == 120
    assert value(metrics, "crypto_rti_http_request_duration_seconds_count", route="/api/speaks") == 120


def test_hostile_names_and_paths_over_a_socket(small: Any, stream: io.StringIO) -> None:
    logs.configure_logging("debug", "json", [], stream)
    app, metrics = small()
    with running(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        for number, name in enumerate(["a b", "a;b", "x" * 65, "'\"<script>", "é", "a\tb"]):
            answer = client.get(f"/wp-admin/{number}%0aforged%20line", headers={"x-request-id": name.encode()})
            assert answer.status_code == 404
            assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
    assert value(metrics, "crypto_rti_http_requests_total", route="other", status="404") == 6
    paths = [line for line in logged(stream) if line["logger"] == "crypto_rti.access"]
    assert [line["path"] for line in paths] == [f"/wp-admin/{number}\nforged line" for number in range(6)]
    assert {line["level"] for line in paths} == {"info"}
    assert {line["client"] for line in paths} == {"127.0.0.1"}


def test_a_stream_counts_when_it_begins_and_readers_may_leave(small: Any) -> None:
    app, metrics = small(rate_limit=0.001, rate_burst=3)
    with running(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        with contextlib.ExitStack() as stack:
            pieces = [stack.enter_context(client.stream("GET", "/api/stream")).iter_bytes() for _ in range(3)]
            assert all(next(piece).startswith(b": ping") for piece in pieces)
            assert value(metrics, "crypto_rti_http_requests_total", route="/api/stream", status="200") == 3
            assert value(metrics, "crypto_rti_http_requests_in_progress") == 3
            refused = client.get("/api/stream")
            assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
            assert 1 <= int(refused.headers["retry-after"]) <= 1000
        wait_for(lambda: metrics.in_progress == 0, 60, "the end of the streams in the count")
    assert value(metrics, "crypto_rti_http_requests_total", route="/api/stream", status="200") == 3


@pytest.mark.anyio
async def test_a_client_that_gives_up_is_counted_once() -> None:
    "A server that cancels the work of a client who left; so does a shutdown."
    metrics = make_metrics(lambda: NOTHING)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(ask(ObservabilityMiddleware(slow, metrics, ["/slow"]), "/slow"))
    await asyncio.sleep(0)
    assert metrics.in_progress == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert metrics.in_progress == 0
    assert value(metrics, "crypto_rti_http_requests_total", route="/slow", status="499") == 1


def test_another_origin_over_a_socket(small: Any) -> None:
    app, _ = small(api_keys=KEY, cors_origins="https://good.example")
    with running(app) as url, httpx.Client(base_url=url, headers={"origin": "https://good.example"}, timeout=60) as client:
        asked = {"access-control-request-method": "GET", "access-control-request-headers": "x-api-key, last-event-id"}
        before = client.options("/api/speaks", headers=asked)
        assert before.status_code == 200
        assert before.headers.items() >= security.HEADERS.items()
        assert before.headers["access-control-allow-methods"] == "GET"
        refused = client.get("/api/speaks?n=1")
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://good.example")
        passed = client.get("/api/speaks?n=1", headers={"authorization": f"Bearer {KEY}"})
        assert passed.status_code == 200
        assert passed.headers["access-control-expose-headers"] == "x-request-id, retry-after"
        assert "access-control-allow-credentials" not in passed.headers
        for wrong in ({**asked, "origin": "https://bad.example"}, {**asked, "access-control-request-method": "DELETE"}):
            answer = client.options("/api/speaks", headers=wrong)
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")

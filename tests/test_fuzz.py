"""Random and hostile requests: no 5xx but declared 503s, every answer fits the OpenAPI document, nothing raw comes back, and the service lives on.

`CRYPTO_RTI_FUZZ` is the number of requests that schemathesis makes (1,000; `make bench-service` makes 10,000). Everything is seeded: a run that
fails fails again.
"""

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import httpx
import pytest
import requests
import schemathesis
from harness import bench
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as effort
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

REQUESTS = int(os.environ.get("CRYPTO_RTI_FUZZ", "1000"))
FITS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
STREAM = "/api/stream"  # its answers do not end
SECRET = "EvilMark"

# Against one service that runs on: the same requests every time, in one pass, because what one has changed another would find changed.
REPEATABLE = effort(derandomize=True, database=None, phases=[Phase.generate])
CONTROL = r"[\x00-\x1f\x7f-\x9f]"


class Bugs(logging.Handler):
    "Keeps what is logged of errors."

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    "One service for all: what one test does to it, the next one would notice."
    with bench(tmp_path_factory.mktemp("fuzz"), shift=0.1) as service, contextlib.ExitStack() as stack:
        service.document, service.bugs = service.http.get("/openapi.json").json(), Bugs()
        for name in ("uvicorn", "crypto_rti"):
            logging.getLogger(name).addHandler(service.bugs)
            stack.callback(logging.getLogger(name).removeHandler, service.bugs)
        yield service


@pytest.fixture(autouse=True)
def _lives_on(request):
    "After every test the service answers a forecast, and has logged no bug."
    yield
    if "up" in request.fixturenames:
        up = request.getfixturevalue("up")
        assert up.http.get("/api/predict?coin=BTC-USD").status_code == 200
        assert not up.bugs.lines[:3]


# --- schemathesis: what the document allows, and what it does not ---


def operations(up, parameters):
    "Operations with parameters, or those without."
    schema = schemathesis.openapi.from_dict(up.document).exclude(path=STREAM)
    schema.config.update(base_url=up.url)
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if bool(len(operation.query)) == parameters]


LIKELY = {
    "coin": ["BTC-USD", "ETH-USD", "btc-usd", "NO-SUCH"],
    "time_from": ["now", "rolling", "1", "5", "72", "73", "2024-01-31T15:00Z", "2024-01-30", "2023-06-01T12:34:56+02:00", "2015-01-02", "2030-01-01"],
    "model_name": ["champion", "lasso", "persistence", "lightgbm"],
    "days": ["1", "30", "all", "All", "3650", "3651", "0", "-1", "1e3", "٣", "1_0", " 5", "+5", "5.0"],
    "hours": ["1", "24", "720", "721", "0", "-1", "٣", "24.0"],
    "mode": ["hour", "rolling", "day"],
}
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["x-request-id", "x-forwarded-for", "forwarded", "accept", "origin", "range", "last-event-id", "authorization", "x-api-key"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip),
    max_size=3,
)


def likely(case):
    "Put likely values into some of the parameters that a case has, so that more than refusals is seen."
    known = {name: st.sampled_from(LIKELY[name]) for name in LIKELY if name in {parameter.name for parameter in case.operation.query}}
    always = {name: value for name, value in known.items() if name == "coin"}

    def put(values):
        case.query = {**(case.query or {}), **values}
        return case

    return st.fixed_dictionaries(always, optional={name: value for name, value in known.items() if name not in always}).map(put)


def undeclared(case):
    "Put parameters and headers into a case that nobody has declared."

    def put(drawn):
        case.query, case.headers = {**(case.query or {}), **drawn[0]}, {**(case.headers or {}), **drawn[1]}
        return case

    return st.tuples(st.dictionaries(WORDS, WORDS, max_size=3), HEADERS).map(put)


def shoot(strategy, number, count, checks, codes):
    "Make requests, at most `count` and with `number` for a seed; each answer is checked."
    made = 0
    with requests.Session() as session:

        @seed(number)
        @effort(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck])  # A share of `REQUESTS`
        @given(case=strategy)
        def one(case):
            nonlocal made
            response = case.call(session=session)
            made += 1
            codes.append(response.status_code)
            case.validate_response(response, checks=checks)
            sound_answer(response.status_code, {name: values[0] for name, values in response.headers.items()})

        one()
    return made


def sound_answer(status, headers):
    "What holds for every answer, whatever was asked."
    assert status < 500 or (status == 503 and int(headers["retry-after"]) >= 1), status
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", headers.get("x-request-id", "none"))


KINDS = {
    "positive": (0.3, schemathesis.GenerationMode.POSITIVE, None),
    "negative": (0.25, schemathesis.GenerationMode.NEGATIVE, None),
    "likely": (0.35, schemathesis.GenerationMode.POSITIVE, likely),
    "without parameters": (0.1, schemathesis.GenerationMode.POSITIVE, undeclared),
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_requests(up, kind):
    share, mode, change = KINDS[kind]
    targets, codes, made = operations(up, parameters=kind != "without parameters"), [], 0
    checks = [*FITS, negative_data_rejection] if kind == "negative" else FITS
    for turn in range(10):  # a strategy may run dry before its share is done
        missing = int(REQUESTS * share) - made
        if missing <= 0:
            break
        for number, operation in enumerate(targets):
            strategy = operation.as_strategy(generation_mode=mode)
            made += shoot(strategy.flatmap(change) if change else strategy, 100 * turn + number, -(-missing // len(targets)), checks, codes)
        assert turn < 9, f"only {made} requests were made"
    assert {"positive": 404, "negative": 422, "likely": 200, "without parameters": 200}[kind] in codes
    assert set(codes) <= {200, 404, 409, 414, 422, 503}, sorted(set(codes))


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the service does, in its thread, when it waits before it asks again
def test_random_requests_while_the_exchange_is_away(tmp_path):
    "The declared 503 is all that a dead exchange makes of an answer."
    with bench(tmp_path) as up:
        up.document = up.http.get("/openapi.json").json()
        up.exchange.faults.add("status", status=500, times=None)
        codes = []
        for operation in operations(up, parameters=True):
            shoot(operation.as_strategy().flatmap(likely), 1, min(REQUESTS // 20, 200), FITS, codes)
        assert up.http.get("/api/predict?coin=BTC-USD&time_from=2022-03-04").status_code == 503
        assert 200 in codes


QUERIES = st.fixed_dictionaries(
    {"coin": st.one_of(st.just("BTC-USD"), st.sampled_from(LIKELY["coin"]), WORDS)},
    optional={
        "time_from": st.one_of(st.sampled_from(["now", "rolling"]), st.sampled_from(LIKELY["time_from"]), WORDS),
        "model_name": st.one_of(st.sampled_from(LIKELY["model_name"]), WORDS),
        "last_event_id": WORDS,
        "days": st.just("5"),
    },
)


def test_a_stream_begins_or_is_refused(up):
    if STREAM not in up.document["paths"]:
        pytest.skip("this service has no stream")
    responses, codes = up.document["paths"][STREAM]["get"]["responses"], set()

    @effort(REPEATABLE, max_examples=max(50, REQUESTS // 20))
    @given(QUERIES, HEADERS)
    def ask(query, headers):
        with up.http.stream("GET", STREAM, params=query, headers=headers) as response:
            codes.add(response.status_code)
            sound_answer(response.status_code, response.headers)
            [kind] = responses[str(response.status_code)]["content"]
            assert response.headers["content-type"].split(";")[0] == kind
            if response.status_code == 200:
                assert next(response.iter_raw()).startswith((b"retry:", b"id:", b"event:", b":"))
            else:
                assert set(requests.models.complexjson.loads(response.read())) == {"type", "title", "status", "detail"}

    ask()
    assert {200, 404, 422} <= codes <= {200, 404, 414, 422, 503}


# --- bytes on a socket ---


def talk(up, *parts, ends=False, seconds=10.0):
    "Send bytes as they are; return what comes back until the other side closes, or falls silent."
    address, reply = urlsplit(up.url), b""
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as line:
        with contextlib.suppress(OSError):  # closed while we still talk
            for part in parts:
                line.sendall(part)
            if ends:
                line.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while chunk := line.recv(1 << 16):
                reply += chunk
    return reply


def sound(reply):
    "No 5xx, no header of a stranger's making, no inside of ours; returns the statuses."
    heads = [part.partition(b"\r\n\r\n")[0] for part in re.split(rb"(?=HTTP/1\.[01] \d{3})", reply) if part]
    statuses = [int(head[9:12]) for head in heads]
    assert all(200 <= status < 500 for status in statuses), reply[:300]
    for head in heads:
        assert SECRET.encode().lower() not in head.lower(), head
    assert not any(word in reply for word in (b"Traceback", b"root:x:", b"site-packages"))
    return statuses


def get(target="/health/live", *lines, version="1.1"):
    "A request that wants the connection closed."
    return b"\r\n".join([b"GET " + target.encode() + b" HTTP/" + version.encode(), b"Host: here", b"Connection: close", *lines, b"", b""])


INJECTED = [
    b"X-Request-Id: a\r\n EvilMark: folded",
    b"X-Request-Id: a\rEvilMark: bare",
    b"X-Request-Id: a\nEvilMark: bare",
    b"X-Request-Id: a\x00EvilMark",
    b"X-Request-Id: \x1b[31mEvilMark\x1b[0m",
    b"X-Request-Id: " + b"\xff\xfe\xf0" * 50,
    b"X-Request-Id: " + b"EvilMark" * 500,
    b"Last-Event-ID: \x0b\x0cEvilMark",
    b"Origin: https://EvilMark.example",
    b"X-Forwarded-For: EvilMark, \x1b]0;EvilMark\x07",
    b"X-Forwarded-Host: EvilMark.example",
    b"Forwarded: for=EvilMark;host=EvilMark",
    b"Referer: https://EvilMark/\r\nX-EvilMark: 1",
    b"Accept: EvilMark/EvilMark;q=" + b"9" * 400,
    b"Cookie: EvilMark=1; EvilMark=2",
    b"Authorization: Basic \xff\xff\xff",
    b"X-API-Key: \x80EvilMark",
    b"Range: bytes=0-EvilMark",
    b"Upgrade: EvilMark\r\nConnection: upgrade",
    b"Expect: 100-EvilMark",
    b"EvilMark : space before the colon",
    b": EvilMark without a name",
    b"EvilMark",
]


@pytest.mark.parametrize("line", INJECTED, ids=lambda line: ascii(line[:30].decode("latin-1")))
@pytest.mark.parametrize("target", ["/health/live", "/api/predict?coin=BTC-USD", "/api/predict?coin=NO-SUCH"])
def test_headers_are_not_reflected(up, line, target):
    assert set(sound(talk(up, get(target, line)))) <= {200, 400, 404, 431}


TRAVERSALS = [
    "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cetc%5cpasswd", "/....//....//etc/passwd", "/static/../../../etc/passwd",
    "//etc/passwd", "/api//predict?coin=BTC-USD", "/api/predict%00?coin=BTC-USD", "/api/predict;x=1?coin=BTC-USD", "/api/%70redict/..",
    "/%c0%ae%c0%ae/etc/passwd", "/docs%0d%0aEvilMark:%201", "/api/coins%0aEvilMark", "/\\..\\..", "/%", "/%zz", "/?", "/#",
    "/api/predict?coin=BTC-USD%0d%0aEvilMark:%201",
    "/api/predict?coin[]=BTC-USD", "/api/predict?coin=BTC-USD&time_from=1&time_from=2", "/api/predict?coin=BTC-USD&coin=BTC-USD", "/api/predict?&&&=&=",
    "/api/predict?coin=BTC-USD;time_from=5", "/api/predict?coin=%F0%9F%92%A9", "/api/predict?coin=BTC-USD&time_from=%D9%A3", "/api/predict?coin=%ED%A0%80",
    "/api/predict?coin=" + "%00" * 300, "/openapi.json?EvilMark", "/health/ready?" + "EvilMark=1&" * 1000, "/" + "a/" * 30_000, "/" + "%2e" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("target", TRAVERSALS, ids=lambda target: ascii(target[:40]))
def test_paths_lead_nowhere_else(up, target):
    statuses = sound(talk(up, get(target)))
    assert set(statuses) <= {200, 400, 404, 414, 422, 431} and len(statuses) <= 1
    assert statuses != [200] or target.partition("?")[0] in ("/", "/#", "/api/predict", "/openapi.json", "/health/ready")


LINES = [
    b"GET {url}/health/live HTTP/1.1",
    b"GET https://EvilMark.example/api/predict?coin=BTC-USD HTTP/1.1",
    b"GET //EvilMark.example/%2f.. HTTP/1.1",
    b"CONNECT EvilMark.example:443 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"TRACE /api/predict?EvilMark HTTP/1.1",
    b"PROPFIND / HTTP/1.1",
    b"EVILMARK / HTTP/1.1",
    b"get /health/live HTTP/1.1",
    b"GET  /health/live  HTTP/1.1",
    b"GET /health/live",
    b"GET /health/live HTTP/9.9",
    b"GET /health/live HTTP/0.9",
    b"GET /health/live http/1.1",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b" GET / HTTP/1.1",
    b"GET /health/live\x00 HTTP/1.1",
    b"GET /health/live\tHTTP/1.1",
    b"GET /h\xc3\xa9alth HTTP/1.1",
    b"A" * 100_000,
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: ascii(line[:30].decode("latin-1")))
def test_request_lines(up, line):
    reply = talk(up, line.replace(b"{url}", up.url.encode()) + b"\r\nHost: here\r\nConnection: close\r\n\r\n", ends=True)
    assert set(sound(reply)) <= {200, 400, 404, 405, 431, 501, 505}


def test_old_http_without_a_host(up):
    for lines in (b"", b"Connection: keep-alive\r\n"):
        reply = talk(up, b"GET /health/live HTTP/1.0\r\n" + lines + b"\r\n", ends=bool(lines))
        assert sound(reply) in ([200], []) and (lines or b'"live"' in reply)


SMUGGLED = get("/api/predict?coin=EvilMark")


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked", b"Content-Length: -1", b"Content-Length: +5", b"Content-Length: 5 5", b"Content-Length: 99999999999999999999999",
        b"Content-Length: \xd9\xa3", b"Transfer-Encoding:\x0bchunked", b"Content-Length: 0x5",
    ],
    ids=lambda lines: ascii(lines.decode("latin-1")),
)  # fmt: skip
def test_bodies_of_doubtful_length(up, lines):
    "A body that two programs would cut differently is how one request is smuggled behind another."
    for method in (b"GET", b"POST"):
        reply = talk(up, method + b" /health/live HTTP/1.1\r\nHost: here\r\n" + lines + b"\r\n\r\n0\r\n\r\n" + SMUGGLED, ends=True)
        assert len([status for status in sound(reply) if status != 400]) <= 1, reply


def test_what_is_too_large(up):
    mega = b"x" * 1_000_000
    huge = [
        get("/health/live", b"X-Large: " + mega),
        get("/health/live", *[b"X-%d: EvilMark" % number for number in range(5_000)]),
        get("/health/live", mega + b": 1"),
        get("/api/predict?coin=" + "B" * 1_000_000),
        get("/api/predict?coin=BTC-USD&" + "&".join(f"EvilMark{number}=1" for number in range(20_000))),
    ]
    for request in huge:
        assert set(sound(talk(up, request))) <= {200, 400, 404, 414, 422, 431}
    for method in (b"GET", b"POST", b"PUT", b"DELETE"):
        head = method + b" /api/predict?coin=BTC-USD HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n"
        assert set(sound(talk(up, head, *[mega] * 20))) <= {200, 405, 413}
    chunked = b"POST /api/coins HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert set(sound(talk(up, chunked, *[b"f4240\r\n" + mega + b"\r\n"] * 20, b"0\r\n\r\n"))) <= {405, 413}
    assert up.http.request("GET", "/api/coins", json={"EvilMark": ["x"] * 20_000}).status_code == 413
    assert up.http.request("GET", "/api/coins", json={"EvilMark": ["x"] * 2_000}).status_code == 200


def test_many_requests_at_once_on_one_line(up):
    targets = ["/health/live", "/api/predict?coin=BTC-USD", "/api/predict?coin=NO-SUCH", "/api/nothing", "/api/predict?coin=BTC-USD&time_from=5"] * 20
    lines = [f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode() for target in targets]
    statuses = sound(talk(up, b"".join(lines) + get()))
    assert statuses == [200, 200, 404, 404, 200] * 20 + [200]


def test_lines_that_are_left_hanging(up):
    "Connections that say a little and no more cost nobody else an answer."
    address, hanging = urlsplit(up.url), []
    try:
        for number in range(100):
            line = socket.create_connection((address.hostname, address.port), timeout=10)
            line.sendall(get("/api/predict?coin=BTC-USD")[: number % 60])
            hanging.append(line)
        assert {up.http.get("/api/predict?coin=BTC-USD").status_code for _ in range(20)} == {200}
    finally:
        for line in hanging:
            line.close()


@REPEATABLE
@given(
    st.one_of(st.binary(max_size=80), st.sampled_from([b"GET /api/predict?coin=BTC-USD HTTP/1.1", b"POST / HTTP/1.1", b"GET /health/live HTTP/1.0"])),
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"Host: here", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"a: b"])), max_size=5),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
)
def test_any_bytes(up, line, headers, end):
    sound(talk(up, end.join([line, *headers, b"", b""]), ends=True))


@REPEATABLE
@given(st.lists(st.one_of(WORDS, st.sampled_from(["..", ".", "", "api", "predict", "coins", "health", "etc", "passwd", "%2e%2e", "\0"])), max_size=6))
def test_any_path(up, parts):
    response = up.http.get(f"{up.url}/" + "/".join(quote(part, safe="%") for part in parts))  # httpx takes a relative path that begins with // for a host
    sound_answer(response.status_code, response.headers)
    assert response.status_code in (200, 400, 404, 405, 422)


# --- the log of a real process ---

SERVE = """
from crypto_rti.settings import load_settings
from crypto_rti.service.server import serve
serve(load_settings())
"""


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nothing_of_it_forges_a_log_line(tmp_path, stack, log_format):
    "Everything above once more against a process, whose log is then read as a person or a machine would read it."
    own = {"HOME": str(tmp_path), "SOURCE": "sim", "PRODUCTS": "BTC-USD", "PORT": "0", "LOG_LEVEL": "debug", "LOG_FORMAT": log_format}
    env = {**os.environ, **{f"CRYPTO_RTI_{name}": value for name, value in own.items()}}
    log = stack.enter_context((tmp_path / "log").open("wb"))
    process = stack.enter_context(subprocess.Popen([sys.executable, "-c", SERVE], env=env, stdout=subprocess.PIPE, stderr=log, text=True))
    stack.callback(process.terminate)
    up = SimpleNamespace(url=process.stdout.readline().split()[4])
    http = stack.enter_context(httpx.Client(base_url=up.url, transport=httpx.HTTPTransport(retries=6), timeout=20))  # it may not listen yet
    assert http.get("/health/live").status_code == 200
    for line in INJECTED:
        sound(talk(up, get("/api/predict?coin=NO-SUCH", line)))
    for target in TRAVERSALS:
        sound(talk(up, get(target)))
    for line in LINES:
        sound(talk(up, line.replace(b"{url}", up.url.encode()) + b"\r\n\r\n", ends=True))
    assert http.get("/api/predict?coin=BTC-USD").status_code == 200
    process.terminate()
    assert process.wait(30) == 0
    lines = (tmp_path / "log").read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    wrong = [line for line in lines if re.search(CONTROL, line) or not line.isprintable() or line.lstrip().startswith(SECRET) or "Traceback" in line]
    assert not wrong, wrong[:5]
    assert sum("/api/predict" in line for line in lines) >= len(INJECTED) // 2  # it does log

"""Keys that are guessed, and limits that are evaded: over several workers, behind a proxy, from many addresses."""

import asyncio
import secrets
import tracemalloc
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from crypto_rti.service.logs import OperationsError
from crypto_rti.service.metrics import make_metrics
from crypto_rti.service.middleware import AuthenticationMiddleware, install_middleware
from crypto_rti.service.security import RateLimit, to_client
from crypto_rti.settings import load_settings

KEY = secrets.token_hex(24)


async def fine(request):
    return PlainTextResponse("fine")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def ask(app, client="10.1.2.3", path="/api/coins", **headers):
    "The status of an answer, and the answer's headers."
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": given,
        "client": (client, 1),
        "root_path": "",
    }
    asyncio.run(app({**scope, "scheme": "http", "http_version": "1.1", "server": ("x", 1)}, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def guard(clock, **options):
    return AuthenticationMiddleware(Starlette(routes=[Route("/api/coins", fine), Route("/health/live", fine)]), clock=clock, **options)


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_workers_together_let_no_more_pass_than_the_settings_say(workers, tmp_path, attack):
    settings = load_settings(home=tmp_path, rate_limit=0.001, rate_burst=20, service_workers=workers)
    apps = []
    for _ in range(workers):  # Each worker makes its own application
        app = Starlette(routes=[Route("/api/coins", fine)])
        install_middleware(app, make_metrics(lambda: SimpleNamespace()), settings)
        apps.append(app)
    passed = sum(ask(apps[number % workers])[0] == 200 for number in range(workers * 25))
    assert 1 <= passed <= max(20, workers)
    attack(f"limit of 20 at once, {workers} workers", before=f"{20 * workers} pass", after=f"{passed} pass")


@pytest.mark.parametrize("many", ["requests", "headers"])
def test_wrong_keys_are_slowed_and_a_right_guess_does_not_show(many, attack):
    clock = Clock()
    app = guard(clock, keys=[KEY])
    if many == "headers":
        scope = {
            "type": "http",
            "path": "/api/coins",
            "headers": [*((b"x-api-key", b"guess-%d" % number) for number in range(500)), (b"x-api-key", KEY.encode())],
        }
        assert app.refuse(scope).status_code == 401
        attack("500 keys in one request, the last one right", before="200", after="401")
        return
    statuses = [ask(app, x_api_key=f"guess-{number}")[0] for number in range(200)]
    assert statuses.count(401) == 10 and statuses.count(429) == 190
    status, headers = ask(app, x_api_key=KEY)
    assert status == 429 and 1 <= int(headers[b"retry-after"]) <= 5
    assert ask(app, client="10.1.2.4", x_api_key=KEY)[0] == 200 and ask(app, path="/health/live")[0] == 200
    assert ask(app)[0] == 401, "no key at all is no guess"
    clock.now += 5.1
    assert ask(app, x_api_key=KEY)[0] == 200
    clock.now += 3600
    tried = 0
    for _ in range(3600):
        clock.now += 1
        tried += app.refuse({"path": "/api/coins", "headers": [(b"x-api-key", b"guess")], "client": ("10.1.2.3", 1)}).status_code == 401
    assert tried <= 731
    attack("200 wrong keys at once", before="200 answered with 401", after=f"{statuses.count(401)} looked at, {tried} in the hour after")


@pytest.mark.parametrize("key", ["x", "short", "fifteen-letters", "a" * 64, "abababababababababab"])
def test_a_key_that_can_be_guessed_is_refused_before_anything_starts(key, tmp_path, attack):
    app = Starlette()
    with pytest.raises(OperationsError, match="openssl rand -hex 24") as caught:
        install_middleware(app, make_metrics(lambda: SimpleNamespace()), load_settings(home=tmp_path, api_keys=f"{KEY} {key}"))
    assert "API key 2" in str(caught.value) and (len(key) < 6 or key not in str(caught.value)) and caught.value.exit_code == 2
    attack(f"a key of {len(key)} letters", before="taken", after="refused at start")


def test_visitors_behind_a_proxy_have_buckets_of_their_own(attack):
    "Without a trusted proxy they share one; a port behind the address, which some proxies add, evades nothing."
    limited = guard(Clock(), limit=RateLimit(0.001, 5))
    behind = ProxyHeadersMiddleware(limited, trusted_hosts=["10.0.0.1"])
    first = [ask(behind, client="10.0.0.1", x_forwarded_for="203.0.113.7")[0] for _ in range(6)]
    other = ask(behind, client="10.0.0.1", x_forwarded_for="203.0.113.8")[0]
    ports = [ask(behind, client="10.0.0.1", x_forwarded_for=f"203.0.113.9:{50000 + number}")[0] for number in range(10)]
    forged = [ask(behind, client="198.51.100.1", x_forwarded_for=f"203.0.113.{number}")[0] for number in range(10)]
    longer = [ask(behind, client="10.0.0.1", x_forwarded_for=f"192.0.2.{number}, 203.0.113.77")[0] for number in range(10)]
    assert first == [200] * 5 + [429] and other == 200
    assert [statuses.count(200) for statuses in (ports, forged, longer)] == [5, 5, 5]
    attack("ten connections through a proxy that adds the port", before="10 pass", after=f"{ports.count(200)} pass")


def test_many_addresses_take_little_memory(attack):
    limit, wrong = RateLimit(0.001, 1), guard(Clock(), keys=[KEY])
    tracemalloc.start()
    try:
        for number in range(12_000):
            limit.take(to_client(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"), 0.0)
            limit.take(to_client("x" * 60_000 + str(number)), 0.0)
            wrong.wrong.take(to_client(f"{number}" + "y" * 60_000), 0.0)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(limit.full_at) <= 10_000 and len(wrong.wrong.full_at) <= 10_000 and held < 5e6
    assert to_client("2001:db8::1") == to_client("2001:db8::ffff:ffff:ffff:ffff")
    attack("24,000 clients with names of 60 kB", before="60 kB for each, 600 MB", after=f"{held / 1e6:.1f} MB")

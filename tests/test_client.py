"""The client, sync and async alike: against a server that follows a script, and against the real service."""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest
from harness import NOW, bench
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from test_border import BLOCK
from waiting import wait_for

from crypto_rti import client_protocol, client_stream
from crypto_rti.client import (
    AsyncClient,
    BadAnswerError,
    BadQuestionError,
    Client,
    ClientError,
    ForecastEvent,
    NotEnoughHistoryError,
    PriceEvent,
    ScoredEvent,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnknownNameError,
)
from crypto_rti.client_protocol import retry_policy
from crypto_rti.client_stream import ParserState, read_events
from crypto_rti.service import contract

JSON, PROBLEM, STREAM = "application/json", "application/problem+json", "text/event-stream"
LIVE = (200, JSON, '{"status": "live", "problems": []}')


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("crypto_rti.service").setLevel(logging.CRITICAL)


# --- a server that follows a script ---


class Play:
    "Answers request n with turn n, the last one for ever; a turn is (status, content type, body, *headers), or `cut`, or a body that is held open."

    def __init__(self, *turns):
        self.turns, self.asked, self.over, play = turns, [], threading.Event(), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                play.asked.append(self)
                play.answer(self, play.turns[min(len(play.asked), len(play.turns)) - 1])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler, turn):
        handler.close_connection = True
        if turn == "cut":
            return
        status, kind, body, *headers = turn
        handler.send_response(status)
        for name, value in [("content-type", kind), *headers]:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body.encode())
        if ("x-hold", "1") in headers:
            self.over.wait(60)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


HELD = ("x-hold", "1")


class Awaited:
    "An `AsyncClient` with the face of a `Client`."

    def __init__(self, *args, **options):
        self.runner = asyncio.Runner()
        self.client = AsyncClient(*args, **options)

    def __getattr__(self, name):
        return lambda *args, **options: self.runner.run(getattr(self.client, name)(*args, **options))

    def stream(self, *args):
        events = self.client.stream(*args)
        try:
            while True:
                try:
                    yield self.runner.run(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            self.runner.run(events.aclose())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.runner.run(self.client.aclose())
        self.runner.close()


@pytest.fixture(params=[Client, Awaited], ids=["sync", "async"])
def ask(request):
    "Make a client that hurries."
    with contextlib.ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(request.param(url, **{"backoff_seconds": 0.01, "timeout": 20, **options}))


def refusal(status, title="Title", detail="what would be right", **more):
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **more})


# --- refusals, and what is asked again ---


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadQuestionError), (401, UnauthorizedError), (403, UnauthorizedError), (404, UnknownNameError), (405, ClientError),
        (409, NotEnoughHistoryError), (414, BadQuestionError), (422, BadQuestionError), (500, ClientError), (301, ClientError), (599, ClientError),
    ],
)  # fmt: skip
def test_a_refusal_is_an_error_with_its_details_and_is_not_repeated(ask, status, kind):
    with Play((status, PROBLEM, refusal(status), ("location", "http://127.0.0.1:1/elsewhere"))) as play:
        with pytest.raises(ClientError) as caught:
            ask(play.url).predict("BTC-USD")
        error = caught.value
        assert type(error) is kind and (error.status, error.title, error.detail) == (status, "Title", "what would be right")
        assert str(error) == "Title: what would be right" and len(play.asked) == 1


@pytest.mark.parametrize(("status", "kind"), [(429, TooManyRequestsError), (502, UnavailableError), (503, UnavailableError), (504, UnavailableError)])
def test_what_passes_is_asked_again(ask, status, kind):
    busy = (status, PROBLEM, refusal(status), ("retry-after", "0"))
    with Play(busy, busy, LIVE) as play:
        assert ask(play.url).live().status == "live" and len(play.asked) == 3
    with Play(busy) as play:
        with pytest.raises(kind, match="what would be right") as caught:
            ask(play.url, retries=2).live()
        assert caught.value.status == status and len(play.asked) == 3


def test_a_lost_connection_and_a_cut_answer_are_asked_again(ask):
    half = (200, JSON, '{"status": ', ("content-length", "500"))
    with Play("cut", half, LIVE) as play:
        assert ask(play.url).live().status == "live" and len(play.asked) == 3
    with Play("cut") as play:
        with pytest.raises(UnavailableError, match="is the service running") as caught:
            ask(play.url, retries=1).live()
        assert caught.value.status is None and len(play.asked) == 2


def test_a_service_that_does_not_answer_in_time(ask):
    with Play((200, JSON, "{", HELD)) as play:
        with pytest.raises(UnavailableError, match="ReadTimeout"):
            ask(play.url, retries=1, timeout=0.2).live()
        assert len(play.asked) == 2


def test_waiting_is_what_the_service_wishes_within_reason():
    def pause(error, attempt=1):
        state = SimpleNamespace(outcome=SimpleNamespace(exception=lambda: error), attempt_number=attempt)
        return retry_policy(3, 0.5)["wait"](state)

    assert pause(TooManyRequestsError("later", retry_after=7)) == 7
    assert pause(UnavailableError("much later", retry_after=86400)) == client_protocol.MAX_WAIT
    assert 0.5 <= pause(UnavailableError("no answer")) <= 1.0
    assert 4.0 <= pause(UnavailableError("no answer"), attempt=4) <= 4.5
    for text, least, most in (("7", 7, 7), ("1.5", 1.5, 1.5), ("", 0, 0), ("soon", 0, 0), ("-3", 0, 0), ("Wed, 31 Jan 2001 15:00:00 GMT", 0, 0)):
        assert least <= client_protocol.retry_after_seconds(httpx.Response(503, headers={"retry-after": text})) <= most


def test_an_answer_of_something_else(ask):
    for body in ("<html>", "{}", '{"prediction": {}}', "[1]", "\x00", "null", ""):
        with Play((200, JSON, body)) as play:
            with pytest.raises(BadAnswerError, match="is this a crypto_rti service"):
                ask(play.url).predict("BTC-USD")
            assert len(play.asked) == 1
    with Play((404, "text/html", "<h1>nothing</h1>")) as play, pytest.raises(UnknownNameError, match="Not Found.*gives no reason"):
        ask(play.url).coins()


def test_a_question_too_long_to_send(ask):
    with Play(LIVE) as play:
        with pytest.raises(BadQuestionError, match="ask a shorter question"):
            ask(play.url).predict("x" * 100_000)
        assert not play.asked


def test_the_key_is_sent_and_never_shown(ask):
    with Play(LIVE, (302, JSON, "{}", ("location", "http://127.0.0.1:1/"))) as play:
        client = ask(play.url, api_key="hunter2")
        client.live()
        assert play.asked[0].headers["x-api-key"] == "hunter2"
        with pytest.raises(ClientError) as caught:  # another host would be given the key
            client.live()
        assert "hunter2" not in f"{caught.value!r} {client!r} {getattr(client, 'address', '')}"
    with Play(LIVE) as play:
        ask(play.url).live()
        assert "x-api-key" not in play.asked[0].headers


def test_a_service_under_a_path(ask):
    with Play(LIVE) as play:
        for url in (f"{play.url}/crypto", f"{play.url}/crypto/"):
            ask(url).live()
            assert play.asked[-1].path == "/crypto/health/live"


# --- server-sent events ---


def reference(text):
    "The standard's algorithm, a line at a time over a whole text that has been decoded."
    last, event, data, found = "", "", [], []
    *lines, _ = re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))
    for line in lines:
        if not line:
            if data:
                found.append((event or "message", "\n".join(data), last))
            event, data = "", []
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                event = value
            elif name == "id" and "\0" not in value:
                last = value
    return found


PIECES = st.sampled_from(["data", "event", "id", "retry", ":", ": ", " ", "\0", "\ufeff", "é", "\u2028", "\x85", "\x0b", "7", "x"])
LINES = st.one_of(st.sampled_from(["data: x", "data", "", "", "id: 7", "event: price", ": ping"]), st.lists(PIECES, max_size=6).map("".join))
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(["\r", "\n", "\r\n"])).map("".join), max_size=20).map("".join)


@given(TEXTS, st.lists(st.integers(0, 120), max_size=8))
def test_events_do_not_depend_on_where_the_bytes_are_cut(text, cuts):
    body = text.encode()
    for edges in ([0, *sorted(min(cut, len(body)) for cut in cuts), len(body)], range(len(body) + 1)):
        found, left = [], ParserState()
        for start, stop in itertools.pairwise(edges):
            some, left = read_events(body[start:stop], left)
            found += some
        assert [tuple(message) for message in found] == reference(text)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_read(body, cut):
    whole, _ = read_events(body, ParserState())
    some, left = read_events(body[:cut], ParserState())
    more, _ = read_events(body[cut:], left)
    assert some + more == whole


def test_what_the_standard_says_of_fields():
    text = b"data\n\ndata\ndata\n\ndata:\n\nid: 1\nid: \0\n\ndata:  x\nretry: 1e3\nretry: 250\nretry: -1\n\nid\ndata: y\n\n"
    messages, left = read_events(text, ParserState())
    assert [message.data for message in messages] == ["", "\n", "", " x", "y"]
    assert [message.id for message in messages] == ["", "", "", "1", ""] and left.retry == 0.25
    with pytest.raises(BadAnswerError, match="longer than"):
        read_events(b"x" * (client_stream.MAX_LINE_BYTES + 1), ParserState())


# --- a stream and its breaks ---


def tick(number):
    hour = {"time": "2024-01-31T15:00:00Z", "open": 1, "high": 2, "low": 1, "close": 2, "volume": 0.5, "whole": True, "mood": "good"}
    data = {"coin": "BTC-USD", "time": NOW, "price": number, "via": "rest", "hour": hour, "new": [1]}
    return f"event: price\nid: {number}\ndata: {json.dumps(data)}\n\n"


def take(events, count):
    return [next(events) for _ in range(count)]


def test_a_stream_goes_on_where_it_was_cut(ask):
    turns = [
        (200, STREAM, "retry: 20\n\n: ping\n\nevent: weather\ndata: rain\n\n" + tick(1) + tick(2)[:30]),
        (503, PROBLEM, refusal(503), ("retry-after", "0")),
        "cut",
        (429, PROBLEM, refusal(429)),
        (200, "text/event-stream; charset=utf-8", tick(2).replace("\n", "\r\n") + ": ping\r\n\r\n"),
        (200, STREAM, tick(3), HELD),
    ]
    with Play(*turns) as play:
        events = ask(play.url, retries=0).stream("BTC-USD", "lasso", "rolling")
        seen = take(events, 3)
        events.close()
        assert [(event.id, event.price) for event in seen] == [("1", 1), ("2", 2), ("3", 3)]
        assert all(isinstance(event, PriceEvent) and event.hour.whole for event in seen)
        assert [one.headers["last-event-id"] for one in play.asked] == [None, "1", "1", "1", "1", "2"]
        assert play.asked[0].path == "/api/stream?coin=BTC-USD&model_name=lasso&time_from=rolling"
        assert play.asked[0].headers["accept"] == STREAM


def test_a_stream_that_is_refused(ask):
    with Play((404, PROBLEM, refusal(404, detail="choose one of BTC-USD"))) as play:
        with pytest.raises(UnknownNameError, match="choose one of BTC-USD"):
            next(ask(play.url).stream("NO-SUCH"))
        assert len(play.asked) == 1
    with Play((200, STREAM, "retry: 0\n\n" + tick(1)), (401, PROBLEM, refusal(401))) as play:
        events = ask(play.url).stream("BTC-USD")
        assert next(events).id == "1"
        with pytest.raises(UnauthorizedError):
            next(events)
    with Play((200, JSON, "{}")) as play, pytest.raises(BadAnswerError, match="not a stream"):
        next(ask(play.url).stream("BTC-USD"))
    with Play((200, STREAM, "event: price\ndata: {}\n\n")) as play, pytest.raises(BadAnswerError, match="event price: coin is missing"):
        next(ask(play.url).stream("BTC-USD"))


def test_a_stream_without_a_service(ask, monkeypatch):
    monkeypatch.setattr(client_stream, "MAX_WAIT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnavailableError, match="is the service running"):
        next(ask(f"http://127.0.0.1:{port}", retries=2).stream("BTC-USD"))


def test_a_silent_line_is_a_lost_one(ask, monkeypatch):
    monkeypatch.setattr(client_stream, "IDLE_TIMEOUT", 0.3)
    with Play((200, STREAM, "retry: 0\n\n" + tick(1), HELD), (200, STREAM, tick(2), HELD)) as play:
        assert [event.id for event in take(ask(play.url).stream("BTC-USD"), 2)] == ["1", "2"]
        assert len(play.asked) == 2


TURNS = [
    pytest.param((200, STREAM, tick(1), HELD), id="while reading"),
    pytest.param((200, STREAM, "retry: 3600000\n\n" + tick(1)), id="while waiting"),
]


@pytest.mark.parametrize("turn", TURNS)
def test_closing_ends_a_stream(turn):
    with Play(turn) as play:
        client, seen = Client(play.url), []
        reader = threading.Thread(target=lambda: [seen.append(event) for event in client.stream("BTC-USD")], daemon=True)
        reader.start()
        wait_for(lambda: seen, 60, "the first event")
        client.close()
        reader.join(20)
        assert not reader.is_alive() and len(seen) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("turn", TURNS)
async def test_closing_ends_an_async_stream(turn):
    with Play(turn) as play:
        client = AsyncClient(play.url)
        events = client.stream("BTC-USD")
        assert (await anext(events)).id == "1"
        reader = asyncio.create_task(anext(events, None))
        await asyncio.sleep(0.1)
        await client.aclose()
        assert await asyncio.wait_for(reader, 20) is None


def test_leaving_a_stream_early_frees_its_connection():
    with Play((200, STREAM, tick(1), HELD)) as play, Client(play.url) as client:
        for _ in client.stream("BTC-USD"):
            break
        wait_for(lambda: not client._streams, 60, "the end of the stream")


@pytest.mark.anyio
async def test_leaving_an_async_stream_early_frees_its_connection():
    with Play((200, STREAM, tick(1), HELD)) as play:
        async with AsyncClient(play.url) as client:
            async with contextlib.aclosing(client.stream("BTC-USD")) as events:
                assert (await anext(events)).id == "1"
            assert not client._http._transport._pool.connections


# --- the real service ---


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with bench(tmp_path_factory.mktemp("client"), shift=0.1) as up:
        yield up


def test_forecasts_are_what_the_service_says(ask, service):
    client = ask(service.url)
    for time_from, model_name in (("now", "champion"), (5, "persistence"), ("2024-01-30T07:30", "lasso")):
        answer = httpx.get(f"{service.url}/api/predict", params={"coin": "BTC-USD", "time_from": time_from, "model_name": model_name}).json()["prediction"]
        forecast = client.predict("BTC-USD", time_from, model_name)
        assert {**forecast.model_dump(), "request_time": ""} == {**answer, "request_time": ""}


def test_the_other_answers(ask, service):
    client = ask(service.url)
    assert client.live().status == "live" and client.ready().status == "ready"
    assert [(coin.coin, coin.champion) for coin in client.coins()] == [("BTC-USD", "lasso"), ("ETH-USD", "persistence")]
    [bitcoin, ether] = client.models()
    assert bitcoin.serving["champion"] == "1" and bitcoin.versions["1"]["metrics"]["mase"] == 0.992 and ether.versions == {}
    assert bitcoin.last_decision["promoted"] is False and bitcoin.last_retrained == "2023-12-02T00:00:00Z"


def test_real_refusals(ask, service):
    client = ask(service.url)
    for kind, question in (
        (UnknownNameError, {"coin": "NO-SUCH"}),
        (UnknownNameError, {"coin": "BTC-USD", "model_name": "oracle"}),
        (BadQuestionError, {"coin": "BTC-USD", "time_from": 73}),
        (BadQuestionError, {"coin": "BTC-USD" * 500}),
    ):
        with pytest.raises(kind) as caught:
            client.predict(**question)
        assert caught.value.status in (404, 414, 422) and caught.value.detail


def test_the_record(ask, service):
    accuracy = ask(service.url).accuracy("BTC-USD", days=7)
    assert (accuracy.coin, accuracy.model, accuracy.model_version, accuracy.days) == ("BTC-USD", "lasso", "1", 7)
    assert accuracy.backtest.mase == 0.992 and accuracy.mase is None and accuracy.this_version.n == 0
    assert ask(service.url).accuracy("BTC-USD", mode="rolling").n == 0
    for wrong in ({"days": 0}, {"days": 3651}, {"mode": "day"}):
        with pytest.raises(BadQuestionError):
            ask(service.url).accuracy("BTC-USD", **wrong)


def test_the_history(ask, service):
    client = ask(service.url)
    history = wait_for(lambda: (found := client.history("BTC-USD", hours=30)).forecasts and found, 60, "a forecast in the history")
    assert (history.coin, history.model, history.model_version, history.stale, len(history.prices)) == ("BTC-USD", "lasso", "1", False, 30)
    assert history.prices[-24:] == client.predict("BTC-USD").past_24_hour_prices and history.prices[-1].time == history.until
    assert all(one.interval.low < one.predicted_price < one.interval.high for one in history.forecasts)
    for wrong in ({"hours": 0}, {"hours": 721}):
        with pytest.raises(BadQuestionError):
            client.history("BTC-USD", **wrong)
    with pytest.raises(UnknownNameError):
        client.history("NO-SUCH")


def test_not_ready_is_an_answer(ask, tmp_path):
    with bench(tmp_path, products="BTC-USD", wait=False, arm=[{"kind": "status", "status": 503, "times": None}]) as up:
        health = ask(up.url).ready()
        assert health.status == "not ready" and "BTC-USD: no candles yet" in health.problems
        with pytest.raises(UnavailableError) as caught:
            ask(up.url, retries=0).predict("BTC-USD")
        assert caught.value.retry_after >= 1


def kinds(seen, kind):
    return [event for event in seen if isinstance(event, kind)]


def test_a_stream_over_the_end_of_an_hour_and_a_lost_line(tmp_path):
    "A score and a forecast come when the hour is over; a line that breaks in between costs nothing."
    with bench(tmp_path, products="BTC-USD", shift=0.1) as up, Client(up.url) as client:
        seen = []
        reader = threading.Thread(target=lambda: [seen.append(event) for event in client.stream("BTC-USD")], daemon=True)
        reader.start()
        wait_for(lambda: kinds(seen, ForecastEvent), 60, "the first forecast")
        told = kinds(seen, ForecastEvent)[0].prediction
        assert {**told.model_dump(), "request_time": ""} == {**client.predict("BTC-USD").model_dump(), "request_time": ""}
        up.hour()
        wait_for(lambda: len(kinds(seen, ForecastEvent)) == 2, 60, "the second forecast")
        for line in [*client._streams]:
            line.shutdown(socket.SHUT_RDWR)
        up.hour()
        wait_for(lambda: len(kinds(seen, ForecastEvent)) == 3, 60, "the third forecast")
        client.close()
        reader.join(20)
        assert not reader.is_alive()
        scores, forecasts = kinds(seen, ScoredEvent), [event.prediction for event in kinds(seen, ForecastEvent)]
        assert [score.predicted_for for score in scores] == [forecast.predicted_for for forecast in forecasts[:2]]
        assert [score.actual_price for score in scores] == [forecast.current_price for forecast in forecasts[1:]]
        numbers = [int(event.id.partition("-")[2]) for event in seen]
        later = [number for number in numbers if number > numbers[0]]  # The greeting's events carry the number of the one before
        assert later == list(range(numbers[0] + 1, numbers[0] + 1 + len(later))) and len(numbers) - len(later) <= 2


@pytest.mark.anyio
async def test_an_async_stream(tmp_path):
    with bench(tmp_path, products="BTC-USD") as up:
        async with asyncio.timeout(60), AsyncClient(up.url) as client, contextlib.aclosing(client.stream("BTC-USD", "persistence")) as events:
            first = await anext(events)
            assert first.prediction.model == "persistence"
            await asyncio.to_thread(up.hour)
            while not isinstance(event := await anext(events), ForecastEvent):
                pass
            assert event.prediction.data_until == first.prediction.predicted_for


def test_the_client_reads_what_the_document_promises(service):
    "Every field that the client wants is one that the service declares, and always sends."
    document = service.http.get("/openapi.json").json()["components"]["schemas"]
    kinds = [kind for kind in vars(contract).values() if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel]
    assert len(kinds) >= 18
    for kind in kinds:
        declared = document[kind.__name__]
        assert set(kind.model_fields) == set(declared["properties"]) == set(declared["required"]), kind


def test_the_client_needs_no_training_library():
    code = "from crypto_rti.client import Client, UnavailableError\ntry: Client('http://127.0.0.1:9', retries=0).live()\nexcept UnavailableError: print('away')"
    done = subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "away", done.stderr

"""Every parser of foreign input, fed with garbage: it answers, or raises an error of ours.

`PARSERS` has an entry for each. `test_no_parser_is_left_out` looks for calls that read foreign text in the package, and fails where a function that
makes one has neither an entry nor a reason.
"""

import ast
import asyncio
import contextlib
import gzip
import io
import json
import logging
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

import crypto_rti
from crypto_rti import client_protocol, client_stream, pipeline_plan, runner
from crypto_rti.data import candle_files, candles, coinbase, connection, files, origin, sources, store, websocket
from crypto_rti.parsing import LONGEST_WAIT, ParseError, parse_json, parse_wait, shorten
from crypto_rti.registry import bundle, exports, manifest, pull, sandbox, trials, versions
from crypto_rti.replay import channels, markets, rest
from crypto_rti.service import errors, feed, forecasts, live_prices, logs, minutes, models, security, stream, track_record
from crypto_rti.settings import CryptoRTIError, add_credentials, load_settings, mask_credentials, split_address, sqlite_path

ROOT = Path(crypto_rti.__path__[0])
EXAMPLES = 25  # For each of the parsers; the same in every run, because the table of attacks counts them

# --- garbage ------------------------------------------------------------------------------------------------------------

NUMBERS = [
    "1e400", "-1e400", "9" * 400, "-" + "9" * 5000, "NaN", "Infinity", "-Infinity", "-0.0", "1e-400", "0", "-1", "9223372036854775808",
    "4102444800", "1706700000",
]  # fmt: skip
TEXTS = [
    "", "\0", "\\ud800", "\\udfff\\ud800", "BTC-USD", "../../x", "1e400", "9" * 5000, "2109-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
    "a" * 5000, "\u202e", "١٢",
]  # fmt: skip
KEYS = [
    "time", "epoch", "message", "type", "product_id", "price", "size", "trade_id", "id", "last_trade_id", "format", "name", "files", "aliases",
    "versions", "models", "kind", "detail", "status", "title", "reason", "covered", "gaps", "origin", "places", "sample", "until", "marks",
    "cells", "coin", "prediction", "coins", "key", "fault", "columns",
]  # fmt: skip


def quoted(text):
    "A text as JSON, in which an escape stands as it is written."
    return '"' + text.replace("\0", "\\u0000").replace('"', "'") + '"'


scalars = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(TEXTS).map(quoted), st.sampled_from(["null", "true", "false", "[]", "{}"]))
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6).map(lambda items: f"[{','.join(items)}]"),
        st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=6).map(lambda pairs: "{" + ",".join(f"{quoted(key)}:{value}" for key, value in pairs) + "}"),
    ),
    max_leaves=12,
)
deep = st.sampled_from([70, 900, 20_000]).flatmap(lambda n: st.sampled_from(["[" * n, "[" * n + "]" * n, '{"a":' * n + "1" + "}" * n, '[{"time":' * n]))
raw = st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"{}", b"[]", b"\x00", b'{"a": 1, "a": []}']))
garbage = st.one_of(documents.map(str.encode), deep.map(str.encode), raw)
lines = st.one_of(
    st.sampled_from([*TEXTS, *NUMBERS, "Wed, 21 Oct 9999 07:28:00 +9999", "Wed, 21 Oct 0001 07:28:00 -0000", "1 Jan 99 00:00 GMT"]), st.text(max_size=30)
)
"Headers, parameters and options: one line of text, which may hold anything but half of a pair."


def like(valid: dict | list) -> st.SearchStrategy[bytes]:
    "A document that is right but for one value, or for two."

    @st.composite
    def changed(draw):
        places = draw(st.lists(st.sampled_from(list(find_places(valid))), min_size=1, max_size=2))
        return render(valid, {place: draw(documents) for place in places}).encode("utf-8", "replace")

    return st.one_of(garbage, changed())


def find_places(value, path=()):
    "Paths to everything in a document."
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from find_places(item, (*path, key))


def render(value, changes, path=()):
    "Write a document as JSON, with other text in some places."
    if path in changes:
        return changes[path]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {render(item, changes, (*path, key))}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(render(item, changes, (*path, place)) for place, item in enumerate(value)) + "]"
    return json.dumps(value)


# --- parsers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parser:
    "How a parser is called with garbage."

    call: Callable[[object, Path], object]
    feed: st.SearchStrategy
    covers: tuple[str, ...]  # Functions of the package that read foreign text for it


def response(content, status=200, **headers):
    asked = httpx.Request("GET", "http://exchange/x")
    return httpx.Response(
        status, content=content, headers={name.replace("_", "-"): value.encode("utf-8", "surrogateescape") for name, value in headers.items()}, request=asked
    )


class Canned(coinbase.CoinbaseClient):
    "A client whose exchange answers everything with the same bytes; it asks once."

    def __init__(self, content=b""):
        super().__init__("http://exchange", 10, retries=0)
        self.content, self.sent_count = content, 0

    async def get(self, path, **params):
        self.sent_count += 1
        return connection.read_answer(response(self.content), path)


ASKED = Canned()


async def ask_everything(content):
    "Every endpoint of the exchange; each may raise errors of ours, and the clock of a service stays a clock."
    asked = ASKED
    asked.content = content
    asked._refused.clear()
    told = feed.Feed(asked)
    now = 1_706_700_000
    work = [
        lambda: asked.answer("BTC-USD", now - 3600 * 30, now), lambda: asked.answer("BTC-USD", now - 3600, now, 60),
        lambda: asked.products(), lambda: asked.product("BTC-USD"), lambda: asked.ticker("BTC-USD"),
        lambda: asked.trades("BTC-USD"), lambda: asked.server_time(), lambda: feed.set_clock(told), lambda: feed.latest(told, "BTC-USD"),
        lambda: minutes.minutes_for(told, "BTC-USD"), lambda: live_prices._poll(told, "BTC-USD", {}), lambda: live_prices._rebuild(told, "BTC-USD"),
        lambda: live_prices._unlisted(told, ["BTC-USD"], connection.UnknownProductError("x")),
    ]  # fmt: skip
    for one in work:
        with contextlib.suppress(CryptoRTIError):
            await one()
    assert math.isfinite(told.clock.now())
    for error in told.failures.values():
        assert isinstance(error[1], CryptoRTIError)
        problem = await errors.on_error(SimpleNamespace(scope={"path": "/api/predict"}), error[1])
        assert problem.status_code in (404, 422, 503), error


def hear(content, _):
    message = websocket._read_message(content)
    if message is not None:
        told = feed.Feed(None)
        for trade in (1, 2):
            match = {"type": "match", "product_id": "BTC-USD", "time": "2024-01-31T15:00:00Z", "price": "1", "size": "1", "trade_id": trade}
            live_prices.handle_message(told, match)
        live_prices.handle_message(told, message)
        assert all(math.isfinite(running.price) for running in told.running.values())


def refuse(given, _):
    "An answer with a status and headers of its own."
    status, content, wait, kind = given
    answer = response(content, status, retry_after=wait, content_type=kind, cb_after=wait, x_candle_source=wait)
    with contextlib.suppress(CryptoRTIError):
        connection.read_answer(answer, "/products/BTC-USD")
    error = client_protocol.to_error(answer)
    assert 0 <= error.retry_after <= LONGEST_WAIT and 0 <= connection._asked_wait(answer) <= LONGEST_WAIT
    unavailable = connection.ExchangeUnavailableError("x", connection._asked_wait(answer))
    asyncio.run(errors.on_error(SimpleNamespace(scope={"path": "/"}), unavailable))


def pull_from(content, folder, names=("index.json", "sim.BTC-USD/index.json", "sim.BTC-USD/1/manifest.json", "sim.BTC-USD/1/model.onnx")):
    "Bundles of a server that sends something else for one file."
    good = {
        "index.json": {"models": ["sim.BTC-USD"]},
        "sim.BTC-USD/index.json": {"name": "sim.BTC-USD", "aliases": {"champion": "1"}},
        "sim.BTC-USD/1/manifest.json": MANIFEST,
    }
    for broken in names:
        there = folder / "there"
        for name, value in good.items():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            (there / name).write_bytes(content if name == broken else json.dumps(value).encode())
        (there / "sim.BTC-USD/1/model.onnx").write_bytes(content)
        with contextlib.suppress(CryptoRTIError):
            pull.pull_bundles(there, folder / "here")
        with contextlib.suppress(CryptoRTIError):
            bundle.load_bundle(there / "sim.BTC-USD" / "1")
        models.read_models(there, models.CoinModels("sim.BTC-USD"))


def with_record(content, folder):
    "A Parquet file with foreign metadata."
    table = pa.table({"time": pa.array([3600]), **{name: pa.array([1.0]) for name in candles.COLUMNS[1:]}}, metadata={b"crypto_rti": content})
    pq.write_table(table, folder / "BTC-USD.parquet")
    with contextlib.suppress(CryptoRTIError):
        held = candle_files.read_series(folder / "BTC-USD.parquet")
        store.merge_series(held, held.candles)


def with_verdict(content, folder):
    "What lies beside a bundle about its trial."
    (folder / "trial.json").write_bytes(content)
    assert isinstance(trials.Trial("k", folder / "trial.json", folder / "trial.json").recall(), str | None)


def try_one(content, _):
    "What a helper process says that has read a hostile model."
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(sandbox.GraphError):  # `load_bundle` names it as an error of ours
        patch.setattr(sandbox._sandbox, "run", lambda *_: content)
        assert isinstance(sandbox.try_model({}, (np.zeros(1), np.ones(1))), int)


def as_file(suffix, pack=lambda content: content):
    def call(content, folder):
        path = folder / f"BTC-USD.{suffix}"
        path.write_bytes(pack(content))
        for read in (candle_files.read_series, candle_files.read_extent, origin.read_closes, files.read_file, markets._read_table):
            with contextlib.suppress(CryptoRTIError):
                read(path)

    return call


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("BTC-USD.csv", content)
    return buffer.getvalue()


def parquet(columns):
    "A Parquet file with columns of any type."
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


COLUMNS = st.sampled_from([
    pa.array([None, None]), pa.array([2**64 - 1, 2**63], pa.uint64()), pa.array(["x", "\0"]), pa.array([float("nan"), 1e300]), pa.array([b"\xff", b""]),
    pa.array([2**62, 1], pa.timestamp("ns")), pa.array([2**40, -1], pa.timestamp("s")), pa.array([[1], []]), pa.array([{"a": 1}, None]),
    pa.array([True, False]),
    pa.array([1, None]), pa.array(["a", "b"]).dictionary_encode(), pa.array([10**30, 1], pa.decimal128(38)),
    pa.array([1, 2], pa.duration("ns")), pa.array([3600, 7200]),
    pa.array([1.0, 2.0]), pa.array([0, 1], pa.date32()), pa.array([2**40, 1], pa.date64()), pa.array([1, 2], pa.time64("ns")),
])  # fmt: skip
tables = st.fixed_dictionaries(dict.fromkeys(candles.COLUMNS, COLUMNS)).map(parquet)
CSV = st.lists(st.lists(st.sampled_from([*NUMBERS, *TEXTS, "2024-01-31", '"', "1", "2"]), min_size=1, max_size=8).map(",".join), max_size=8).map("\n".join)
csv = st.one_of(
    raw, CSV.map(lambda text: text.encode("utf-8", "replace")), CSV.map(lambda text: f"time,open,high,low,close,volume\n{text}".encode("utf-8", "replace"))
)


def run_result(content, folder):
    "What a notebook recorded, and what was trained before."
    (folder / "pipeline.json").write_bytes(content)
    (folder / "sources.json").write_bytes(content)
    (folder / "n.ipynb").write_bytes(content)
    settings = load_settings(home=folder, source="sim", registry_uri="")
    state = pipeline_plan._read_state(settings)
    for kind, entry in [(kind, entry) for kinds in state.values() for kind, entry in kinds.items()]:
        odd = {**entry, "marks": "m", "until": 0, "report": next(iter(entry.values()), None)}
        pipeline_plan._condition(settings, "sim.BTC-USD", kind, odd, "m", 0, 1)
    origin.read_origins(settings)
    for read in (runner.read_parameters, runner._has_run, lambda path: runner._failed_cell(path, path)):
        with contextlib.suppress(CryptoRTIError):
            read(folder / "n.ipynb")


def answers(content, _):
    "The answers of a service, as the client reads them."
    for question in (
        client_protocol.prediction_request("BTC-USD"),
        client_protocol.accuracy_request("BTC-USD"),
        client_protocol.history_request("BTC-USD"),
        client_protocol.coins_request(),
        client_protocol.overview_request(),
        client_protocol.path_request("BTC-USD"),
        client_protocol.models_request(),
        client_protocol.health_request("ready"),
    ):
        for status in (200, 503, 500):
            with contextlib.suppress(CryptoRTIError):
                client_protocol.read_answer(question, response(content, status))
    with contextlib.suppress(CryptoRTIError):
        text = b"event: price\ndata: " + content + b"\n\nid: " + content + b"\nretry: " + content + b"\n\n"
        messages, _ = client_stream.read_events(text, client_stream.ParserState())
        for message in messages:
            with contextlib.suppress(CryptoRTIError):
                client_stream.to_event(message)


def parameters(text, _):
    "What a stranger puts into a query or a header."
    for read in (
        lambda: forecasts.last_closed_hour(text, 1.7e9), lambda: candles.to_unix(text), lambda: sources.check_product(text), lambda: sources.parse_source(text),
        lambda: track_record.parse_days(text), lambda: manifest.check_model_name(text), lambda: load_settings(products=text, models=text, port=text),
        lambda: sqlite_path(text),
        lambda: load_settings(timeout_seconds=text), lambda: load_settings(home=text, source=text, ledger_url=text, credentials=text),
        lambda: sources.spell_product(text), lambda: load_settings(horizons=text),
    ):  # fmt: skip
        with contextlib.suppress(CryptoRTIError):
            read()
    assert 0 <= parse_wait(text) <= LONGEST_WAIT and len(security.to_client(text)) <= 45 and len(shorten(text)) <= 100
    channel = stream.Channel("BTC-USD", "champion", "now")
    assert stream.position_after(channel, text) in (None, channel.end)
    logs.choose_request_id([(b"x-request-id", text.encode("utf-8", "replace"))], lambda: b"x")
    security.has_key(security.sent_keys([(b"authorization", text.encode("utf-8", "replace"))]), [bytes(32)])
    public, complete = split_address(text)
    add_credentials(public, [complete] if complete else [])
    mask_credentials(text)


def tags(content, _):
    text = content.decode("utf-8", "replace")
    found = SimpleNamespace(name="sim.BTC-USD", version="1", run_id="x", tags={"metrics": text, "kind": text})
    versions.from_tag(text)
    versions._to_version(found, {})
    exports._last_event(versions.RegisteredModel("sim.BTC-USD", {"champion": "1"}, {"last_event": text}))


def order(content, _):
    "What a client of the replay exchange sends over its websocket."
    for kind in (lambda text: channels.read_subscription(text, ["BTC-USD"]),):
        with contextlib.suppress(CryptoRTIError, rest.RefusedRequest):
            kind(content.decode("utf-8", "replace"))


def read_env(content, folder):
    (folder / ".env").write_bytes(content)
    with contextlib.chdir(folder), contextlib.suppress(CryptoRTIError):
        load_settings()


MANIFEST = {
    "format": 1, "name": "sim.BTC-USD", "kind": "lasso", "version": "1", "source": "sim", "product": "BTC-USD", "inputs": ["a"], "features_signature": "x",
    "scaler": {"low": [1.0]},
    "shrink": 1.0, "train_span": ["a", "b"], "metrics": {"mase": 1.0, "coverage_90": 0.9}, "created": "x", "files": {"model.onnx": "0" * 64},
}  # fmt: skip
ROWS = [[1706698800, 1.0, 2.0, 1.0, 2.0, 3.0], [1706695200, 1.0, 2.0, 1.0, 2.0, 3.0]]
TRADE = {"type": "match", "trade_id": 3, "time": "2024-01-31T15:00:00Z", "price": "1.5", "size": "1", "product_id": "BTC-USD"}
RECORD = {"format": 1, "covered": [[0, 7200]], "gaps": [[0, 3600, "unknown"]], "refused": [[0, "x", 1]], "origin": "sim"}
STATE = {
    "sim.BTC-USD": {"lasso": {"until": 1, "version": "1", "marks": {}}, "places": ["x"], "sample": {"BTC-USD": {"3600": 1.0}}},
    "cells": [{"source": "", "metadata": {}}],
}

PARSERS = {
    "REST of an exchange": Parser(
        lambda content,
        _: asyncio.run(ask_everything(content)),
        st.one_of(like(ROWS), like([TRADE]), like(TRADE), like({"epoch": 1706700000.5, "iso": "x"})),
        ("connection.read_answer",),
    ),
    "errors and headers of an exchange": Parser(
        refuse,
        st.tuples(st.sampled_from([200, 302, 400, 401, 403, 404, 418, 429, 500, 503]), like({"message": "x"}), lines,
            st.sampled_from(["application/json", "text/plain; charset=idna", "text/x; charset=undefined", "text/x; charset=base64"])),
        ("connection._error_text", "client_protocol.to_error", "parsing.parse_wait"),
    ),
    "websocket of an exchange": Parser(
        hear,
        st.one_of(like(TRADE), like({"type": "heartbeat", "product_id": "BTC-USD", "time": "2024-01-31T15:00:01Z", "last_trade_id": 5}),
            like({"type": "error", "message": "x", "reason": "y"})),
        ("websocket._read_message", "candle_builder.parse_time"),
    ),
    "bundles": Parser(
        pull_from,
        st.one_of(like(MANIFEST), like({"models": ["sim.BTC-USD"]}),
            like({"name": "sim.BTC-USD", "aliases": {"champion": "1"}, "versions": {"1": {"kind": "lasso"}}})),
        ("manifest.parse_manifest", "index.parse_index", "index.parse_names", "models.read_models"),
    ),
    "trial result beside a bundle": Parser(with_verdict, like({"key": "k", "fault": "x", "until": 4102444800.0}), ("trials._read",)),
    "trial of a bundle": Parser(try_one, st.one_of(like({"columns": 5}), like({"fault": "x"})), ("sandbox.try_model",)),
    "record beside candles": Parser(with_record, like(RECORD), ("candle_files._read_record",)),
    "Parquet": Parser(
        as_file("parquet"), st.one_of(raw, tables), ("candle_files._open_file", "candle_files.read_rows", "origin.read_closes", "markets._read_table")
    ),
    "CSV": Parser(as_file("csv"), csv, ("files.read_table", "files.read_times", "files._from_text", "files._from_numbers")),
    "CSV, packed with gzip": Parser(as_file("csv.gz", gzip.compress), csv, ()),
    "CSV, cut off in a packed file": Parser(as_file("csv.gz", lambda content: gzip.compress(content)[:-9]), csv, ()),
    "CSV, packed with zip": Parser(as_file("zip", zipped), csv, ()),
    "something else called zip": Parser(as_file("zip"), csv, ()),
    "state of the pipeline": Parser(run_result, like(STATE), ("pipeline_plan._read_state", "runner.notebook_cells", "origin.read_origins")),
    "answers of a service": Parser(
        answers,
        st.one_of(like({"prediction": {"coin": "BTC-USD"}}), like({"coins": [{"coin": "BTC-USD"}]}),
            like({"status": 503, "detail": "x; y", "title": "z"}), like({"coin": "BTC-USD", "price": 1.0, "time": "x"})),
        ("client_protocol.read_json", "client_protocol.health_request.read"),
    ),
    "parameters, headers and settings": Parser(parameters, lines, ("candles.to_unix",)),
    "tags of the registry": Parser(tags, like({"reasons": ["x"], "mae": 1.0}), ("versions.from_tag",)),
    "orders to the replay exchange": Parser(
        order,
        like({"type": "subscribe", "channels": ["ticker"], "product_ids": ["BTC-USD"]}),
        ("channels.read_subscription",),
    ),
    ".env": Parser(read_env, st.one_of(raw, lines.map(lambda text: f"CRYPTO_RTI_PORT={text}\nCRYPTO_RTI_SOURCE={text}".encode("utf-8", "replace"))), ()),
}  # fmt: skip


HELD = "no failure was found"
BEFORE = {
    "REST of an exchange": "RecursionError, OverflowError: 500",
    "errors and headers of an exchange": "UnicodeError, AssertionError, OverflowError: 500",
    "websocket of an exchange": "OverflowError",
    "bundles": "OverflowError with a traceback",
    "record beside candles": "RecursionError, OverflowError",
    "Parquet": "ArrowInvalid",
    "CSV, cut off in a packed file": "EOFError",
    "something else called zip": "BadZipFile",
    "state of the pipeline": "AttributeError",
    "answers of a service": "RecursionError",
    "tags of the registry": "RecursionError, TypeError",
    "orders to the replay exchange": "RecursionError",
}
"What the code did before `crypto_rti.parsing`."


@pytest.mark.parametrize("name", PARSERS)
def test_garbage_ends_in_an_answer_or_in_an_error_of_ours(name, tmp_path, attack, monkeypatch):
    parser, tried = PARSERS[name], 0
    for logger in ("crypto_rti", "crypto_rti.service"):
        monkeypatch.setattr(logging.getLogger(logger), "disabled", True)

    @effort(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(parser.feed)
    def attacked(content):
        nonlocal tried
        tried += 1
        with contextlib.suppress(CryptoRTIError):
            parser.call(content, tmp_path)

    attacked()
    attack(f"garbage: {name}", before=BEFORE.get(name, HELD), after=f"{tried} inputs, named errors only")


# --- one entry for each -------------------------------------------------------------------------------------------------

READERS = {
    "loads", "json", "model_validate_json", "parse_json", "parsedate_to_datetime", "fromisoformat", "read_parquet", "read_csv", "read_table",
    "ParquetFile", "literal_eval", "read_json", "to_datetime", "urlsplit", "urlparse", "safe_load", "unpackb",
}  # fmt: skip
"Calls that turn foreign text into values."

OWN = {
    "sandbox._serve": "reads the header that `try_model` of the same version wrote",
    "exports.change_champion": "reads what `to_tag` has just written",
    "fork_server._answer": "reads what `ForkServer.run` of the same version wrote to its own socket",
    "fork_server.run": "reads what `_answer` of the same version wrote",
    "runner._run_kernel": "reads what its parent wrote to a pipe",
    "runner._execute": "its argument is what `run_notebook` wrote in the same version",
    "runner.run_notebook": "what a notebook of ours recorded; `parse_json` names the fault",
    "runner.read_parameters": "reads the tagged cell of a notebook of this repository; the file goes through `notebook_cells`",
    "runner._is_literal": "as above",
    "rest.control_clock": "an order of the tester to the test double; pydantic answers 422",
    "files.read_file": "calls `files.read_table`",
    "files._localise": "numbers that `read_times` has read",
    "client_stream.to_event": "calls `client_protocol.read_json`",
    "client_protocol.prediction_request": "calls `client_protocol.read_json`",
    "client_protocol.accuracy_request": "calls `client_protocol.read_json`",
    "client_protocol.history_request": "calls `client_protocol.read_json`",
    "client_protocol.path_request": "calls `client_protocol.read_json`",
    "client_protocol.overview_request": "calls `client_protocol.read_json`",
    "client_protocol.coins_request": "calls `client_protocol.read_json`",
    "client_protocol.models_request": "calls `client_protocol.read_json`",
}
"Functions that call one of these on something that is not foreign, or not theirs to judge."


def reading_functions():
    "Functions of the package that call one of `READERS`, by module and name."
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        if path.name in ("_modidx.py", "bench.py", "__init__.py") or path.parent.name in ("models", "evaluation"):
            continue

        def visit(node, inside, module=path.stem):
            for child in ast.iter_child_nodes(node):
                named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                if isinstance(child, ast.Call):
                    called = child.func.attr if isinstance(child.func, ast.Attribute) else getattr(child.func, "id", "")
                    if called in READERS:
                        found.add(f"{module}.{inside}")
                visit(child, f"{inside}.{child.name}".strip(".") if named else inside, module)

        visit(ast.parse(path.read_text()), "")
    return found


def test_no_parser_is_left_out():
    known, there = {name for parser in PARSERS.values() for name in parser.covers} | set(OWN), reading_functions()
    outer = {name for name in there if not any(name == each or name.startswith(f"{each}.") for each in known)}
    assert not outer, "give each of these an entry in PARSERS, or a reason in OWN"
    assert set(OWN) <= there, "no longer true"


# --- what a service makes of it -----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "content",
    [b"[" * 50_000, b'{"epoch": %s}' % (b"9" * 400), b'{"epoch": NaN}', b"[[%s,1,1,1,1,1]]" % (b"9" * 400), b"\xff"],
    ids=["deep", "huge", "nan", "huge row", "bytes"],
)
async def test_the_back_off_holds_and_the_caller_gets_503(content, attack):
    "A thousand callers of an exchange that sends garbage cause one or two requests, not a thousand."
    asked = Canned(content)
    told, statuses = feed.Feed(asked), set()
    for _ in range(300):
        try:
            await feed.latest(told, "BTC-USD")
            statuses.add(200)
        except Exception as error:
            statuses.add((await errors.on_error(SimpleNamespace(scope={"path": "/api/predict"}), error)).status_code)
    assert statuses <= {200, 503} and asked.sent_count <= 8, (statuses, asked.sent_count)
    attack(
        f"exchange sends {content[:12]!r}… to 300 callers",
        before="500 for each, 300 requests" if content.startswith(b"[[[") else "OverflowError" if b"99" in content else HELD,
        after=f"{sorted(statuses)}, {asked.sent_count} requests",
    )


def test_a_row_that_no_machine_holds_costs_that_row_alone():
    rows = b"[[1706698800,1,2,1,2,3],[1706695200,1e400,2,1,2,3],[%s,1,2,1,2,3],[1706691600,1,2,1,2,3]]" % (b"9" * 300)
    table, refused = candles.sift_rows(parse_json(rows))
    assert table["time"].tolist() == [1706691600, 1706698800] and len(refused) == 2


def test_wide_and_deep_documents_are_read_in_milliseconds():
    import time

    wide = json.dumps([[1706698800 + 3600 * hour, 1.0, 2.0, 1.0, 2.0, 3.0] for hour in range(300)]).encode()
    start = time.process_time()
    for _ in range(20):
        parse_json(wide)
    plain = time.process_time()
    for _ in range(20):
        json.loads(wide)
    ours, theirs = plain - start, time.process_time() - plain
    assert ours < 3 * theirs + 0.01, (ours, theirs)
    with pytest.raises(ParseError, match="nested too deeply"):
        parse_json(b"[" * 10**6)

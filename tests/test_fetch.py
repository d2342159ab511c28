"""The client and the fetch against a replay exchange over a real socket: finality, gaps, faults, resuming, kill -9."""

import asyncio
import contextlib
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from waiting import wait_for

from crypto_rti.data import suppliers
from crypto_rti.data.candle_files import NoCandlesError, StoreError
from crypto_rti.data.candles import HOUR, CandleError, TimeError, count_unbroken, to_iso, to_unix
from crypto_rti.data.coinbase import CoinbaseClient, identify_source, make_client
from crypto_rti.data.connection import BadAnswerError, ExchangeError, ExchangeUnavailableError, UnknownProductError
from crypto_rti.data.fetch import FetchError, fetch, fetch_products, gap_table, print_report, summary_table, validate_folder
from crypto_rti.data.ranges import BEFORE_LISTING, NO_TRADES, REFUSED, UNKNOWN, ClassifiedGap
from crypto_rti.data.sources import Source, SourceError, parse_source
from crypto_rti.data.store import CandleStore
from crypto_rti.data.suppliers import choose_source
from crypto_rti.data.websocket import stream_messages
from crypto_rti.features import build_features
from crypto_rti.replay import rest
from crypto_rti.replay.faults import damage_rows
from crypto_rti.replay.server import running_exchange
from crypto_rti.settings import SettingsError, load_settings

START, END = to_unix("2023-01-01"), to_unix("2023-04-01")
NOON = "2023-03-01T12:30Z"


def market(start=START, end=END, without=(), seed=0):
    times = np.arange(start, end, HOUR)
    times = times[~np.isin((times - start) // HOUR, list(without))]
    rng = np.random.default_rng([seed, start])
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.005, len(times)))), 2)
    open_ = np.round(close * np.exp(rng.normal(0, 0.002, len(times))), 2)
    low, high = np.minimum(open_, close) - 0.25, np.maximum(open_, close) + 0.25
    return pd.DataFrame({"time": times, "low": low, "high": high, "open": open_, "close": close, "volume": np.round(rng.exponential(9, len(times)), 3)})


@contextmanager
def exchange_of(tables, home, start=NOON, **options):
    """A stopped exchange, and settings that fetch from it as fast as may be."""
    with running_exchange(tables, start=start, speed=0, **options) as exchange:
        yield exchange, load_settings(home=home, source=f"replay={exchange.url}", requests_per_second=10, retries=3)


def stored(settings, product="BTC-USD"):
    return CandleStore(settings.candles_dir).series("replay", product)


def asked(exchange, product="BTC-USD"):
    return [request for request in exchange.requests if request.path == f"/products/{product}/candles"]


def quick(settings, *products, start=START, **options):
    return fetch(settings, products or ["BTC-USD"], start, progress=False, **options)


@pytest.fixture
def impatient(monkeypatch):
    """Waits between retries that a test can afford."""

    def client(settings, source=None):
        url = (source or parse_source(settings.source)).location
        return CoinbaseClient(url, settings.requests_per_second, settings.timeout_seconds, settings.retries, backoff_seconds=0.01)

    monkeypatch.setattr(suppliers, "make_client", client)


# --- What is final -------------------------------------------------------------------------


def test_the_exchange_decides_what_is_final(tmp_path):
    truth = market()
    with exchange_of({"BTC-USD": truth}, tmp_path, lag=0) as (exchange, settings):
        for moment, last in (("11:59:59", 10), ("12:00:30", 10), ("12:00:59", 10), ("12:01:00", 11), ("12:59:59", 11)):
            exchange.clock.freeze(f"2023-03-01T{moment}Z")
            quick(settings, start="2023-02-28")
            series = stored(settings)
            assert series.candles["time"].iloc[-1] == to_unix(f"2023-03-01T{last}:00Z"), moment
            assert series.covered[-1][1] == series.candles["time"].iloc[-1] + HOUR
        quick(settings, start="2023-02-28", end="2024-01-01")  # an end in the future means: up to now
        assert stored(settings).candles.equals(truth[truth["time"].between(to_unix("2023-02-28"), to_unix("2023-03-01T11:00Z"))].reset_index(drop=True))


def test_an_hour_that_comes_late_is_asked_for_again(tmp_path):
    with exchange_of({"BTC-USD": market()}, tmp_path, start="2023-03-01T12:01Z") as (exchange, settings):
        exchange.faults.add("gap", start="2023-03-01T11:00Z", end="2023-03-01T12:00Z")
        (late,) = quick(settings, start="2023-02-28")
        assert [(to_iso(gap.start), gap.verdict, late.requests) for gap in late.gaps] == [("2023-03-01T11:00:00Z", UNKNOWN, 2)]
        exchange.faults.clear()
        exchange.clock.advance(HOUR)
        (there,) = quick(settings, start="2023-02-28")
        assert (there.new_rows, there.gaps, there.requests) == (2, [], 1)


# --- How much is asked ---------------------------------------------------------------------


def test_one_request_for_300_hours_and_none_the_second_time(tmp_path):
    truth = market(START, END)
    hours = (to_unix("2023-03-01T12:00Z") - START) // HOUR
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        (first,) = quick(settings)
        assert first.requests == len(asked(exchange)) == math.ceil(hours / 300)
        assert all("start" in r.query and "end" in r.query and r.status == 200 for r in asked(exchange))
        assert all((to_unix(r.query["end"]) - to_unix(r.query["start"])) <= 299 * HOUR for r in asked(exchange))
        (second,) = quick(settings)
        assert (second.rows, second.new_rows, second.requests) == (hours, 0, 0)
        exchange.clock.advance(3 * HOUR)
        (third,) = quick(settings)
        assert (third.new_rows, third.requests) == (3, 1)
        (earlier,) = quick(settings, start=START - 10 * HOUR)
        assert (earlier.new_rows, [gap.verdict for gap in earlier.gaps], len(asked(exchange))) == (0, [BEFORE_LISTING], math.ceil(hours / 300) + 3)
    assert stored(settings).candles.equals(truth[truth["time"] < to_unix("2023-03-01T15:00Z")])


def test_a_product_listed_late_is_not_asked_for_in_vain_for_ever(tmp_path):
    listed = to_unix("2023-02-20T05:00Z")
    with exchange_of({"BTC-USD": market(listed)}, tmp_path) as (_exchange, settings):
        (first,) = quick(settings, start=None)
        windows = math.ceil((to_unix("2023-03-01T12:00Z") - to_unix("2020-09-01")) / HOUR / 300)
        assert first.requests == windows + 1
        assert [(to_iso(gap.start), gap.end, gap.verdict) for gap in first.gaps] == [("2020-09-01T00:00:00Z", listed, BEFORE_LISTING)]
        (second,) = quick(settings, start=None)
        assert (second.requests, second.gaps) == (0, first.gaps)


def test_a_product_without_any_candle(tmp_path):
    with exchange_of({"BTC-USD": market(END - HOUR)}, tmp_path) as (_exchange, settings):
        (summary,) = quick(settings)
        assert (summary.rows, {gap.verdict for gap in summary.gaps}) == (0, {UNKNOWN})
        (again,) = quick(settings)
        assert again.requests <= 3
        with pytest.raises(NoCandlesError, match="holds no candles"):
            CandleStore(settings.candles_dir).load("replay", "BTC-USD")


def test_several_products_share_the_limit(tmp_path):
    tables = {product: market(seed=seed) for seed, product in enumerate(("BTC-USD", "ETH-USD", "SOL-USD"))}
    with exchange_of(tables, tmp_path) as (exchange, settings):
        started = time.monotonic()
        summaries = quick(settings, *tables)
        seconds = time.monotonic() - started
        sent = len(exchange.requests)
        clock = sum(request.path == "/time" for request in exchange.requests)  # The exchange lives in the past: its clock is believed at the third answer
        assert clock == 3 and sent == clock + sum(summary.requests for summary in summaries) == clock + 3 * 5
        assert seconds >= (sent - 1) / 10
        assert {request.status for request in exchange.requests} == {200}
        paths = [request.path for request in exchange.requests][clock:]
        assert paths[:3] != paths[:1] * 3  # side by side, not one after the other
    for product, table in tables.items():
        assert stored(settings, product).candles.equals(table[table["time"] < to_unix("2023-03-01T12:00Z")])


@pytest.mark.parametrize("rate", [0, -1, 10.1, 100])
def test_the_limit_cannot_be_raised(rate):
    with pytest.raises(SettingsError, match="requests_per_second"):
        CoinbaseClient("http://127.0.0.1:9", requests_per_second=rate)


# --- Gaps ----------------------------------------------------------------------------------


def test_gaps_get_verdicts_once(tmp_path):
    outage = range(400, 900)
    truth = market(without={5, 6, 7, 100, 300, 301, *outage})
    with exchange_of({"BTC-USD": truth}, tmp_path) as (_exchange, settings):
        (first,) = quick(settings)
        found = [((gap.start - START) // HOUR, (gap.end - START) // HOUR, gap.verdict) for gap in first.gaps]
        assert found == [(5, 8, NO_TRADES), (100, 101, NO_TRADES), (300, 302, NO_TRADES), (400, 900, UNKNOWN)]
        assert first.requests <= 5 + 5
        (second,) = quick(settings)
        assert (second.requests, second.gaps) == (0, first.gaps)
        (third,) = quick(settings, ask_unknown=True)
        assert third.requests <= 4 and third.gaps == first.gaps
    table = gap_table([first])
    assert table["hours"].sum() == first.missing == 506 and list(table["verdict"]) == [verdict for _, _, verdict in found]


def test_what_was_forgotten_once_is_fetched(tmp_path):
    truth = market(without={50})
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        exchange.faults.add("gap", start="2023-01-03", end="2023-01-05", times=1)
        exchange.faults.add("gap", start="2023-01-20", end="2023-02-22", times=5)
        (summary,) = quick(settings)
        assert [(len(gap), gap.verdict) for gap in summary.gaps] == [(1, NO_TRADES)]
    assert stored(settings).candles.equals(truth[truth["time"] < to_unix("2023-03-01T12:00Z")].reset_index(drop=True))


def test_a_history_whose_beginning_was_forgotten_is_fetched(tmp_path):
    truth = market()
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        exchange.faults.add("gap", start="2023-01-01", end="2023-02-20", times=5)
        (summary,) = quick(settings)
        assert (summary.rows, summary.gaps) == (1428, [])


def test_the_report_a_user_sees(tmp_path):
    with exchange_of({"BTC-USD": market(without=range(3, 400, 7))}, tmp_path) as (_exchange, settings):
        summaries = quick(settings)
    text = io.StringIO()
    print_report(summaries, Console(file=text, width=80))
    shown = text.getvalue()
    assert shown.startswith("BTC-USD of replay, 2023-01-01T00:00:00Z .. 2023-03-01T12:00:00Z: 1,371 rows (1,371 new), 57 hours missing in 57 gaps;")
    assert shown.count("│ BTC-USD │") == 20 and "In all: no trades: 57 gaps, 57 hours" in shown and "…" not in shown
    assert summary_table(summaries).iloc[0][["rows", "gaps", "missing hours"]].tolist() == [1371, 57, 57]


# --- Faults --------------------------------------------------------------------------------

PASSING = {
    "429": [("status", {"status": 429, "message": "Public rate limit exceeded"})],
    "500 503 502": [("status", {"status": status}) for status in (500, 503, 502)],
    "retry-after": [("status", {"status": 429, "retry_after": 0.3})],
    "cool-down": [("status", {"status": 429, "retry_after": 0.0})],
    "cut": [("cut", {"times": 2})],
    "dropped": [("disconnect", {"times": 2})],
    "html": [("body", {"times": 2})],
    "duplicate": [("rows", {"damage": "duplicate"})],
    "unsorted": [("rows", {"damage": "unsorted", "times": None})],
    "outside": [("rows", {"damage": "outside", "times": None})],
    **{damage: [("rows", {"damage": damage})] for damage in ("null", "text", "negative", "inverted", "short", "milliseconds", "offgrid")},
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_leaves_no_trace(tmp_path, impatient, case):
    truth = market()
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        for kind, options in PASSING[case]:
            exchange.faults.add(kind, path="*/candles", after=1, **options)
        (summary,) = quick(settings, start="2023-02-01")
        assert (summary.rows, summary.gaps) == (684, [])
    span = truth["time"].between(to_unix("2023-02-01"), to_unix("2023-03-01T11:00Z"))
    assert stored(settings).candles.equals(truth[span].reset_index(drop=True))


def test_a_slow_answer_is_given_up_and_asked_again(tmp_path, impatient):
    with exchange_of({"BTC-USD": market()}, tmp_path) as (exchange, settings):
        exchange.faults.add("delay", seconds=5, path="*/candles")
        (summary,) = quick(load_settings(home=tmp_path, source=settings.source, timeout_seconds=0.3), start="2023-02-28")
        assert (summary.rows, summary.requests) == (36, 2)


LASTING = {
    "down": ("status", {"status": 503}, ExchangeUnavailableError, "try again later"),
    "blocked": ("status", {"status": 403, "message": "Forbidden"}, ExchangeError, "refuses with 403 Forbidden"),
    "no exchange": ("body", {"body": "<html>welcome"}, ExchangeUnavailableError, "not JSON"),
    "error body": ("body", {"body": '{"message": "maintenance"}'}, BadAnswerError, "maintenance"),
    "patience": ("status", {"status": 429, "retry_after": 3600}, ExchangeUnavailableError, "asked 1 times"),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_stays_is_named_and_what_came_before_is_kept(tmp_path, impatient, case):
    kind, options, error, text = LASTING[case]
    truth = market()
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        exchange.faults.add(kind, path="*/candles", after=2, times=None, **options)
        with pytest.raises(error, match=text) as caught:
            quick(settings)
        if case == "patience":
            assert caught.value.retry_after == 3600
        assert stored(settings).candles.equals(truth[:600])
        exchange.faults.clear()
        before = len(asked(exchange))
        (rest,) = quick(settings)
        assert (rest.new_rows, len(asked(exchange)) - before) == (1428 - 600, 3)


@pytest.mark.parametrize("damage", ["inverted", "null", "text", "negative", "short"])
def test_one_impossible_row_costs_one_hour_and_is_asked_for_again_a_bounded_number_of_times(tmp_path, impatient, damage, monkeypatch):
    monkeypatch.setattr("crypto_rti.data.ranges.REFUSED_TRIES", 3)
    truth, hour = market(), START + 500 * HOUR
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        exchange.faults.add("rows", damage=damage, times=None)
        monkeypatch.setattr(
            rest, "damage_rows", lambda rows, *how: [damage_rows([row], *how)[0] if row[0] == hour else row for row in rows]
        )
        (first,) = quick(settings)
        assert [(gap.start, len(gap), gap.verdict) for gap in first.gaps] == [(hour, 1, REFUSED)] and first.gaps[0].why
        assert first.rows == 1428 - 1 and stored(settings).candles.equals(truth[:1428][truth["time"][:1428] != hour].reset_index(drop=True))
        assert gap_table([first]).iloc[0][["verdict", "why"]].tolist() == [REFUSED, first.gaps[0].why]
        assert [quick(settings)[0].requests for _ in range(4)] == [2, 2, 0, 0]  # A new process asks twice, then remembers; three fetches, then none
        assert [gap.tries for gap in stored(settings).gaps] == [3]
        exchange.faults.clear()
        (mended,) = quick(settings, ask_unknown=True)
        assert (mended.new_rows, mended.gaps) == (1, [])
    assert stored(settings).candles.equals(truth[:1428])


def test_a_record_of_refused_hours_is_read_by_the_version_before(tmp_path):
    store, source = CandleStore(tmp_path), Source("sim", "sim")
    refused = ClassifiedGap(START, START + HOUR, REFUSED, why="holds a negative volume", tries=2)
    store.save(source, "BTC-USD", market()[1:10], (START, START + 10 * HOUR), [refused])
    record = json.loads(pq.read_schema(store.hours(source, "BTC-USD").months[0]).metadata[b"crypto_rti"])
    assert record["format"] == 1 and [len(gap) for gap in record["gaps"]] == [3]
    assert store.series(source, "BTC-USD").gaps == [refused]


def test_the_share_of_hours_that_can_be_forecast(tmp_path):
    rng = np.random.default_rng(4)
    times = np.arange(2000)
    thin = market(without=set(times[rng.random(2000) < 0.05]))
    with exchange_of({"BTC-USD": thin}, tmp_path) as (_exchange, settings):
        (summary,) = quick(settings)
    rows = len(build_features(stored(settings).candles))
    assert rows == count_unbroken(stored(settings).candles["time"], summary.start, summary.end) and 0.1 < summary.share < 0.4
    assert summary.share == pytest.approx(rows / 1428, abs=0.02)
    assert f"{summary.share:.1%} of the hours can be forecast" in str(summary) and summary_table([summary])["forecastable"].tolist() == [f"{summary.share:.1%}"]


def test_nobody_there(tmp_path):
    with pytest.raises(ExchangeUnavailableError, match="unavailable or overloaded"):
        fetch(load_settings(home=tmp_path, source="replay=http://127.0.0.1:9", retries=0), ["BTC-USD"], progress=False)
    for url in ("http://", "http://[", "http://exa mple:99999"):
        with pytest.raises((ExchangeError, SourceError)):
            fetch(load_settings(home=tmp_path, source=f"replay={url}", retries=0), ["BTC-USD"], progress=False)
    assert not list(tmp_path.rglob("*.parquet"))


def test_wrong_wishes_send_nothing_that_is_stored(tmp_path):
    with exchange_of({"BTC-USD": market(), "ETH-USD": market(seed=1)}, tmp_path) as (exchange, settings):
        for wish, error, text in (
            ({"start": "2023-02-02", "end": "2023-02-01"}, TimeError, "ends before it starts"),
            ({"start": "2023-03-01T12:00Z"}, TimeError, "lies in the future"),
            ({"start": "2030-01-01", "end": "2030-02-01"}, TimeError, "lies in the future"),
            ({"start": "last week"}, TimeError, "like 2024"),
        ):
            with pytest.raises(error, match=text):
                quick(settings, **wish)
        with pytest.raises(UnknownProductError, match="NO-SUCH"):
            quick(settings, "NO-SUCH")
        with pytest.raises(SourceError, match="like BTC-USD"):
            quick(settings, "../time")
        assert not asked(exchange) and not list(tmp_path.rglob("*.parquet"))
        with pytest.raises(FetchError, match=r"2 of 3 products.*NO-SUCH.*NONE-SUCH"):
            quick(settings, "NO-SUCH", "ETH-USD", "NONE-SUCH", start="2023-02-20")
        assert len(stored(settings, "ETH-USD").candles) == 228


# --- Killed --------------------------------------------------------------------------------

FETCH = """
import sys
from crypto_rti.data import fetch
from crypto_rti.settings import load_settings
fetch.SAVE_EVERY = 1
print("ready", flush=True)
fetch.fetch(load_settings(home=sys.argv[1], source=sys.argv[2], requests_per_second=10), ["BTC-USD"], int(sys.argv[3]), progress=False)
print("done", flush=True)
"""


def test_killed_at_any_moment_it_goes_on_where_it_was(tmp_path):
    truth, rng, rounds = market(START - 300 * 24 * HOUR, without={77, 5000}), random.Random(2), 0
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with exchange_of({"BTC-USD": truth}, tmp_path) as (exchange, settings):
        command = [sys.executable, "-c", FETCH, str(tmp_path), settings.source, str(START - 300 * 24 * HOUR)]
        store, rows = CandleStore(settings.candles_dir), 0
        while rounds < 3:
            fetcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            assert fetcher.stdout.readline() == "ready\n"
            seen, more = len(asked(exchange)), rng.randint(2, 7)
            wait_for(lambda seen=seen, more=more: len(asked(exchange)) >= seen + more, 60, f"{more} requests", fetcher)
            time.sleep(rng.uniform(0, 0.2))  # Somewhere between two requests
            os.kill(fetcher.pid, signal.SIGKILL)
            fetcher.communicate()
            rounds += 1
            if store.hours("replay", "BTC-USD").exist:
                series = store.series("replay", "BTC-USD")
                assert len(series.candles) >= rows
                rows = len(series.candles)
                assert series.candles.equals(truth[:rows])
        assert rows
        finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert finished.stdout == "ready\ndone\n", finished.stderr
        until = to_unix("2023-03-01T12:00Z")
        assert stored(settings).candles.equals(truth[truth["time"] < until].reset_index(drop=True))
        assert [gap.verdict for gap in stored(settings).gaps] == [NO_TRADES, NO_TRADES]
        windows = math.ceil((until - START + 300 * 24 * HOUR) / HOUR / 300)
        # Two repairs; and after each kill, the window that was under way and the two gaps that had not been judged yet.
        assert len(asked(exchange)) <= windows + 2 + 3 * rounds


def test_ctrl_c_keeps_what_came(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with exchange_of({"BTC-USD": market(START - 300 * 24 * HOUR)}, tmp_path) as (exchange, settings):
        command = [sys.executable, "-c", FETCH.replace("SAVE_EVERY = 1", "SAVE_EVERY = 1000"), str(tmp_path), settings.source, str(START - 300 * 24 * HOUR)]
        fetcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        wait_for(lambda: len(asked(exchange)) >= 4, 60, "the fourth request", fetcher)
        os.kill(fetcher.pid, signal.SIGINT)
        fetcher.communicate(timeout=30)
        assert len(stored(settings).candles) >= 900


# --- Sources -------------------------------------------------------------------------------


def test_a_folder_is_surveyed_and_never_copied(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    market(without={10, 11}).to_parquet(folder / "BTC-USD.parquet", index=False)
    before = (folder / "BTC-USD.parquet").read_bytes()
    settings = load_settings(home=tmp_path / "var", source=str(folder))
    (summary,) = fetch(settings, ["BTC-USD"], progress=False)
    assert (summary.source, summary.rows, summary.new_rows, summary.requests) == ("broker", 90 * 24 - 2, 0, 0)
    assert [(len(gap), gap.verdict) for gap in summary.gaps] == [(2, UNKNOWN)]
    (part,) = fetch(settings, ["BTC-USD"], "2023-01-01T11:00Z", "2023-01-02", progress=False)
    assert (part.rows, [len(gap) for gap in part.gaps]) == (12, [1])
    with pytest.raises(NoCandlesError, match="its folder holds BTC-USD"):
        fetch(settings, ["ETH-USD"], progress=False)
    for wish in ({"start": "2023-02-02", "end": "2023-02-01"}, {"start": "2031-01-01"}):
        with pytest.raises(TimeError):
            fetch(settings, ["BTC-USD"], progress=False, **wish)
    market().iloc[::-1].to_parquet(folder / "ETH-USD.parquet", index=False)
    with pytest.raises(CandleError, match=r"ETH-USD\.parquet, row 1"):
        validate_folder(parse_source(str(folder)), "ETH-USD")
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["sources.json"] and (folder / "BTC-USD.parquet").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["BTC-USD.parquet", "ETH-USD.parquet"]


def test_simulated_candles_keep_their_seed(tmp_path):
    settings = load_settings(home=tmp_path, source="sim")
    (summary,) = fetch(settings, ["BTC-USD"], "2024-01-01", "2024-01-20", progress=False)
    assert summary.rows + summary.missing == 19 * 24 and summary.requests == 0
    with pytest.raises(StoreError, match="never mixes sources"):
        fetch(load_settings(home=tmp_path, source="sim", sim_seed=1), ["BTC-USD"], "2024-02-01", "2024-02-10", progress=False)


def test_sources_are_named_by_the_server_behind_them():
    with running_exchange({"BTC-USD": market()}, name="broker", start=NOON, speed=0) as exchange:
        assert asyncio.run(identify_source(parse_source(exchange.url))).name == "broker"
        assert choose_source(exchange.url)[0].name == "broker"
        assert choose_source(f"mine={exchange.url}")[0].name == "mine"
        assert choose_source("auto", load_settings(coinbase_url=exchange.url)) == (parse_source("coinbase"), "")
        exchange.faults.add("status", status=503, times=None)
        source, banner = choose_source("auto", load_settings(coinbase_url=exchange.url))
        assert source.name == "sim" and "SIMULATED" in banner and "503" in banner
        assert len({len(line) for line in banner.splitlines()}) == 1
    with pytest.raises(SourceError, match="start one with"):
        make_client(load_settings(source="sim"))


# --- The feed ------------------------------------------------------------------------------


async def listen(exchange, products=("BTC-USD",), count=3, **options):
    async with contextlib.aclosing(stream_messages(exchange.ws_url, products, **options)) as messages:
        return [await anext(messages) for _ in range(count)]


@pytest.mark.anyio
async def test_the_feed_yields_what_was_subscribed_to():
    with running_exchange({"BTC-USD": market(), "ETH-USD": market(seed=1)}, start=NOON, speed=60) as exchange:
        heard = await listen(exchange, ["BTC-USD", "ETH-USD"], count=12)
        assert {(message["type"], message["product_id"]) for message in heard} >= {("ticker", "BTC-USD"), ("ticker", "ETH-USD")}
        assert {message["type"] for message in await listen(exchange, channels=["heartbeat"], count=2)} == {"heartbeat"}


@pytest.mark.anyio
async def test_the_feed_ends_with_a_name():
    with running_exchange({"BTC-USD": market()}, start=NOON, speed=60) as exchange:
        with pytest.raises(UnknownProductError, match="not a valid product"):
            await listen(exchange, ["NO-SUCH"])
        with pytest.raises(ExchangeError, match="requires authentication"):
            await listen(exchange, channels=["level2"])
        exchange.faults.add("disconnect", path="/")
        with pytest.raises(ExchangeUnavailableError, match="ended"):
            await listen(exchange, count=1000)
        exchange.faults.add("silence")
        with pytest.raises(ExchangeUnavailableError, match="TimeoutError"):
            await listen(exchange, count=1000, timeout_seconds=1.5)
        url = exchange.ws_url
    with pytest.raises(ExchangeUnavailableError):
        await anext(stream_messages(url, ["BTC-USD"], timeout_seconds=1))


@pytest.mark.anyio
async def test_the_client_reads_the_other_endpoints():
    with running_exchange({"BTC-USD": market()}, start=NOON, speed=0) as exchange:
        async with CoinbaseClient(exchange.url, requests_per_second=10) as client:
            assert [entry["id"] for entry in await client.products()] == ["BTC-USD"]
            assert (await client.product("BTC-USD"))["quote_currency"] == "USD"
            assert float((await client.ticker("BTC-USD"))["price"]) > 0
            assert await client.server_time() == to_unix(NOON)


@pytest.mark.anyio
async def test_it_can_be_awaited_in_a_running_loop(tmp_path):
    with exchange_of({"BTC-USD": market()}, tmp_path) as (_exchange, settings):
        (first,) = await fetch_products(settings, ["BTC-USD"], "2023-02-28", progress=False)
        (second,) = fetch(settings, ["BTC-USD"], "2023-02-28", progress=False)
    assert (first.new_rows, second.new_rows, second.rows) == (36, 0, 36)

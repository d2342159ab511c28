"""Minutes fetched from a replay exchange over a socket: how much is asked, what contradicts, faults, kill -9, the report."""

import io
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner
from waiting import wait_for

from crypto_rti.cli import app
from crypto_rti.data import suppliers
from crypto_rti.data.candle_files import NoCandlesError, StoreError
from crypto_rti.data.candles import HOUR, MINUTE, TimeError, to_iso, to_unix
from crypto_rti.data.coinbase import CoinbaseClient
from crypto_rti.data.connection import ExchangeUnavailableError
from crypto_rti.data.fetch import fetch, print_report
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.sources import parse_source
from crypto_rti.data.steps import aggregate
from crypto_rti.data.store import CandleStore
from crypto_rti.replay.server import running_exchange
from crypto_rti.settings import load_settings

SHARED = Path(os.environ.get("CRYPTO_RTI_SHARED", Path(__file__).parents[2] / "shared")) / "candles"
START = to_unix("2024-02-28")
NOW = "2024-03-01T12:30:30Z"
UNTIL = to_unix("2024-03-01T12:29Z")  # The last final minute ends here, one minute before now
SINCE = "2024-02-29T18:00Z"


@contextmanager
def exchange_of(home, source="sim", start=NOW, horizons="", **options):
    """A stopped exchange, and settings that fetch from it as fast as may be."""
    options = {"products": ["BTC-USD"], **options} if source == "sim" else options
    with running_exchange(source, start=start, speed=0, rate_limit=False, **options) as exchange:
        yield exchange, load_settings(home=home, source=f"replay={exchange.url}", requests_per_second=10, retries=3, horizons=horizons)


def asked(exchange, step=MINUTE):
    return [request for request in exchange.requests if request.path.endswith("/candles") and request.query["granularity"] == str(step)]


def quick(settings, *products, since=SINCE, **options):
    return fetch(settings, products or ["BTC-USD"], START, progress=False, minutes_since=since, **options)


def stored(settings, product="BTC-USD", start=None):
    return CandleStore(settings.candles_dir).load("replay", product, start, step=MINUTE)


# --- How much is asked ---------------------------------------------------------------------


def test_300_minutes_a_request_and_none_the_second_time(tmp_path):
    with exchange_of(tmp_path) as (exchange, settings):
        (first,) = quick(settings)
        minutes = (UNTIL - to_unix(SINCE)) // MINUTE
        assert first.minutes.requests == len(asked(exchange)) == math.ceil(minutes / 300) and len(asked(exchange, HOUR)) == first.requests
        assert all(to_unix(r.query["end"]) - to_unix(r.query["start"]) <= 299 * MINUTE and r.status == 200 for r in asked(exchange))
        truth = sim_candles("BTC-USD", SINCE, UNTIL, MINUTE)
        assert stored(settings).equals(truth)
        assert (first.minutes.rows, first.minutes.missing.count, first.minutes.contradicting) == (len(truth), minutes - len(truth), [])
        (second,) = quick(settings)
        assert (second.requests, second.minutes.requests, second.minutes.new_rows) == (0, 0, 0)
        exchange.clock.advance(5 * MINUTE)
        (third,) = quick(settings)
        assert (third.minutes.requests, third.minutes.new_rows) == (1, 5)
        assert {int(gap.end) for gap in CandleStore(settings.candles_dir).minutes("replay", "BTC-USD").record().doubts} == {UNTIL + 5 * MINUTE}


def test_what_was_fetched_serves_hours_quarters_and_minutes_alike(tmp_path):
    with exchange_of(tmp_path) as (_exchange, settings):
        quick(settings)
    store, since = CandleStore(settings.candles_dir), to_unix(SINCE)
    hours = store.load("replay", "BTC-USD")
    assert hours.equals(sim_candles("BTC-USD", START, "2024-03-01T12:00Z"))
    made = aggregate(store.load("replay", "BTC-USD", step=900), span=(since, UNTIL // 900 * 900), narrow=900)
    own = hours[hours["time"] >= since].reset_index(drop=True)
    assert made.drop(columns="volume").equals(own.drop(columns="volume")) and np.allclose(made["volume"], own["volume"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("horizons, wanted", [("60", False), ("", False), ("15,60", True)])
def test_the_setting_decides_whether_minutes_are_fetched(tmp_path, monkeypatch, horizons, wanted):
    monkeypatch.setattr("crypto_rti.data.minute_fetch.MINUTE_HISTORY", 6 * HOUR)
    with exchange_of(tmp_path, horizons=horizons) as (exchange, settings):
        (summary,) = quick(settings, since=None)
        assert bool(asked(exchange)) == wanted and (summary.minutes is not None) == wanted
        if wanted:
            assert (summary.minutes.start, summary.minutes.end) == (UNTIL - 6 * HOUR, UNTIL)


def test_minutes_at_hand_are_kept_up_to_date_from_where_they_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("crypto_rti.horizons.machine_memory", lambda: 8 * 10**9)
    with exchange_of(tmp_path) as (exchange, settings):
        quick(settings)
        exchange.clock.advance(2 * HOUR)
        (later,) = quick(settings, since=None)
        assert (later.minutes.start, later.minutes.requests) == (to_unix(SINCE), 1) and later.minutes.new_rows > 110
        monkeypatch.setattr("crypto_rti.horizons.machine_memory", lambda: 2 * 10**9)
        exchange.clock.advance(2 * HOUR)
        assert quick(settings, since=None)[0].minutes is None
        hourly = settings.model_copy(update={"horizons": (60,)})
        assert quick(hourly, since=None)[0].minutes is None


def test_minutes_begin_with_the_first_hour_of_a_coin(tmp_path):
    listed = to_unix("2024-03-01T06:20Z")
    table = sim_candles("NEW-USD", listed, UNTIL, MINUTE)
    with exchange_of(tmp_path, {"NEW-USD": table}, start=UNTIL + 90) as (exchange, settings):
        (summary,) = quick(settings, "NEW-USD", since="2024-02-28")
        assert summary.minutes.start == to_unix("2024-03-01T07:00Z") and len(asked(exchange)) == 2  # The first hour is incomplete


# --- Missing minutes -----------------------------------------------------------------------


def test_silence_is_counted_and_not_listed(tmp_path):
    """A coin that is traded in one minute of four: no minute is requested twice, and the report has five lines of gaps."""
    minutes = sim_candles("BTC-USD", START - HOUR, "2024-03-01T13:00Z", MINUTE)
    rare = minutes[np.random.default_rng(0).random(len(minutes)) < 0.25].reset_index(drop=True)
    with exchange_of(tmp_path, {"BTC-USD": rare}) as (_exchange, settings):
        (summary,) = quick(settings)
        span = (UNTIL - to_unix(SINCE)) // MINUTE
        assert summary.minutes.requests == math.ceil(span / 300) and summary.minutes.contradicting == []
        times = rare["time"][rare["time"].between(to_unix(SINCE), UNTIL - 1)]
        assert summary.minutes.missing.count == span - len(times) and summary.minutes.missing.runs > 150
        lengths = np.diff([to_unix(SINCE) - MINUTE, *times, UNTIL]) // MINUTE - 1
        assert sorted(map(len, summary.minutes.missing.longest)) == sorted(lengths)[-5:]
        shown = io.StringIO()
        print_report([summary], Console(file=shown, width=120))
        assert shown.getvalue().count("BTC-USD") == 2 + 5 and "Longest runs of missing minutes" in shown.getvalue()


def test_forgotten_minutes_are_found_by_their_hour_and_requested_once_more(tmp_path):
    with exchange_of(tmp_path) as (exchange, settings):
        quick(settings, since=None)
        exchange.faults.add("gap", start="2024-03-01T05:10Z", end="2024-03-01T05:20Z", times=1, path="*")
        (summary,) = quick(settings, since="2024-03-01T03:00Z")
        assert summary.minutes.requests == 2 + 1 and summary.minutes.contradicting == []
        assert stored(settings).equals(sim_candles("BTC-USD", "2024-03-01T03:00Z", UNTIL, MINUTE))


def test_what_contradicts_for_good_is_reported_kept_and_asked_for_on_request(tmp_path):
    with exchange_of(tmp_path) as (exchange, settings):
        quick(settings, since=None)
        exchange.faults.add("gap", start="2024-03-01T05:10Z", end="2024-03-01T05:20Z")
        (first,) = quick(settings)
        assert [to_iso(hour) for hour in first.minutes.contradicting] == ["2024-03-01T05:00:00Z"]
        assert "; 1 hours contradict their minutes" in str(first.minutes)
        (second,) = quick(settings)
        assert (second.minutes.requests, second.minutes.contradicting) == (0, first.minutes.contradicting)
        exchange.faults.clear()
        (third,) = quick(settings, ask_unknown=True)
        assert (third.minutes.requests, third.minutes.new_rows, third.minutes.contradicting) == (1, 10, [])


def test_minutes_are_not_compared_with_hours_that_were_never_asked_for(tmp_path):
    with exchange_of(tmp_path) as (_exchange, settings):
        fetch(settings, ["BTC-USD"], START, START + 6 * HOUR, progress=False)
        (summary,) = fetch(settings, ["BTC-USD"], START + 12 * HOUR, progress=False, minutes_since=START)
        assert summary.minutes.contradicting == []
        doubts = CandleStore(settings.candles_dir).minutes("replay", "BTC-USD").record().doubts
        assert [(each.start, each.end) for each in doubts] == [(START + 6 * HOUR, START + 12 * HOUR), (UNTIL // HOUR * HOUR, UNTIL)]
        fetch(settings, ["BTC-USD"], START, progress=False, minutes_since=START)
        assert len(CandleStore(settings.candles_dir).minutes("replay", "BTC-USD").record().doubts) == 1


# --- Faults --------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    """Waits between retries that a test can afford."""

    def client(settings, source=None):
        return CoinbaseClient((source or parse_source(settings.source)).location, settings.requests_per_second, 2.0, settings.retries, backoff_seconds=0.01)

    monkeypatch.setattr(suppliers, "make_client", client)


def test_faults_that_pass_leave_no_trace(tmp_path, impatient):
    with exchange_of(tmp_path) as (exchange, settings):
        quick(settings, since=None)
        for fault in (
            {"kind": "status", "status": 429},
            {"kind": "status", "status": 503},
            {"kind": "cut"},
            {"kind": "disconnect"},
            {"kind": "body", "body": "<html>"},
        ):
            exchange.faults.add(fault.pop("kind"), times=1, **fault)
        (summary,) = quick(settings)
        assert summary.minutes.contradicting == [] and stored(settings).equals(sim_candles("BTC-USD", SINCE, UNTIL, MINUTE))


def test_an_exchange_that_fails_keeps_the_hours_and_what_came(tmp_path, impatient, monkeypatch, caplog):
    monkeypatch.setattr("crypto_rti.data.minute_fetch.SAVE_EVERY", 1)
    with exchange_of(tmp_path, horizons="15,60") as (_exchange, settings):
        quick(settings.model_copy(update={"horizons": (60,)}), since=None)
        real = CoinbaseClient.ask

        async def fail(self, product, start, end, step=HOUR):
            if step == MINUTE and start >= to_unix("2024-03-01T04:00Z"):
                raise ExchangeUnavailableError("503 for testing; try again later")
            return await real(self, product, start, end, step)

        monkeypatch.setattr(CoinbaseClient, "ask", fail)
        with pytest.raises(ExchangeUnavailableError):
            quick(settings)
        assert stored(settings).equals(sim_candles("BTC-USD", SINCE, "2024-03-01T04:00Z", MINUTE))
        (kept,) = quick(settings, skip=lambda product, error: pytest.fail("the hours are complete"))
        assert kept.minutes is None and kept.rows and "the minutes of BTC-USD are not up to date: 503 for testing" in caplog.text
        monkeypatch.undo()
        (rest,) = quick(settings)
        assert rest.minutes.requests == math.ceil((UNTIL - to_unix("2024-03-01T04:00Z")) / MINUTE / 300) and rest.minutes.contradicting == []


def test_wrong_dates_are_named_and_send_nothing(tmp_path):
    with exchange_of(tmp_path) as (exchange, settings):
        for since, says in (("2024-13-01", "is not a time"), ("2031-01-01", "lies in the future")):
            with pytest.raises(TimeError, match=says):
                quick(settings, since=since)
        assert not asked(exchange, HOUR)
        with pytest.raises(
            TimeError, match=r"minutes since 2024-02-01T00:00:00Z cannot be compared with the hours, which begin at 2024-02-28.*--start 2024-02-01"
        ):
            quick(settings, since="2024-02-01")
        with pytest.raises(TimeError, match="lie in the future; the last final minute ends at 2024-03-01T12:29"):
            quick(settings, since="2024-03-01T12:40Z")
        assert not asked(exchange)


def test_an_end_inside_an_hour_is_kept_to_the_minute(tmp_path):
    with exchange_of(tmp_path) as (_exchange, settings):
        (summary,) = quick(settings, end="2024-03-01T10:17:30Z")
        assert to_iso(summary.minutes.end) == "2024-03-01T10:17:00Z" and stored(settings)["time"].iloc[-1] == summary.minutes.end - MINUTE
        (rest,) = quick(settings)
        assert rest.minutes.requests == 1 and rest.minutes.contradicting == [] and stored(settings).equals(sim_candles("BTC-USD", SINCE, UNTIL, MINUTE))


def test_a_damaged_month_is_named_and_stops_neither_hours_nor_other_products(tmp_path, caplog):
    with exchange_of(tmp_path, products=["BTC-USD", "ETH-USD"]) as (_exchange, settings):
        quick(settings, "BTC-USD", "ETH-USD")
        CandleStore(settings.candles_dir).minutes("replay", "BTC-USD").path("2024-03").write_bytes(b"PAR1")
        with pytest.raises(StoreError, match=r"minutes/BTC-USD/2024-03\.parquet is not a readable Parquet file"):
            quick(settings, "BTC-USD", "ETH-USD")
        damaged, whole = quick(settings, "BTC-USD", "ETH-USD", skip=lambda product, error: pytest.fail("the hours are complete"))
        assert damaged.rows and damaged.minutes is None and whole.minutes.rows and "the minutes of BTC-USD are not up to date" in caplog.text


# --- Killed --------------------------------------------------------------------------------

FETCH = """
import sys; from crypto_rti.data import minute_fetch; from crypto_rti.data.fetch import fetch; from crypto_rti.settings import load_settings
minute_fetch.SAVE_EVERY = 1
settings = load_settings(home=sys.argv[1], source=sys.argv[2], requests_per_second=10)
fetch(settings, ["BTC-USD"], sys.argv[3], progress=False, minutes_since=sys.argv[4])
"""


def test_killed_at_any_moment_it_goes_on_where_it_was(tmp_path):
    with exchange_of(tmp_path) as (exchange, settings):
        quick(settings, since=None)
        exchange.faults.add("gap", start="2024-02-28T00:10Z", end="2024-02-28T00:20Z", times=1)  # Is seen by the first process alone
        for number in (2, 5, 8):
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
            started = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path), settings.source, to_iso(START), to_iso(START)], env=environment)
            wait_for(lambda: len(asked(exchange)) >= number, 60, f"request {number}")  # noqa: B023
            started.send_signal(signal.SIGKILL)
            started.wait()
        (rest,) = quick(settings, since=START)
        assert stored(settings).equals(sim_candles("BTC-USD", START, UNTIL, MINUTE)) and rest.minutes.contradicting == []
        assert len(asked(exchange)) <= math.ceil((UNTIL - START) / MINUTE / 300) + 3 * 2 + 1  # A killed process loses a window, and what it asked for then


# --- Folders, seeds, the command line ------------------------------------------------------


def test_a_folder_of_minutes_is_validated_and_one_of_hours_has_none(tmp_path):
    for name, step in (("minutes", MINUTE), ("hours", HOUR)):
        (tmp_path / name).mkdir()
        sim_candles("BTC-USD", START, UNTIL, step).to_parquet(tmp_path / name / "BTC-USD.parquet", index=False)
    (summary,) = fetch(load_settings(home=tmp_path, source=str(tmp_path / "minutes")), ["BTC-USD"], progress=False)
    assert summary.minutes.rows == len(sim_candles("BTC-USD", START, UNTIL, MINUTE)) and summary.rows == (UNTIL - START) // HOUR
    hours = load_settings(home=tmp_path, source=str(tmp_path / "hours"))
    assert fetch(hours, ["BTC-USD"], progress=False)[0].minutes is None
    with pytest.raises(NoCandlesError, match="holds hourly candles, of which one-minute ones cannot be made"):
        fetch(hours, ["BTC-USD"], progress=False, minutes_since=START)


def test_simulated_minutes_keep_their_seed_and_are_cheap(tmp_path):
    settings = load_settings(home=tmp_path, source="sim")
    span = ("2023-12-20", "2024-03-05")
    (summary,) = fetch(settings, ["BTC-USD"], *span, progress=False, minutes_since=span[0])
    store = CandleStore(settings.candles_dir)
    assert store.load("sim", "BTC-USD", step=MINUTE).equals(sim_candles("BTC-USD", *span, MINUTE)) and summary.minutes.contradicting == []
    with pytest.raises(StoreError, match="never mixes sources"):
        fetch(settings.model_copy(update={"sim_seed": 1}), ["BTC-USD"], *span, progress=False, minutes_since=span[0])


def test_the_command_takes_a_date_and_prints_the_report(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYPTO_RTI_HOME", str(tmp_path))
    done = CliRunner().invoke(
        app, ["fetch", "--source", "sim", "-p", "BTC-USD", "--start", "2024-03-01", "--end", "2024-03-02", "--minutes-since", "2024-03-01T12:00Z", "--quiet"]
    )
    assert done.exit_code == 0 and "minutes 2024-03-01T12:00:00Z .. 2024-03-02T00:00:00Z: 7" in done.output, done.output
    path = tmp_path / "candles" / "sim" / "minutes" / "BTC-USD" / "2024-03.parquet"
    record = json.loads(pq.read_schema(path).metadata[b"crypto_rti"])
    assert (record["step"], record["product"], record["gaps"]) == (60, "BTC-USD", [])


@pytest.mark.skipif(not (SHARED / "coinbase-1m").exists(), reason="real minutes are absent")
def test_real_minutes_are_fetched_as_they_are(tmp_path):
    real = pd.read_parquet(SHARED / "coinbase-1m" / "BTC-USD.parquet")
    start, end = to_unix("2023-12-30"), to_unix("2024-01-03")
    table = real[real["time"].between(start, end - 1)].reset_index(drop=True)
    with exchange_of(tmp_path, {"BTC-USD": table}, start=end + 90) as (_exchange, settings):
        (summary,) = fetch(settings, ["BTC-USD"], start, progress=False, minutes_since=start)
        assert stored(settings).equals(table) and summary.minutes.contradicting == []
        own = pd.read_parquet(SHARED / "coinbase" / "BTC-USD.parquet")
        hours = CandleStore(settings.candles_dir).load("replay", "BTC-USD", "2024-01-01").merge(own, on="time", suffixes=("", "_own"))
        assert len(hours) == 48 and all((np.abs(hours[name] / hours[f"{name}_own"] - 1) > 1e-6).sum() == 0 for name in ("low", "high", "open"))

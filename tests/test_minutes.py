"""One-minute candles: longer candles from shorter ones, at rest in the store, in folders, fetched over a socket."""

import asyncio
import hashlib
import os
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_rti.data.candle_files import NoCandlesError, StoreError
from crypto_rti.data.candles import COLUMNS, HOUR, MINUTE, STEPS, CandleError, check_candles, resample_candles, to_unix
from crypto_rti.data.fetch import validate_folder
from crypto_rti.data.minutes import CONTRADICTS, VOLUME_TOLERANCE, find_contradictions
from crypto_rti.data.origin import NameTakenError, claim_name
from crypto_rti.data.ranges import ClassifiedGap
from crypto_rti.data.simulation import SIM_START, sim_candles
from crypto_rti.data.sources import Source, parse_source
from crypto_rti.data.steps import aggregate, find_step
from crypto_rti.data.store import CandleStore
from crypto_rti.datasets import load_datasets
from crypto_rti.pipeline_plan import find_pipeline, make_plan
from crypto_rti.replay.markets import TableMarket, open_market
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.once import predict_once
from crypto_rti.settings import load_settings

SHARED = Path(os.environ.get("CRYPTO_RTI_SHARED", Path(__file__).parents[2] / "shared")) / "candles"
START = 1_706_659_200  # 2024-01-31T00:00Z


def minutes_of(times, seed=0):
    """A candle table of minutes that starts at these times, with volumes that a float holds exactly."""
    rng = np.random.default_rng(seed)
    open_, close = 100 + rng.integers(0, 64, (2, len(times))) / 4
    low, high = np.minimum(open_, close) - rng.integers(0, 8, len(times)), np.maximum(open_, close) + rng.integers(0, 8, len(times))
    table = {"time": times, "low": low, "high": high, "open": open_, "close": close, "volume": rng.integers(1, 99, len(times)) / 8}
    return pd.DataFrame(table, columns=COLUMNS).astype({"time": "int64"})


def one_by_one(minutes, step, offset, start, end):
    """Long candles, without pandas."""
    long = {}
    for time, low, high, open_, close, volume in minutes.itertuples(index=False):
        begin = (time - offset) // step * step + offset
        if start <= begin and begin + step <= end:
            before = long.get(begin, (low, high, open_, close, 0.0))
            long[begin] = (min(before[0], low), max(before[1], high), before[2], close, before[4] + volume)
    return [[begin, *values] for begin, values in long.items()]


# --- Longer candles from shorter ones ------------------------------------------------------


@given(st.sets(st.integers(0, 400), min_size=1), st.sampled_from([300, 900, HOUR]), st.sampled_from([0, 1, 15, 30, 45, 59]), st.booleans(), st.integers(0, 99))
@settings(max_examples=150)
def test_longer_candles_are_those_made_one_by_one(places, step, offset, whole, seed):
    minutes = minutes_of(START + MINUTE * np.array(sorted(places)), seed)
    span = (START, START + 401 * MINUTE) if whole else (int(minutes["time"].iloc[0]), int(minutes["time"].iloc[-1]) + MINUTE)
    made = aggregate(minutes, step, offset * MINUTE, span if whole else None, narrow=MINUTE)
    assert made.to_numpy().tolist() == one_by_one(minutes, step, offset * MINUTE, *span)
    assert list(made.columns) == COLUMNS and made["time"].dtype == np.int64


def test_an_open_candle_is_never_returned():
    minutes = minutes_of(START + MINUTE * np.arange(24, 24 + 150))
    for count in range(1, len(minutes)):
        made = aggregate(minutes[:count], narrow=MINUTE)
        assert made["time"].tolist() == [START + HOUR * hour for hour in (1, 2) if 24 + count >= 60 * (hour + 1)]


def test_a_candle_of_minutes_without_volume_is_absent():
    minutes = minutes_of(START + MINUTE * np.arange(180))
    minutes.loc[60:119, "volume"] = 0.0
    assert aggregate(minutes)["time"].tolist() == [START, START + 2 * HOUR]


def test_candles_are_never_split():
    hours = sim_candles("BTC-USD", START, START + 5 * HOUR)
    for step, offset in ((MINUTE, 0), (900, 0), (HOUR, 900)):
        with pytest.raises(CandleError, match="hourly candles cannot make"):
            aggregate(hours, step, offset)
    assert aggregate(hours) is hours and len(aggregate(hours[:0])) == 0


@given(st.sampled_from(STEPS), st.integers(2, 60), st.floats(0, 0.6), st.integers(0, 99))
@settings(max_examples=150)
def test_the_step_is_recognised_in_spite_of_gaps(step, count, absent, seed):
    times = START + step * np.arange(count)
    rng = np.random.default_rng(seed)
    kept = times[rng.random(count) >= absent]
    found = find_step(rng.permutation(kept))
    distances = np.diff(kept)
    if (distances == step).sum() > (distances != step).sum():
        assert found == step
    assert found in STEPS
    assert len(kept) == 0 or found % step == 0  # A table that is mostly gaps may look like longer candles, never like shorter ones


def test_times_off_the_grid_are_not_taken_for_shorter_candles():
    hours = START + HOUR * np.arange(50)
    assert find_step(hours + 1800) == find_step(hours + 3599) == find_step(hours * 1000) == HOUR
    assert find_step(np.append(hours, hours[-1] + 7)) == HOUR


# --- At rest -------------------------------------------------------------------------------

SIM = Source("sim", "sim")
NEW_YEAR = to_unix("2024-01-01")


def writer(store, product="BTC-USD", origin="sim seed 0"):
    return store.minute_writer(SIM, product, origin)


def test_hours_and_minutes_lie_side_by_side_and_hours_stay_where_they_are(tmp_path):
    store, span = CandleStore(tmp_path), (NEW_YEAR, NEW_YEAR + 5 * HOUR)
    hours, minutes = sim_candles("BTC-USD", *span), sim_candles("BTC-USD", *span, MINUTE)
    store.save(SIM, "BTC-USD", hours, span, origin="sim seed 0")
    (month,) = store.hours(SIM, "BTC-USD").months
    before = month.read_bytes()
    assert store.finest_step(SIM, "BTC-USD") == HOUR and store.finest_step(SIM, "ETH-USD") is None
    with pytest.raises(NoCandlesError, match=r"one-minute ones cannot be made; fetch minutes with `crypto-rti fetch --minutes-since DATE`"):
        store.load(SIM, "BTC-USD", step=MINUTE)
    writer(store).save(minutes, span)
    assert month.read_bytes() == before
    assert store.load(SIM, "BTC-USD").equals(hours) and store.load("sim", "BTC-USD", step=MINUTE).equals(minutes)
    assert store.load(SIM, "BTC-USD", step=900).equals(aggregate(minutes, 900, span=span))
    assert store.products(SIM) == ["BTC-USD"] and store.finest_step(SIM, "BTC-USD") == MINUTE


def test_an_update_writes_the_months_it_concerns_and_no_other(tmp_path):
    store, span = CandleStore(tmp_path), (NEW_YEAR, to_unix("2024-03-10"))
    one = writer(store)
    one.save(sim_candles("BTC-USD", *span, MINUTE), span)
    before = {path.name: path.stat().st_mtime_ns for path in one.months}
    more = (span[1], span[1] + HOUR)
    one.save(sim_candles("BTC-USD", *more, MINUTE), more)
    after = {path.name: path.stat().st_mtime_ns for path in one.months}
    assert list(before) == ["2024-01.parquet", "2024-02.parquet", "2024-03.parquet"]
    assert [name for name in after if after[name] != before[name]] == ["2024-03.parquet"]
    assert one.record().covered == [(span[0], more[1])] and one.record().rows == len(sim_candles("BTC-USD", span[0], more[1], MINUTE))


def test_only_the_months_and_columns_asked_for_are_read(tmp_path):
    one, span = writer(CandleStore(tmp_path)), (NEW_YEAR, to_unix("2024-04-01"))
    minutes = sim_candles("BTC-USD", *span, MINUTE)
    one.save(minutes, span)
    one.path("2024-01").write_bytes(b"damaged")
    february = to_unix("2024-02-28"), to_unix("2024-03-02")
    expected = minutes[minutes["time"].between(february[0], february[1] - 1)][["time", "close"]].reset_index(drop=True)
    assert one.load(*february, ["time", "close"]).equals(expected)
    with pytest.raises(StoreError, match=r"2024-01\.parquet is not a readable Parquet file"):
        one.load(NEW_YEAR, NEW_YEAR + HOUR)


def test_a_span_may_end_inside_an_hour_and_go_on_there(tmp_path):
    store, half = CandleStore(tmp_path), NEW_YEAR + 5 * HOUR + 30 * MINUTE
    one = writer(store)
    one.save(sim_candles("BTC-USD", NEW_YEAR, half, MINUTE), (NEW_YEAR, half))
    assert store.load(SIM, "BTC-USD", step=900)["time"].iloc[-1] == half - 900
    assert store.load(SIM, "BTC-USD", half - 7 * MINUTE, half - 2 * MINUTE, MINUTE)["time"].tolist() == [half - MINUTE * k for k in (7, 6, 5, 4, 3)]
    one.save(sim_candles("BTC-USD", half, half + HOUR, MINUTE), (half, half + HOUR))
    assert one.record().covered == [(NEW_YEAR, half + HOUR)]
    assert store.load(SIM, "BTC-USD", step=MINUTE).equals(sim_candles("BTC-USD", NEW_YEAR, half + HOUR, MINUTE))


def test_longer_candles_do_not_reach_over_what_was_never_asked(tmp_path):
    store = CandleStore(tmp_path)
    for start, end in ((10, 50), (65, 125)):
        span = NEW_YEAR + start * MINUTE, NEW_YEAR + end * MINUTE
        writer(store).save(sim_candles("BTC-USD", *span, MINUTE), span)
    quarters = [(time - NEW_YEAR) // MINUTE for time in store.load(SIM, "BTC-USD", step=900)["time"]]
    assert quarters == [15, 30, 75, 90, 105]


def test_minutes_of_another_market_are_refused(tmp_path):
    store, span = CandleStore(tmp_path), (NEW_YEAR, NEW_YEAR + HOUR)
    writer(store).save(sim_candles("BTC-USD", *span, MINUTE), span)
    with pytest.raises(StoreError, match="was made by 'sim seed 0' and a series never mixes sources"):
        writer(store, origin="sim seed 1").save(sim_candles("BTC-USD", *span, MINUTE, 1), span)
    with pytest.raises(CandleError, match="minutes of BTC-USD of sim, row 1.*60 s grid"):
        writer(store).save(sim_candles("BTC-USD", *span, MINUTE).assign(time=lambda table: table["time"] + (table.index == 1)), span)
    with pytest.raises(StoreError, match="is a folder source, which is read in place"):
        store.minute_writer(Source("x", "folder", str(tmp_path)), "BTC-USD")


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 900), st.booleans()), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=40)
def test_the_minutes_at_rest_are_a_dictionary(tmp_path_factory, steps, seed):
    """Whatever is saved in whatever order around the end of a month, what is read is the newest of each minute."""
    one, known, asked, doubted = writer(CandleStore(tmp_path_factory.mktemp("minutes"))), {}, set(), set()
    first = to_unix("2024-02-28T23:00Z")
    for number, (start, count, doubt) in enumerate(steps):
        places = np.flatnonzero(np.random.default_rng([seed, number]).random(count) < 0.7) + start
        span = first + start * MINUTE, first + (start + count) * MINUTE
        minutes = minutes_of(first + MINUTE * places, number)
        one.save(minutes, span, [ClassifiedGap(*span, CONTRADICTS, MINUTE)] if doubt else ())
        known.update({row[0]: row for row in minutes.itertuples(index=False, name=None)})
        asked |= set(range(*span, MINUTE))
        doubted = doubted | set(range(*span, MINUTE)) if doubt else doubted - set(range(*span, MINUTE))
    record = one.record()
    assert {time for start, end in record.covered for time in range(start, end, MINUTE)} == asked
    assert {time for each in record.doubts for time in range(each.start, each.end, MINUTE)} == doubted
    assert record.rows == len(known)
    assert one.load(first - HOUR, first + 4000 * MINUTE).to_numpy().tolist() == [list(map(float, known[time])) for time in sorted(known)]


# --- Minutes and hours that contradict ------------------------------------------------------


def test_what_contradicts_is_reported_by_hour():
    span = NEW_YEAR, NEW_YEAR + 8 * HOUR + 30 * MINUTE
    hours, minutes = sim_candles("BTC-USD", *span), sim_candles("BTC-USD", *span, MINUTE)
    assert find_contradictions(minutes, hours, span) == []
    absent = minutes[~minutes["time"].between(NEW_YEAR + HOUR + 600, NEW_YEAR + HOUR + 1199)]
    assert [found.time for found in find_contradictions(absent, hours, span)] == [NEW_YEAR + HOUR]
    (lone,) = find_contradictions(minutes, hours.drop(index=2), span)
    assert (lone.time, lone.what) == (NEW_YEAR + 2 * HOUR, "there are minutes, and no hour")
    (empty,) = find_contradictions(minutes[minutes["time"] // HOUR != NEW_YEAR // HOUR + 3], hours, span)
    assert (empty.time, empty.what) == (NEW_YEAR + 3 * HOUR, "there are no minutes of the hour")
    hours.loc[4, "close"] = hours.loc[4, "high"]
    (other,) = find_contradictions(minutes, hours, span)
    assert other.time == NEW_YEAR + 4 * HOUR and other.what.startswith("close is ") and "volume" not in other.what


# --- Folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [MINUTE, 300, 900])
def test_a_folder_of_short_candles_serves_longer_ones(tmp_path, step):
    span = NEW_YEAR + 7 * MINUTE, NEW_YEAR + 30 * HOUR
    table = aggregate(sim_candles("BTC-USD", *span, MINUTE), step, narrow=MINUTE)
    table.to_parquet(tmp_path / "BTC-USD.parquet", index=False, row_group_size=100)
    store = CandleStore("nowhere")
    assert store.finest_step(str(tmp_path), "BTC-USD") == step
    hours = store.load(str(tmp_path), "BTC-USD")
    assert hours.equals(sim_candles("BTC-USD", NEW_YEAR + HOUR, span[1])) or step != MINUTE
    assert hours["time"].tolist() == [NEW_YEAR + HOUR * k for k in range(1, 30)] and store.series(str(tmp_path), "BTC-USD").candles.equals(hours)
    assert store.load(str(tmp_path), "BTC-USD", NEW_YEAR + 5 * HOUR, NEW_YEAR + 7 * HOUR)["time"].tolist() == [NEW_YEAR + 5 * HOUR, NEW_YEAR + 6 * HOUR]
    some = store.load(str(tmp_path), "BTC-USD", NEW_YEAR + 5 * HOUR, NEW_YEAR + 7 * HOUR, step, ["time", "volume"])
    assert len(some) == 2 * HOUR // step and list(some.columns) == ["time", "volume"]
    summary = validate_folder(parse_source(str(tmp_path)), "BTC-USD")
    assert (summary.rows, summary.gaps) == (29, [])


def test_faults_of_a_folder_of_minutes_are_named(tmp_path):
    minutes = sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 5 * HOUR, MINUTE)
    spoilt = {
        "sort by time": minutes.iloc[::-1], "repeats the candle": pd.concat([minutes[:3], minutes[2:]]),
        "60 s grid": minutes.assign(time=minutes["time"] + 7),
        "not positive": minutes.assign(low=-1.0), "divide milliseconds": minutes.assign(time=minutes["time"] * 1000),
        "not integers": minutes.astype({"time": str}),
    }  # fmt: skip
    for message, table in spoilt.items():
        table.to_parquet(tmp_path / "BTC-USD.parquet", index=False)
        for step in (MINUTE, HOUR):
            with pytest.raises((CandleError, StoreError), match=message):
                CandleStore("nowhere").load(str(tmp_path), "BTC-USD", step=step)


@pytest.mark.skipif(not (SHARED / "binance-1m").exists(), reason="real minutes are absent")
def test_real_minutes_give_the_hours_of_the_exchange():
    store = CandleStore("nowhere")
    made, own = store.load(str(SHARED / "binance-1m"), "BTC-USDT", "2023-03-20", "2023-04-01"), store.load(str(SHARED / "binance"), "BTC-USDT")
    both = made.merge(own, on="time", suffixes=("", "_own"))
    assert len(both) == len(made) >= 12 * 24 - 2  # 80 minutes are missing on March 24, and an hour without volume
    for name in ("low", "high", "open", "close"):
        assert np.allclose(both[name], both[f"{name}_own"], rtol=1e-6, atol=0)
    assert (np.abs(both["volume"] / both["volume_own"] - 1) > VOLUME_TOLERANCE).sum() <= 1


def test_hours_and_minutes_of_one_market_share_a_name(tmp_path):
    """A folder that is replaced by its minutes holds the same market; one of another market is refused."""
    settings = load_settings(home=tmp_path / "home", source="sim")
    span = NEW_YEAR, NEW_YEAR + 72 * HOUR
    for place, table in (
        ("one", sim_candles("BTC-USD", *span)), ("two", sim_candles("BTC-USD", *span, MINUTE)), ("three", sim_candles("BTC-USD", *span, MINUTE, 1)),
    ):  # fmt: skip
        (tmp_path / place).mkdir()
        table.to_parquet(tmp_path / place / "BTC-USD.parquet", index=False)
    for place in ("one", "two", "one"):
        asyncio.run(claim_name(settings, parse_source(f"mine={tmp_path / place}")))
    with pytest.raises(NameTakenError):
        asyncio.run(claim_name(settings, parse_source(f"mine={tmp_path / 'three'}")))


# --- Replayed ------------------------------------------------------------------------------


def rows_of(client, product, start, end, step):
    """The candles that start in `[start, end)`, asked for 300 at a time, in time order."""
    rows = []
    for left in range(start, end, 300 * step):
        window = {"granularity": step, "start": left, "end": min(left + 299 * step, end - step)}
        rows += client.get(f"/products/{product}/candles", params=window).raise_for_status().json()
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("time", ignore_index=True)


@pytest.mark.parametrize("kind", ["sim", "folder", "real"])
def test_the_replay_offers_every_step_of_the_same_minutes(tmp_path, kind):
    if kind == "real" and not (SHARED / "coinbase-1m").exists():
        pytest.skip("real minutes are absent")
    end = NEW_YEAR + 20 * HOUR if kind != "real" else to_unix("2023-12-05")
    start = end - 10 * HOUR
    if kind == "folder":
        sim_candles("BTC-USD", start - 7 * MINUTE, end, MINUTE).to_parquet(tmp_path / "BTC-USD.parquet", index=False)
    place = {"sim": "sim", "folder": str(tmp_path), "real": str(SHARED / "coinbase-1m")}[kind]
    with running_exchange(place, start=end + 90, speed=0, rate_limit=False) as exchange, httpx.Client(base_url=exchange.url) as client:
        minutes = rows_of(client, "BTC-USD", start, end, MINUTE)
        assert len(minutes) > 590 and (kind == "real" or minutes.equals(sim_candles("BTC-USD", start, end, MINUTE)))
        for step in (300, 900, HOUR):
            assert rows_of(client, "BTC-USD", start, end, step).equals(aggregate(minutes, step, span=(start, end)))
        before = rows_of(client, "BTC-USD", start - HOUR, start, HOUR)
        assert len(before) == (0 if kind == "folder" else 1)  # The folder has the last seven minutes of that hour


def test_the_replay_shows_no_minute_that_is_not_over(tmp_path):
    sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 5 * HOUR, MINUTE).to_parquet(tmp_path / "BTC-USD.parquet", index=False)
    for place in ("sim", str(tmp_path)):
        for second in (59.0, 61.0, 119.0, 121.0):
            now = NEW_YEAR + 3 * HOUR + second
            options = {"start": now, "speed": 0, "lag": 0, "rate_limit": False, "products": ["BTC-USD"]}
            with running_exchange(place, **options) as exchange, httpx.Client(base_url=exchange.url) as client:
                shown = rows_of(client, "BTC-USD", NEW_YEAR + 2 * HOUR, NEW_YEAR + 5 * HOUR, MINUTE)["time"]
                trade = client.get("/products/BTC-USD/ticker").json()
            assert shown.max() + MINUTE <= now and to_unix(trade["time"]) <= now


def test_trades_follow_the_minutes(tmp_path):
    minutes = sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 2 * HOUR, MINUTE)
    minutes.to_parquet(tmp_path / "BTC-USD.parquet", index=False)
    with running_exchange(str(tmp_path), start=NEW_YEAR + HOUR, speed=0, rate_limit=False) as exchange, httpx.Client(base_url=exchange.url) as client:
        for minute in minutes[minutes["time"] >= NEW_YEAR + HOUR][:3].itertuples():
            exchange.clock.freeze(minute.time + 60)
            trades = [trade for trade in client.get("/products/BTC-USD/trades").json() if minute.time <= to_unix(trade["time"]) < minute.time + 60]
            prices = [float(trade["price"]) for trade in trades]
            assert len(trades) == 60 and (prices[0], prices[-1]) == (minute.close, minute.open)
            assert (min(prices), max(prices)) == (minute.low, minute.high)
            assert sum(float(trade["size"]) for trade in trades) == pytest.approx(minute.volume, rel=1e-3)


def test_a_folder_with_minutes_beside_hours_of_other_coins_leaves_the_minutes_out(tmp_path, caplog):
    sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 50 * HOUR).to_parquet(tmp_path / "BTC-USD.parquet", index=False)
    sim_candles("ETH-USD", NEW_YEAR, NEW_YEAR + 50 * HOUR, MINUTE).to_parquet(tmp_path / "ETH-USD.parquet", index=False)
    _, market = open_market(str(tmp_path))
    assert (market.products, market.steps[0]) == (["BTC-USD"], HOUR) and "holds one-minute candles beside hourly ones" in caplog.text


@pytest.mark.parametrize("step", [300, 900, HOUR])
def test_invented_minutes_give_the_candle_they_are_invented_for(step):
    table = sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 24 * HOUR, step)
    minutes = TableMarket({"BTC-USD": table}, step).minutes("BTC-USD", NEW_YEAR, NEW_YEAR + 24 * HOUR)
    made = aggregate(minutes, step, narrow=MINUTE)
    assert made.drop(columns="volume").equals(table.drop(columns="volume")) and np.allclose(made["volume"], table["volume"])


def test_a_folder_of_minutes_is_planned_and_served_like_one_of_hours(tmp_path):
    span = NEW_YEAR, NEW_YEAR + 30 * 24 * HOUR
    for place, step in (("minutes", MINUTE), ("hours", HOUR)):
        (tmp_path / place).mkdir()
        sim_candles("SOL-USD", *span, step).to_parquet(tmp_path / place / "SOL-USD.parquet", index=False)
    served = {}
    for place in ("minutes", "hours"):
        settings = load_settings(home=tmp_path / "home" / place, source=f"mine={tmp_path / place}", products="SOL-USD", models="lasso")
        assert make_plan(settings, find_pipeline()).products == ["SOL-USD"]
        (data,) = load_datasets(CandleStore(settings.candles_dir), (settings.source, ["SOL-USD"]))
        served[place] = predict_once(settings, "SOL-USD"), data["SOL-USD"].X
    one, other = served["minutes"][0], served["hours"][0]
    assert (one.predicted_price, one.current_price, one.predicted_for) == (other.predicted_price, other.current_price, other.predicted_for)
    assert np.array_equal(served["minutes"][1], served["hours"][1])


# --- The simulated market ------------------------------------------------------------------


@given(st.sampled_from(["BTC-USD", "FOO-USD", "XRP-USDT"]), st.integers(0, 3), st.integers(0, 31_000))
@settings(max_examples=40)
def test_simulated_minutes_give_the_hours_to_the_bit(product, seed, day):
    start = SIM_START + day * 86400
    minutes, hours = sim_candles(product, start, start + 86400, MINUTE, seed), sim_candles(product, start, start + 86400, HOUR, seed)
    assert resample_candles(minutes).equals(hours) and (minutes["volume"] > 0).all()
    check_candles(minutes, product, MINUTE)
    part = sim_candles(product, start + 7 * HOUR, start + 9 * HOUR, MINUTE, seed)
    assert part.equals(minutes[minutes["time"].between(start + 7 * HOUR, start + 9 * HOUR - 1)].reset_index(drop=True))


def test_simulated_hours_are_those_of_the_versions_before():
    """Models and ledgers of `sim` stay valid: the digest was taken before the minutes had a clock inside the hour."""
    digest = hashlib.sha256()
    for product, seed in (("BTC-USD", 0), ("SOL-USD", 1), ("FOO-USD", 2)):
        hours = sim_candles(product, "2024-01-01", "2024-01-04", HOUR, seed)
        digest.update(np.ascontiguousarray(hours.to_numpy().round(4)).tobytes())
    assert digest.hexdigest() == "493e804c251a79c1dc6df94f1c34d294437e325917e732d8efb5467256260621"


def test_simulated_minutes_move_as_real_ones_do():
    minutes = sim_candles("BTC-USD", "2023-01-01", "2024-01-01", MINUTE)
    moves = np.log(minutes["close"]).diff().iloc[1:]
    by_minute = np.sqrt((moves**2).groupby(minutes["time"] // MINUTE % 60).mean() / (moves**2).mean())
    assert all(by_minute[minute] > by_minute[minute + 5] + 0.05 for minute in (0, 15, 30)) and by_minute[:15].mean() > by_minute[45:].mean() + 0.05
    hourly = np.log(np.sqrt((moves**2).groupby(minutes["time"] // HOUR).sum()))
    assert hourly.autocorr(1) > 0.7 and hourly.autocorr(24) > 0.4  # On Binance: 0.81 and 0.54
    assert abs(moves.autocorr(1)) < 0.03 and 0.5 < hourly.std() < 0.8  # On Binance: 0.005 and 0.64
    assert -0.05 < np.corrcoef(moves[:-1], (moves**2)[1:])[0, 1] < 0.05


def test_a_range_without_candles_is_named(tmp_path):
    sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 9 * HOUR, MINUTE).to_parquet(tmp_path / "BTC-USD.parquet", index=False, row_group_size=100)
    store = CandleStore(tmp_path / "home")
    writer(store).save(sim_candles("BTC-USD", NEW_YEAR, NEW_YEAR + 9 * HOUR, MINUTE), (NEW_YEAR, NEW_YEAR + 9 * HOUR))
    for source, step in ((str(tmp_path), MINUTE), (str(tmp_path), HOUR), (SIM, MINUTE), (SIM, 900)):
        for start, end in ((NEW_YEAR + 20 * HOUR, NEW_YEAR + 22 * HOUR), (NEW_YEAR - 9 * HOUR, NEW_YEAR - HOUR), (NEW_YEAR + 5 * HOUR, NEW_YEAR + 2 * HOUR)):
            with pytest.raises(NoCandlesError, match="has candles in 2024-01-01T00:00:00Z .. 2024-01-01T09:00:00Z, none in"):
                store.load(source, "BTC-USD", start, end, step)

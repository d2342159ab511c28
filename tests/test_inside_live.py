"""The whole service inside the hour over real sockets: path, record, contract, bundles, and two days that equal the backtest."""

import asyncio
import contextlib
import json

import pytest
import skew_inside
from harness import bench
from test_closing import BTC, TrueClock, fill
from test_horizon_bundles import packed
from test_live import SHARED, Reader, rows
from waiting import wait_for

from crypto_rti.client import AsyncClient, Client
from crypto_rti.client_stream import PathEvent
from crypto_rti.data.candles import MINUTE, to_iso, to_unix
from crypto_rti.registry.bundle import write_bundle
from crypto_rti.registry.index import Index, bundle_folder, write_index

START, CLOSE = to_unix("2024-01-31T15:44:30Z"), to_unix("2024-01-31T15:45Z")


def export_quarter(bundles, version, **changes):
    "Make a model of 15 minutes champion; what a later release might write is given as changes of its manifest."
    (manifest, _), files = packed(15)
    folder = write_bundle(bundle_folder(bundles, "sim.BTC-USD", version), {**manifest, "version": version}, files)
    stated = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**stated, **changes}))
    path = bundles / "sim.BTC-USD" / "index.json"
    index = Index.model_validate_json(path.read_bytes())
    facts = {"kind": "lasso", "horizon": 15, "train_span": manifest["train_span"], "created": manifest["created"]}
    aliases = {**index.aliases, "champion-15m": version, "lasso-15m": version}
    write_index(bundles, index.model_copy(update={"aliases": aliases, "versions": {**index.versions, version: facts}}))


@contextlib.contextmanager
def inside(home, start=START, **options):
    "A service with all minutes before `start`, its prices followed by the websocket, and a model of 15 minutes."
    fill(home / "minutes" / "sim", start // MINUTE * MINUTE - MINUTE)
    with bench(home, start=start, products=BTC, options={"live_feed": True, "horizons": "15 60", **options}) as up:
        export_quarter(up.bundles, "2")
        up.in_loop(setattr, up.service.feed, "clock", TrueClock(up.exchange.clock))
        feed = up.service.feed
        wait_for(lambda: BTC in feed.running and feed.running[BTC].whole and feed.running[BTC].via == "websocket", 60, "the running hour")
        wait_for(lambda: BTC in feed.histories and feed.histories[BTC].end == start // MINUTE * MINUTE, 60, "the last minute")
        up.until(lambda response: response.status_code == 200 and response.json()["prediction"]["model_version"] == "2", horizon=15)
        yield up


def pass_to(up, moment):
    "Move the clock on, past the end of each minute, and wait until the service has closed it."
    feed = up.service.feed
    while (end := feed.histories[BTC].end + MINUTE) <= moment:
        up.exchange.clock.set(end - 0.5)
        up.exchange.clock.set(end + 0.6)
        wait_for(lambda end=end: feed.histories[BTC].end >= end, 60, lambda: f"{to_iso(end)}; {feed.histories[BTC]}")


def quarters(up):
    return [row for row in rows(up) if row["mode"] == "quarter"]


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with inside(tmp_path_factory.mktemp("inside")) as up:
        yield up


def test_a_path_is_sent_with_the_close_and_confirmed_later(up):
    reader = Reader(up.url, "coin=BTC-USD").wait(lambda it: it.of("forecast"))
    pass_to(up, CLOSE)
    reader.wait(lambda it: [path for path in it.of("path") if path["data_until"] == to_iso(CLOSE)])
    path = reader.of("path")[-1]
    assert path["provisional"] and path["issued_after"] < 5 and [point["horizon_minutes"] for point in path["points"]] == [15, 60]
    asked = up.http.get("/api/path?coin=BTC-USD").json()["path"]
    assert asked["data_until"] == path["data_until"] and asked["points"] == path["points"] and asked["provisional"]
    up.exchange.clock.set(CLOSE + 66.0)
    wait_for(lambda: up.service.feed.histories[BTC].confirmed >= CLOSE, 60, "the confirmation")
    assert not up.answer(horizon=15, time_from=to_iso(CLOSE))["provisional"]
    reader.wait(lambda it: any(path["data_until"] == to_iso(CLOSE + MINUTE) for path in it.of("path")))
    sent = [path["data_until"] for path in reader.of("path")]
    assert len(sent) == len(set(sent))


def test_each_horizon_of_a_quarter_is_recorded_once(up):
    pass_to(up, CLOSE)
    own = wait_for(lambda: [row for row in quarters(up) if row["data_until"] == to_iso(CLOSE)], 60, "the rows of the quarter")
    assert sorted((row["horizon"], row["kind"]) for row in own) == [(15, "lasso"), (60, "persistence")]
    lasso = next(row for row in own if row["kind"] == "lasso")
    assert lasso["size"] is not None and lasso["issued_price"] > 0 and 0 <= to_unix(lasso["issued_at"]) - CLOSE < 5


def test_now_is_the_point_of_the_path(up):
    now, path = up.answer(horizon=15), up.http.get("/api/path?coin=BTC-USD").json()["path"]
    point = path["points"][0]
    assert now["data_until"] == path["data_until"] and now["mode"] == "minute"
    for name in ("predicted_price", "interval", "interval_50", "probability_up", "volatility", "size", "predicted_for"):
        assert now[name] == point[name], name


def test_what_is_asked_inside_the_hour(up):
    refused = up.predict(horizon=7)
    assert refused.status_code == 422 and "15, 60" in refused.text
    pass_to(up, CLOSE)
    assert up.answer(horizon=15, time_from="2024-01-31T15:43:59Z")["data_until"] == "2024-01-31T15:43:00Z"
    assert up.answer(horizon=15, time_from=3)["data_until"] == to_iso(up.service.feed.histories[BTC].end - 3 * 3600)
    assert (up.answer()["mode"], up.answer()["horizon_minutes"], up.answer()["data_until"]) == ("hour", 60, "2024-01-31T15:00:00Z")
    assert up.http.get("/api/models?horizon=15").json()["models"][0]["serving"]["champion"] == "2"
    assert up.http.get("/api/overview?horizon=15").json()["coins"][0]["champion_version"] == "2"
    assert up.history(horizon=15, hours=1)["horizon_minutes"] == 15
    assert up.accuracy(horizon=15, minute=30)["minute"] == 30


def test_a_forecast_of_the_past_is_the_one_that_was_recorded(up):
    pass_to(up, CLOSE)
    row = wait_for(lambda: [each for each in quarters(up) if each["data_until"] == to_iso(CLOSE) and each["kind"] == "lasso"], 60, "the row")[0]
    pass_to(up, CLOSE + 3 * MINUTE)
    past = up.answer(horizon=15, time_from=to_iso(CLOSE))
    assert (past["predicted_price"], past["interval"]["low"], past["size"]) == (row["predicted_price"], row["low_90"], row["size"])


def test_the_clients_read_paths(up):
    async def read():
        async with AsyncClient(up.url) as client:
            return await client.path(BTC), await client.predict(BTC, horizon=15)

    pass_to(up, CLOSE)
    wait_for(lambda: len(up.service.inside.states) >= 4, 60, "the states")  # Before that, intervals are those of the bundle
    with Client(up.url) as client:
        path, prediction = client.path(BTC), client.predict(BTC, horizon=15)
        assert path.points[0].horizon_minutes == 15 and prediction.mode == "minute"
        assert asyncio.run(read()) == (path, prediction)
        pass_to(up, up.service.feed.histories[BTC].end + MINUTE)
        for event in client.stream(BTC):
            if isinstance(event, PathEvent):
                assert event.points[0].horizon_minutes == 15
                break


def test_a_promoted_bundle_serves_at_once_and_an_unknown_one_does_not(up):
    export_quarter(up.bundles, "3")
    up.until(lambda response: response.json()["prediction"]["model_version"] == "3", horizon=15)
    for version, changes in (("4", {"horizon": 7}), ("5", {"volatility": {"kind": "of a later release"}}), ("6", {"sizes": {"0": {"later": 1}}})):
        export_quarter(up.bundles, version, **changes)
        models = wait_for(lambda v=version: (m := up.http.get("/api/models?horizon=15").json()["models"][0]) and v in m["faults"] and m, 60, "a fault")
        assert models["serving"]["champion"] == "3" and up.answer(horizon=15)["model_version"] == "3"
        assert any(version in text for text in up.http.get("/health/ready").json()["problems"])


def test_the_record_is_scored_and_persistence_derived(tmp_path):
    with inside(tmp_path) as up:
        pass_to(up, CLOSE + 15 * MINUTE)
        up.exchange.clock.set(CLOSE + 22 * MINUTE)
        wait_for(lambda: up.accuracy(horizon=15)["n"] >= 1, 60, "a score")
        own, naive = up.accuracy(horizon=15), up.accuracy(horizon=15, model_name="persistence")
        assert naive["n"] >= own["n"] >= 1 and naive["mase"] == 1 and naive["mae"] == pytest.approx(own["mae_persistence"])
        assert up.accuracy(horizon=15, minute=30)["n"] == 0 and own["mase_as_issued"] is not None


@pytest.mark.parametrize(("record", "ends"), [("hours", []), ("minutes", [CLOSE, CLOSE + MINUTE, CLOSE + 2 * MINUTE])])
def test_what_the_ledger_keeps_is_a_setting(tmp_path, record, ends):
    with inside(tmp_path, record=record) as up:
        for end in (CLOSE, CLOSE + MINUTE, CLOSE + 2 * MINUTE):
            pass_to(up, end)
            wait_for(lambda end=end: (found := up.service.inside.newest.get((BTC, 15))) and found.data_until >= CLOSE, 60, "a forecast")
            if ends:
                wait_for(lambda end=end: any(row["data_until"] == to_iso(end) for row in quarters(up)), 60, "the row")
        kept = [row["data_until"] for row in quarters(up) if row["kind"] == "lasso" and to_unix(row["data_until"]) >= CLOSE]
        assert kept == [to_iso(end) for end in ends]


@pytest.mark.skipif(not SHARED.exists(), reason="real candles are not here (../shared/candles)")
def test_two_days_replayed_inside_the_hour_are_what_the_backtest_says():
    figures = skew_inside.compare(SHARED.parent.parent, days=2, horizons=(15,))
    assert figures["rows"] > 100 and max(figures[name] for name in ("prices", "scales", "sizes")) < 1e-6, figures

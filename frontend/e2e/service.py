"""The real service, the built page included, over a replay exchange whose clock stands still. It prints its address, and does what standard input says:

`hour`: let an hour pass, and wait until it is settled; `minute`: let a minute pass, and wait for the paths from it;
`away`: the exchange fails; `later`: an hour passes that nobody can settle; `back`: it works again;
`rollback`: version 1 answers for BTC-USD again after version 2 was promoted, as the registry exports it.
Each command is answered by a line `done`.

Ethereum has a record of 1000 hours by a LightGBM that is better than luck, with a hole of four hours, 40 hours before the end. It has a Lasso for 15
minutes ahead, with a record of five days that is better than luck too. Bitcoin is forecast by persistence inside the hour.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness import UNTIL, Bench, bench
from test_horizon_bundles import packed
from toys import SPREAD, export_toy
from waiting import wait_for

from crypto_rti.data.candles import HOUR, MINUTE, to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.realised import QUARTER
from crypto_rti.registry.bundle import write_bundle
from crypto_rti.registry.index import Index, bundle_folder, write_index
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.quarter_ledger import record_closes
from crypto_rti.service.scores import Scorer
from crypto_rti.service.writer import Entry, write_entries
from crypto_rti.settings import load_settings


def write_record(home: Path, hours: int = 1000) -> None:
    "Forecast a tenth of each move of the simulated Ethereum, a little wrong, and score it."
    close = sim_candles("ETH-USD", UNTIL - (hours + 1) * HOUR, UNTIL)["close"].to_numpy()
    median = close[:-1] + 0.1 * np.diff(close) * (1 + np.random.default_rng(0).normal(size=hours))
    entries = [
        Entry("sim", "ETH-USD", "lightgbm", "2", until, until + HOUR, until + 61.0, price, tuple(middle * math.exp(0.006 * each) for each in SPREAD), 0.006, SPREAD)
        for until, price, middle in zip(range(UNTIL - hours * HOUR, UNTIL, HOUR), close.tolist(), median.tolist(), strict=False)
        if not UNTIL - 44 * HOUR < until + HOUR <= UNTIL - 40 * HOUR
    ]
    ledger = open_ledger(load_settings(home=home, source="sim").ledger_address)
    write_entries(ledger, entries)
    Scorer(ledger, "sim").score("ETH-USD", {UNTIL - index * HOUR: float(price) for index, price in enumerate(close[::-1])})
    ledger.close()


def export_inside(bundles: Path, version: str = "15") -> None:
    "Make a Lasso for 15 minutes ahead champion of Ethereum, beside what it has."
    manifests, files = packed(15)
    manifest = next(one for one in manifests if one["product"] == "ETH-USD") | {"version": version}
    write_bundle(bundle_folder(bundles, "sim.ETH-USD", version), manifest, files)
    index = Index.model_validate_json((bundles / "sim.ETH-USD" / "index.json").read_bytes())
    facts = {key: manifest[key] for key in ("kind", "created", "train_span", "metrics")}
    aliases = {**index.aliases, "lasso-15m": version, "champion-15m": version}
    write_index(bundles, index.model_copy(update={"aliases": aliases, "versions": {**index.versions, version: facts}}))


def write_inside(home: Path, days: int = 5) -> None:
    "Forecast a tenth of each move of a quarter of an hour, issue it two seconds late, and score it; the last forecast is still to come."
    since = UNTIL - days * 24 * HOUR
    minutes = sim_candles("ETH-USD", since - MINUTE, UNTIL + QUARTER, step=MINUTE)
    closes = {int(start) + MINUTE: float(close) for start, close in zip(minutes["time"], minutes["close"], strict=True)}
    moments = range(since, UNTIL + 1, QUARTER)
    noise = np.random.default_rng(1).normal(size=len(moments)).tolist()
    entries = [
        Entry(
            "sim", "ETH-USD", "lasso", "15", moment, moment + QUARTER, moment + 2.0, now, tuple(middle * math.exp(0.002 * each) for each in SPREAD),
            0.002, SPREAD, "quarter", 15, 0.98 * now + 0.02 * after, 0.4,
        )
        for moment, wrong in zip(moments, noise, strict=True)
        for now, after in [(closes[moment], closes[moment + QUARTER])]
        for middle in [now + 0.1 * (after - now) * (1 + wrong)]
    ]  # fmt: skip
    ledger = open_ledger(load_settings(home=home, source="sim").ledger_address)
    write_entries(ledger, entries)
    record_closes(ledger, "sim", "ETH-USD", {moment: closes[moment] for moment in moments[1:]})
    ledger.close()


def roll_back(bundles: Path) -> None:
    "Write the index that a rollback leaves."
    index = Index.model_validate_json((bundles / "sim.BTC-USD" / "index.json").read_bytes()).model_dump()
    decision = {"promoted": True, "kind": "lasso", "version": "2", "reasons": ["its mean absolute error is below persistence's"]}
    event = {
        "event": "rolled_back", "kind": "lasso", "version": "1", "previous_version": "2",
        "reasons": ["asked for by hand"], "time": "2024-01-31T15:00:00Z",
    }  # fmt: skip
    write_index(bundles, Index(**{**index, "last_decision": decision, "last_event": event}))


def wait_for_paths(up: Bench) -> None:
    "Wait until both coins have a path from the last closed minute."
    wanted = int(up.exchange.clock.now()) // MINUTE * MINUTE - MINUTE  # The minute that REST confirms last

    def current(coin: str) -> bool:
        answer = up.http.get("/api/path", params={"coin": coin})
        return answer.status_code == 200 and to_unix(answer.json()["path"]["data_until"]) >= wanted

    for coin in ("BTC-USD", "ETH-USD"):
        wait_for(lambda coin=coin: current(coin), 120, lambda coin=coin: up.http.get("/api/path", params={"coin": coin}).text)


with tempfile.TemporaryDirectory() as home:
    export_toy(Path(home) / "bundles", product="ETH-USD", kind="lightgbm", version="2", shift=0.05)
    export_inside(Path(home) / "bundles")
    write_record(Path(home))
    write_inside(Path(home))
    options = {"page": ROOT / "frontend" / "out", "horizons": "5 15 30 60"}
    with bench(Path(home), speed=0.0, slope=0.01, options=options) as up:
        wait_for_paths(up)
        print(up.url, flush=True)
        for line in sys.stdin:
            match line.strip():
                case "hour":
                    up.hour()
                case "minute":
                    up.exchange.clock.advance(MINUTE)
                    up.in_loop(up._shift, MINUTE)
                    wait_for_paths(up)
                case "away":
                    up.exchange.faults.add("status", status=500, times=None, path="/products/*")  # but it still tells the time
                case "later":
                    up.jump(1)
                case "back":
                    up.exchange.faults.clear()
                case "rollback":
                    roll_back(up.bundles)
            print("done", flush=True)

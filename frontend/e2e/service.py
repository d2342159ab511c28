"""The real service, the built page included, over a replay exchange whose clock stands still. It prints its address, and does what standard input says:

`hour`: let an hour pass, and wait until it is settled; `away`: the exchange fails; `later`: an hour passes that nobody can settle; `back`: it works again;
`rollback`: version 1 answers for BTC-USD again after version 2 was promoted, as the registry exports it.
Each command is answered by a line `done`.

Ethereum has a record of 1000 hours by a LightGBM that is better than luck, with a hole of four hours, 40 hours before the end.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness import UNTIL, bench
from toys import SPREAD, export_toy

from crypto_rti.data.candles import HOUR
from crypto_rti.data.simulation import sim_candles
from crypto_rti.registry.index import Index, write_index
from crypto_rti.service.ledger import open_ledger
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


def roll_back(bundles: Path) -> None:
    "Write the index that a rollback leaves."
    index = Index.model_validate_json((bundles / "sim.BTC-USD" / "index.json").read_bytes()).model_dump()
    decision = {"promoted": True, "kind": "lasso", "version": "2", "reasons": ["its mean absolute error is below persistence's"]}
    event = {
        "event": "rolled_back", "kind": "lasso", "version": "1", "previous_version": "2",
        "reasons": ["asked for by hand"], "time": "2024-01-31T15:00:00Z",
    }  # fmt: skip
    write_index(bundles, Index(**{**index, "last_decision": decision, "last_event": event}))


with tempfile.TemporaryDirectory() as home:
    export_toy(Path(home) / "bundles", product="ETH-USD", kind="lightgbm", version="2", shift=0.05)
    write_record(Path(home))
    with bench(Path(home), speed=0.0, slope=0.01, options={"page": ROOT / "frontend" / "out"}) as up:
        print(up.url, flush=True)
        for line in sys.stdin:
            match line.strip():
                case "hour":
                    up.hour()
                case "away":
                    up.exchange.faults.add("status", status=500, times=None, path="/products/*")  # but it still tells the time
                case "later":
                    up.jump(1)
                case "back":
                    up.exchange.faults.clear()
                case "rollback":
                    roll_back(up.bundles)
            print("done", flush=True)

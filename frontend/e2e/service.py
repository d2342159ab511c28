"""The real service, the built page included, over a replay exchange whose clock stands still. It prints its address, and does what standard input says:

`hour`: let an hour pass, and wait until it is settled; `away`: the exchange fails; `later`: an hour passes that nobody can settle; `back`: it works again.
Each command is answered by a line `done`.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness import bench
from toys import export_toy

from crypto_rti.data.candles import HOUR

with tempfile.TemporaryDirectory() as home:
    export_toy(Path(home) / "bundles", product="ETH-USD", kind="lightgbm", version="2", shift=0.05)
    with bench(Path(home), speed=0.0, slope=0.01, options={"page": ROOT / "frontend" / "out"}) as up:
        print(up.url, flush=True)
        for line in sys.stdin:
            match line.strip():
                case "hour":
                    up.hour()
                case "away":
                    up.exchange.faults.add("status", status=500, times=None, path="/products/*")  # but it still tells the time
                case "later":
                    up.exchange.clock.advance(HOUR)
                case "back":
                    up.exchange.faults.clear()
            print("done", flush=True)

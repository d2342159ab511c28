"""Do the live service and `backtest --bundle` say the same? Real candles are replayed at speed through one and read by the other.

`python tests/skew.py --days 90` does three months; `make test` does two days (test_live.py), `make bench-service` three months.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from crypto_rti.data.candle_files import read_candles
from crypto_rti.data.candles import HOUR, to_iso, to_unix
from crypto_rti.evaluation.adaptation import calibrate_forecaster
from crypto_rti.evaluation.intervals import FOLLOWED
from crypto_rti.models.base import train_forecaster
from crypto_rti.registry.bundle import write_bundle
from crypto_rti.registry.index import Index, bundle_folder, write_index
from crypto_rti.registry.packing import pack_forecaster
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.recorded import export_forecasts
from crypto_rti.service.server import running_service
from crypto_rti.settings import load_settings
from crypto_rti.targets import make_dataset

PRODUCT, TRAINED = "BTC-USD", "2025-01-01"
PRICES = {"q05": "low_90", "q25": "low_50", "q50": "predicted_price", "q75": "high_50", "q95": "high_90"}


def export_bundle(bundles: Path, candles: pd.DataFrame, source: str, kind: str) -> Path:
    "Train a model on the hours before `TRAINED`, calibrate its intervals, and make it champion."
    data = make_dataset(candles, PRODUCT).between(0, to_unix(TRAINED))
    forecaster = train_forecaster(kind, data, {"rounds": 60} if kind == "lightgbm" else None)
    interval = calibrate_forecaster(forecaster, data, [PRODUCT])[PRODUCT]
    manifest, files = pack_forecaster(forecaster, source, PRODUCT, data, {"mase": 0.99, "coverage_90": 0.9}, interval)
    folder = write_bundle(bundle_folder(bundles, f"{source}.{PRODUCT}", "1"), {**manifest, "version": "1", "created": f"{TRAINED}T00:00:00Z"}, files)
    facts: Any = {"1": {"kind": kind, "created": f"{TRAINED}T00:00:00Z", "train_span": manifest["train_span"], "metrics": manifest["metrics"]}}
    write_index(bundles, Index(name=f"{source}.{PRODUCT}", aliases={"champion": "1", kind: "1"}, versions=facts))
    return folder


def offline(folder: Path, bundle: Path, start: int, end: int, home: Path) -> pd.DataFrame:
    "What `crypto-rti backtest --bundle` says of every hour."
    command = ["backtest", "-s", folder, "-p", PRODUCT, "--bundle", bundle, "--start", to_iso(start), "--end", to_iso(end), "--refit", "never", "--quiet"]
    environment = {**os.environ, "CRYPTO_RTI_HOME": str(home)}
    done = [Path(sys.executable).parent / "crypto-rti", *command, "--rows", home / "rows.parquet"]
    subprocess.run([str(part) for part in done], check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = pd.read_parquet(home / "rows.parquet")
    rows = rows[rows["model"] != "persistence"]
    return rows.set_index(rows["time"] + HOUR)


def live(folder: Path, start: int, end: int, home: Path, seconds_per_hour: float, tell: Callable[[str], None]) -> tuple[pd.DataFrame, int]:
    "What the service wrote into its ledger while those hours passed, and the first hour that it settled: hours go by while it starts."
    hours = (end - start) // HOUR
    with running_exchange(folder, start=start + HOUR - 600, speed=3600 / seconds_per_hour, rate_limit=False) as exchange:
        settings = load_settings(home=home, source=f"{folder.name}={exchange.url}", products=PRODUCT, requests_per_second=10, live_feed=False)
        with running_service(settings) as running:
            httpx.get(f"{running.url}/health/live").raise_for_status()
            while running.hourly.settled < end + HOUR:
                tell(f"{max(running.hourly.settled - start, 0) // HOUR} of {hours} hours")
                time.sleep(0.5)
    ledger = open_ledger(settings.ledger_address)
    export_forecasts(ledger, home / "ledger.csv", folder.name, PRODUCT)
    ledger.close()
    rows = pd.read_csv(home / "ledger.csv")
    rows = rows[(rows["mode"] == "hour") & (rows["kind"] != "persistence")].assign(data_until=rows["data_until"].map(to_unix))
    first = int(rows["data_until"].min()) + FOLLOWED * HOUR  # It filled so many hours before that one, and intervals learned from them
    return rows[rows["data_until"].between(first, end)].set_index("data_until"), first


def compare(shared: Path, days: int, seconds_per_hour: float = 0.3, kind: str = "lasso", tell: Callable[[str], None] = lambda text: None) -> dict[str, float]:
    "Replay, compare; returns hours, hours forecast in time, and the largest relative difference of any price."
    with tempfile.TemporaryDirectory() as temporary:
        home, folder = Path(temporary), Path(temporary) / "real"
        folder.mkdir()
        start, candles = to_unix(TRAINED) + 5 * 24 * HOUR, read_candles(shared / "candles" / "coinbase" / f"{PRODUCT}.parquet")
        end = start + days * 24 * HOUR
        candles = candles[(candles["time"] >= to_unix("2024-09-01")) & (candles["time"] < end + 6 * HOUR)].reset_index(drop=True)
        candles.to_parquet(folder / f"{PRODUCT}.parquet")
        bundle = export_bundle(home / "bundles", candles, "real", kind)
        told, first = live(folder, start, end, home, seconds_per_hour, tell)
        wanted = offline(folder, bundle, first - HOUR, end, home)  # Intervals of both begin to learn at the same hour
        missing = wanted.index.difference(told.index)
        assert not len(missing), f"{len(missing)} of {len(wanted)} hours are not in the ledger, the first is {to_iso(int(missing[0]))}"
        told = told.loc[wanted.index]
        differences = np.abs(told[list(PRICES.values())].to_numpy() / wanted[list(PRICES)].to_numpy() - 1)
        in_time = told["made_at"].map(to_unix) < told["predicted_for"].map(to_unix)
        return {"hours": len(wanted), "in_time": int(in_time.sum()), "largest_difference": float(differences.max())}


def main() -> None:
    "Print the figures; exit 1 when the two differ."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seconds-per-hour", type=float, default=0.3)
    parser.add_argument("--model", default="lasso")
    options = parser.parse_args()
    figures = compare(load_settings().shared, options.days, options.seconds_per_hour, options.model, lambda text: print(f"\r{text}", end="", flush=True))
    print("\r", figures)
    sys.exit(figures["largest_difference"] > 1e-6)


if __name__ == "__main__":
    main()

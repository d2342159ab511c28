"""Do the live service and `backtest --bundle` say the same inside the hour? Real minutes are replayed at speed through one and read by the other.

`python tests/skew_inside.py --days 7` does a week; `make test` does two days (test_inside_live.py), `make bench-service` a week.
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

from crypto_rti.data.candles import HOUR, MINUTE, to_iso, to_unix
from crypto_rti.evaluation.intervals import ConformalState, calibrate, follow
from crypto_rti.evaluation.size import SizeState
from crypto_rti.models.base import Forecaster, train_forecaster
from crypto_rti.models.volatility import VolatilityModel
from crypto_rti.outcomes import QuarterRows, make_quarter_rows
from crypto_rti.registry.bundle import write_bundle
from crypto_rti.registry.index import Index, bundle_folder, write_index
from crypto_rti.registry.packing import HorizonPart, input_range, pack_horizon
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.recorded import export_forecasts
from crypto_rti.service.server import running_service
from crypto_rti.settings import HORIZONS, load_settings
from crypto_rti.targets import MEDIAN, Dataset

PRODUCT, TRAINED = "BTC-USDT", "2025-01-01"
QUARTERS, FIVE = (0, 15, 30, 45), {"q05": "low_90", "q25": "low_50", "q50": "predicted_price", "q75": "high_50", "q95": "high_90"}


def states(forecaster: Forecaster, data: Dataset) -> tuple[dict[int, ConformalState], dict[int, SizeState]]:
    "What each quarter of the hour knows at the end of training: calibrated on the first half, followed through the second."
    intervals, sizes = {}, {}
    for minute in QUARTERS:
        own = data.take(data.time % HOUR == minute * MINUTE)
        quantiles, half, known = forecaster.model.predict(forecaster.scaler.transform(own.X)), len(own) // 2, own.time + HOUR + data.horizon * MINUTE
        intervals[minute] = follow(calibrate(quantiles[:half], own.y[:half]), quantiles[half:], own.y[half:], known[half:])[1]
        sizes[minute] = SizeState().updated(quantiles[:, MEDIAN] * own.volatility, own.y * own.volatility, known)
    return intervals, sizes


def export_bundles(bundles: Path, minutes: pd.DataFrame, source: str, horizons: tuple[int, ...], kind: str) -> dict[int, Path]:
    "Train a model for each horizon on the minutes before `TRAINED`, and make it champion."
    rows: QuarterRows = make_quarter_rows(minutes[minutes["time"].between(to_unix("2024-11-01"), to_unix(TRAINED) - 1)], PRODUCT)
    volatility = VolatilityModel(trees=5, threads=1).fit(rows.volatility, rows.log_variance)
    variance, name, folders, facts = volatility.predict(rows.volatility), f"{source}.{PRODUCT}", {}, {}
    aliases: dict[str, str] = {}
    for number, horizon in enumerate(horizons, 1):
        data, _ = rows.targets(horizon, variance[:, HORIZONS.index(horizon)])
        forecaster = train_forecaster(kind, data, {"rounds": 40} if kind == "lightgbm" else None)
        part = HorizonPart({"mase": 0.99, "coverage_90": 0.9}, *states(forecaster, data), None)
        (manifest,), files = pack_horizon(forecaster, volatility, source, data, input_range(rows.volatility), {PRODUCT: part})
        stated = {**manifest, "version": str(number), "created": f"{TRAINED}T00:00:00Z"}
        folders[horizon] = write_bundle(bundle_folder(bundles, name, str(number)), stated, files)
        facts[str(number)] = {"kind": kind, "horizon": horizon, "train_span": manifest["train_span"], "created": f"{TRAINED}T00:00:00Z"}
        aliases |= {f"champion-{horizon}m": str(number), f"{kind}-{horizon}m": str(number)}
    write_index(bundles, Index(name=name, aliases=aliases, versions=facts))
    return folders


def offline(folder: Path, bundle: Path, start: int, end: int, quarters: list[int], home: Path) -> pd.DataFrame:
    "What `crypto-rti backtest --bundle` says of quarters of the hour, by the moment of the forecast."
    minutes = [word for minute in quarters for word in ("--minute", minute)]
    command = ["backtest", "-s", folder, "-p", PRODUCT, "--bundle", bundle, "--start", to_iso(start), "--end", to_iso(end), "--refit", "never", "--quiet"]
    done = [Path(sys.executable).parent / "crypto-rti", *command, *minutes, "--rows", home / "rows.parquet"]
    environment = {**os.environ, "CRYPTO_RTI_HOME": str(home)}
    subprocess.run([str(part) for part in done], check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = pd.read_parquet(home / "rows.parquet")
    rows = rows[rows["model"] != "persistence"]
    return rows.set_index(rows["time"] + HOUR).sort_index()


def live(folder: Path, horizons: tuple[int, ...], start: int, end: int, home: Path, seconds_per_hour: float, tell: Callable[[str], None]) -> pd.DataFrame:
    "What the service wrote into its ledger while those minutes passed."
    with running_exchange(folder, start=start, speed=3600 / seconds_per_hour, rate_limit=False) as exchange:
        wanted = " ".join(map(str, sorted({*horizons, 60})))
        options: dict[str, Any] = {"products": PRODUCT, "requests_per_second": 10, "live_feed": False, "horizons": wanted}
        settings = load_settings(home=home, source=f"{folder.name}={exchange.url}", **options)
        with running_service(settings) as running:
            httpx.get(f"{running.url}/health/live").raise_for_status()
            while running.service.inside.issued.get(PRODUCT, 0) < end:
                tell(f"{max(running.service.inside.issued.get(PRODUCT, 0) - start, 0) // HOUR} of {(end - start) // HOUR} hours")
                time.sleep(0.2)
    ledger = open_ledger(settings.ledger_address)
    export_forecasts(ledger, home / "ledger.csv", folder.name, PRODUCT)
    ledger.close()
    rows = pd.read_csv(home / "ledger.csv")
    rows = rows[(rows["mode"] == "quarter") & (rows["kind"] != "persistence")]
    return rows.assign(data_until=rows["data_until"].map(to_unix))


def _silent(_: str) -> None: ...


def first_hours(told: pd.DataFrame) -> dict[int, int]:
    "By quarter of the hour, the hour of its first live forecast: the states of both begin there."
    return {minute: int(told.index[told.index % HOUR == minute * MINUTE][0]) // HOUR * HOUR for minute in QUARTERS}


def differences(told: pd.DataFrame, wanted: pd.DataFrame) -> dict[str, float]:
    "The largest differences of prices (relative), scales (relative) and sizes, and how many rows were issued in time."
    missing = wanted.index.difference(told.index)
    assert not len(missing), f"{len(missing)} of {len(wanted)} quarters are not in the ledger, the first is {to_iso(int(missing[0]))}"
    told = told.loc[wanted.index]
    return {
        "rows": float(len(wanted)), "in_time": float((told["made_at"].map(to_unix) < told["predicted_for"].map(to_unix)).sum()),
        "prices": float(np.abs(told[list(FIVE.values())].to_numpy() / wanted[list(FIVE)].to_numpy() - 1).max()),
        "scales": float(np.abs(told["volatility"].to_numpy() / wanted["volatility"].to_numpy() - 1).max()),
        "sizes": float(np.abs(told["size"].to_numpy() - wanted["size"].to_numpy()).max()),
    }  # fmt: skip


def compare(
    shared: Path,
    days: int,
    horizons: tuple[int, ...] = (15,),
    seconds_per_hour: float = 0.6,
    kind: str = "lasso",
    tell: Callable[[str], None] = _silent,
) -> dict[str, float]:
    "Replay, compare; returns rows, those issued in time, and the largest differences of prices (relative), scales and sizes."
    with tempfile.TemporaryDirectory() as temporary:
        home, folder = Path(temporary), Path(temporary) / "real"
        folder.mkdir()
        start = to_unix(TRAINED) + 12 * 24 * HOUR + 600
        end = start // HOUR * HOUR + days * 24 * HOUR
        minutes = pd.read_parquet(shared / "candles" / "binance-1m" / f"{PRODUCT}.parquet")
        minutes = minutes[(minutes["time"] >= to_unix("2024-09-08")) & (minutes["time"] < end + 6 * HOUR)].reset_index(drop=True)
        minutes.to_parquet(folder / f"{PRODUCT}.parquet")
        bundles = export_bundles(home / "bundles", minutes, "real", horizons, kind)
        told = live(folder, horizons, start, end, home, seconds_per_hour, tell)
        found = []
        for horizon, bundle in bundles.items():
            own = told[told["horizon"] == horizon].set_index("data_until").sort_index()
            begin = first_hours(own)
            parts = [
                offline(folder, bundle, first - HOUR, end, [minute for minute in QUARTERS if begin[minute] == first], home / f"{horizon}-{first}")
                for first in sorted(set(begin.values()))
            ]
            wanted = pd.concat(parts).sort_index()
            wanted = wanted[wanted.index <= end]
            assert wanted.index[0] == own.index[0]
            found.append(differences(own, wanted))
        sums = {name: sum(each[name] for each in found) for name in ("rows", "in_time")}
        return sums | {name: max(each[name] for each in found) for name in ("prices", "scales", "sizes")}


def main() -> None:
    "Print the figures; exit 1 when the two differ."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seconds-per-hour", type=float, default=0.6)
    parser.add_argument("--model", default="lasso")
    parser.add_argument("--horizon", type=int, nargs="*", default=[5, 15, 30])
    options = parser.parse_args()
    shared, horizons = load_settings().shared, tuple(options.horizon)
    figures = compare(shared, options.days, horizons, options.seconds_per_hour, options.model, lambda text: print(f"\r{text}", end="", flush=True))
    print("\r", figures)
    sys.exit(max(figures[name] for name in ("prices", "scales", "sizes")) > 1e-6)


if __name__ == "__main__":
    main()

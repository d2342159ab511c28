"""One fit, many coins: bytes of ONNX files on disk and in MLflow for 40 coins against one, and the memory of 200 loaded bundles against two.

`python tests/scale/disk.py` (three minutes) or `--quick` (smaller fits). Lasso and LightGBM are fitted once on simulated candles; every coin has its own
manifest, shrinkage, drift bins and intervals. Memory is that of a process that has loaded all bundles and answered once with each.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import calibrate
from crypto_rti.models.base import split_validation, train_forecaster
from crypto_rti.registry.exports import export_models
from crypto_rti.registry.packing import pack_forecaster
from crypto_rti.registry.tracking import register_bundles
from crypto_rti.settings import Settings, load_settings
from crypto_rti.targets import concat_datasets, make_dataset

COINS, LOADED, BAR = 40, 200, 1.05
KINDS: dict[str, dict[str, Any]] = {"lasso": {}, "lightgbm": {}}
Pool = dict[str, tuple[dict[str, Any], dict[str, bytes]]]

LOAD = """
import gc, sys, resource
from pathlib import Path
import numpy as np
from crypto_rti.inputs import INPUTS
from crypto_rti.registry.bundle import load_bundle
def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
folders = sorted(Path(sys.argv[1]).glob("sim.*/[0-9]*/"))
held = [load_bundle(folder) for folder in folders[:1]]
before = resident()
for folder in folders:
    held.append(load_bundle(folder).for_service())
    held[-1].predict(np.zeros((1, len(INPUTS))))
print(resident() - before, len({id(session) for bundle in held for session in bundle.sessions}))
"""


def fit_pool(quick: bool) -> Pool:
    "One fit per kind on two simulated coins: the manifest and files of the first coin."
    end = "2023-06-01" if quick else "2024-01-01"
    data = concat_datasets([make_dataset(sim_candles(product, "2023-01-01", end), product) for product in ("BTC-USD", "ETH-USD")])
    learn, judged = split_validation(data)
    pool = {}
    for kind, params in KINDS.items():
        forecaster = train_forecaster(kind, learn, params or None)
        interval = calibrate(forecaster.predict(judged.X), judged.y)
        pool[kind] = pack_forecaster(forecaster, "sim", "BTC-USD", learn, {"mase": 0.98, "coverage_90": 0.9}, interval)
    return pool


def fill(folder: Path, pool: Pool, count: int) -> tuple[Settings, float]:
    "A home in which this many coins have one fit per kind; also the CPU seconds of registering and exporting a coin."
    settings = load_settings(home=folder, registry_uri="")
    products = [f"C{number:03}-USD" for number in range(count)]
    register_bundles(settings, [own(pool["lasso"][0], "FIRST-USD", 1.0)], pool["lasso"][1])  # Makes the database
    start = time.process_time()
    for manifest, files in pool.values():
        register_bundles(settings, [own(manifest, product, 1 - number / count) for number, product in enumerate(products)], files)
    export_models(settings, [f"sim.{product}" for product in products])
    return settings, (time.process_time() - start) / count


def own(manifest: dict[str, Any], product: str, shrink: float) -> dict[str, Any]:
    "The manifest of one coin of the pool."
    return {**manifest, "name": f"sim.{product}", "product": product, "shrink": shrink}


def total(folder: Path, pattern: str) -> int:
    "Bytes of the files of this name below a folder."
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def loaded(settings: Settings, folder: Path, count: int) -> tuple[int, int]:
    "Bytes that a process needs for the bundles of this many coins after the first, and its number of sessions."
    few = folder / f"load{count}"
    few.mkdir()
    (few / "blobs").symlink_to(settings.bundles_dir / "blobs")
    for path in sorted(settings.bundles_dir.glob("sim.C*"))[:count]:
        (few / path.name).symlink_to(path)
    answer = subprocess.run([sys.executable, "-c", LOAD, str(few)], capture_output=True, text=True, check=True, timeout=600).stdout
    size, sessions = map(int, answer.split())
    return size, sessions


def run(quick: bool) -> list[dict[str, Any]]:
    "Measure; `ok` is `None` where there is no bar."
    pool = fit_pool(quick)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        homes = {count: fill(folder / str(count), pool, count) for count in (1, COINS, LOADED)}
        first = total(folder / "1" / "artifacts", "*.onnx") - total(folder / "1" / "bundles", "*.onnx")  # The files of FIRST-USD, which is not exported
        rows = []
        for what, place, more in (("ONNX bytes exported", "bundles", 0), ("ONNX bytes in MLflow", "artifacts", first)):
            one, many = (total(folder / str(count) / place, "*.onnx") - more for count in (1, COINS))
            rows.append(row(f"{what}, {COINS} coins and {len(KINDS)} kinds against one coin ({one:,} bytes)", many / one, "times", BAR))
        sizes = {count: sum(total(folder / str(count) / place, "*") for place in ("bundles", "artifacts")) for count in (1, COINS)}
        rows.append(row("all bytes of exports and MLflow artifacts for a further coin", (sizes[COINS] - sizes[1]) / (COINS - 1) / 1e3, "kB"))
        (small, _), (large, sessions) = (loaded(homes[LOADED][0], folder, count) for count in (2, LOADED))
        rows.append(row(f"memory of {LOADED} coins with {len(KINDS)} kinds against 2, {sessions} sessions", (large - small) / 1e6, "MB"))
        rows.append(row("memory of a further bundle", (large - small) / (LOADED - 2) / len(KINDS) / 1e3, "kB"))
        rows.append(row(f"CPU of registering and exporting {len(KINDS)} kinds for a coin, {LOADED} coins", 1e3 * homes[LOADED][1], "ms"))
    return rows


def row(what: str, value: float, unit: str, bar: float | None = None) -> dict[str, Any]:
    "One measurement; the bar is the most it may be."
    return {"what": what, "value": value, "unit": unit, "bar": "" if bar is None else f"at most {bar:g}", "ok": None if bar is None else value <= bar}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    found = run(parser.parse_args().quick)
    for each in found:
        verdict = {None: "", True: "kept", False: "MISSED"}[each["ok"]]
        print(f"{each['what']:90} {each['value']:10.4g} {each['unit']:6} {each['bar']} {verdict}", flush=True)
    sys.exit(any(each["ok"] is False for each in found))

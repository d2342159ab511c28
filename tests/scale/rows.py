"""How long the rows of several years take: `build_features` against mlforecast on the same candles, `model_inputs` against `build_features`, and live rows.

mlforecast computes 52 of the 68 columns: the closes and the volumes of the 24 hours before (`price_24_hour_ago` to `volume_1_hour_ago`), and the mean
and the standard deviation of both over these hours. It is asked in the way that is fastest for it: two series in one table that is built beforehand,
whole numbers as times, no check of the times, one thread or all, whichever takes less. It drops the rows without a full day, as we do. What it is not
asked for: low, high, open, close and volume of the hour itself, the shadows, the percentage returns, RSI, and the sines of day and week (its own date
features would multiply its time by three).

mlforecast stays out of the package's environment: `requirements/bench.txt` is installed into `build/bench-env` at first use. Without a package index
that comparison is skipped, and its line says so. Times are those of the processor, in which other programs on the machine count little.

    python tests/scale/rows.py [--quick]
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crypto_rti.bench import bench_candles
from crypto_rti.features import HISTORY, build_features
from crypto_rti.inputs import live_inputs, model_inputs
from crypto_rti.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("build") / "bench-env"

# Runs in the other environment: reads closes and volumes, prints the milliseconds of its fastest run.
MLFORECAST = """
import os, sys, time, warnings
import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, RollingStd

warnings.simplefilter("ignore")
values, fastest = np.load(sys.argv[1]), np.inf
table = pd.concat([pd.DataFrame({"unique_id": name, "ds": np.arange(len(one)), "y": one}) for name, one in zip("cv", values)], ignore_index=True)
for threads in {1, os.cpu_count()}:
    for _ in range(int(sys.argv[2])):
        made = MLForecast(models={}, freq=1, lags=range(1, 25), lag_transforms={1: [RollingMean(24), RollingStd(24)]}, num_threads=threads)
        start = time.process_time()
        rows = made.preprocess(table, static_features=[], validate_data=False)
        fastest = min(fastest, time.process_time() - start)
assert rows.shape == (2 * (values.shape[1] - 24), 3 + 26), rows.shape
print(1000 * fastest)
"""


def line(what: str, value: float | None, unit: str = "ms", bar: float | None = None) -> dict[str, Any]:
    """A line of the report; without a value it was skipped."""
    return {"what": what, "value": None if value is None else round(value, 3), "unit": unit, "bar": bar, "ok": None if None in (value, bar) else value <= bar}


def best_of(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the processor for the fastest run."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def bench_python() -> str | None:
    """The Python with mlforecast; None where it cannot be installed."""
    command = [sys.executable, ".ci/environment.py", "install", str(FOLDER), "requirements/bench.txt"]
    stamp, lock = ROOT / FOLDER / "installed.txt", (ROOT / "requirements" / "bench.txt").read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != lock:
        if subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode:
            return None
        stamp.write_text(lock, encoding="utf-8")
    return str(ROOT / FOLDER / "bin" / "python")


def time_mlforecast(python: str, candles: pd.DataFrame, repeats: int) -> float:
    """Milliseconds of its fastest run."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "values.npy", candles[["close", "volume"]].to_numpy().T)
        command = [python, "-c", MLFORECAST, f"{folder}/values.npy", str(repeats)]
        return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure in turns, so that a busy moment meets all of them, and take the fastest of each."""
    candles, rounds, repeats = bench_candles(load_settings()), 1 if quick else 4, 5 if quick else 15
    live, hours, python = candles.tail(HISTORY).reset_index(drop=True), f"{len(candles):,} hours", bench_python()
    works = {
        "features": (lambda: build_features(candles), repeats),
        "inputs": (lambda: model_inputs(candles), repeats),
        "live features": (lambda: build_features(live, last=1), 50 * repeats),
        "live inputs": (lambda: live_inputs(live), 50 * repeats),
        "live inputs with a reference": (lambda: live_inputs(live, live), 50 * repeats),
    }
    fastest: dict[str, float] = {}
    for _ in range(rounds):
        found = {name: best_of(work, count) for name, (work, count) in works.items()}
        if python:
            found["mlforecast"] = time_mlforecast(python, candles, repeats)
        fastest = {name: min(ms, fastest.get(name, ms)) for name, ms in found.items()}
    other = fastest.get("mlforecast")
    missing = "" if other else ", skipped: its packages could not be installed"
    return [
        line(f"68 features of {hours}", fastest["features"]),
        line(f"52 of them by mlforecast{missing}", other),
        line(f"features against mlforecast{missing}", fastest["features"] / other if other else None, "ratio", 0.4),
        line(f"model inputs of {hours}", fastest["inputs"]),
        line("model inputs against features", fastest["inputs"] / fastest["features"], "ratio", 3.0),
        *(line(f"one row: {name}", fastest[name], bar=0.5) for name in list(works)[2:]),
    ]


if __name__ == "__main__":
    for entry in run("--quick" in sys.argv):
        limit = "" if entry["bar"] is None else f"at most {entry['bar']}: {'not measured' if entry['ok'] is None else 'yes' if entry['ok'] else 'NO'}"
        print(f"{entry['what']:62} {entry['value'] if entry['value'] is not None else '-':>8} {entry['unit']:6} {limit}")

"""Processor time, notebooks and seconds of a retraining for 10 and 40 coins, and for two coins beside the last commit that fitted once per coin.

    python tests/scale/retrain.py [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASELINE = "d472f82"
"The last commit that fitted every kind once for each coin."

RETRAIN = """
import sys
from crypto_rti.data.candles import final_until, to_iso
from crypto_rti.pipeline import retrain
from crypto_rti.settings import load_settings
home, products, models, days = sys.argv[1:]
settings = load_settings(home=home, registry_uri="", source="sim", products=products, models=models)
report = retrain(settings, to_iso(final_until() - int(days) * 86400), progress=False)
sys.exit(report.exit_code)
"""


@dataclass(frozen=True)
class Cost:
    "What one retraining took."

    notebooks: int
    seconds: float  # Wall time
    cpu: float  # Processor seconds of all its processes


def measure(coins: int, models: Sequence[str], days: int, tree: Path = ROOT) -> Cost:
    "Retrain on the simulated market in a new home."
    products = " ".join(f"{name}-USD" for name in ["BTC", "ETH", *(f"C{number}" for number in range(coins))][:coins])
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        process = subprocess.Popen([sys.executable, "-c", RETRAIN, home, products, " ".join(models), str(days)], env=environment, cwd=home)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the retraining of {coins} coins ended with exit status {process.returncode}")
        (run,) = Path(home).glob("runs/*/run.json")
        return Cost(len(json.loads(run.read_text())), time.monotonic() - began, usage.ru_utime + usage.ru_stime)


@contextmanager
def checkout(commit: str) -> Iterator[Path | None]:
    "The files of a commit in a folder of their own; nothing where the clone lacks it."
    folder = ROOT / "build" / f"baseline-{commit}"
    made = subprocess.run(["git", "worktree", "add", "--force", "--detach", str(folder), commit], cwd=ROOT, capture_output=True)
    try:
        yield folder if made.returncode == 0 else None
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, capture_output=True)


def run(quick: bool = False) -> list[dict[str, Any]]:
    "Lines of the report: what, value, unit, bar, and whether the bar is kept."
    days, few, many = (100, 2, 4) if quick else (365, 10, 40)
    kinds = ("lasso",) if quick else ("lasso", "lightgbm")
    small, large = measure(few, kinds, days), measure(many, kinds, days)
    ratio, most = large.cpu / small.cpu, 1.1 * many / few
    wanted = 2 + 2 * len(kinds)
    lines = [
        {"what": f"processor seconds of retrain, {few} coins, {days} days, {' and '.join(kinds)}", "value": small.cpu, "unit": "s"},
        {"what": f"processor seconds of retrain, {many} coins", "value": large.cpu, "unit": "s"},
        {"what": f"the second to the first, {many / few:g} times the coins", "value": ratio, "unit": "times", "bar": f"at most {most:g}", "ok": ratio <= most},
        {"what": f"notebooks for {many} coins", "value": large.notebooks, "unit": "", "bar": str(wanted), "ok": large.notebooks == wanted},
    ]
    kinds = ("lasso",) if quick else ("lasso", "lightgbm", "ensemble")
    span = days if quick else 730
    with checkout(BASELINE) as tree:
        new = measure(2, kinds, span)
        lines.append({"what": f"pipeline of two coins, {', '.join(kinds)}, {span} days", "value": new.seconds, "unit": "s"})
        if tree is None:
            return [*lines, {"what": f"the same with one fit per coin: skipped, this clone does not hold commit {BASELINE}", "value": None, "unit": ""}]
        old = measure(2, kinds, span, tree)
    again = new.seconds / old.seconds
    return [
        *lines,
        {"what": f"the same with one fit per coin, commit {BASELINE}", "value": old.seconds, "unit": "s"},
        {"what": "the first to the second", "value": again, "unit": "times", "bar": "at most 0.5", "ok": again <= 0.5},
    ]


if __name__ == "__main__":
    for line in run("--quick" in sys.argv):
        print(line)

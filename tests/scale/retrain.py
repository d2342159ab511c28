"""Processor time, notebooks and seconds of a retraining for 10 and 40 coins, and for two coins beside the last commit that fitted once per coin.

    python tests/scale/retrain.py [--quick]
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crypto_rti.bench import RetrainCost, measure_retrain

ROOT = Path(__file__).resolve().parents[2]
BASELINE = "d472f82"
"The last commit that fitted every kind once for each coin."


def measure(coins: int, kinds: Sequence[str], days: int, tree: Path = ROOT) -> RetrainCost:
    "Retrain on the simulated market in a new home."
    with tempfile.TemporaryDirectory() as home:
        return measure_retrain(Path(home), coins, kinds, days, tree)


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

"""How long all four horizons of Lasso, LightGBM and the ensemble take for two coins and two years, and how much memory: one `train` of the pipeline.

The simulated market gives the minutes. Memory is that of all processes of the training together, read twice a second; pages that processes share
count once (`Pss` of /proc/PID/smaps_rollup).

    python tests/scale/horizons.py [--quick]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crypto_rti.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
CODE = "from crypto_rti.cli import main; main()"
KINDS, HORIZONS = ("lasso", "lightgbm", "ensemble"), "5 15 30 60"


def family(root: int) -> set[int]:
    "A process and everything below it."
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, fresh = {root}, {root}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def memory(root: int) -> int:
    "Bytes of a process and everything below it."
    total = 0
    for pid in family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # It has ended
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def run(quick: bool = False) -> list[dict[str, Any]]:
    "Lines of the report: what, value, unit, bar, and whether the bar is kept."
    days, kinds = (150, KINDS[:1]) if quick else (730, KINDS)
    with tempfile.TemporaryDirectory() as home:
        start = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400 * days))
        options = ["--source", "sim", "--start", start, "--quiet", *(word for kind in kinds for word in ("--model", kind))]
        environment = {**os.environ, "CRYPTO_RTI_HOME": home, "CRYPTO_RTI_HORIZONS": HORIZONS, "CRYPTO_RTI_PRODUCTS": "BTC-USD ETH-USD"}
        began, peak = time.monotonic(), 0
        process = subprocess.Popen([sys.executable, "-c", CODE, "train", *options], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.5)
        seconds = time.monotonic() - began
        if process.returncode:
            raise RuntimeError(f"the training ended with exit code {process.returncode}; its output is above")
    what = f"{', '.join(kinds)} of {HORIZONS.replace(' ', ', ')} minutes, two coins, {days} days, {load_settings().workers} notebooks at a time"
    minutes, gigabytes = seconds / 60, peak / 1e9
    return [
        {"what": what, "value": minutes, "unit": "min", "bar": 12, "ok": minutes < 12},
        {"what": "memory of all its processes at most", "value": gigabytes, "unit": "GB", "bar": 4, "ok": gigabytes < 4},
    ]


if __name__ == "__main__":
    for line in run("--quick" in sys.argv):
        print(f"{line['what']:100} {line['value']:.2f} {line['unit']}, at most {line['bar']}: {'yes' if line['ok'] else 'NO'}")

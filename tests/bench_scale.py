"""Benchmarks of many coins on one machine: `make bench-scale`, or `make bench-scale ONLY="rows disk"` for parts.

Every line has its bar beside it; ratios are to a baseline of the same run. The exit status is 1 when a bar is missed.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from crypto_rti.numbers import format_number

PARTS = ("rows", "quarters", "disk", "ledger", "retrain", "horizons", "service")


def main() -> int:
    "Run the parts and print one table."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help=f"by default all: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer coins and hours, to try the benchmark itself; its figures mean nothing")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    table, missed = Table("what", "value", "", "bar", "", title="Many coins on one machine", title_justify="left"), 0
    for part in given.parts or PARTS:
        for line in import_module(f"scale.{part}").run(given.quick):
            value = "" if line["value"] is None else format_number(line["value"])
            verdict = {None: "", True: "kept", False: "MISSED"}[line.get("ok")]
            missed += line.get("ok") is False
            bar = line.get("bar", "")
            table.add_row(line["what"], value, line["unit"], bar if isinstance(bar, str) else "" if bar is None else f"{bar:g}", verdict)
    Console(width=160).print(table)
    return int(missed > 0 and not given.quick)


if __name__ == "__main__":
    sys.exit(main())

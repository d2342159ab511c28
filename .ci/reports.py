"""Show the pipeline's notebooks as executed reports: retrain on a fixed span of the simulated market, and store the outputs in nbs/pipelines.

Five coins: three with a history of half a year, one that was listed five days before its end, and one whose candles stop earlier.
The outputs are for readers; papermill and the digest of the code ignore them.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPANS = {
    "BTC-USD": ("2024-01-01", "2024-07-01"), "ETH-USD": ("2024-01-01", "2024-07-01"), "SOL-USD": ("2024-01-01", "2024-07-01"),
    "NEW-USD": ("2024-06-26", "2024-07-01"), "OLD-USD": ("2024-01-01", "2024-05-01"),
}  # fmt: skip
KIND, HORIZONS = "lasso", "15 60"
# The notebooks show the fit of 15 minutes and the decisions of whole hours
HIDDEN = (f"4_promote {KIND}-15m", f"3_train_quarters {KIND}-60m", f"4_promote {KIND}-60m")


def store_outputs(notebook: Path, report: Path) -> None:
    """Copy the outputs of an executed copy into the notebook, cell by cell."""
    content, executed = (json.loads(path.read_text(encoding="utf-8")) for path in (notebook, report))
    outputs = {cell["id"]: cell.get("outputs", []) for cell in executed["cells"]}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [output for output in outputs[cell["id"]] if output.get("name") != "stderr"]
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", notebook], check=True)


def main() -> int:
    """Retrain, and store the outputs of the reports."""
    from crypto_rti.data.candles import to_unix
    from crypto_rti.data.simulation import sim_candles
    from crypto_rti.pipeline import retrain
    from crypto_rti.settings import load_settings

    with tempfile.TemporaryDirectory() as folder:
        market = Path(folder) / "market"
        market.mkdir()
        for product, (start, end) in SPANS.items():
            sim_candles(product, to_unix(start), to_unix(end), step=60).to_parquet(market / f"{product}.parquet", index=False)
        settings = load_settings(home=Path(folder) / "home", registry_uri="", source=str(market), products=" ".join(SPANS), models=KIND, horizons=HORIZONS)
        report = retrain(settings)
        if any(outcome.error for outcome in report.outcomes):
            print(*report.failures, sep="\n")
            return 1
        for outcome in report.outcomes:
            if outcome.job.label in HIDDEN:
                continue
            store_outputs(ROOT / "nbs" / "pipelines" / outcome.job.notebook.name, outcome.job.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())

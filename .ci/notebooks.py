"""Execute the notebooks of a folder in place and store their outputs, cleaned: `notebooks.py nbs [NAME ...]`.

Two at a time, each in a kernel of its own that starts in the notebook's folder. A notebook that fails stays as it was.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 3600  # per cell: experiments train for minutes


def execute(path: Path) -> bool:
    """Run one notebook and write it back; tell whether it succeeded."""
    started = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    try:
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    except CellExecutionError as error:
        print(f"FAIL {path.relative_to(ROOT)}\n{str(error)[-4000:]}", flush=True)
        return False
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran: noise in every diff
    nbformat.write(notebook, path)
    cleaned = subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", path], check=False).returncode == 0
    print(f"{'ok  ' if cleaned else 'FAIL'} {path.relative_to(ROOT)} ({time.monotonic() - started:.0f} s, {path.stat().st_size // 1000} kB)", flush=True)
    return cleaned


def main(folder: str, *names: str) -> int:
    """Execute what was asked for, or everything in the folder itself."""
    os.environ["CRYPTO_RTI_SHARED"] = os.environ.get("CRYPTO_RTI_SHARED") or str(ROOT.parent / "shared")
    os.environ["CRYPTO_RTI_HOME"] = os.environ.get("CRYPTO_RTI_HOME") or str(ROOT / "var")  # where backtests and searches that were stopped go on
    paths = [path for path in sorted((ROOT / folder).glob("*.ipynb")) if not names or path.stem in names]
    if not paths:
        print(f"no notebook to execute in {folder}")
        return 1 if names else 0
    with ThreadPoolExecutor(2) as pool:
        return 0 if all(list(pool.map(execute, paths))) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

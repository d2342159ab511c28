"""Execute the notebooks of a folder in place and store their outputs, cleaned: `notebooks.py nbs [NAME ...]`.

Two at a time, each in a kernel of its own that starts in the notebook's folder. A notebook that fails stays as it was.
When this is stopped or killed, the kernels and what they started end with it.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crypto_rti.processes import ProcessTree, stopping_on_signals

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 3600  # per cell: experiments train for minutes


def shown(path: Path) -> Path:
    """A path as it is named in messages: from the repository's root, where it lies below it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def execute(path: Path) -> bool:
    """Run one notebook and write it back; tell whether it succeeded. Runs in a process of its own."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    from crypto_rti.runner import own_kernel

    started = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    try:
        place = {"metadata": {"path": str(path.parent)}}
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", kernel_manager_class=own_kernel(), resources=place).execute()
    except CellExecutionError as error:
        print(f"FAIL {shown(path)}\n{str(error)[-4000:]}", flush=True)
        return False
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran: noise in every diff
    nbformat.write(notebook, path)
    cleaned = subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", path], check=False).returncode == 0
    print(f"{'ok  ' if cleaned else 'FAIL'} {shown(path)} ({time.monotonic() - started:.0f} s, {path.stat().st_size // 1000} kB)", flush=True)
    return cleaned


def main(folder: str, *names: str) -> int:
    """Execute what was asked for, or everything in the folder itself."""
    os.environ["CRYPTO_RTI_SHARED"] = os.environ.get("CRYPTO_RTI_SHARED") or str(ROOT.parent / "shared")
    if folder != "nbs":
        os.environ["CRYPTO_RTI_HOME"] = os.environ.get("CRYPTO_RTI_HOME") or str(ROOT / "var")  # where backtests and searches that were stopped go on
    paths = [path for path in sorted((ROOT / folder).glob("*.ipynb")) if not names or path.stem in names]
    if not paths:
        print(f"no notebook to execute in {folder}")
        return 1 if names else 0
    program = [sys.executable, __file__, "--one"]
    with ThreadPoolExecutor(2) as pool, ProcessTree() as family:
        statuses = list(pool.map(lambda path: family.start([*program, str(path)]).wait(), paths))
    return 1 if any(statuses) else 0


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        sys.exit(0 if execute(Path(sys.argv[2])) else 1)
    with stopping_on_signals() as stop:
        try:
            sys.exit(main(*sys.argv[1:]))
        except KeyboardInterrupt:
            sys.exit(128 + stop.number)

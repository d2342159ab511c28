"""Run notebooks as tests, two at a time: `notebook_tests.py RESULTS.json NOTEBOOK ...`.

Every notebook runs in a fork of this process, which has imported the libraries that most of them need: alone, each would spend longer on
imports than on its cells. What a notebook has started ends with it. Exit code 1 if one failed.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

LIBRARIES = ("IPython", "fastcore.test", "httpx", "matplotlib.pyplot", "nbdev.test", "numpy", "pandas", "pydantic", "scipy.stats", "sqlalchemy")
SECONDS = 300  # For one notebook


def run_cells(notebook: Path, log: Path) -> None:
    """Run the cells of a notebook; ends this process, with exit status 0 if all passed."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 1
    try:
        from nbdev.config import get_config
        from nbdev.test import test_nb

        passed, _ = test_nb(notebook, skip_flags=get_config().tst_flags.split(), basepath=get_config().config_path)
        status = 0 if passed else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def test_notebook(notebook: Path, folder: Path) -> tuple[bool, float]:
    """Run one notebook in a process of its own; whether it passed, and its seconds."""
    begun, log = time.monotonic(), folder / f"{notebook.stem}.log"
    child = os.fork()
    if child == 0:
        run_cells(notebook, log)
    status, late = None, False
    while status is None:
        done, found = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(found) if done else None
        if status is None and time.monotonic() > begun + SECONDS:
            late = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    with suppress(ProcessLookupError):  # Services and kernels that the notebook has left behind
        os.killpg(child, signal.SIGKILL)
    seconds = time.monotonic() - begun
    print(f"  {'ok  ' if status == 0 else 'FAIL'} {notebook.name} ({seconds:.0f} s)", flush=True)
    if status != 0:
        print(f"{log.read_text(errors='replace')[-6000:]}{f'killed after {SECONDS} s' if late else ''}", flush=True)
    return status == 0, seconds


def main(results: str, *names: str) -> int:
    """Test the notebooks, the longest ones of the last time first; write what came of each."""
    for library in LIBRARIES:
        importlib.import_module(library)
    kept = Path(results)
    before = {name: one["seconds"] for name, one in json.loads(kept.read_text()).items()} if kept.exists() else {}
    paths = sorted((Path(name).absolute() for name in names), key=lambda path: -before.get(str(path), SECONDS))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda path: test_notebook(path, Path(folder)), paths))
    kept.write_text(json.dumps({str(path): {"passed": passed, "seconds": seconds} for path, (passed, seconds) in zip(paths, found, strict=True)}, indent=1))
    return 0 if all(passed for passed, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

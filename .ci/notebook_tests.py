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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LIBRARIES = ("IPython", "fastcore.test", "httpx", "matplotlib.pyplot", "nbdev.test", "numpy", "pandas", "pydantic", "scipy.stats", "sqlalchemy")
SECONDS, AT_ONCE = 300, 2  # For one notebook; notebooks at the same time


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


@dataclass
class Running:
    """A notebook that is being run."""

    notebook: Path
    log: Path
    process: int
    begun: float = field(default_factory=time.monotonic)
    late: bool = False  # Whether it was killed because it took too long


def start(notebook: Path, folder: Path) -> Running:
    """Run a notebook in a fork of this process, which has no other Python threads whose locks the fork would inherit."""
    log = folder / f"{notebook.stem}.log"
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        run_cells(notebook, log)
    return Running(notebook, log, child)


def ended(one: Running) -> tuple[bool, float] | None:
    """Whether a notebook has passed, and its seconds; `None` while it runs. Ends what is late, and what it has left behind."""
    done, found = os.waitpid(one.process, os.WNOHANG)
    seconds = time.monotonic() - one.begun
    if not done:
        if seconds > SECONDS and not one.late:
            one.late = True
            os.killpg(one.process, signal.SIGKILL)
        return None
    with suppress(ProcessLookupError):  # Services and kernels that it has started
        os.killpg(one.process, signal.SIGKILL)
    passed = os.waitstatus_to_exitcode(found) == 0
    print(f"  {'ok  ' if passed else 'FAIL'} {one.notebook.name} ({seconds:.0f} s)", flush=True)
    if not passed:
        print(f"{one.log.read_text(errors='replace')[-6000:]}{f'killed after {SECONDS} s' if one.late else ''}", flush=True)
    return passed, seconds


def run_all(notebooks: list[Path], folder: Path) -> dict[Path, tuple[bool, float]]:
    """Run the notebooks, `AT_ONCE` at a time."""
    waiting, running, found = notebooks[::-1], list[Running](), dict[Path, tuple[bool, float]]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            running.append(start(waiting.pop(), folder))
        time.sleep(0.05)
        for one in list(running):
            if (outcome := ended(one)) is not None:
                running.remove(one)
                found[one.notebook] = outcome
    return found


def main(results: str, *names: str) -> int:
    """Test the notebooks, the longest ones of the last time first; write what came of each."""
    for library in LIBRARIES:
        importlib.import_module(library)
    kept = Path(results)
    before = {name: one["seconds"] for name, one in json.loads(kept.read_text()).items()} if kept.exists() else {}
    paths = sorted((Path(name).absolute() for name in names), key=lambda path: -before.get(str(path), SECONDS))
    with tempfile.TemporaryDirectory() as folder:
        found = run_all(paths, Path(folder))
    kept.write_text(json.dumps({str(path): {"passed": passed, "seconds": seconds} for path, (passed, seconds) in found.items()}, indent=1))
    return 0 if all(passed for passed, _ in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

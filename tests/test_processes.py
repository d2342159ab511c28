"""Signals and several processes at once: what is stopped stops whole, its lock lasts as long as its work, and shared folders stay usable."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_pipeline import write_notebook
from waiting import wait_for

from crypto_rti.pipeline_plan import STEPS, find_pipeline
from crypto_rti.runner import read_parameters

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
ROOT = Path(__file__).resolve().parents[1]
IN_TIME = 15.0  # Seconds within which everything has ended: one on a machine with nothing else to do


def alive(home: Path) -> dict[int, str]:
    "Name and command line, by process id, of all processes that have the home in their environment."
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"CRYPTO_RTI_HOME={home}".encode() in (place / "environ").read_bytes().split(b"\0") and "\nState:\tZ" not in (place / "status").read_text():
                found[int(place.name)] = f"{(place / 'comm').read_text().strip()}: {(place / 'cmdline').read_bytes().decode()[:120]}".replace("\0", " ")
    return found


def locked(home: Path) -> bool:
    "Whether somebody holds the lock of retraining; asked in the way of `flock`, in a process of its own."
    code = "import fcntl, sys\ntry: fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept BlockingIOError: sys.exit(75)"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code, home / "retrain.lock"], check=False).returncode == 75


@contextlib.contextmanager
def started(home: Path, *command: object, **options):
    "A process in a group of its own; whatever is left of it is killed in the end."
    environment = {**os.environ, "CRYPTO_RTI_HOME": str(home), **options.pop("env", {})}
    process = subprocess.Popen([str(part) for part in command], env=environment, start_new_session=True, text=True, **options)
    try:
        yield process
    finally:
        for number in alive(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        process.wait()


# --- a retraining ---------------------------------------------------------------------------------------------------------

RETRAIN = """
import sys
from pathlib import Path
import crypto_rti.pipeline
crypto_rti.pipeline.find_pipeline = lambda place=Path(sys.argv[1]): place
sys.argv = ["crypto-rti", "retrain", "-s", "sim", "-p", "BTC-USD", "-m", "lasso", "-q"]
from crypto_rti.cli import main
main()
"""

LONG_CELL = """
import subprocess, time
with open({marks!r}, "a") as file: file.write("ran ")
subprocess.Popen(["sleep", "120"], start_new_session=True)
time.sleep(120)
"""


def tiny_pipeline(folder: Path, marks: Path) -> Path:
    "The four notebooks by name and parameters; the first leaves a mark, starts a process and goes on for two minutes."
    folder.mkdir()
    for step in STEPS:
        parameters = "\n".join(f"{name} = {value!r}" for name, value in read_parameters(find_pipeline() / f"{step}.ipynb").items())
        write_notebook(folder / f"{step}.ipynb", parameters, LONG_CELL.format(marks=str(marks)))
    return folder


@pytest.mark.parametrize(
    ("number", "moment", "everybody"),
    [
        (signal.SIGINT, "kernel", True),
        (signal.SIGTERM, "cell", False),
        (signal.SIGKILL, "kernel", False),
        (signal.SIGKILL, "cell", True),
    ],
)
def test_a_retraining_that_is_stopped_stops_whole(tmp_path, number, moment, everybody):
    "`everybody`: the signal goes to the process group, as a terminal sends it."
    home, marks = tmp_path / "home", tmp_path / "marks"
    pipeline = tiny_pipeline(tmp_path / "pipelines", marks)
    with started(home, sys.executable, "-c", RETRAIN, pipeline, stderr=subprocess.PIPE) as process:
        if moment == "kernel":
            wait_for(lambda: any(line.startswith("ipykernel: ") for line in alive(home).values()), 150, "a kernel's start")
        else:
            wait_for(marks.exists, 150, "the cell")
        assert locked(home)
        sent = time.monotonic()
        (os.killpg if everybody else os.kill)(process.pid, number)
        if number != signal.SIGKILL:
            assert process.stderr.readline().startswith("stopping; ")
            assert time.monotonic() - sent < 3, "a signal is acknowledged at once"
        wait_for(lambda: process.poll() is not None and not locked(home), IN_TIME, lambda: f"the end of all processes; {alive(home)}")
        assert alive(home) == {}, "the lock is free and somebody works"
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
        assert not marks.exists() or marks.read_text() == "ran ", "an interrupt is never retried"
        assert "Traceback" not in process.stderr.read()


# --- pools of workers -------------------------------------------------------------------------------------------------------

BACKTEST = """
import os, sys, time
from crypto_rti.processes import stopping_on_signals
from crypto_rti.data.simulation import sim_candles
from crypto_rti.data.candles import to_unix
from crypto_rti.evaluation.backtest import run_backtest
from crypto_rti.targets import make_dataset

def endless(*_, **__):
    open(os.path.join(os.environ["CRYPTO_RTI_HOME"], f"{os.getpid()}.at_work"), "w")
    time.sleep(120)

span = to_unix("2024-01-01"), to_unix("2024-03-01")
with stopping_on_signals() as stop:
    try:
        rows = make_dataset(sim_candles("BTC-USD", *span), "BTC-USD")
        run_backtest({"BTC-USD": rows}, {"lasso": {}}, to_unix("2024-02-01"), span[1], 15, train=endless, jobs=2)
    except KeyboardInterrupt:
        sys.exit(128 + stop.number)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_workers_of_a_backtest_end_with_it(tmp_path, number, code):
    with started(tmp_path, sys.executable, "-c", BACKTEST, stderr=subprocess.PIPE) as process:
        wait_for(lambda: len(list(tmp_path.glob("*.at_work"))) == 2, 150, "two workers at work")
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        wait_for(lambda: process.poll() is not None and not alive(tmp_path), IN_TIME, lambda: f"the end of all processes; {alive(tmp_path)}")
        assert process.returncode == code


def test_the_workers_of_a_service_end_with_their_supervisor(tmp_path):
    command = [Path(sys.executable).parent / "crypto-rti", "serve", "-s", "sim", "-p", "BTC-USD", "--port", "0", "--workers", "2"]
    with started(tmp_path, *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        wait_for(lambda: answers(port) and len(alive(tmp_path)) >= 3, 150, "an answer")
        process.kill()
        wait_for(lambda: not set(alive(tmp_path)) - {process.pid}, IN_TIME + 1, lambda: f"the end of the workers; {alive(tmp_path)}")


def answers(port: int) -> bool:
    "Whether a service takes connections and answers."
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        return b"200" in connection.recv(64)
    return False


def test_executing_notebooks_leaves_no_kernel_behind(tmp_path):
    "What `make notebooks` and `make experiments` call."
    marks = tmp_path / "marks"
    notebook = write_notebook(tmp_path / "long.ipynb", "pass", LONG_CELL.format(marks=str(marks)))
    before = notebook.read_text()
    with started(tmp_path, sys.executable, ROOT / ".ci" / "notebooks.py", tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(marks.exists, 150, "the cell")
        process.kill()
        wait_for(lambda: not set(alive(tmp_path)) - {process.pid}, IN_TIME, lambda: f"the end of the kernel; {alive(tmp_path)}")
    assert notebook.read_text() == before and json.loads(before)

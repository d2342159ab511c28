"""A service that hangs: the watchdog ends its process, and one of several workers is replaced. No latency is measured here."""

import signal
import time

from crowd import crowded, listeners

HANGS = {
    "in Python": "time.sleep(1000)",
    "in C, holding the interpreter's lock": "ctypes.PyDLL(None).sleep(1000)",
}

# In the place of what watches the models: a file in the service's home makes the event loop hang. Nobody outside can reach that.
HANGING = """
import asyncio, ctypes, os, time
from crypto_rti.service import server
from crypto_rti.service.server import make_worker

def hang(home):
    if os.path.exists(home + "/hang"):
        os.remove(home + "/hang")
        {how}

async def refresh(cache, pause=0.1):
    while True:
        await asyncio.sleep(0.05)
        hang(str(cache.root.parent))

server._refresh_models = refresh
"""

ONE = """
import sys
sys.path.insert(0, {folder!r})
import hanging
from crypto_rti.settings import load_settings
hanging.server.serve(load_settings())
"""

SEVERAL = ONE.replace("hanging.server.serve", """
make_server = hanging.server.make_server
hanging.server.make_server = lambda app, *others: make_server("hanging:make_worker" if isinstance(app, str) else app, *others)
hanging.server.serve""")


def hanging(tmp_path, where, program):
    (tmp_path / "hanging.py").write_text(HANGING.format(how=HANGS[where]))
    return program.format(folder=str(tmp_path))


def test_a_hung_event_loop_ends_the_process(attack, tmp_path):
    """With a dump of the stacks in the log and an exit status that restarts a container."""
    where = "in C, holding the interpreter's lock"
    with crowded(program=hanging(tmp_path, where, ONE), watchdog_seconds=6) as up:
        (up.home / "hang").touch()
        begun = time.monotonic()
        status = up.process.wait(60)
        ended = time.monotonic() - begun
        log = up.log.read_text()
    assert status == -signal.SIGALRM
    assert "in hang" in log and "Current thread" in log
    attack(f"the event loop hangs {where}", before="for ever", after=f"ends after {ended:.1f} s with SIGALRM and its stacks in the log")


def test_a_hung_worker_is_replaced(attack, tmp_path):
    """The other worker answers meanwhile."""
    where = "in Python"
    with crowded(program=hanging(tmp_path, where, SEVERAL), watchdog_seconds=6, service_workers=2) as up:
        before = up.until(lambda: len(found := listeners(up.pid)) == 2 and found, "two workers")
        (up.home / "hang").touch()
        begun = time.monotonic()
        after = up.until(lambda: len(found := listeners(up.pid)) == 2 and found != before and found, "another worker")
        up.until(lambda: "in hang" in up.log.read_text(), "the stacks")
        up.ready()
        ended = time.monotonic() - begun
    assert len({*before} & {*after}) == 1 and ended < 60
    attack(f"one of two workers hangs {where}", before="for ever", after=f"replaced after {ended:.1f} s, its stacks in the log")

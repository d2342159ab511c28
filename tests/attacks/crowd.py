"""A service in a process of its own, as users start it, and what attackers and an ordinary client do to it at the same time."""

import contextlib
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from toys import export_toy
from waiting import wait_for

from crypto_rti.replay.server import running_exchange

START = "2024-01-31T15:20Z"
LIVE = "/health/live"
ASKER = Path(__file__).with_name("asker.py")
TOO_MUCH = 700.0  # MB at which an attack is stopped, so that the machine does not swap where the service has no limit


def memory(pid, what="VmRSS"):
    """Resident memory of a process in MB."""
    return int(re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1e3


def listeners(pid):
    """Processes that answer: the children of a supervisor, or the process itself."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in below if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()] or [pid]


class Crowded:
    """A service under attack."""

    def __init__(self, url, process, home, log):
        self.url, self.process, self.pid, self.home, self.log = url, process, process.pid, home, log
        self.address = (urlsplit(url).hostname, urlsplit(url).port)

    def open(self, *, patience=10.0):
        return socket.create_connection(self.address, timeout=patience)

    def get(self, path, *, patience=10.0):
        """Status and body of one request over a connection of its own."""
        with self.open(patience=patience) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            heard = b""
            while part := line.recv(1 << 16):
                heard += part
        head, _, body = heard.partition(b"\r\n\r\n")
        return int(head[9:12]), body

    def until(self, wanted, what, seconds=120.0):
        """Wait until something holds."""

        def found():
            with contextlib.suppress(OSError, ValueError):
                return wanted()

        return wait_for(found, seconds, lambda: f"{what}; the log ends with {self.log.read_text()[-1500:]}", pause=0.05)

    def ready(self):
        self.until(lambda: self.get("/health/ready")[0] == 200, "readiness")
        return self

    def time_of(self, path):
        """Milliseconds of one request that must succeed."""
        started = time.perf_counter()
        status, _ = self.get(path, patience=60)
        assert status == 200, status
        return 1e3 * (time.perf_counter() - started)

    @contextlib.contextmanager
    def watched(self):
        """Ask for /health/live over new connections and look at the memory, again and again; ends the service at `TOO_MUCH`."""
        seen, stop = Watched(memory(self.pid)), threading.Event()
        command = [sys.executable, "-I", "-S", str(ASKER), self.address[0], str(self.address[1]), LIVE, str(self.pid)]

        def listen():
            for line in asker.stdout:
                how, _, what = line.strip().partition(" ")
                if how == "answered":
                    seen.answers.append(float(what))
                else:
                    seen.failed.append(what)

        def look():
            while not stop.wait(0.05):
                with contextlib.suppress(OSError, TypeError):
                    seen.peak = max(seen.peak, memory(self.pid))
                if seen.peak > TOO_MUCH:
                    self.process.kill()

        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asker:
            threads = [threading.Thread(target=one, daemon=True) for one in (listen, look)]
            for thread in threads:
                thread.start()
            try:
                yield seen
            finally:
                stop.set()
                asker.kill()
                for thread in threads:
                    thread.join(15)
                with contextlib.suppress(OSError, TypeError):
                    seen.after = memory(self.pid)


class Watched:
    """What an ordinary client saw."""

    def __init__(self, before):
        self.before = self.peak = self.after = before
        self.answers, self.failed, self.begun = [], [], time.monotonic()

    @property
    def enough(self):
        """Whether there are as many answers as a percentile needs; a service that is gone gives none."""
        return len(self.answers) >= 20 or self.peak > TOO_MUCH or time.monotonic() > self.begun + 60

    def wait(self):
        """Go on until there are enough."""
        wait_for(lambda: self.enough, 90, "enough answers", pause=0.05)

    @property
    def p99(self):
        """Milliseconds of /health/live."""
        return float(np.percentile(self.answers, 99))

    @property
    def told(self):
        return f"{self.before:.0f} MB before, at most {self.peak:.0f}, {self.after:.0f} after; live p99 {self.p99:.0f} ms"

    def check(self, growth=30.0):
        """Compare with the bars."""
        assert self.peak < TOO_MUCH, f"stopped at {self.peak:.0f} MB"
        assert not self.failed and len(self.answers) >= 20, (self.failed[:5], len(self.answers))
        assert self.after < self.before + growth, self.told
        assert self.p99 < 100, (self.told, self.answers)


@contextlib.contextmanager
def crowded(files=None, program=None, prepare=None, **settings):
    """Run `crypto-rti serve` in front of a replay exchange; `files` limits its open files, `program` runs in its place, `prepare` fills its home."""
    with tempfile.TemporaryDirectory() as folder, running_exchange("sim", start=START, rate_limit=False, speed=0.0) as exchange:
        home, log = Path(folder), Path(folder) / "log"
        export_toy(home / "bundles")
        if prepare:
            prepare(home)
        own = {"home": folder, "source": f"sim={exchange.url}", "products": "BTC-USD", "port": 0, "live_feed": False, "log_level": "warning", **settings}
        env = {**os.environ, **{f"CRYPTO_RTI_{name.upper()}": str(value) for name, value in own.items()}, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", program] if program else [str(Path(sys.executable).with_name("crypto-rti")), "serve"]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        pipes = {"stdout": subprocess.PIPE, "stderr": log.open("wb"), "text": True}
        with pipes["stderr"], subprocess.Popen(command, env=env, cwd=folder, preexec_fn=limit, **pipes) as process:
            try:
                line = process.stdout.readline()
                assert "http://" in line, line + log.read_text()
                yield Crowded(line.split()[4], process, home, log).ready()
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def pour(line, data, seconds, total=1 << 30):
    """Send the same again and again until time or bytes are up or the other side closes; how many bytes it took."""
    end, sent = time.monotonic() + seconds, 0
    line.setblocking(False)
    with contextlib.suppress(OSError):
        while time.monotonic() < end and sent < total:
            if select.select([], [line], [], 0.1)[1]:
                sent += line.send(data)
    return sent


def closed(line, seconds):
    """Whether the other side closes a connection in time."""
    line.settimeout(seconds)
    try:
        while line.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True

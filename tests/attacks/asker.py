"""Ask for a path over new connections, again and again, and print `answered` and the milliseconds, or `failed` and why: `asker.py HOST PORT PATH PID`.

This is a process of its own because in that of the attackers it would wait for the interpreter's lock. The time for which this process or the
service's event loop was ready and had no core does not count: the attackers use the same machine.
"""

import socket
import sys
import time
from pathlib import Path


def kept_waiting(pid: str) -> float:
    """Milliseconds for which the main thread of a process was ready and had no core, since it began; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e6
    except (OSError, IndexError):
        return 0.0


def clock(*pids: str) -> float:
    """Milliseconds, less those for which these processes were kept waiting."""
    return 1e3 * time.perf_counter() - sum(map(kept_waiting, pids))


def ask(host: str, port: str, path: str, patience: float = 10.0) -> str:
    """The status of one request."""
    with socket.create_connection((host, int(port)), timeout=patience) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        heard = line.recv(1 << 16)
        while line.recv(1 << 16):
            pass
    return heard[9:12].decode()


def main(host: str, port: str, path: str, pid: str) -> None:
    """Ask until the reader is gone."""
    while True:
        began = clock("self", pid)
        try:
            status = ask(host, port, path)
        except OSError as error:
            status = repr(error)
        taken = clock("self", pid) - began
        print(*(("answered", f"{taken:.1f}") if status == "200" else ("failed", status)), flush=True)
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])

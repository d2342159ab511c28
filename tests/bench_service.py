"""How fast is the service, and how much memory does it take? `python tests/bench_service.py [--json FILE]`

A replay exchange runs here, the service in a process of its own, loopback only, about a minute in all. Requests are made by `wrk` where it is
installed (`make system`), otherwise by a plain socket loop, which is slower than the service and says so.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from toys import export_toy

from crypto_rti.data.exchange import running_exchange

SERVE = """
from crypto_rti.settings import load_settings
from crypto_rti.service.app import serve
serve(load_settings())
"""
WARM = "/api/predict?coin=BTC-USD&time_from=now&model_name=champion"


def knock(url: str, path: str, seconds: float, count: int = 1_000_000) -> list[float]:
    "Latencies in ms of requests one after another over one connection."
    address, taken = urlsplit(url), []
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    with socket.create_connection((address.hostname or "", address.port or 80)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end and len(taken) < count:
            line.sendall(request)
            reply = line.recv(1 << 16)
            head, _, body = reply.partition(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            while len(body) < length:
                body += line.recv(1 << 16)
            assert head.startswith(b"HTTP/1.1 200"), reply
            taken.append((time.perf_counter() - started) * 1e3)
    return taken


def load(url: str, path: str, connections: int, seconds: float) -> float:
    "Requests per second over several connections."
    if wrk := shutil.which("wrk"):
        said = subprocess.run([wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", url + path], capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in said, said
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    with ProcessPoolExecutor(2) as pool:
        return sum(len(taken) for taken in pool.map(knock, [url] * 2, [path] * 2, [seconds] * 2)) / seconds


def peak_memory(pid: int) -> float:
    "Peak resident memory of a process in MB."
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1e3  # type: ignore[index]


def cold_forecasts(url: str, hours: int = 48) -> list[float]:
    "Latencies in ms of forecasts that were never asked for, candles at hand."
    with httpx.Client(base_url=url) as client:
        client.get("/health/live")
        taken = []
        for back in range(1, hours + 1):
            started = time.perf_counter()
            assert client.get(f"/api/predict?coin=BTC-USD&time_from={back}").status_code == 200
            taken.append((time.perf_counter() - started) * 1e3)
    return taken


def bench_service(seconds: float = 3.0) -> dict[str, Any]:
    "Start exchange and service, measure, stop; returns figures by name."
    with tempfile.TemporaryDirectory() as home, running_exchange("sim", rate_limit=False) as exchange:
        export_toy(Path(home) / "bundles")
        env = {**os.environ, "CRYPTO_RTI_HOME": home, "CRYPTO_RTI_SOURCE": f"sim={exchange.url}", "CRYPTO_RTI_PORT": "0", "CRYPTO_RTI_LOG_LEVEL": "warning"}
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", SERVE], env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().split()[-1]
                httpx.Client(transport=httpx.HTTPTransport(retries=5)).get(url + WARM, timeout=20).raise_for_status()
                figures: dict[str, Any] = {"start_to_first_forecast_s": time.perf_counter() - started}
                cold = cold_forecasts(url)
                knock(url, WARM, 0.3)
                warm = knock(url, WARM, seconds)
                figures |= {f"cold_p{q}_ms": float(np.percentile(cold, q)) for q in (50, 99)}
                figures |= {f"warm_p{q}_ms": float(np.percentile(warm, q)) for q in (50, 99)}
                pairs = [(load(url, "/health/live", 16, seconds), load(url, WARM, 16, seconds)) for _ in range(3)]  # in turns: the machine has other work
                live, predict = np.median(np.array(pairs), axis=0)
                figures |= {"live_per_s": float(live), "predict_per_s": float(predict), "predict_to_live": float(np.median([p / v for v, p in pairs]))}
                figures |= {"peak_memory_mb": peak_memory(process.pid), "load": "wrk" if shutil.which("wrk") else "socket loop (slower than the service)"}
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
    return figures


BARS = {"warm_p50_ms": ("<", 3.0), "predict_to_live": (">", 1 / 3), "peak_memory_mb": ("<", 250.0)}


def main() -> None:
    "Print the figures beside their bars; exit 1 when one is missed."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options, missed = parser.parse_args(), 0
    figures = bench_service()
    for name, value in figures.items():
        sign, bar = BARS.get(name, ("", 0.0))
        fails = bool(sign) and not (value < bar if sign == "<" else value > bar)
        missed += fails
        print(f"{name:28} {value if isinstance(value, str) else f'{value:10.2f}'}" + (f"   bar {sign} {bar:.2f}{'   MISSED' if fails else ''}" if sign else ""))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()

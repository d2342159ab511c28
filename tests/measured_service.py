"""Runs the service for tests/bench_inside.py with the exchange's own clock, which a benchmark moves, and writes down how late its event loop is.

`python tests/measured_service.py CLOCK LAGS`: CLOCK holds a moment, when it was set on the monotonic clock of the machine, and a speed, as three doubles;
LAGS receives a line for each delay of the event loop above 20 ms: the exchange's time, the delay in ms, and the functions that ran in the main thread.
"""

import asyncio
import math
import mmap
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from crypto_rti.data.plausibility import ExchangeClock
from crypto_rti.service import server
from crypto_rti.settings import load_settings

TICK, LATE = 0.01, 0.02


class TrueClock(ExchangeClock):
    "Knows the time of the exchange, also when a benchmark sets it: several jumps in a row would look like a clock that runs fast."

    def __init__(self, anchor: mmap.mmap) -> None:
        super().__init__(measured=0.0, asked=math.inf)
        self.anchor = anchor

    def now(self, at: float | None = None) -> float:
        moment, started, speed = struct.unpack_from("ddd", self.anchor)
        return float(moment + ((time.monotonic() if at is None else at) - started) * speed)


class LagLog:
    "Measures the delays of an event loop; a thread looks at what the main thread does while it is late."

    def __init__(self, clock: TrueClock, path: Path) -> None:
        self.clock, self.path, self.due = clock, path, math.inf
        self.stacks: list[str] = []

    def watch(self, main: int) -> None:
        "Look every few milliseconds; runs in a thread of its own."
        while True:
            time.sleep(0.005)
            if time.monotonic() > self.due + LATE:
                frame, names = sys._current_frames().get(main), list[str]()
                while frame is not None and len(names) < 12:
                    names += [f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}"]
                    frame = frame.f_back
                self.stacks.append("<".join(names))

    async def measure(self) -> None:
        "Write down every delay."
        threading.Thread(target=self.watch, args=[threading.get_ident()], daemon=True).start()
        with self.path.open("w", buffering=1) as file:
            while True:
                self.due = time.monotonic() + TICK
                await asyncio.sleep(TICK)
                if (late := time.monotonic() - self.due) > LATE:
                    stacks, self.stacks = self.stacks, []
                    file.write(f"{self.clock.now():.3f} {1e3 * late:.1f} {' | '.join(stacks)}\n")


def main() -> None:
    "Serve with the settings of the environment."
    with open(sys.argv[1], "rb") as file:
        clock = TrueClock(mmap.mmap(file.fileno(), 24, access=mmap.ACCESS_READ))
    lags, make, keep, tasks = LagLog(clock, Path(sys.argv[2])), server.make_service, server.keep_inside, list[Any]()

    def make_measured(*arguments: Any) -> Any:
        service = make(*arguments)
        service.feed.clock = clock
        return service

    async def keep_measured(*arguments: Any) -> None:
        tasks.append(asyncio.create_task(lags.measure()))
        await keep(*arguments)

    server.make_service, server.keep_inside = make_measured, keep_measured
    server.serve(load_settings())


if __name__ == "__main__":
    main()

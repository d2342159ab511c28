"""How tests wait for what happens in another thread, process or task. Where an event, a pipe or a join tells it, they wait for that instead."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from typing import Any


def look(condition: Callable[[], Any], begun: float, seconds: float, what: str | Callable[[], str], process: subprocess.Popen[Any] | None) -> Any:
    """What `condition` returns now; if that is not true, fail once time is over or `process` has ended."""
    over, status = time.monotonic() - begun >= seconds, process.poll() if process else None  # Before the last look: what comes in time counts
    if found := condition():
        return found
    if over or status is not None:
        reason = f"not within {seconds:g} s" if status is None else f"not before the process ended with exit status {status}"
        raise AssertionError(f"{what if isinstance(what, str) else what()}: {reason}")
    return None


def wait_for(
    condition: Callable[[], Any],
    seconds: float,  # Generous: only a failure takes as long
    what: str | Callable[[], str],  # Names what did not come; a function is called only then, to show the last state
    process: subprocess.Popen[Any] | None = None,  # Once it has ended, `condition` will never hold
    pause: float = 0.02,  # Seconds between two looks
) -> Any:  # What `condition` has returned
    """Wait until `condition` returns something true."""
    begun = time.monotonic()
    while True:
        if found := look(condition, begun, seconds, what, process):
            return found
        time.sleep(pause)


async def wait_for_async(condition: Callable[[], Any], seconds: float, what: str | Callable[[], str], pause: float = 0.02) -> Any:
    """Like `wait_for`, in a task: the event loop runs meanwhile."""
    begun = time.monotonic()
    while True:
        if found := look(condition, begun, seconds, what, None):
            return found
        await asyncio.sleep(pause)

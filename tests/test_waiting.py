"""The helper that waits, and that tests use no other."""

import ast
import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_for, wait_for_async


def test_what_has_come_is_returned() -> None:
    looks = iter([None, 0, "", "here"])
    assert wait_for(lambda: next(looks), 60, "it") == "here"


def test_what_did_not_come_is_named() -> None:
    with pytest.raises(AssertionError, match=r"^the third forecast: not within 0\.05 s$"):
        wait_for(lambda: False, 0.05, "the third forecast")


def test_the_last_state_is_shown() -> None:
    seen: list[int] = []
    with pytest.raises(AssertionError, match=r"^a fourth; there were \[0, 1, 2(, \d+)*\]: not within 0\.1 s$"):
        wait_for(lambda: seen.append(len(seen)), 0.1, lambda: f"a fourth; there were {seen}", pause=0.001)


def test_what_is_there_at_the_end_counts() -> None:
    """A machine may leave this process alone for longer than the limit."""
    began = time.monotonic()
    assert wait_for(lambda: time.monotonic() - began > 0.2, 0.01, "a fifth of a second", pause=0.3)


def test_a_process_that_has_ended_is_not_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        with pytest.raises(AssertionError, match="^an answer: not before the process ended with exit status 3$"):
            wait_for(lambda: False, 60, "an answer", process)
        assert wait_for(lambda: "written before it ended", 60, "a file", process)


@pytest.mark.anyio
async def test_other_tasks_run_meanwhile() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, event.set)
    assert await wait_for_async(event.is_set, 60, "the event")
    with pytest.raises(AssertionError, match=r"^another: not within 0\.05 s$"):
        await wait_for_async(lambda: False, 0.05, "another")


def hand_made(source: str) -> list[int]:
    """The lines of loops that look at a deadline in an assertion, or sleep a counted number of times until something holds."""
    lines = []
    for loop in ast.walk(ast.parse(source)):
        if isinstance(loop, ast.While | ast.For):
            inside = [node for statement in loop.body for node in ast.walk(statement)]
            deadline = any(isinstance(node, ast.Assert) and re.search(r"\b(monotonic|perf_counter|time)\(\) *(-|<)", ast.unparse(node.test)) for node in inside)
            sleeps = any(isinstance(node, ast.Call) and re.search(r"\bsleep$", ast.unparse(node.func)) for node in inside)
            ends = any(isinstance(node, ast.Break | ast.Return) for node in inside)
            if deadline or (sleeps and ends and isinstance(loop, ast.For) and ast.unparse(loop.iter).startswith("range(")):
                lines.append(loop.lineno)
    return lines


def test_a_hand_made_loop_is_recognised() -> None:
    assert hand_made("while not came():\n    assert time.monotonic() < end\n    time.sleep(0.1)") == [1]
    assert hand_made("\nfor _ in range(100):\n    if came():\n        break\n    time.sleep(0.1)") == [2]
    assert hand_made("for _ in range(20):\n    time.sleep(0.1)\n    seen.append(answer())") == []


def test_tests_wait_with_the_helper() -> None:
    files = sorted(Path(__file__).parent.rglob("*.py"))
    found = {path.name: lines for path in files if (lines := hand_made(path.read_text(encoding="utf-8")))}
    assert len(files) > 40 and not found, f"loops that wait by hand, at these lines: {found}; use `wait_for` of tests/waiting.py"

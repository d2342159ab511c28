"""Attacks on the service and its tools: each test makes one, bounded and on loopback, and records what it did before it was mended and what it does now."""

import pytest


@pytest.fixture
def attack(record_property):
    """Record a line of the tables of `make test-attacks` and `make test-latency`: `attack("1,100 sockets", before="no answer", after="answered in 4 ms")`."""

    def record(name: str, before: str, after: str) -> None:
        for key, value in (("attack", name), ("before", before), ("after", after)):
            record_property(key, value)

    return record

"""Prices and errors of any size keep their digits where a person reads them: tables of the command line, texts of the gate."""

import re

import numpy as np
import pytest

from crypto_rti.cli_backtest import print_scores
from crypto_rti.registry.gate import Comparison, decide, no_worse_than_persistence

ERRORS = {"MOG-BTC": 7.7124e-14, "SHIB-USD": 7.7124e-8, "USDC-USD": 0.000123, "BTC-USD": 281.747, "BTC-VND": 1.31e11}


def test_a_table_of_the_command_line_shows_errors_of_any_size(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"n": 8760, "mase": 0.99213, "dm_t": -2.31, "direction": 0.5312, "coverage_50": 0.501, "coverage_90": 0.8987, "width_90_bps": 211.4}
    results = [{"product": product, "model": "lasso", "horizon": 60, "minute": 0, "mae": mae, **scores} for product, mae in ERRORS.items()]
    print_scores({"source": "many", "start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z", "results": results})
    cells = [line.split() for line in capsys.readouterr().out.splitlines() if " lasso " in line]
    shown = {line[0]: line[3] for line in cells}
    assert shown == {"MOG-BTC": "0.0000000000000771", "SHIB-USD": "0.0000000771", "USDC-USD": "0.000123", "BTC-USD": "281.75", "BTC-VND": "131,000,000,000"}


@pytest.mark.parametrize("price", [2.3e-11, 1.305e-5, 1.0001, 67123.45, 3.1e13])
@pytest.mark.parametrize("skill", [1.0, -1.0])
def test_the_gate_tells_errors_of_any_size_apart(price: float, skill: float) -> None:
    """The challenger's error differs from persistence's by a thousandth; the text shows both, and which is smaller."""
    rng = np.random.default_rng(0)
    close = np.full(400, price)
    actual = close * (1 + rng.choice([-1, 1], 400) * rng.uniform(0.004, 0.006, 400))
    median = actual - (actual - close) * (1 - 0.001 * skill)
    forecast = np.stack([median + width * 0.02 * close for width in (-1, -0.3, 0, 0.3, 1)], axis=1)
    champion = np.stack([close] * 5, axis=1)
    _, reasons = decide(
        Comparison("lasso version 2", "persistence version 1", 0, 400 * 3600, close, actual, {"challenger": forecast, "champion": champion}),
        (no_worse_than_persistence,),
    )
    text = " ".join(reasons)
    found = re.search(r"error is ([\d,.]+)(?: against |, persistence has )([\d,.]+\d)", text)
    assert found, text
    own, naive = (float(figure.replace(",", "")) for figure in found.groups())
    assert own != naive and (own < naive) == (skill > 0), text
    assert naive == pytest.approx(np.abs(actual - close).mean(), rel=1e-4)
    assert not re.search(r"\de[-+]\d", text)

"""Candles with a wild print, and the bundle that was written before such prints were bounded."""

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd

from crypto_rti.data.candles import HOUR
from crypto_rti.registry.bundle import Bundle, load_bundle

START = 1_700_006_400  # A whole hour, Unix seconds
PRICES = ["low", "high", "open", "close"]
STORED = Path(__file__).parent / "data" / "bundle_before_bounded_returns.json"


def walk(hours: int = 600, seed: int = 7, sigma: float = 0.006, price: float = 140.0, reversal: float = 0.0) -> pd.DataFrame:
    "A random walk with Student's t steps, as a candle table; each step takes back the share `reversal` of the one before."
    rng = np.random.default_rng(seed)
    steps = sigma * rng.standard_t(5, hours) / np.sqrt(5 / 3)
    close = price * np.exp(np.cumsum(steps - reversal * np.append(0.0, steps[:-1])))
    open_ = np.append(price, close[:-1])
    wick = sigma * rng.exponential(0.4, (2, hours))
    low, high = np.minimum(open_, close) * np.exp(-wick[0]), np.maximum(open_, close) * np.exp(wick[1])
    time = START + HOUR * np.arange(hours)
    return pd.DataFrame({"time": time, "low": low, "high": high, "open": open_, "close": close, "volume": rng.lognormal(3, 0.5, hours)})


def with_wick(table: pd.DataFrame, place: int, factor: float = 0.01) -> pd.DataFrame:
    "One close, and the low or high of its candle, at `factor` times the price."
    table = table.copy()
    table.loc[place, ["close", "low" if factor < 1 else "high"]] *= factor
    table.loc[place, "low"], table.loc[place, "high"] = table.loc[place, PRICES].min(), table.loc[place, PRICES].max()
    return table


def with_jump(table: pd.DataFrame, place: int, factor: float = 1000.0) -> pd.DataFrame:
    "One new coin for `factor` old ones: prices times, volumes through `factor` from `place` on."
    table = table.copy()
    table.loc[place:, PRICES] *= factor
    table.loc[place:, "volume"] /= factor
    table.loc[place, "open"] /= factor
    table.loc[place, "low"], table.loc[place, "high"] = table.loc[place, PRICES].min(), table.loc[place, PRICES].max()
    return table


def stored() -> dict:
    "The stored bundle and what its own code answered."
    return json.loads(STORED.read_text())


def unpack(folder: Path) -> Path:
    "Lay the stored bundle out as files."
    folder.mkdir(parents=True, exist_ok=True)
    facts = stored()
    (folder / "manifest.json").write_text(json.dumps(facts["manifest"]))
    for name, content in facts["files"].items():
        (folder / name).write_bytes(base64.b64decode(content))
    return folder


def old_bundle(folder: Path) -> Bundle:
    "Load it."
    return load_bundle(unpack(folder))

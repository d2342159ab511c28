"""Hourly crypto forecasts that beat "no change", with honest intervals.

The names below are imported when they are first used, so that `import crypto_rti`
costs nothing and a service needs no training library.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it.
_HOMES = {
    "Settings": "settings",
    "load_settings": "settings",
    "CryptoRTIError": "settings",
    "CandleStore": "data.store",
    "fetch": "data.fetch",
    "sim_candles": "data.simulation",
    "FEATURES": "features",
    "build_features": "features",
    "make_dataset": "targets",
    "train_forecaster": "models.base",
    "run_backtest": "evaluation.backtest",
    "load_bundle": "registry.bundle",
    "predict_once": "service.once",
    "retrain": "pipeline",
    "Client": "client",
    "AsyncClient": "client",
}

# Modules of the extra `train`, and what they import as soon as they are imported.
_TRAIN = {"data.store", "data.fetch", "models.base", "evaluation.backtest", "pipeline"}
_TRAIN_NEEDS = ("filelock", "joblib", "onnx", "papermill", "pyarrow")

if TYPE_CHECKING:
    from .client import AsyncClient as AsyncClient
    from .client import Client as Client
    from .data.fetch import fetch as fetch
    from .data.simulation import sim_candles as sim_candles
    from .data.store import CandleStore as CandleStore
    from .evaluation.backtest import run_backtest as run_backtest
    from .features import FEATURES as FEATURES
    from .features import build_features as build_features
    from .targets import make_dataset as make_dataset
    from .models.base import train_forecaster as train_forecaster
    from .pipeline import retrain as retrain
    from .registry.bundle import load_bundle as load_bundle
    from .service.once import predict_once as predict_once
    from .settings import CryptoRTIError as CryptoRTIError
    from .settings import Settings as Settings
    from .settings import load_settings as load_settings


def _installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not imported."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _offered() -> list[str]:
    """The public names that can be imported here: what `from crypto_rti import *` brings and `help` shows."""
    complete = all(map(_installed, _TRAIN_NEEDS))
    return ["__version__", *(name for name, home in _HOMES.items() if complete or home not in _TRAIN)]


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return _offered()
    if name not in _HOMES:
        raise AttributeError(f"module 'crypto_rti' has no attribute {name!r}; it offers {', '.join(_HOMES)}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        from .errors import missing_extra

        raise missing_extra(error, f"crypto_rti.{name}") or error from None


def __dir__() -> list[str]:
    return sorted({*globals(), *_offered()})

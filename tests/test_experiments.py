"""Experiments run to their end on real candles, on less of them than `make experiments` takes."""

from pathlib import Path

import pytest

from crypto_rti.fork_server import ForkServer
from crypto_rti.runner import notebook_server, read_parameters, run_notebook
from crypto_rti.settings import load_settings

EXPERIMENTS = sorted((Path(__file__).parents[1] / "nbs" / "experiments").glob("*.ipynb"))
CANDLES = load_settings().shared.absolute() / "candles"


@pytest.fixture(scope="module")
def server():
    "One process that has imported what experiments import."
    libraries = ("crypto_rti.datasets", "crypto_rti.evaluation.backtest", "crypto_rti.evaluation.plots", "lightgbm", "sklearn.linear_model", "scipy.stats")
    with notebook_server({"CRYPTO_RTI_SHARED": str(CANDLES.parent)}, modules=libraries) as running:
        yield running


@pytest.mark.skipif(not CANDLES.exists(), reason="no shared candles here")
@pytest.mark.parametrize("notebook", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_runs(notebook: Path, tmp_path: Path, server: ForkServer) -> None:
    run_notebook(notebook, {**read_parameters(notebook), "QUICK": True}, tmp_path / notebook.name, server=server)

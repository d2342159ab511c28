"""Networks under kill -9, damaged checkpoints, foreign weights and NaN: what a notebook cannot hold."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_for

from crypto_rti.inputs import INPUTS
from crypto_rti.models.base import ModelError
from crypto_rti.models.networks import NetworkParams
from crypto_rti.models.neural import CnnModel, LstmModel
from crypto_rti.models.training import unpack_arrays

# One training, slowed down so that it can be killed in the middle. Arguments: where to put the weights, the checkpoint's folder, seconds per epoch.
TRAINING = """
import sys, time
import numpy as np
from crypto_rti.models import neural, training
from test_neural import make_rows

run_epoch = training.run_epoch
training.run_epoch = lambda *args: (time.sleep(float(sys.argv[3])), run_epoch(*args))[1]
model = neural.CnnModel(threads=1, epochs=6, epoch_rows=400, checkpoint=sys.argv[2]).fit(*make_rows())
model.save_weights(sys.argv[1])
print(model.history_)
"""


def make_rows(inputs: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows whose target is moved by one input."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1500, inputs)).astype(np.float32)
    y = 0.5 * X[:, 3] + rng.normal(size=1500)
    return X[:1200], y[:1200], X[1200:], y[1200:]


def quick(**params: Any) -> CnnModel:
    """A CNN that trains in a second."""
    return CnnModel(**{"threads": 1, "epochs": 2, "epoch_rows": 400, **params})


@pytest.fixture(scope="module")
def plain() -> CnnModel:
    """What `quick` makes of `make_rows` when nothing goes wrong."""
    return quick().fit(*make_rows())


def start_training(weights: Path, checkpoint: str, pause: float = 0.0) -> subprocess.Popen[str]:
    """Train in another process."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", TRAINING, str(weights), checkpoint, str(pause)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> str:
    """What a training printed."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def epochs_stored(checkpoint: Path) -> int:
    """Epochs a checkpoint holds."""
    return int(unpack_arrays(checkpoint)[0]["epoch"]) if checkpoint.exists() else 0


def test_killed_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    checkpoint = tmp_path / "stored" / "cnn.npz"
    killed = start_training(tmp_path / "killed.npz", str(checkpoint.parent), pause=1.0)
    wait_for(lambda: epochs_stored(checkpoint) >= 2, 300, lambda: f"two epochs in the checkpoint; {killed.poll() and killed.communicate()[1]}", killed)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(timeout=60) == -signal.SIGKILL
    killed.communicate()
    done = epochs_stored(checkpoint)
    assert 2 <= done < 6
    history = finished(start_training(tmp_path / "resumed.npz", str(checkpoint.parent)))
    unbroken = finished(start_training(tmp_path / "whole.npz", str(tmp_path / "elsewhere")))  # Alike in all: the first call in a process sets its threads
    assert history == unbroken
    (_, resumed), (_, whole) = unpack_arrays(tmp_path / "resumed.npz"), unpack_arrays(tmp_path / "whole.npz")
    assert all(np.array_equal(a, b) for a, b in zip(resumed["weights"], whole["weights"], strict=True))
    assert not checkpoint.exists(), "a finished training leaves no checkpoint"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_damaged_checkpoint_is_set_aside(plain: CnnModel, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cnn.npz").write_bytes(content)
    rows = make_rows()
    with caplog.at_level(logging.WARNING):
        model = quick(checkpoint=tmp_path).fit(*rows)
    assert "starts from the beginning" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["cnn.set-aside.npz"]
    assert (tmp_path / "cnn.set-aside.npz").read_bytes() == content
    assert all(np.array_equal(a, b) for a, b in zip(model.weights_, plain.weights_, strict=True))


def test_checkpoint_of_other_data_is_not_used(plain: CnnModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(self: Any, *args: Any) -> None:
        if self.epoch >= 1:
            raise Stop
        record(self, *args)

    from crypto_rti.models.training import TrainingState

    record = TrainingState.record
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "record", stop)
        with pytest.raises(Stop):
            quick(checkpoint=tmp_path).fit(*make_rows(seed=1))
    assert epochs_stored(tmp_path / "cnn.npz") == 1
    model = quick(checkpoint=tmp_path).fit(*make_rows())
    assert all(np.array_equal(a, b) for a, b in zip(model.weights_, plain.weights_, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["cnn.set-aside.npz"]


def test_broken_rows_are_named() -> None:
    X, y, X_valid, y_valid = make_rows()
    with pytest.raises(ModelError, match="1 of 1200 rows of training targets are NaN or infinite, the first is row 5; drop or repair them"):
        quick().fit(X, np.where(np.arange(len(y)) == 5, np.nan, y), X_valid, y_valid)
    with pytest.raises(ModelError, match="rows of validation inputs"):
        quick().fit(X, y, np.where(X_valid > 2, np.inf, X_valid).astype(np.float32), y_valid)


def test_a_loss_that_is_no_number_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    rows = make_rows()
    model = quick(checkpoint=tmp_path).fit(*rows)
    before = model.predict(rows[2])
    model.params = NetworkParams(threads=1, learning_rate=1e30, checkpoint=tmp_path)
    with pytest.raises(ModelError, match=r"cnn: the [\w ]+ became \S+ in epoch 1; lower learning_rate, now 1e\+30"):
        model.fit(*rows)
    assert np.array_equal(model.predict(rows[2]), before)
    assert not list(tmp_path.iterdir()), "nothing half done is left"


@pytest.mark.parametrize("head", ["quantiles", "median"])
def test_constant_targets(head: str) -> None:
    X, y, X_valid, y_valid = make_rows()
    quantiles = quick(head=head).fit(X, np.full_like(y, 0.25), X_valid, np.full_like(y_valid, 0.25)).predict(X_valid)
    assert quantiles.shape == (len(X_valid), 5)
    assert np.isfinite(quantiles).all()


def test_other_shapes_start_fresh_and_say_so(plain: CnnModel, caplog: pytest.LogCaptureFixture) -> None:
    rows = make_rows()
    small = quick().fit(*make_rows(inputs=9))
    with caplog.at_level(logging.WARNING):
        model = quick().start_from(small).fit(*rows)
    assert "starts fresh" in caplog.text
    assert all(np.array_equal(a, b) for a, b in zip(model.weights_, plain.weights_, strict=True))
    same = quick(epochs=1).start_from(model).fit(*rows)
    assert min(entry["valid"] for entry in same.history_) < model.persistence_loss_


def test_weights_of_another_network_are_refused(plain: CnnModel, tmp_path: Path) -> None:
    path = plain.save_weights(tmp_path / "weights.npz")
    with pytest.raises(ModelError, match="build the model that the weights belong to"):
        LstmModel().load_weights(path)
    with pytest.raises(ModelError, match="no weights that can be read"):
        CnnModel().load_weights(tmp_path / "missing.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="no weights that can be read"):
        CnnModel().load_weights(path)


def test_lstm_is_exported_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    rows = make_rows(inputs=len(INPUTS))
    model = LstmModel(threads=1, head="median", epochs=1, epoch_rows=200, batch=100, valid_rows=50).fit(*rows)
    code = model.to_onnx()["model.onnx"]
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", ""), "fit and export are silent"
    session = onnxruntime.InferenceSession(code)
    out = session.run(None, {session.get_inputs()[0].name: rows[2]})[0]
    assert np.abs(out - model.predict(rows[2])).max() < 1e-5


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    quick(progress=True).fit(*make_rows())
    said = capsys.readouterr()
    assert said.out == ""
    assert "cnn" in said.err
    assert "persistence" in said.err


def test_import_brings_no_tensorflow() -> None:
    code = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None; import crypto_rti.models.neural as n; n.CnnModel(); n.LstmModel(head='median')"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("params", "match"), [({"head": "mean"}, "choose 'quantiles' or 'median'"), ({"epochs": 0}, "epochs=0")])
def test_impossible_parameters(params: dict[str, Any], match: str) -> None:
    with pytest.raises(ModelError, match=match):
        NetworkParams(**params)

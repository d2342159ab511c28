"""A disk that fills: commands end with an error that has a name and a code, and lose nothing that was there."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from test_bundles import WIDTH, model, node
from toys import export_toy

from crypto_rti.cli import main
from crypto_rti.disk import DiskWatch
from crypto_rti.registry.bundle import load_bundle, write_bundle
from crypto_rti.registry.index import Index, bundle_folder, read_index, write_index

NAME = "sim.BTC-USD"


@pytest.fixture
def disk(tmp_path):
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def call(monkeypatch, capfd):
    """Run a command in this process; its exit code and what it printed."""

    def run(home, *arguments):
        for name, value in {"HOME": home, "SOURCE": "sim", "PRODUCTS": "BTC-USD", "MODELS": "lasso"}.items():
            monkeypatch.setenv(f"CRYPTO_RTI_{name}", str(value))
        monkeypatch.setattr(sys, "argv", ["crypto-rti", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        return ended.value.code, printed.out + printed.err

    return run


def export(folder, version, ballast=0):
    """A toy as champion of an export folder, as large as wanted."""
    content = model([node("Gemm", ["X", "W", "b"], ["y"])], {"ballast": np.random.default_rng(0).random(ballast // 4).astype(np.float32)})
    scaler = {"low": [-9.0] * WIDTH, "high": [9.0] * WIDTH, "mean": [0.0] * WIDTH, "std": [1.0] * WIDTH}
    manifest = {
        "name": NAME, "kind": "lasso", "version": version, "source": "sim", "product": "BTC-USD", "shrink": 1.0, "scaler": scaler,
        "train_span": ["2022-01-01T00:00:00Z", "2023-12-01T00:00:00Z"], "created": "2023-12-02T00:00:00Z",
    }  # fmt: skip
    write_bundle(bundle_folder(folder, NAME, version), manifest, {"model.onnx": content})
    write_index(folder, Index(name=NAME, aliases={"champion": version}))


def test_pull_onto_a_full_disk_keeps_the_champion(disk, call, tmp_path, attack):
    published = tmp_path / "published"
    export(published, "1")
    code, said = call(disk, "pull", published)
    assert code == 0, said
    export(published, "2", 3_000_000)
    code, said = call(disk, "pull", published)
    assert code == 74 and "DiskFullError" in said and "free space on that disk" in said and "Traceback" not in said, said
    assert read_index(disk / "bundles", NAME).aliases["champion"] == "1"
    assert load_bundle(bundle_folder(disk / "bundles", NAME, "1")).version == "1"
    attack("pull onto a full disk", "a traceback, exit code 1", f"exit code {code} with the remedy, version 1 still loads")


def test_a_retraining_is_not_begun_on_a_full_disk(disk, call, attack):
    (disk / "filler").write_bytes(bytes(2_040_000))
    before = sorted(disk.rglob("*"))
    code, said = call(disk, "retrain", "--quiet")
    assert code == 74 and "too little to start" in said and sorted(disk.rglob("*")) == before, said
    attack("retrain on a full disk", "an hour of work, then a failure", f"exit code {code} before anything is written")


def test_a_service_warns_before_its_disk_is_full(disk, caplog, attack):
    export_toy(disk / "bundles")
    watch = DiskWatch(disk)
    with caplog.at_level(logging.INFO, logger="crypto_rti.service"):
        watch.update()
        assert watch.note == "" and watch.free > 1_000_000
        (disk / "filler").write_bytes(bytes(1_900_000))
        watch.update()
        watch.update()
        assert "free space" in watch.note
        (disk / "filler").unlink()
        watch.update()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] and watch.note == ""
    attack("a disk that fills under a service", "nothing is told", "a line in the log, a note in readiness, a metric and an alert")

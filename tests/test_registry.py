"""The registry where notebooks cannot reach: real servers, several processes, processes that are killed."""

import functools
import http.server
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest

from crypto_rti.features import INPUTS, fit_scaler, make_dataset
from crypto_rti.models.base import MODELS, split_validation, train_forecaster
from crypto_rti.registry.bundle import (
    BundleCorruptError,
    BundleError,
    BundleMismatchError,
    BundleMissingError,
    Index,
    bundle_folder,
    list_models,
    load_bundle,
    pull_bundles,
    read_files,
    read_index,
    read_manifest,
    resolve_alias,
    write_bundle,
    write_index,
)
from crypto_rti.registry.catalog import (
    CatalogError,
    attach_report,
    connect,
    ensure_champion,
    get_version,
    list_versions,
    pack_forecaster,
    promote,
    register_bundle,
    rollback,
)
from crypto_rti.settings import load_settings

NAME = "sim.BTC-USD"


def fan_onnx(shift: float = 0.0, size: int = 0) -> bytes:
    "A model that always answers the same five quantiles; `size` bytes of ballast make it as large as wanted."
    width, kind = len(INPUTS), onnx.TensorProto.FLOAT
    fan = np.array([-1.6, -0.5, 0.0, 0.5, 1.6], np.float32) + np.float32(shift)
    values = {"W": np.zeros((width, 5), np.float32), "b": fan, "ballast": np.zeros(size // 4, np.float32)}
    ends = [onnx.helper.make_tensor_value_info(name, kind, [None, n]) for name, n in (("X", width), ("y", 5))]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Gemm", ["X", "W", "b"], ["y"])], "fan", ends[:1], ends[1:], constants)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def facts(kind: str = "lasso", product: str = "BTC-USD", **more: object) -> dict:
    scaler = fit_scaler(np.random.default_rng(0).normal(size=(50, len(INPUTS)))).to_dict()
    return {
        "name": f"sim.{product}", "kind": kind, "source": "sim", "product": product, "scaler": scaler, "shrink": 1.0,
        "train_span": ["2024-01-01T00:00:00Z", "2024-06-01T00:00:00Z"], "created": "2024-06-02T00:00:00Z", **more,
    }  # fmt: skip


def export(folder: Path, versions: dict[str, bytes], name: str = NAME) -> Path:
    "An export folder whose champion is the last of these versions."
    for version, content in versions.items():
        write_bundle(bundle_folder(folder, name, version), facts(version=version), {"a.onnx": content})
    write_index(folder, Index(name=name, aliases={"champion": list(versions)[-1], "lasso": list(versions)[0]}))
    return folder


# --- a bundle answers what the trained model answers ------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(MODELS))
def test_onnx_equals_the_trained_model_on_real_rows(kind, tmp_path):
    path = load_settings().shared / "candles" / "coinbase" / "BTC-USD.parquet"
    if not path.exists():
        pytest.skip("no ../shared candles here")
    import pandas as pd

    data = make_dataset(pd.read_parquet(path), "BTC-USD")
    learn, judged = split_validation(data)
    forecaster = train_forecaster(kind, learn, {"cnn": {"epochs": 3}, "lstm": {"epochs": 1}}.get(kind))
    manifest, files = pack_forecaster(forecaster, "coinbase", "BTC-USD", learn, {"mae": 1.0})
    bundle = load_bundle(write_bundle(tmp_path / "b", {**manifest, "created": "2025-01-01T00:00:00Z"}, files))
    rows = judged.X[:1000]
    assert len(rows) == 1000
    assert np.abs(bundle.predict(rows) - forecaster.predict(rows)).max() < 1e-5
    one_by_one = np.vstack([bundle.predict(rows[i : i + 1]) for i in range(100)])
    assert np.abs(one_by_one - bundle.predict(rows[:100])).max() < 1e-6


# --- pulling over HTTP ------------------------------------------------------------------------------------------------


class Shop(http.server.SimpleHTTPRequestHandler):
    "A plain file server that notes what was asked for and can stumble on demand."

    asked: list[str] = []
    stumbles: dict[str, list[str]] = {}  # What happens to the next requests of a path: `500`, `cut`

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        mishaps = self.stumbles.get(self.path, [])
        mishap = mishaps.pop(0) if mishaps else ""
        if mishap == "500":
            self.send_error(500)
        elif mishap == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"only the beginning")
            self.close_connection = True
        else:
            super().do_GET()


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    handler = type("Fresh", (Shop,), {"asked": [], "stumbles": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_pull_by_url_asks_again_when_the_server_stumbles_and_never_for_what_it_has(shop, tmp_path):
    folder, url, handler = shop
    export(folder, {"1": fan_onnx(0.1), "2": fan_onnx(0.2)})
    handler.stumbles[f"/{NAME}/2/a.onnx"] = ["500", "cut"]
    here = tmp_path / "here"
    assert pull_bundles(url, here) == {NAME: ["1", "2"]}
    assert handler.asked.count(f"/{NAME}/2/a.onnx") == 3
    assert resolve_alias(here, NAME) == "2"
    handler.asked.clear()
    assert pull_bundles(url, here) == {NAME: []}
    assert not [path for path in handler.asked if path.endswith(".onnx")]


def test_an_interrupted_pull_shows_nothing_and_goes_on_where_it_stopped(shop, tmp_path):
    folder, url, handler = shop
    write_bundle(bundle_folder(folder, NAME, "1"), facts(version="1"), {"a.onnx": fan_onnx()})
    here = tmp_path / "here"
    write_index(folder, Index(name=NAME, aliases={"champion": "1"}))
    pull_bundles(url, here)
    halves = {"a.onnx": half_onnx(0, 3), "b.onnx": half_onnx(3, 5)}
    write_bundle(bundle_folder(folder, NAME, "2"), facts(version="2"), halves)
    write_index(folder, Index(name=NAME, aliases={"champion": "2"}))
    handler.stumbles[f"/{NAME}/2/b.onnx"] = ["cut"] * 10
    with pytest.raises(BundleError, match="b.onnx"):
        pull_bundles(url, here)
    assert resolve_alias(here, NAME) == "1" and not bundle_folder(here, NAME, "2").exists()
    load_bundle(bundle_folder(here, NAME, "1"))
    handler.stumbles.clear()
    handler.asked.clear()
    assert pull_bundles(url, here) == {NAME: ["2"]}
    assert f"/{NAME}/2/a.onnx" not in handler.asked and f"/{NAME}/2/b.onnx" in handler.asked
    assert resolve_alias(here, NAME) == "2"
    assert not list((here / NAME).glob(".*"))


def half_onnx(start: int, end: int) -> bytes:
    "The columns `[start, end)` of the fan."
    width, kind = len(INPUTS), onnx.TensorProto.FLOAT
    fan = np.array([-1.6, -0.5, 0.0, 0.5, 1.6], np.float32)[start:end]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in (("W", np.zeros((width, len(fan)), np.float32)), ("b", fan))]
    ends = [onnx.helper.make_tensor_value_info(name, kind, [None, n]) for name, n in (("X", width), ("y", len(fan)))]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Gemm", ["X", "W", "b"], ["y"])], "half", ends[:1], ends[1:], constants)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_a_model_in_several_files_answers_in_the_order_of_their_names(tmp_path):
    parts = {"b.onnx": half_onnx(3, 5), "a.onnx": half_onnx(0, 3)}
    bundle = load_bundle(write_bundle(tmp_path / "b", facts(), parts))
    assert np.allclose(bundle.predict(np.zeros((2, len(INPUTS)))), [[-1.6, -0.5, 0.0, 0.5, 1.6]] * 2)


def test_a_damaged_or_hostile_server_changes_nothing(shop, tmp_path):
    folder, url, _ = shop
    export(folder, {"1": fan_onnx(0.1)})
    here = tmp_path / "here"
    pull_bundles(url, here)
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    write_bundle(bundle_folder(folder, NAME, "2"), facts(version="2"), {"a.onnx": fan_onnx(0.2)})
    write_index(folder, Index(name=NAME, aliases={"champion": "2"}))
    manifest = bundle_folder(folder, NAME, "2") / "manifest.json"
    honest = json.loads(manifest.read_text())
    outside = tmp_path / "outside.onnx"
    lies = [
        {**honest, "files": {"../../../outside.onnx": "0" * 64}},
        {**honest, "files": {str(outside): "0" * 64}},
        {**honest, "files": {"a.onnx": "0" * 64}},
        {**honest, "version": "7"},
        {**honest, "version": "../../x"},
        {**honest, "name": "sim.ETH-USD", "product": "ETH-USD"},
        {**honest, "files": {}},
        {**honest, "inputs": ["close"]},
        {**honest, "shrink": 7},
        [],
    ]
    for lie in lies:
        manifest.write_text(json.dumps(lie))
        with pytest.raises(BundleError):
            pull_bundles(url, here)
        visible = {path: path.read_bytes() for path in here.rglob("*") if path.is_file() and ".2.partial" not in str(path)}
        assert visible == before and not outside.exists()
    with pytest.raises(BundleMissingError, match="answered 404"):
        pull_bundles(url + "/nowhere", here)
    with pytest.raises(BundleMissingError, match="there is no model"):
        pull_bundles(url, here, names=["sim.DOGE-USD"])


def test_a_server_that_is_away_is_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BundleError, match="is it up"):
        pull_bundles(f"http://127.0.0.1:{port}", tmp_path, timeout=1)


# --- killed at any moment ---------------------------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_registry import *
folder = Path({folder!r})
print("ready", flush=True)
for number in range(10_000):
    write_bundle(folder, facts(version=str(number % 1000)), {{"a.onnx": fan_onnx(number / 1000, 200_000)}})
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_bundle(tmp_path):
    folder = tmp_path / "3"
    write_bundle(folder, facts(version="1"), {"a.onnx": fan_onnx()})
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(folder))
    seen = set()
    for seed in range(4):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2 + random.Random(seed).random() / 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if folder.exists():  # Between two renames nothing is there, and nothing half
            seen.add(load_bundle(folder).version)
        else:
            write_bundle(folder, facts(version="1"), {"a.onnx": fan_onnx()})
    assert seen


# --- the catalog, from several processes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    "A registry with one registered model, shared by the tests below; each uses products of its own."
    settings = load_settings(home=tmp_path_factory.mktemp("var"), registry_uri="")
    connect(settings)
    return settings


RACER = """
import sys
sys.path.insert(0, {tests!r})
from test_registry import *
settings = load_settings(home=Path({home!r}), registry_uri="")
print(ensure_champion(settings, facts("persistence", "RACE-USD"), {{"a.onnx": fan_onnx()}}))
print(register_bundle(settings, facts("lasso", "RACE-USD"), {{"a.onnx": fan_onnx(0.1)}}))
"""


def test_processes_that_start_together_make_one_database_and_one_champion(tmp_path):
    home = tmp_path / "var"
    code = RACER.format(tests=str(Path(__file__).parent), home=str(home))
    racers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [racer.communicate(timeout=120) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], said
    assert [error for _, error in said] == ["", ""], "MLflow is to be quiet"
    crowned = sorted(out.splitlines()[0] for out, _ in said)
    assert crowned[0].isdigit() and crowned[1] == "None"
    versions = list_versions(load_settings(home=home, registry_uri=""))
    assert sorted(item.kind for item in versions) == ["lasso", "lasso", "persistence"]
    assert sum("champion" in item.aliases for item in versions) == 1


def test_rolling_back_walks_down_the_list_of_champions(home):
    name, expected, rng = "sim.WALK-USD", [], random.Random(1)
    versions = [register_bundle(home, facts("lasso", "WALK-USD"), {"a.onnx": fan_onnx(number)}) for number in range(4)]
    for _ in range(12):
        if len(expected) > 1 and rng.random() < 0.5:
            expected.pop()
            assert rollback(home, name) == expected[-1]
        else:
            chosen = rng.choice([version for version in versions if version != (expected or [""])[-1]])
            expected = [*expected, chosen]
            assert promote(home, name, chosen) == chosen
        # A champion that returns counts from its latest reign, and so does what lies before it
        assert resolve_alias(home.bundles_dir, name) == expected[-1] == get_version(home, name, "champion").version
        if expected.count(expected[-1]) > 1:
            break
    while len(expected) > 1:
        expected.pop()
        assert rollback(home, name) == expected[-1]
    with pytest.raises(CatalogError, match="no champion before"):
        rollback(home, name)


def test_what_fails_to_register_is_no_version(home):
    with pytest.raises(BundleCorruptError):
        register_bundle(home, facts("lasso", "HALF-USD"), {"a.onnx": b"not a model"})
    with pytest.raises(CatalogError, match="none: train a model first"):
        get_version(home, "sim.HALF-USD", "lasso")
    assert "sim.HALF-USD" not in list_models(home.bundles_dir)


def test_a_champion_of_other_features_makes_way_for_persistence(home, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("crypto_rti.registry.bundle.features_signature", lambda: "0" * 16)
        older.setattr("crypto_rti.registry.bundle.computations", lambda: {"0" * 16: True})
        first = ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()})
        assert ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()}) is None
    with pytest.raises(BundleMismatchError, match="train it again"):
        load_bundle(bundle_folder(home.bundles_dir, "sim.OLD-USD", first))
    second = ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()})
    assert second != first and load_bundle(bundle_folder(home.bundles_dir, "sim.OLD-USD", second)).version == second
    assert ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()}) is None


def test_a_registry_that_is_away_is_named_and_its_password_is_not(tmp_path):
    settings = load_settings(home=tmp_path, registry_uri="http://ann:s3cret@127.0.0.1:9")
    with pytest.raises(CatalogError, match="cannot be opened") as caught:
        connect(settings)
    assert "s3cret" not in str(caught.value) and "***@127.0.0.1:9" in str(caught.value)


def test_a_damaged_export_is_written_again(home):
    version = register_bundle(home, facts("lasso", "FIX-USD"), {"a.onnx": fan_onnx()})
    promote(home, "sim.FIX-USD", version)
    damaged = bundle_folder(home.bundles_dir, "sim.FIX-USD", version) / "a.onnx"
    damaged.write_bytes(b"bit rot")
    promote(home, "sim.FIX-USD", version)
    assert load_bundle(damaged.parent).version == version


def test_the_report_of_a_run_is_kept_with_it(home, tmp_path):
    version = register_bundle(home, facts("lasso", "REPORT-USD", params={"alpha": 0.1}, metrics={"mae": 2.0, "dm_t": None}), {"a.onnx": fan_onnx()})
    report = tmp_path / "3_train.ipynb"
    with pytest.raises(CatalogError, match="there is no report 3_train.ipynb"):
        attach_report(home, "sim.REPORT-USD", version, report)
    report.write_text("{}")
    report.with_suffix(".html").write_text("<html>")
    assert attach_report(home, "sim.REPORT-USD", version, report) == ["3_train.ipynb", "3_train.html"]
    client, run = connect(home), get_version(home, "sim.REPORT-USD", version).run_id
    assert sorted(entry.path for entry in client.list_artifacts(run, "report")) == ["report/3_train.html", "report/3_train.ipynb"]
    assert client.get_run(run).data.metrics == {"mae": 2.0} and client.get_run(run).data.params["alpha"] == "0.1"
    kept = Path(client.download_artifacts(run, "bundle"))
    assert set(read_files(kept, read_manifest(kept))) == {"a.onnx"}


# --- an MLflow server by its URL ----------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            if httpx.get(f"{url}/health", timeout=1).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.2)
    yield url
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_server_by_url_serves_as_well(server, tmp_path):
    settings = load_settings(home=tmp_path / "var", registry_uri=server)
    ensure_champion(settings, facts("persistence"), {"a.onnx": fan_onnx()})
    version = register_bundle(settings, facts("lasso", metrics={"mae": 1.0}), {"a.onnx": fan_onnx(0.1)})
    assert promote(settings, NAME, "lasso") == version
    assert read_index(settings.bundles_dir, NAME).aliases == {"champion": "2", "lasso": "2", "persistence": "1"}
    assert rollback(settings, NAME) == "1"
    assert load_bundle(bundle_folder(settings.bundles_dir, NAME, "2")).kind == "lasso"

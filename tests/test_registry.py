"""The registry where notebooks cannot reach: real servers, several processes, processes that are killed."""

import contextlib
import functools
import http.server
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from waiting import wait_for

from crypto_rti.cli import main
from crypto_rti.data.candles import HOUR, to_unix
from crypto_rti.inputs import INPUTS
from crypto_rti.models.base import MODELS, split_validation, train_forecaster
from crypto_rti.registry.bundle import load_bundle, read_files, read_manifest, write_bundle
from crypto_rti.registry.connection import RegistryError, connect
from crypto_rti.registry.exports import export_model, export_models
from crypto_rti.registry.gate import GATE
from crypto_rti.registry.index import Index, bundle_folder, list_models, read_index, resolve_alias, write_index
from crypto_rti.registry.manifest import BundleCorruptError, BundleError, BundleMismatchError, BundleMissingError
from crypto_rti.registry.packing import pack_forecaster
from crypto_rti.registry.promotion import ensure_champion, promote, rollback, submit_challenger
from crypto_rti.registry.pruning import prune_registry
from crypto_rti.registry.pull import pull_bundles
from crypto_rti.registry.tracking import attach_report, register_bundle, register_bundles
from crypto_rti.registry.versions import get_version, list_versions
from crypto_rti.scaling import fit_scaler
from crypto_rti.settings import load_settings
from crypto_rti.targets import Dataset, make_dataset

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


def test_pulls_into_one_folder_at_once(tmp_path):
    "Several of all models, and one of each by itself; every one ends well, and the list misses nobody."
    names = [f"sim.{coin}-USD" for coin in ("BTC", "ETH", "SOL")]
    for name in names:
        write_bundle(bundle_folder(tmp_path / "there", name, "1"), facts(version="1", product=name.removeprefix("sim.")), {"a.onnx": fan_onnx()})
        write_index(tmp_path / "there", Index(name=name, aliases={"champion": "1"}))
    for round_ in range(8):
        here = tmp_path / str(round_)
        with ThreadPoolExecutor(6) as pool:
            pulls = [pool.submit(pull_bundles, tmp_path / "there", here, wanted) for wanted in (None, None, None, *([name] for name in names))]
        copied = [name for pull in pulls for name, versions in pull.result().items() if versions]
        assert sorted(copied) == names, "each is copied once"
        assert list_models(here) == names and not [path for path in here.rglob(".*") if path.name.endswith((".partial", ".lock"))]


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
        ({**honest, "files": {"../../../outside.onnx": "0" * 64}}, "outside.onnx': String should match pattern"),
        ({**honest, "files": {str(outside): "0" * 64}}, "outside.onnx': String should match pattern"),
        ({**honest, "files": {"a.onnx": "0" * 64}}, "a.onnx has hash [0-9a-f]{12}…, not 000000000000…"),
        ({**honest, "version": "7"}, "holds sim.BTC-USD version 7"),
        ({**honest, "version": "../../x"}, "version = '../../x': String should match pattern"),
        ({**honest, "name": "sim.ETH-USD", "product": "ETH-USD"}, "holds sim.ETH-USD version 2"),
        ({**honest, "files": {}}, "files = '{}': Dictionary should have at least 1 item"),
        ({**honest, "inputs": ["close"]}, r"reads \['close'\] and lacks"),
        ({**honest, "shrink": 7}, "shrink = '7': Input should be less than or equal to 1"),
        ([], "manifest.json cannot be read"),
    ]
    for lie, says in lies:
        manifest.write_text(json.dumps(lie))
        with pytest.raises(BundleError, match=says):
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
        assert folder.exists() or sys.platform != "linux", "two folders can change their names in one step"
        if folder.exists():  # Elsewhere nothing is there between two renames, and nothing half
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
    with pytest.raises(RegistryError, match="no champion before"):
        rollback(home, name)


def test_unknown_names_end_with_2_and_list_what_there_is(home, monkeypatch, capsys):
    register_bundle(home, facts("lasso", "NAMED-USD"), {"a.onnx": fan_onnx()})
    monkeypatch.setenv("CRYPTO_RTI_HOME", str(home.home))
    for arguments, says in (
        (["models", "sim.NAMED-UDS"], "did you mean sim.NAMED-USD? there are "),
        (["models", "sim.NAMED-USD' OR name LIKE '%"], "write it like coinbase.BTC-USD"),
        (["promote", "sim.NAMED-UDS", "lasso"], "did you mean sim.NAMED-USD?"),
        (["promote", "sim.NAMED-USD", "Lasso"], "did you mean lasso? it has 1 (lasso)"),
        (["rollback", "sim.NAMED-UDS"], "did you mean sim.NAMED-USD?"),
    ):
        monkeypatch.setattr("sys.argv", ["crypto-rti", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == 2 and says in said, said


def test_what_fails_to_register_is_no_version(home):
    with pytest.raises(BundleCorruptError, match="cut off or not an ONNX file"):
        register_bundle(home, facts("lasso", "HALF-USD"), {"a.onnx": b"not a model"})
    with pytest.raises(RegistryError, match="there is no model 'sim.HALF-USD'"):
        get_version(home, "sim.HALF-USD", "lasso")
    assert "sim.HALF-USD" not in list_models(home.bundles_dir)


def test_a_champion_of_other_features_makes_way_for_persistence(home, monkeypatch):
    with monkeypatch.context() as older:
        for module in ("bundle", "contents"):  # What is written, and what is checked
            older.setattr(f"crypto_rti.registry.{module}.known_signatures", lambda by_quarter: {"0" * 16: True})
        first = ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()})
        assert ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()}) is None
    with pytest.raises(BundleMismatchError, match="train it again"):
        load_bundle(bundle_folder(home.bundles_dir, "sim.OLD-USD", first))
    second = ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()})
    assert second != first and load_bundle(bundle_folder(home.bundles_dir, "sim.OLD-USD", second)).version == second
    assert ensure_champion(home, facts("persistence", "OLD-USD"), {"a.onnx": fan_onnx()}) is None


def test_a_registry_that_is_away_is_named_and_its_password_is_not(tmp_path):
    settings = load_settings(home=tmp_path, registry_uri="http://ann:s3cret@127.0.0.1:9")
    with pytest.raises(RegistryError, match="cannot be opened") as caught:
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
    with pytest.raises(RegistryError, match="there is no report 3_train.ipynb"):
        attach_report(home, "sim.REPORT-USD", version, report)
    report.write_text("{}")
    report.with_suffix(".html").write_text("<html>")
    assert attach_report(home, "sim.REPORT-USD", version, report) == ["3_train.ipynb", "3_train.html"]
    client, run = connect(home), get_version(home, "sim.REPORT-USD", version).run_id
    assert sorted(entry.path for entry in client.list_artifacts(run, "report")) == ["report/3_train.html", "report/3_train.ipynb"]
    assert client.get_run(run).data.metrics == {"mae": 2.0} and client.get_run(run).data.params["alpha"] == "0.1"
    kept = Path(client.download_artifacts(run, "bundle"))
    assert set(read_files(kept, read_manifest(kept))) == {"a.onnx"}


# --- the gate ------------------------------------------------------------------------------------------------------------


def hours(drift: float, seed: int = 0, rows: int = 2000) -> Dataset:
    "Hours after the toys' training span whose next move is `drift` volatilities more often than not."
    rng = np.random.default_rng(seed)
    time, y = to_unix("2024-07-01") + HOUR * np.arange(rows), drift + rng.laplace(0, 0.5, rows)
    close, volatility = np.full(rows, 1.3e-5), np.full(rows, 0.01)
    return Dataset(time, np.full(rows, "X-USD"), np.zeros((rows, len(INPUTS))), y, close, close * np.exp(volatility * y), volatility)


def test_a_model_worse_than_persistence_is_refused_even_where_that_may_be_luck(home):
    "SHIB's third promotion in a row: its error was above persistence's, not significantly, and the gate let it pass."
    name = "sim.LUCK-USD"
    ensure_champion(home, facts("persistence", "LUCK-USD"), {"a.onnx": fan_onnx()})
    worse = register_bundle(home, facts("lasso", "LUCK-USD"), {"a.onnx": fan_onnx(0.02)})
    decision = submit_challenger(home, name, worse, hours(0.0), GATE[:-1])
    assert 0 < decision.dm_t["persistence"] < 1.64 and decision.mae["challenger"] > decision.mae["persistence"]
    assert not decision.promoted and "it is worse than persistence" in decision.reasons[0]
    event = read_index(home.bundles_dir, name).last_event
    assert (event["event"], event["version"], event["previous_version"], event["reasons"]) == ("refused", worse, "1", decision.reasons)


def test_no_chain_of_lucky_comparisons_ends_above_its_best(home):
    name, checks = "sim.CHAIN-USD", GATE[:-1]
    ensure_champion(home, facts("persistence", "CHAIN-USD"), {"a.onnx": fan_onnx()})
    best, lucky, worse, better = (register_bundle(home, facts("lasso", "CHAIN-USD"), {"a.onnx": fan_onnx(shift)}) for shift in (0.15, 0.17, 0.168, 0.149))
    first = submit_challenger(home, name, best, hours(0.15), checks)
    assert first.promoted and first.leads and first.best == ""
    second = submit_challenger(home, name, lucky, hours(0.17), checks)  # These hours suit it a little better than the best of the chain
    assert second.promoted and not second.leads and -2.33 < second.dm_t["champion"] < 0
    third = submit_challenger(home, name, worse, hours(0.14), checks)
    assert third.mae["best"] < third.mae["challenger"] < third.mae["champion"] and third.best == best
    assert not third.promoted and f"worse than the best of its chain, lasso version {best}" in third.reasons[0]
    assert submit_challenger(home, name, better, hours(0.14), checks).promoted
    # What is decided by hand begins a new chain
    promote(home, name, lucky)
    assert submit_challenger(home, name, worse, hours(0.14), checks).promoted
    assert rollback(home, name, "a visitor complained") == lucky
    event = read_index(home.bundles_dir, name).last_event
    assert (event["event"], event["version"], event["previous_version"]) == ("rolled_back", lucky, worse)
    assert event["reasons"] == [f"rolled back from lasso version {worse} to lasso version {lucky}", "a visitor complained"]


def test_an_index_from_before_the_last_event_is_read(tmp_path):
    export(tmp_path, {"1": fan_onnx()})
    path = tmp_path / NAME / "index.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "last_event"}))
    assert read_index(tmp_path, NAME).last_event is None


# --- a home that moves, and a registry that other tools have changed ------------------------------------------------------


def test_a_home_that_was_moved_reads_and_writes_where_it_is_now(tmp_path):
    old, new, copy = (tmp_path / name / "vär #1, 50% off?+x" / "var" for name in ("old", "new", "copy"))
    ensure_champion(load_settings(home=old, registry_uri=""), facts("persistence"), {"a.onnx": fan_onnx()})
    first = register_bundle(load_settings(home=old, registry_uri=""), facts("lasso"), {"a.onnx": fan_onnx(0.1)})
    assert {path.name for path in tmp_path.rglob("*") if path.name not in {"old", "vär #1, 50% off?+x"} and old not in (path, *path.parents)} == set()
    new.parent.mkdir(parents=True)
    old.rename(new)
    (tmp_path / "old" / old.parent.name).rmdir()
    (tmp_path / "old").rmdir()
    shutil.rmtree(new / "bundles")
    shutil.copytree(new, copy)

    for home in (load_settings(home=new, registry_uri=""), load_settings(home=copy, registry_uri="")):
        assert promote(home, NAME, first) == first and load_bundle(bundle_folder(home.bundles_dir, NAME, first)).version == first
        assert rollback(home, NAME) == "1"
        (home.home / "3_train.ipynb").write_text("{}")
        attach_report(home, NAME, first, home.home / "3_train.ipynb")
        second = register_bundle(home, facts("lasso"), {"a.onnx": fan_onnx(0.2)})
        runs = {get_version(home, NAME, version).run_id for version in ("1", first, second)}
        assert {path.name for path in (home.home / "artifacts").iterdir()} == runs
        assert (home.home / "artifacts" / get_version(home, NAME, first).run_id / "artifacts" / "report" / "3_train.ipynb").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "new"] and not old.exists()
    assert len(list((tmp_path / "new").rglob("manifest.json"))) == len(list((tmp_path / "copy").rglob("manifest.json")))


def test_a_relative_home_is_found_again_from_another_folder(home, tmp_path, monkeypatch):
    shutil.copytree(home.home, tmp_path / "a" / "var")
    monkeypatch.chdir(tmp_path / "a")
    version = register_bundle(load_settings(home="var", registry_uri=""), facts("lasso", "HERE-USD"), {"a.onnx": fan_onnx()})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    moved = load_settings(home="b/var", registry_uri="")
    assert promote(moved, "sim.HERE-USD", version) == version
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b"]


@pytest.fixture
def own(home, tmp_path):
    "A copy of the registry that a test may damage, with two versions of one model."
    shutil.copytree(home.home, tmp_path / "var")
    settings = load_settings(home=tmp_path / "var", registry_uri="")
    ensure_champion(settings, facts("persistence", "OWN-USD"), {"a.onnx": fan_onnx()})
    register_bundle(settings, facts("lasso", "OWN-USD"), {"a.onnx": fan_onnx(0.1)})
    return settings


def test_a_deleted_experiment_is_restored(own):
    client = connect(own)
    client.delete_experiment(client.get_experiment_by_name("sim.OWN-USD").experiment_id)
    assert register_bundle(own, facts("lasso", "OWN-USD"), {"a.onnx": fan_onnx(0.2)}) == "3"
    assert promote(own, "sim.OWN-USD", "2") == "2"


def test_runs_that_mlflow_removed_for_good_are_named_and_persistence_takes_over(own):
    name, client = "sim.OWN-USD", connect(own)
    promote(own, name, "2")
    run = get_version(own, name, "2").run_id
    client.delete_run(run)
    client._tracking_client.store._hard_delete_run(run)  # As `mlflow gc` does
    shutil.rmtree(own.home / "artifacts" / run)
    assert promote(own, name, "2") == "2", "the export still holds it"
    shutil.rmtree(own.bundles_dir / name)
    with pytest.raises(BundleMissingError, match="version 2 .lasso. are gone from the registry; promote another version"):
        promote(own, name, "2")
    with pytest.raises(RegistryError, match="no longer has it.*retrain --force"):
        attach_report(own, name, "2", Path(__file__))
    assert ensure_champion(own, facts("persistence", "OWN-USD"), {"a.onnx": fan_onnx()}) == "3"
    assert read_index(own.bundles_dir, name).aliases["champion"] == "3" and "lasso" not in read_index(own.bundles_dir, name).aliases


def test_a_champion_that_mlflow_deleted_is_no_way_back(own):
    name, client = "sim.OWN-USD", connect(own)
    promote(own, name, "2")
    third = register_bundle(own, facts("lasso", "OWN-USD"), {"a.onnx": fan_onnx(0.2)})
    promote(own, name, third)
    client.delete_model_version(name, "2")
    assert rollback(own, name) == "1"


def test_a_deleted_model_begins_again(own):
    connect(own).delete_registered_model("sim.OWN-USD")
    with pytest.raises(RegistryError, match="there is no model 'sim.OWN-USD'"):
        rollback(own, "sim.OWN-USD")
    assert ensure_champion(own, facts("persistence", "OWN-USD"), {"a.onnx": fan_onnx()}) == "1"


@pytest.mark.parametrize(("revision", "remedy"), [("0000aaaa1111", "pip install --upgrade mlflow"), ("451aebb31d03", "mlflow db upgrade")])
def test_a_database_of_another_mlflow_is_named_with_the_remedy(home, tmp_path, revision, remedy):
    shutil.copy(home.home / "mlflow.db", tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()
    with pytest.raises(RegistryError, match=remedy):
        connect(load_settings(home=tmp_path, registry_uri=""))


# --- pruning ------------------------------------------------------------------------------------------------------------


def everything_fits(settings) -> None:
    "No version without its run, files and export; no files, runs or exports without a version."
    client = connect(settings)
    for name in {item.name for item in list_versions(settings)}:
        prune_registry(settings, name)
        if not (settings.bundles_dir / name).exists():  # Registered by another test, and never exported
            continue
        versions = list_versions(settings, name)
        for item in versions:
            assert client.list_artifacts(item.run_id, "bundle"), item
        exported = {path.name for path in (settings.bundles_dir / name).iterdir() if path.is_dir()}
        assert exported <= {item.version for item in versions} and not any(item.startswith(".") for item in exported)
        for version in read_index(settings.bundles_dir, name).aliases.values():
            load_bundle(bundle_folder(settings.bundles_dir, name, version))
        assert load_bundle(bundle_folder(settings.bundles_dir, name, resolve_alias(settings.bundles_dir, name))).version
    with closing(sqlite3.connect(settings.home / "mlflow.db")) as database:
        runs = {run for (run,) in database.execute("SELECT run_uuid FROM runs")}
        assert not database.execute("SELECT 1 FROM tags WHERE key = 'crypto_rti.pruned'").fetchall()
        for table in ("params", "tags", "metrics", "latest_metrics"):
            assert {run for (run,) in database.execute(f"SELECT run_uuid FROM {table}")} <= runs
        assert {path.name for path in (settings.home / "artifacts").iterdir()} <= runs


PRUNER = """
import sys
sys.path.insert(0, {tests!r})
from test_registry import *
settings = load_settings(home=Path({home!r}), registry_uri="", keep_versions=1)
name = "sim.{product}"
ensure_champion(settings, facts("persistence", {product!r}), {{"a.onnx": fan_onnx()}})
print("ready", flush=True)
for number in range({rounds}):
    for _ in range(7):
        version = register_bundle(settings, facts("lasso", {product!r}, metrics={{"mae": 1.0}}), {{"a.onnx": fan_onnx(number)}})
    promote(settings, name, version)
    print(prune_registry(settings, name), flush=True)
"""


def pruner(home: Path, product: str, rounds: int) -> subprocess.Popen:
    code = PRUNER.format(tests=str(Path(__file__).parent), home=str(home), product=product, rounds=rounds)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def test_pruning_that_is_killed_is_finished_by_the_next(own):
    settings = own.model_copy(update={"keep_versions": 1})
    for seed in range(2):
        process = pruner(own.home, "KILL-USD", 1000)
        assert "removed version" in process.stdout.readline()
        time.sleep(random.Random(seed).random() * 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        everything_fits(settings)


def test_two_that_prune_side_by_side_do_not_hurt_each_other(own):
    settings = own.model_copy(update={"keep_versions": 1})
    both = [pruner(own.home, product, 2) for product in ("LEFT-USD", "RIGHT-USD")]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0] and [error for _, error in said] == ["", ""], said
    assert [len(list_versions(settings, f"sim.{product}")) for product in ("LEFT-USD", "RIGHT-USD")] == [3, 3]
    everything_fits(settings)


def test_what_is_in_use_stays_and_a_forgotten_run_goes(own):
    name, settings = "sim.OWN-USD", own.model_copy(update={"keep_versions": 1})
    hurt = [register_bundle(own, facts("lasso", "OWN-USD"), {"a.onnx": fan_onnx(number)}) for number in range(4)]
    promote(own, name, "2")
    client = connect(own)
    client.set_registered_model_tag(name, "best_of_chain", hurt[0])
    experiment = client.get_experiment_by_name(name).experiment_id
    young, old = (client.create_run(experiment, start_time=int(1000 * moment)).info.run_id for moment in (time.time(), time.time() - 2 * 86400))
    theirs = client.create_run(client.create_experiment("somebody else's"), start_time=1).info.run_id
    pruned = prune_registry(settings, name)
    assert pruned.versions == (f"{hurt[1]} (lasso)", f"{hurt[2]} (lasso)") and pruned.runs == 3 and pruned.freed > 0
    assert [item.version for item in list_versions(own, name)] == [hurt[3], hurt[0], "2", "1"]
    assert client.get_run(young) and client.get_run(theirs)
    with pytest.raises(RegistryError, match=old):
        client.get_run(old)
    assert prune_registry(settings, name).versions == () and str(prune_registry(settings, name)) == f"{name}: nothing to remove"
    assert register_bundle(own, facts("lasso", "OWN-USD"), {"a.onnx": fan_onnx()}) == str(int(hurt[3]) + 1), "numbers are not used again"


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

    def answers():
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/health", timeout=1).status_code == 200

    try:
        wait_for(answers, 150, "the MLflow server", process)
        yield url
    finally:
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
    for shift in (0.2, 0.3):
        register_bundle(settings, facts("lasso"), {"a.onnx": fan_onnx(shift)})
    run, stored = get_version(settings, NAME, "3").run_id, tmp_path / "artifacts"
    assert len(list(stored.rglob("manifest.json"))) == 4
    made = register_bundles(settings, [facts("lightgbm", product) for product in ("SOL-USD", "XRP-USD")], {"a.onnx": fan_onnx(0.4)})
    for name, index in export_models(settings, list(made)).items():
        assert load_bundle(bundle_folder(settings.bundles_dir, name, index.aliases["lightgbm"])).kind == "lightgbm"
    shutil.rmtree(stored / next(stored.rglob("coins")).relative_to(stored))
    shutil.rmtree(settings.bundles_dir / "sim.XRP-USD")
    with pytest.raises(BundleMissingError, match="are gone from the registry"):
        promote(settings, "sim.XRP-USD", "1")
    pruned = prune_registry(settings.model_copy(update={"keep_versions": 1}), NAME)
    assert pruned.versions == ("2 (lasso)", "3 (lasso)") and "mlflow gc" in pruned.note
    assert len(list(stored.rglob("manifest.json"))) == 2 and connect(settings).get_run(run).info.lifecycle_stage == "deleted"


# --- a promotion that is killed --------------------------------------------------------------------------------------------


def test_a_promotion_killed_at_any_moment_is_finished_by_the_next_command(own):
    """The service sees the old champion or the new one, whole; after the next command the registry and the export folder agree on every mark."""
    name, generator, halved = "sim.OWN-USD", random.Random(0), 0
    began = time.monotonic()
    promote(own, name, "2")
    lasts = time.monotonic() - began
    for number in range(12):
        version = "12"[number % 2]
        child = os.fork()
        if child == 0:
            try:
                promote(own, name, version)
            finally:
                os._exit(0)
        time.sleep(lasts * generator.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen = read_index(own.bundles_dir, name)
        assert load_bundle(bundle_folder(own.bundles_dir, name, seen.aliases["champion"])).version == seen.aliases["champion"]
        model = connect(own).get_registered_model(name)
        halved += "change" in model.tags
        export_model(own, name)
        model, index = connect(own).get_registered_model(name), read_index(own.bundles_dir, name)
        champion = str(model.aliases["champion"])
        assert "change" not in model.tags and index.aliases["champion"] == champion == model.tags["best_of_chain"]
        assert json.loads(model.tags["champions"])[-1] == champion == index.champions[-1]
        assert index.last_event["event"] == "promoted" and index.last_event["version"] == champion
    assert halved, "no kill hit a change in progress; the test proves nothing"


def test_a_model_that_cannot_be_loaded_is_not_promoted(own):
    name, version = "sim.OWN-USD", "2"
    folder = bundle_folder(own.bundles_dir, name, version)
    export_model(own, name)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_bundle(folder, {**manifest, "scaler": {**manifest["scaler"], "std": [0.0] * len(INPUTS)}}, read_files(folder, read_manifest(folder)))
    with pytest.raises(BundleCorruptError, match="scaler"):
        promote(own, name, version)
    assert read_index(own.bundles_dir, name).aliases["champion"] == "1"

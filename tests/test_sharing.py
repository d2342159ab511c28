"""Bundles that share what is equal: one file, one session, one trial and one run for many coins."""

import functools
import gc
import http.server
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import wild
from test_registry import Shop, facts, fan_onnx
from waiting import wait_for

from crypto_rti.inputs import INPUTS, features_signature
from crypto_rti.registry import blobs as blobs_module
from crypto_rti.registry import bundle as bundle_module
from crypto_rti.registry import manifest as manifest_module
from crypto_rti.registry import trials
from crypto_rti.registry.blobs import Blobs
from crypto_rti.registry.bundle import export_bundle, load_bundle, make_manifest, read_files, read_manifest, write_bundle
from crypto_rti.registry.connection import RegistryError, connect
from crypto_rti.registry.exports import export_model, export_models
from crypto_rti.registry.index import Index, bundle_folder, read_index, write_index
from crypto_rti.registry.manifest import BundleCorruptError, BundleError, BundleMismatchError, BundleMissingError
from crypto_rti.registry.promotion import ensure_champions, promote
from crypto_rti.registry.pruning import prune_models, prune_registry
from crypto_rti.registry.pull import pull_bundles
from crypto_rti.registry.tracking import register_bundle, register_bundles
from crypto_rti.registry.versions import list_versions, read_registered
from crypto_rti.service.models import FAILED, ModelCache, disable_model
from crypto_rti.settings import load_settings

TESTS = Path(__file__).parent


def coins(count: int) -> list[str]:
    return [f"C{number}-USD" for number in range(count)]


def publish(folder: Path, products: list[str], version: str = "1", content: bytes | None = None, **more: object) -> list[Path]:
    "An export folder in which these coins share one fit; each has its own shrinkage."
    blobs, content = Blobs(folder), content or fan_onnx(0.1)
    folders = []
    for number, product in enumerate(products):
        made = make_manifest(facts(product=product, version=version, **{"shrink": 1.0 / (1 + number), **more}), {"a.onnx": content})
        folders.append(export_bundle(blobs, made, {"a.onnx": content}.__getitem__))
        write_index(folder, Index(name=f"sim.{product}", aliases={"champion": version, "lasso": version}, champions=[version]))
    return folders


@pytest.fixture
def tried(monkeypatch):
    "The models that were tried in the sandbox."
    seen = []
    real = bundle_module.try_model
    monkeypatch.setattr(bundle_module, "try_model", lambda files, *more: seen.append(sorted(files)) or real(files, *more))
    monkeypatch.setattr(trials, "_found", {})
    return seen


@pytest.fixture
def shop(tmp_path):
    "A plain file server that notes what was asked for."
    folder = tmp_path / "published"
    folder.mkdir()
    handler = type("Fresh", (Shop,), {"asked": [], "stumbles": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    "A home with an empty registry; making one takes seconds."
    settings = load_settings(home=tmp_path_factory.mktemp("var"), registry_uri="")
    connect(settings)
    return settings.home


@pytest.fixture
def home(template, tmp_path):
    "Settings of a registry of its own."
    shutil.copytree(template, tmp_path / "var")
    return load_settings(home=tmp_path / "var", registry_uri="", keep_versions=1)


# --- one file, one session, one trial --------------------------------------------------------------------------------------


def test_two_hundred_coins_hold_one_file_one_session_and_need_one_trial(tmp_path, tried):
    folders = publish(tmp_path, coins(200))
    loaded = [load_bundle(folder) for folder in folders]
    assert len(list(tmp_path.rglob("*.onnx"))) == 1 and len(tried) == 1
    assert len({id(session) for bundle in loaded for session in bundle.sessions}) == 1
    answers = {round(float(bundle.predict(np.zeros((1, len(INPUTS))))[0, 4]), 6) for bundle in loaded}
    assert len(answers) == 200, "each coin has its own shrinkage"


def test_a_session_is_freed_with_its_last_bundle(tmp_path):
    first, second = (load_bundle(folder) for folder in publish(tmp_path, coins(2), content=fan_onnx(0.77)))
    session = weakref.ref(first.sessions[0])
    del first
    gc.collect()
    assert session() is second.sessions[0]
    del second
    gc.collect()
    assert session() is None


def test_coins_that_load_at_once_and_a_restart_share_one_trial(tmp_path, tried):
    folders = publish(tmp_path, coins(40), content=fan_onnx(0.33))
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(load_bundle, folders))
    assert len(tried) == 1 and len({id(bundle.sessions[0]) for bundle in loaded}) == 1
    trials._found.clear()  # What a restart forgets
    load_bundle(publish(tmp_path, ["NEW-USD"], content=fan_onnx(0.33))[0])
    assert len(tried) == 1
    publish(tmp_path, coins(1), content=fan_onnx(0.33), scaler={**facts()["scaler"], "mean": [0.5] * len(INPUTS)})
    load_bundle(folders[0])
    assert len(tried) == 2, "another scaler is another trial"


def test_a_hostile_file_is_refused_for_every_coin_after_one_trial(tmp_path, tried):
    for folder in publish(tmp_path, coins(5), content=b"not a model"):
        with pytest.raises(BundleCorruptError, match="not an ONNX file"):
            load_bundle(folder)
    assert len(tried) == 1


def test_a_coin_whose_model_fails_in_service_takes_no_other_down(tmp_path):
    products = coins(3)
    publish(tmp_path, products, "1", fan_onnx(0.1))
    publish(tmp_path, products, "2", fan_onnx(0.2))
    cache = ModelCache(tmp_path, "sim")
    for product in products:
        write_index(tmp_path, Index(name=f"sim.{product}", aliases={"champion": "2"}, champions=["1", "2"]))
    cache.refresh()
    disable_model(cache, products[0], cache.choose(products[0], "champion"), FAILED[0]("it failed"))
    for models in (cache, ModelCache(tmp_path, "sim")):  # The second is the service after a restart
        models.refresh()
        assert [models.choose(product, "champion").version for product in products] == ["1", "2", "2"]


# --- folders of before, and code of before -----------------------------------------------------------------------------------


def old_folder(folder: Path) -> Path:
    "An export folder as it was written before files were shared: the stored bundle for two coins, each with its own file."
    for product in ("BTC-USD", "ETH-USD"):
        version = wild.unpack(folder / f"sim.{product}" / "1")
        known = json.loads((version / "manifest.json").read_text())
        own = {"name": f"sim.{product}", "source": "sim", "product": product, "version": "1", "features_signature": features_signature()}
        (version / "manifest.json").write_text(json.dumps({**known, **own}))
        write_index(folder, Index(name=f"sim.{product}", aliases={"champion": "1"}, champions=["1"]))
    return folder


def test_a_folder_of_before_is_served_pulled_and_written_to(tmp_path):
    old = old_folder(tmp_path / "old")
    assert read_manifest(old / "sim.BTC-USD" / "1").format == 1 and not (old / "blobs").exists()
    pull_bundles(old, tmp_path / "new")
    assert len(list((tmp_path / "new").rglob("*.onnx"))) == 1, "two coins had the same file"
    assert read_manifest(tmp_path / "new" / "sim.BTC-USD" / "1").format == 2
    assert pull_bundles(old, tmp_path / "new") == {"sim.BTC-USD": [], "sim.ETH-USD": []}
    publish(tmp_path / "there", ["BTC-USD", "SOL-USD"], "2")
    pull_bundles(tmp_path / "there", old)
    cache = ModelCache(old, "sim")
    cache.refresh()
    assert {product: cache.choose(product, "champion").version for product in cache.products()} == {"BTC-USD": "2", "ETH-USD": "1", "SOL-USD": "2"}
    assert load_bundle(old / "sim.BTC-USD" / "1").sessions == load_bundle(tmp_path / "new" / "sim.ETH-USD" / "1").sessions


def test_a_registry_whose_exports_are_of_before_is_promoted_and_pruned(home):
    products = ["BTC-USD", "ETH-USD"]
    register_bundles(home, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(0.1)})
    names = [f"sim.{product}" for product in products]
    for name in names:  # As an older version of this code has exported it
        folder = Path(promoted_folder(home, name, "1"))
        known, files = read_manifest(folder), read_files(folder, read_manifest(folder))
        write_bundle(folder, known.model_dump(mode="json"), files)
    shutil.rmtree(home.bundles_dir / "blobs")
    assert promote(home, names[0], "1") == "1" and read_manifest(bundle_folder(home.bundles_dir, names[0], "1")).format == 1
    register_bundles(home, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(0.2)})
    for name in names:
        promote(home, name, "2")
    assert len(list((home.bundles_dir / "blobs").glob("*.onnx"))) == 1
    prune_models(home, names)
    assert {load_bundle(bundle_folder(home.bundles_dir, name, version)).version for name in names for version in "12"} == {"1", "2"}


def promoted_folder(settings, name: str, version: str) -> Path:
    promote(settings, name, version)
    return bundle_folder(settings.bundles_dir, name, version)


def test_code_of_before_refuses_a_shared_bundle_and_asks_for_an_upgrade(tmp_path, monkeypatch):
    (folder,) = publish(tmp_path, coins(1))
    monkeypatch.setattr(manifest_module, "FORMAT", 1)
    with pytest.raises(BundleMismatchError, match="has format 2, this code reads up to 1; upgrade crypto_rti"):
        load_bundle(folder)
    with pytest.raises(BundleMismatchError, match="upgrade crypto_rti"):
        pull_bundles(tmp_path, tmp_path / "here")


def test_a_bundle_by_itself_holds_its_files(tmp_path):
    write_bundle(tmp_path / "alone", facts(version="1"), {"a.onnx": fan_onnx()})
    (tmp_path / "alone").rename(tmp_path / "moved")
    assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["a.onnx", "manifest.json"]
    assert load_bundle(tmp_path / "moved").manifest.format == 1


# --- a file that is missing or altered --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"bit rot")])
def test_a_spoilt_blob_is_named_and_every_other_coin_goes_on(home, spoil):
    products = coins(3)
    names = [f"sim.{product}" for product in products]
    for shift in (0.1, 0.2):
        made = register_bundles(home, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(shift)})
        for name in names:
            promote(home, name, made[name])
    lone = register_bundle(home, facts("lasso", "LONE-USD"), {"a.onnx": fan_onnx(0.5)})
    promote(home, "sim.LONE-USD", lone)
    folder = bundle_folder(home.bundles_dir, names[0], "2")
    spoil(Blobs(home.bundles_dir).path(read_manifest(folder).files["a.onnx"]))
    gc.collect()
    with pytest.raises(BundleCorruptError, match=r"C0-USD/2: a.onnx \(blobs/.*(is missing|has hash).*; promote or pull the bundle again"):
        load_bundle(folder)
    restarted = ModelCache(home.bundles_dir, "sim")
    restarted.refresh()
    assert [restarted.choose(product, "champion").version for product in [*products, "LONE-USD"]] == ["1", "1", "1", lone]
    assert "promote or pull" in restarted.coins[products[0]].faults["2"]
    promote(home, names[0], "2")
    export_models(home, names)
    restarted.refresh()
    assert [restarted.choose(product, "champion").version for product in products] == ["2", "2", "2"]


# --- pulling ----------------------------------------------------------------------------------------------------------------


def test_a_pull_of_two_hundred_coins_downloads_a_shared_file_once(shop, tmp_path, tried):
    folder, url, handler = shop
    publish(folder, coins(200))
    assert len(pull_bundles(url, tmp_path / "here")) == 200
    assert [path for path in handler.asked if path.endswith(".onnx")] == [f"/blobs/{next((folder / 'blobs').glob('*.onnx')).name}"]
    assert len(tried) == 1 and len(list((tmp_path / "here").rglob("*.onnx"))) == 1
    assert not list((tmp_path / "here").glob("sim.*/.*"))


def test_a_pull_from_a_web_server_of_before_downloads_a_shared_file_once(shop, tmp_path):
    folder, url, handler = shop
    old_folder(folder)
    pull_bundles(url, tmp_path / "here")
    assert Counter(path.rpartition(".")[2] for path in handler.asked)["onnx"] == 1
    assert load_bundle(tmp_path / "here" / "sim.ETH-USD" / "1").version == "1"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"bit rot")])
def test_a_pull_of_a_spoilt_blob_is_named_and_shows_nothing(shop, tmp_path, spoil):
    folder, url, _ = shop
    publish(folder, coins(2))
    pull_bundles(url, tmp_path / "here")
    publish(folder, coins(2), "2", fan_onnx(0.2))
    before = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    digest = read_manifest(folder / "sim.C0-USD" / "2").files["a.onnx"]
    spoil(Blobs(folder).path(digest))
    for origin in (url, folder):
        with pytest.raises(BundleCorruptError, match=f"blobs/{digest}.onnx (is missing|has hash .*) at the origin; promote or pull there again"):
            pull_bundles(origin, tmp_path / "here")
        assert {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()} == before
    publish(folder, coins(2), "2", fan_onnx(0.2))
    assert pull_bundles(url, tmp_path / "here") == {"sim.C0-USD": ["2"], "sim.C1-USD": ["2"]}


PULLER = """
import sys
sys.path.insert(0, {tests!r})
from test_sharing import *
print("ready", flush=True)
pull_bundles({there!r}, Path({here!r}))
"""


def test_a_pull_that_is_killed_leaves_whole_bundles_and_is_continued(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    publish(there, coins(150), content=fan_onnx(0.1, 2_000_000))
    code, seen = PULLER.format(tests=str(TESTS), there=str(there), here=str(here)), []
    for wanted in (1, 30, 60):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        wait_for(lambda least=wanted: len(list(here.glob("sim.*/1/manifest.json"))) >= least, 60, "the first bundles", pause=0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        visible = [path.parent for path in here.glob("sim.*/1/manifest.json")]
        for folder in visible:
            assert load_bundle(folder).version == "1"
        seen.append(len(visible))
    copied = pull_bundles(there, here)
    assert sum(map(bool, copied.values())) == 150 - seen[-1] and len(list(here.rglob("*.onnx"))) == 1
    assert any(0 < count < 150 for count in seen), f"no kill hit a pull in progress: {seen}"


# --- one run for a fit ---------------------------------------------------------------------------------------------------------


def test_a_fit_is_one_run_with_its_files_once_and_a_table_of_its_coins(home):
    products = coins(25)
    manifests = [facts("lasso", product, metrics={"mase": 1 + number, "dm_t": None}, params={"alpha": 0.1}) for number, product in enumerate(products)]
    made = register_bundles(home, manifests, {"a.onnx": fan_onnx(0.1)}, [{"coin": product, "mase": float("nan")} for product in products])
    versions = list_versions(home)
    assert made == {f"sim.{product}": "1" for product in products} and len({item.run_id for item in versions}) == 1
    assert versions[3].aliases == ("challenger", "lasso") and versions[0].metrics == {"mase": 1, "dm_t": None}
    client, run = connect(home), versions[0].run_id
    kept = Path(client.download_artifacts(run, ""))
    assert [path.name for path in kept.rglob("*.onnx")] == ["a.onnx"] and len(list(kept.rglob("sim.*.json"))) == 25
    assert json.loads((kept / "coins.json").read_text())[3] == {"coin": "C3-USD", "mase": None} and (kept / "coins.csv").read_text().count("\n") == 26
    assert client.get_run(run).data.metrics == {"coins": 25.0, "mase": 13.0} and client.get_run(run).data.params["alpha"] == "0.1"
    assert client.get_experiment(client.get_run(run).info.experiment_id).name == "sim.pool"
    again = register_bundles(home, manifests[:2], {"a.onnx": fan_onnx(0.1)})
    few = client.get_run(read_registered(client, list(again))["sim.C0-USD"].find("2").run_id).data.metrics
    assert few == {"coins": 2.0, "mase": 1.5, "C0-USD/mase": 1.0, "C1-USD/mase": 2.0}
    export_models(home, list(made))
    assert len(list(home.bundles_dir.rglob("*.onnx"))) == 1
    assert {load_bundle(bundle_folder(home.bundles_dir, name, "1")).product for name in list(made)[2:]} == set(products[2:])


def test_the_calls_to_mlflow_grow_by_four_for_a_new_coin_and_the_model_is_tried_once(home, tried, monkeypatch):
    counts = Counter()

    def counting(settings):
        client = connect(settings)
        calls = type("Calls", (), {"__getattr__": lambda _, name: lambda *args, **more: counts.update([name]) or getattr(client, name)(*args, **more)})
        return calls()

    monkeypatch.setattr("crypto_rti.registry.tracking.connect", counting)
    register_bundles(home, [facts("lasso", product) for product in coins(10)], {"a.onnx": fan_onnx(0.9)})
    few = counts.copy()
    counts.clear()
    register_bundles(home, [facts("lasso", product) for product in coins(40)[10:]], {"a.onnx": fan_onnx(0.9)})
    per_coin = {name: (counts[name] - few[name]) / 20 for name in counts if counts[name] != few[name]}
    assert per_coin == {"create_registered_model": 1, "create_model_version": 1, "set_registered_model_alias": 2} and len(tried) == 1


def test_what_is_no_fit_is_refused_before_anything_is_registered(home):
    good, files = facts("lasso", "BTC-USD"), {"a.onnx": fan_onnx()}
    for manifests, says in (
        ([], "every coin of the pool has failed"),
        ([good, good], "sim.BTC-USD would be registered twice"),
        ([good, facts("lightgbm", "ETH-USD")], "one fit has one source, one kind and one horizon"),
    ):
        with pytest.raises(RegistryError, match=says):
            register_bundles(home, manifests, files)
    with pytest.raises(BundleCorruptError, match="sim.ETH-USD cannot be used: its scaler"):
        register_bundles(home, [good, facts("lasso", "ETH-USD", scaler={**good["scaler"], "std": [0.0] * len(INPUTS)})], files)
    assert list_versions(home) == [] and not (home.home / "artifacts").exists()


REGISTRAR = """
import sys
sys.path.insert(0, {tests!r})
from test_sharing import *
settings = load_settings(home=Path({home!r}), registry_uri="", keep_versions=1)
print("ready", flush=True)
while True:
    register_bundles(settings, [facts("lasso", product) for product in coins(12)], {{"a.onnx": fan_onnx(time.time() % 1)}})
    print("registered", flush=True)
"""


def test_a_registration_that_is_killed_leaves_versions_that_can_be_exported_and_is_repeated(home):
    names, halved = [f"sim.{product}" for product in coins(12)], 0
    ensure_champions(home, [facts("persistence", product) for product in coins(12)], {"a.onnx": fan_onnx()})
    for seed in range(4):
        process = subprocess.Popen([sys.executable, "-c", REGISTRAR.format(tests=str(TESTS), home=str(home.home))], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n" and process.stdout.readline() == "registered\n"
        time.sleep(random.Random(seed).random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        halved += len({model.versions[0].version for model in read_registered(connect(home), names).values()}) > 1
        for item in list_versions(home):
            assert (home.home / "artifacts" / item.run_id / "artifacts" / item.tags.get("manifest", "bundle/manifest.json")).exists()
        for name, index in export_models(home, names).items():
            assert load_bundle(bundle_folder(home.bundles_dir, name, index.aliases["lasso"])).kind == "lasso"
    assert halved, "no kill hit the versions of a fit; the test proves nothing"
    made = register_bundles(home, [facts("lasso", product) for product in coins(12)], {"a.onnx": fan_onnx(0.5)})
    assert {export_model(home, name).aliases["lasso"] == made[name] for name in names} == {True}
    prune_models(home, names)
    assert {len(model.versions) for model in read_registered(connect(home), names).values()} == {2}, "persistence and the newest lasso"


# --- pruning -----------------------------------------------------------------------------------------------------------------


def onnx_files(folder: Path) -> int:
    return len(list(folder.rglob("*.onnx")))


def test_a_run_and_a_blob_stay_while_a_version_of_any_coin_needs_them(home, monkeypatch):
    monkeypatch.setattr(blobs_module, "GRACE", 0)
    products = ["BTC-USD", "ETH-USD"]
    names = [f"sim.{product}" for product in products]
    register_bundles(home, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(0.1)})
    for name in names:
        promote(home, name, "1")
    register_bundle(home, facts("lasso", "BTC-USD"), {"a.onnx": fan_onnx(0.2)})
    promote(home, names[0], "2")
    client = connect(home)
    client.set_registered_model_tag(names[0], "champions", '["2"]')
    pruned = prune_registry(home, names[0])
    assert pruned.versions == ("1 (lasso)",) and pruned.runs == 0, "ETH-USD needs the run"
    assert onnx_files(home.bundles_dir) == 2 and promote(home, names[1], "1") == "1"
    register_bundle(home, facts("lasso", "ETH-USD"), {"a.onnx": fan_onnx(0.2)})
    promote(home, names[1], "2")
    client.set_registered_model_tag(names[1], "champions", '["2"]')
    pruned = prune_models(home, names)
    assert pruned.versions == ("sim.ETH-USD 1 (lasso)",) and pruned.runs == 1 and str(pruned).startswith("2 models: removed version sim.ETH-USD 1")
    assert onnx_files(home.bundles_dir) == 1 and onnx_files(home.home / "artifacts") == 2
    with closing(sqlite3.connect(home.home / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    assert {load_bundle(bundle_folder(home.bundles_dir, name, "2")).version for name in names} == {"2"}


def test_a_blob_that_a_manifest_is_about_to_name_is_not_removed(tmp_path, monkeypatch):
    publish(tmp_path, coins(1))
    blobs = Blobs(tmp_path)
    digest = make_manifest(facts(version="2"), {"a.onnx": fan_onnx(0.4)}).files["a.onnx"]
    blobs.add(digest, fan_onnx(0.4))
    assert Blobs(tmp_path).remove_unused() == 0, "it is young"
    monkeypatch.setattr(blobs_module, "GRACE", 0)
    with ThreadPoolExecutor(1) as pool, blobs.in_use():
        assert pool.submit(Blobs(tmp_path).remove_unused).result() == 0, "it is in use"
    assert Blobs(tmp_path).remove_unused() > 0 and not blobs.path(digest).exists() and onnx_files(tmp_path) == 1


def test_pruning_beside_exports_and_pulls_never_takes_a_file_away(home, monkeypatch):
    monkeypatch.setattr(blobs_module, "GRACE", 0)
    publish(home.home / "there", coins(6), content=fan_onnx(0.6))
    stop, removed = threading.Event(), []

    def clean():
        while not stop.is_set():
            removed.append(Blobs(home.bundles_dir).remove_unused())

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for shift in (0.6, 0.7, 0.8):
            publish(home.home / "there", coins(6), content=fan_onnx(shift))
            pull_bundles(home.home / "there", home.bundles_dir)
            publish(home.bundles_dir, ["X-USD"], content=fan_onnx(shift))
            for folder in home.bundles_dir.glob("sim.*/1"):
                assert load_bundle(folder).version == "1"
    finally:
        stop.set()
        cleaner.join()
    assert any(removed), "nothing was ever removed; the test proves nothing"


def test_a_home_with_pools_that_was_moved_is_read_where_it_is_now(home, tmp_path):
    products = ["BTC-USD", "ETH-USD"]
    register_bundles(home, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(0.1)})
    os.rename(home.home, tmp_path / "moved")
    moved = load_settings(home=tmp_path / "moved", registry_uri="")
    assert [promote(moved, f"sim.{product}", "lasso") for product in products] == ["1", "1"]
    register_bundles(moved, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(0.2)})
    assert len(list((tmp_path / "moved" / "artifacts").iterdir())) == 2 and not home.home.exists()


def test_files_of_a_run_that_are_gone_are_named_for_each_coin(home):
    products = ["BTC-USD", "ETH-USD"]
    register_bundles(home, [facts("lasso", product) for product in products], {"a.onnx": fan_onnx(0.1)})
    run = list_versions(home)[0].run_id
    (home.home / "artifacts" / run / "artifacts" / "bundle" / "coins" / "sim.ETH-USD.json").unlink()
    assert promote(home, "sim.BTC-USD", "1") == "1"
    with pytest.raises(BundleMissingError, match="version 1 .lasso. are gone from the registry; promote another version"):
        promote(home, "sim.ETH-USD", "1")
    shutil.rmtree(home.bundles_dir)
    (home.home / "artifacts" / run / "artifacts" / "bundle" / "a.onnx").write_bytes(b"bit rot")
    with pytest.raises(BundleError, match="has hash"):
        promote(home, "sim.BTC-USD", "1")
    assert read_index_names(home) == []


def read_index_names(settings) -> list[str]:
    return sorted(path.parent.name for path in settings.bundles_dir.glob("*/index.json"))


def test_persistence_of_many_coins_is_one_run_and_existing_champions_stay(home):
    register_bundle(home, facts("lasso", "C0-USD"), {"a.onnx": fan_onnx(0.1)})
    promote(home, "sim.C0-USD", "1")
    made = ensure_champions(home, [facts("persistence", product) for product in coins(4)], {"a.onnx": fan_onnx()})
    assert made == {f"sim.{product}": "1" for product in coins(4)[1:]}
    assert ensure_champions(home, [facts("persistence", product) for product in coins(4)], {"a.onnx": fan_onnx()}) == {}
    assert len({item.run_id for item in list_versions(home)}) == 2
    assert read_index(home.bundles_dir, "sim.C3-USD").last_event["reasons"] == ["the first champion, so that there is always an answer"]

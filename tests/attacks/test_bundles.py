"""Hostile models: what they may hold, what they may cost, and what a service does with one that fails."""

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import httpx
import numpy as np
import pytest
from harness import bench
from onnx import TensorProto, helper, numpy_helper
from toys import SPREAD, export_toy, toy_onnx
from waiting import wait_for

from crypto_rti.inputs import INPUTS
from crypto_rti.registry.bundle import bundle_trial, load_bundle, read_manifest, write_bundle
from crypto_rti.registry.graphs import GraphError, check_graph
from crypto_rti.registry.index import Index, bundle_folder, write_index
from crypto_rti.registry.manifest import BundleCorruptError
from crypto_rti.service import models
from crypto_rti.service.models import ModelCache

WIDTH, FLOAT = len(INPUTS), TensorProto.FLOAT
FAN = np.array(SPREAD, np.float32)
node = helper.make_node


def model(nodes, constants=None, domains=("",), functions=(), tensors=(), sparse=()):
    """A file with one input `X` and one output `y`."""
    values = {"W": np.zeros((WIDTH, 5), np.float32), "b": FAN, **(constants or {})}
    kept = [*(numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()), *tensors]
    ends = [helper.make_tensor_value_info(name, FLOAT, [None, size]) for name, size in (("X", WIDTH), ("y", 5))]
    graph = helper.make_graph(nodes, "hostile", ends[:1], ends[1:], kept, sparse_initializer=list(sparse))
    imports = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions)).SerializeToString()


def elsewhere(location, kind=TensorProto.UINT8, count=34, name="secret"):
    """A tensor that lies in another file."""
    tensor = TensorProto(name=name, data_type=kind, dims=[count], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="length", value=str(count))
    return tensor


def reader(location):
    """A model that answers with bytes 20 to 24 of a file, at places that only the input tells, so that nothing is computed beforehand."""
    nodes = [
        node("Gather", ["X", "first"], ["x"], axis=1), node("Mul", ["x", "zero"], ["nothing"]), node("Cast", ["nothing"], ["none"], to=TensorProto.INT64),
        node("Add", ["none", "places"], ["where"]), node("Gather", ["secret", "where"], ["bytes"]), node("Cast", ["bytes"], ["y"], to=FLOAT),
    ]  # fmt: skip
    constants = {"first": np.zeros(5, np.int64), "zero": np.zeros(1, np.float32), "places": np.arange(20, 25)}
    return model(nodes, constants, tensors=[elsewhere(location)])


def looping():
    """A loop that does nothing for one row and never ends for more."""
    kinds = {"i": TensorProto.INT64, "on": TensorProto.BOOL, "v": FLOAT, "still": TensorProto.BOOL, "w": FLOAT}
    ends = [helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()]
    body = helper.make_graph([node("Identity", ["on"], ["still"]), node("Identity", ["v"], ["w"])], "body", ends[:3], ends[3:])
    nodes = [
        node("Gemm", ["X", "W", "b"], ["a"]), node("Shape", ["X"], ["shape"]), node("Gather", ["shape", "zero"], ["rows"]),
        node("Greater", ["rows", "one"], ["many"]), node("Loop", ["most", "many", "nothing"], ["end"], body=body), node("Add", ["a", "end"], ["y"]),
    ]  # fmt: skip
    return model(nodes, {"zero": np.array(0), "one": np.array(1), "most": np.array(2**62), "nothing": np.float32(0)})


def branching():
    end = [helper.make_tensor_value_info("z", FLOAT, [None, 5])]
    branch = helper.make_graph([node("Gemm", ["X", "W", "b"], ["z"])], "branch", [], end)
    return model([node("If", ["true"], ["y"], then_branch=branch, else_branch=branch)], {"true": np.array(True)})


def circle():
    """A tree whose second node leads back to the first, for rows in which an input is above 4."""
    lists = {
        "nodes_treeids": [0] * 5, "nodes_nodeids": [0, 1, 2, 3, 4], "nodes_featureids": [0] * 5, "nodes_values": [4.0, 5.0, 0.0, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"], "nodes_truenodeids": [2, 3, 0, 0, 0], "nodes_falsenodeids": [1, 0, 0, 0, 0],
        "target_treeids": [0] * 3, "target_nodeids": [2, 3, 4], "target_ids": [0] * 3, "target_weights": [0.1, 0.2, 0.3],
    }  # fmt: skip
    tree = node("TreeEnsembleRegressor", ["X"], ["one"], domain="ai.onnx.ml", n_targets=1, **lists)
    return model([tree, node("Gemm", ["one", "five", "b"], ["y"])], {"five": np.ones((1, 5), np.float32)}, ("", "ai.onnx.ml"))


def doubling(times, axis=1):
    """A row that is laid beside itself again and again."""
    chain = [node("Concat", [f"x{n}", f"x{n}"], [f"x{n + 1}"], axis=axis) for n in range(times)]
    return [node("Identity", ["X"], ["x0"]), *chain, node("Slice", [f"x{times}", "s", "e", "a"], ["y"])]


def hostile():
    """Files that must not be loaded, and what the refusal says."""
    cut = {"s": np.array([0]), "e": np.array([5]), "a": np.array([1])}
    plain = [node("Gemm", ["X", "W", "b"], ["y"])]
    attribute = node("Constant", [], ["c"], value=elsewhere(".env"))
    function = helper.make_function("own", "F", ["X"], ["y"], [node("Identity", ["X"], ["y"])], [helper.make_opsetid("", 17)])
    ends = [[helper.make_tensor_value_info(name, FLOAT, [WIDTH])] for name in ("p", "q")]
    scan = helper.make_graph([node("Identity", ["p"], ["q"])], "body", *ends)
    ones = {"ones": np.ones((WIDTH, 5), np.float32)}
    summed = node("Gemm", ["X", "ones", "b"], ["a"])
    fused = node("FusedGemm", ["X", "W", "b"], ["y"], domain="com.microsoft")
    many, died = node("ConstantOfShape", ["much"], ["m"]), "did not end|cannot answer|can load|more than"
    sparse = helper.make_sparse_tensor(helper.make_tensor("v", FLOAT, [1], [1.0]), helper.make_tensor("i", TensorProto.INT64, [1], [0]), [5])
    lying = TensorProto(name="huge", data_type=FLOAT, dims=[10**6, 10**6])
    grown = [node("Cast", ["X"], ["n"], to=TensorProto.INT64), node("Slice", ["n", "s", "e", "a"], ["m"]), node("Squeeze", ["m", "s"], ["k"])]
    yield "external data", reader(".env"), "another file"
    yield "external data above the folder", reader("../../.env"), "another file"
    yield "external data by an absolute path", reader("/proc/self/environ"), "another file"
    yield "external data in an attribute", model([attribute, *plain]), "another file"
    yield "a loop over more than one row", looping(), "a graph within an operator|operator 'Loop'|operator 'Greater'"
    yield "a branch", branching(), "a graph within an operator|operator 'If'"
    yield "a scan", model([node("Scan", ["X"], ["y"], body=scan, num_scan_inputs=1)]), "a graph within an operator|operator 'Scan'"
    yield "an operator of another domain", model([fused], domains=("", "com.microsoft")), "no model of this project"
    yield "a function of its own", model([node("F", ["X"], ["y"], domain="own")], domains=("", "own"), functions=[function]), "functions of its own|'own'"
    yield "sparse tensors", model(plain, sparse=[sparse]), "sparse"
    yield "a tensor that lies about its size", model(plain, tensors=[lying]), "brings"
    yield "a size that depends on a value", model([*grown, node("Expand", ["b", "k"], ["y"])], cut), "depends on the values"
    yield "trees that lead in a circle", circle(), "followed to an end"
    yield "the format of onnxruntime", b"\x12\x30  ORTM" + bytes(42), "format of onnxruntime"
    yield "random numbers", model([node("RandomNormalLike", ["X"], ["y"])]), "operator 'RandomNormalLike'"
    yield "40 doublings of a row", model(doubling(40), cut), died
    yield "a constant of a terabyte", model([many, *plain], {"much": np.array([10**6, 10**6])}), died
    yield "one row whatever was asked", model([node("Identity", ["row"], ["y"])], {"row": FAN[None]}), r"answers (256|2) rows with float32 of shape \(1, 5\)"
    yield "rows that know each other", model([summed, node("ReduceMean", ["a"], ["m"], axes=[0]), node("Add", ["a", "m"], ["y"])], ones), "rows beside it"
    yield "numbers that are not finite", model([summed, node("Log", ["a"], ["y"])], ones), "not finite"
    text = node("Cast", ["a"], ["y"], to=TensorProto.STRING)
    yield "text instead of numbers", model([summed, text], ones), "answers|can load|cannot answer"
    yield "three columns", model([node("Slice", ["X", "s", "three", "a"], ["y"])], {**cut, "three": np.array([3])}), "3 columns|can load|cannot answer"
    yield "half a file", model(plain)[:-20], "cut off|not an ONNX"


def bundle(folder, content, **changes):
    """A bundle that holds a file, as a trained one would."""
    manifest = {
        "name": "sim.BTC-USD", "kind": "lasso", "version": "2", "source": "sim", "product": "BTC-USD", "shrink": 1.0,
        "scaler": {"low": [-9.0] * WIDTH, "high": [9.0] * WIDTH, "mean": [0.0] * WIDTH, "std": [1.0] * WIDTH},
        "train_span": ["2022-01-01T00:00:00Z", "2023-12-01T00:00:00Z"], "created": "2023-12-02T00:00:00Z", **changes,
    }  # fmt: skip
    return write_bundle(folder, manifest, {"model.onnx": content})


def test_a_model_reads_no_file_of_ours(tmp_path, monkeypatch, attack):
    import onnxruntime

    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes(b"CRYPTO_RTI_API_KEYS=secret-of-ours")
    said = onnxruntime.InferenceSession(reader(".env")).run(None, {"X": np.zeros((1, WIDTH), np.float32)})[0]
    assert said.astype(np.uint8).tobytes() == b"secre"  # The library itself reads it; this is what has to be kept from it
    with pytest.raises(BundleCorruptError, match="another file"):
        load_bundle(bundle(tmp_path / "2", reader(".env")))
    attack("external data named .env", "its bytes come out of /api/predict", "refused before onnxruntime sees it")


def test_the_loop_is_one():
    """The model of the attack does what it is said to do, where nothing refuses it."""
    import onnxruntime

    session, run = onnxruntime.InferenceSession(looping()), onnxruntime.RunOptions()
    assert session.run(None, {"X": np.zeros((1, WIDTH), np.float32)})[0].shape == (1, 5)
    timer = threading.Timer(0.5, lambda: setattr(run, "terminate", True))
    timer.start()
    with pytest.raises(Exception, match="terminate"):
        session.run(None, {"X": np.zeros((2, WIDTH), np.float32)}, run)
    timer.join()


def test_hostile_files_are_refused(tmp_path, attack):
    taken = []
    for name, content, says in hostile():
        begun = time.monotonic()
        with pytest.raises(BundleCorruptError, match=says):
            load_bundle(bundle(tmp_path / name, content))
        taken.append(time.monotonic() - begun)
    assert np.isfinite(load_bundle(bundle(tmp_path / "good", toy_onnx())).predict(np.zeros((3, WIDTH)))).all()
    after = f"all refused in {sum(taken):.1f} s, the slowest in {max(taken):.1f} s"
    attack(f"{len(taken)} hostile ONNX files", "loops, other files and constant shapes become champion", after)


@pytest.mark.parametrize("scaler", [{"std": [0.0] * WIDTH}, {"mean": [1e308] * WIDTH}, {"low": [-9.0] * 3}])
def test_hostile_scalers_are_refused(tmp_path, scaler):
    good = {"low": [-9.0] * WIDTH, "high": [9.0] * WIDTH, "mean": [0.0] * WIDTH, "std": [1.0] * WIDTH}
    with pytest.raises(BundleCorruptError, match="scaler"):
        load_bundle(bundle(tmp_path / "b", toy_onnx(slope=1.0), scaler={**good, **scaler}))


def test_files_changed_at_random_are_refused_or_load(tmp_path):
    """Bytes that differ anywhere end in a named error or in a graph that was checked; nothing else is raised."""
    generator, whole, refused = np.random.default_rng(0), circle(), 0
    for _ in range(400):
        spoilt = bytearray(whole)
        for place in generator.integers(0, len(whole), generator.integers(1, 4)):
            spoilt[place] = generator.integers(256)
        try:
            check_graph(bytes(spoilt[: generator.integers(len(whole) // 2, len(whole) + 1)]))
        except GraphError:
            refused += 1
    assert refused > 100


def heavy():
    """A model of allowed operators that computes for ten seconds on a fast machine, twenty times as long as the test below allows."""
    chain = [node("Tanh", [f"h{n}"], [f"h{n + 1}"]) for n in range(4000)]
    ends = [node("ReduceMean", ["h4000"], ["m"], axes=[2], keepdims=0), node("Gemm", ["m", "W", "b"], ["y"])]
    constants = {"two": np.array([2]), "wide": np.ones((1, 1, 150_000), np.float32)}
    return model([node("Unsqueeze", ["X", "two"], ["x"]), node("Mul", ["x", "wide"], ["h0"]), *chain, *ends], constants)


def export_untried(bundles, content, version="2", champions=("1", "2")):
    """Make a model champion as if it had passed its trial."""
    folder = bundle(bundle_folder(bundles, "sim.BTC-USD", version), content, version=version)
    manifest = read_manifest(folder)
    bundle_trial(folder, manifest).note("")
    write_index(bundles, Index(name="sim.BTC-USD", aliases={"champion": version, "lasso": version}, versions={}, champions=list(champions)))


def test_a_model_that_fails_in_service_is_replaced_by_the_one_before(tmp_path, monkeypatch, attack):
    monkeypatch.setattr(models, "INFERENCE_SECONDS", 0.5)
    monkeypatch.setattr(models, "BUSY_FACTOR", 100)  # However little of the processor there is for this test
    with bench(tmp_path, products="BTC-USD", shift=0.1) as up:
        assert up.answer()["model_version"] == "1"
        export_untried(up.bundles, heavy())
        waits, statuses = [], []
        asking = threading.Thread(target=lambda: ask_until_disabled(up, statuses), daemon=True)
        asking.start()
        with httpx.Client(base_url=up.url, timeout=30) as other:

            def disabled():
                start = time.monotonic()
                assert other.get("/health/live").status_code == 200
                waits.append(time.monotonic() - start)
                return up.service.models.disabled

            wait_for(disabled, 100, lambda: f"the end of the model; {len(statuses)} answers, {up.service.models.coins}, {stacks()}")
        asking.join(100)
        assert up.answer()["model_version"] == "1" and set(statuses) == {200}
        ready = up.http.get("/health/ready").json()["problems"]
        listed = up.http.get("/api/models").json()["models"][0]
        assert any("unusable: version 2" in text for text in ready), ready
        assert listed["serving"]["champion"] == "1" and "computes for more than 0.5 s" in listed["faults"]["2"]
    restarted = ModelCache(tmp_path / "bundles", "sim")
    restarted.refresh()
    assert restarted.choose("BTC-USD", "champion").version == "1"
    worst = sorted(waits)[int(0.99 * (len(waits) - 1))]
    after = f"version 1 answers; /health/live p99 {1000 * worst:.0f} ms meanwhile"
    attack("a champion that computes for minutes", "the event loop stands still, also after a restart", after)


def stacks():
    """Where every thread is, for a failure that cannot be seen from outside."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(f"{names.get(ident)}:\n{''.join(traceback.format_stack(frame))}" for ident, frame in sys._current_frames().items())


def ask_until_disabled(up, statuses):
    """Ask for forecasts as a reader does, until the model has failed."""
    while not up.service.models.disabled:
        statuses.append(httpx.get(f"{up.url}/api/predict?coin=BTC-USD&time_from={len(statuses) % 72 + 1}", timeout=100).status_code)


def test_a_service_starts_and_ends_with_a_hostile_champion(tmp_path, attack):
    """As users do: a process, a replay exchange, a champion with a loop and no other process that has seen it."""
    home = tmp_path / "home"
    export_toy(home / "bundles", shift=0.1)
    bundle(bundle_folder(home / "bundles", "sim.BTC-USD", "2"), looping(), version="2")
    write_index(home / "bundles", Index(name="sim.BTC-USD", aliases={"champion": "2", "lasso": "2"}, champions=["1", "2"]))
    environment = {**os.environ, "CRYPTO_RTI_HOME": str(home), "CRYPTO_RTI_LIVE_FEED": "false"}
    command = [Path(sys.executable).parent / "crypto-rti", "serve", "--source", "sim", "--product", "BTC-USD", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            url = process.stdout.readline().split(" on ")[1].split()[0]
            ready = wait_for(lambda: (found := _get(f"{url}/health/ready")) and found.status_code == 200 and found, 90, "readiness", process, pause=0.1)
            said = _get(f"{url}/api/predict?coin=BTC-USD").json()["prediction"]
            assert said["model_version"] == "1" and any("unusable: version 2" in text for text in ready.json()["problems"])
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            ended = time.monotonic() - begun
        finally:
            process.kill()
    attack("a service that starts with a loop as champion", "neither answers nor obeys SIGTERM", f"version 1 answers; SIGTERM obeyed in {ended:.1f} s")


def _get(url):
    """An answer, or nothing while the service is starting."""
    try:
        return httpx.get(url, timeout=30)
    except httpx.HTTPError:
        return None


def test_the_exporters_stay_within_the_list():
    """Those that need no training; tests/test_registry.py loads what each kind of model exports."""
    from crypto_rti.models.base import linear_onnx, merge_onnx

    plain = linear_onnx(np.ones((WIDTH, 5)), np.array(SPREAD))
    for content in (plain, merge_onnx([plain, plain], np.ones((10, 5)))):
        check_graph(content)

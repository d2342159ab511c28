"""Bundles small enough to know their answer by heart, for tests of whoever loads them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from crypto_rti.inputs import INPUTS
from crypto_rti.registry.bundle import bundle_trial, read_manifest, write_bundle
from crypto_rti.registry.index import Index, bundle_folder, write_index

SPREAD = (-1.6, -0.5, 0.0, 0.5, 1.6)


def toy_onnx(shift: float = 0.0, slope: float = 0.0) -> bytes:
    "An ONNX model: `SPREAD + shift + slope * (sum of the scaled inputs)`."
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]) for name, width in (("X", len(INPUTS)), ("y", len(SPREAD)))]
    constants = {"W": np.full((len(INPUTS), len(SPREAD)), slope), "b": np.array(SPREAD) + shift}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph([helper.make_node("Gemm", ["X", "W", "b"], ["y"])], "toy", shape[:1], shape[1:], tensors)
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def export_toy(
    bundles: Path,
    product: str = "BTC-USD",
    version: str = "1",
    kind: str = "lasso",
    source: str = "sim",
    interval: dict[str, Any] | None = None,
    reference: str | None = None,
    metrics: dict[str, Any] | None = None,
    **model: float,
) -> Path:
    "Export a toy and make it champion; aliases that are there stay."
    name, width = f"{source}.{product}", len(INPUTS)
    manifest: dict[str, Any] = {
        "name": name, "kind": kind, "version": version, "source": source, "product": product, "shrink": 1.0,
        "scaler": {"low": [-9.0] * width, "high": [9.0] * width, "mean": [0.0] * width, "std": [1.0] * width},
        "train_span": ["2022-01-01T00:00:00Z", "2023-12-01T00:00:00Z"], "created": "2023-12-02T00:00:00Z",
        "metrics": metrics or {"mase": 0.992, "coverage_90": 0.904}, "interval": interval, "reference": reference,
    }  # fmt: skip
    folder = write_bundle(bundle_folder(bundles, name, version), manifest, {"model.onnx": toy_onnx(**model)})
    made = read_manifest(folder)
    bundle_trial(folder, made).note("")  # As promotion does; tests/attacks/test_bundles.py has models that were not tried
    path = bundles / name / "index.json"
    aliases = Index.model_validate_json(path.read_bytes()).aliases if path.exists() else {}
    facts = {version: {key: manifest[key] for key in ("kind", "created", "train_span", "metrics")}}
    decision = {"promoted": False, "kind": "lightgbm", "version": "9", "reasons": ["mae 57.1 is above persistence's 56.6"]}
    aliases |= {kind: version, "champion": version}
    write_index(bundles, Index(name=name, aliases=aliases, versions=facts, last_retrained="2023-12-02T00:00:00Z", last_decision=decision))
    return folder

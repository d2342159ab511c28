"""Bundles learned at the quarters of the hour: what is written is loaded, what is damaged is refused, and bundles of whole hours stay as they were."""

import hashlib
import json
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import toys
from onnx import TensorProto, helper, numpy_helper

import crypto_rti.features_intraday as features_intraday
import crypto_rti.registry.bundle as bundle_module
from crypto_rti.data.candles import to_unix
from crypto_rti.data.simulation import sim_candles
from crypto_rti.evaluation.intervals import ConformalState, calibrate
from crypto_rti.evaluation.size import SizeState
from crypto_rti.features_intraday import INTRADAY_INPUTS, intraday_signature, live_row
from crypto_rti.files import write_json
from crypto_rti.inputs import INPUTS, REFERENCE, features_signature
from crypto_rti.models.base import Forecaster, train_forecaster
from crypto_rti.models.volatility import VolatilityModel
from crypto_rti.outcomes import QuarterRows, concat_rows, make_quarter_rows, scale_of
from crypto_rti.registry import trials
from crypto_rti.registry.blobs import Blobs
from crypto_rti.registry.bundle import Bundle, bundle_trial, export_bundle, load_bundle, make_manifest, read_manifest, write_bundle
from crypto_rti.registry.connection import RegistryError
from crypto_rti.registry.manifest import BundleCorruptError, BundleError, BundleFailedError, BundleMismatchError
from crypto_rti.registry.packing import HorizonPart, input_range, pack_horizon
from crypto_rti.registry.trials import trial_key
from crypto_rti.settings import HORIZONS
from crypto_rti.targets import Dataset
from crypto_rti.volatility_inputs import VOLATILITY_INPUTS

COINS, QUARTERS, WIDTH = ("BTC-USD", "ETH-USD"), (0, 15, 30, 45), len(VOLATILITY_INPUTS)


@lru_cache
def rows() -> QuarterRows:
    "Four weeks of two simulated coins; each is the other's reference."
    tables = {coin: sim_candles(coin, "2024-01-01", "2024-01-29", step=60) for coin in COINS}
    return concat_rows([make_quarter_rows(tables[coin], coin, tables[other]) for coin, other in zip(COINS, COINS[::-1], strict=True)])


@lru_cache
def volatility() -> VolatilityModel:
    return VolatilityModel(trees=5, threads=1).fit(rows().volatility, rows().log_variance)


@lru_cache
def trained(horizon: int, kind: str = "lasso") -> tuple[Forecaster, Dataset]:
    "A model of a horizon. Its scale comes from a fit on the same rows: no score is read here."
    data, _ = rows().targets(horizon, volatility().predict(rows().volatility)[:, HORIZONS.index(horizon)])
    return train_forecaster(kind, data, {"trees": 3} if kind == "lightgbm" else None), data


def states(seed: int) -> tuple[dict[int, ConformalState], dict[int, SizeState]]:
    "Other states for each coin and quarter."
    fan, draw = np.tile(toys.SPREAD, (100, 1)), np.random.default_rng(seed)
    outcomes, known = draw.normal(0, 1, (30, 2)), 86400 * np.arange(30)
    sizes = {minute: SizeState().updated(outcomes[:, 0], (minute + 1) * outcomes[:, 1], known) for minute in QUARTERS}
    return {minute: calibrate(fan, draw.standard_t(3, 100)) for minute in QUARTERS}, sizes


def packed(horizon: int = 15, kind: str = "lasso", references: dict[str, str] | None = None) -> tuple[list[dict], dict[str, bytes]]:
    "Manifests and files of both coins."
    forecaster, data = trained(horizon, kind)
    parts = {coin: HorizonPart({"mase": 0.99}, *states(seed), (references or {}).get(coin)) for seed, coin in enumerate(COINS)}
    manifests, files = pack_horizon(forecaster, volatility(), "sim", data, input_range(rows().volatility), parts)
    return [{**one, "created": "2024-02-01T00:00:00Z", "version": "1"} for one in manifests], files


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A bundle of 15 minutes that holds its files itself."
    (first, _), files = packed()
    return write_bundle(tmp_path_factory.mktemp("written") / "sim.BTC-USD" / "1", first, files)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    "Each test tries models itself."
    monkeypatch.setattr(trials, "_found", {})


def changed(written: Path, folder: Path, **changes: object) -> Path:
    "A copy of the bundle whose manifest says something else; `...` leaves a field out."
    copy = Path(shutil.copytree(written, folder / "sim.BTC-USD" / "1", ignore=shutil.ignore_patterns("trial.json")))
    manifest = {**json.loads((copy / "manifest.json").read_text()), **changes}
    write_json(copy / "manifest.json", {name: value for name, value in manifest.items() if value is not ...})
    return copy


def with_file(written: Path, folder: Path, content: bytes, name: str = "volatility.onnx") -> Path:
    "A copy of the bundle with another file, whose hash is right."
    files = {**json.loads((written / "manifest.json").read_text())["files"], name: hashlib.sha256(content).hexdigest()}
    copy = changed(written, folder, files=files)
    (copy / name).write_bytes(content)
    return copy


def gemm(columns: int, bias: float = 0.0, last: str | None = None, width: int = WIDTH) -> bytes:
    "A model that answers with a constant, through one more operator if it is named."
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("X", width), ("y", columns))]
    values = {"W": np.zeros((width, columns)), "b": np.full(columns, bias)}
    nodes = [helper.make_node("Gemm", ["X", "W", "b"], ["a" if last else "y"]), *([helper.make_node(last, ["a"], ["y"])] if last else [])]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "toy", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def by_hand(horizon: int, kind: str = "lasso") -> tuple[np.ndarray, np.ndarray]:
    "What the trained models answer without a bundle."
    forecaster, _ = trained(horizon, kind)
    variance = volatility().predict(rows().volatility)[:, HORIZONS.index(horizon)]
    return forecaster.model.predict(forecaster.scaler.transform(rows().X)), scale_of(variance, horizon)


def check_answers(bundle: Bundle, horizon: int, kind: str = "lasso") -> None:
    quantiles, scale = by_hand(horizon, kind)
    assert bundle.horizon == horizon and bundle.by_quarter and bundle.bounded
    np.testing.assert_allclose(bundle.predict(rows().X), quantiles, atol=1e-4)
    np.testing.assert_allclose(bundle.scale(rows().volatility), scale, rtol=1e-4)


# --- what is written is loaded ---


@pytest.mark.parametrize(("horizon", "kind"), [(5, "lasso"), (15, "lightgbm"), (30, "lasso"), (60, "lasso")])
def test_a_bundle_answers_as_its_models_did(tmp_path, horizon, kind):
    references = dict(zip(COINS, COINS[::-1], strict=True))
    (first, _), files = packed(horizon, kind, references)
    bundle = load_bundle(write_bundle(tmp_path / "b", first, files))
    check_answers(bundle, horizon, kind)
    assert len(bundle.sessions) == len(files) - 1 and bundle.volatility not in bundle.sessions
    assert (bundle.intervals, bundle.interval, bundle.manifest.shrink) == (states(0)[0], None, 1.0)
    assert list(bundle.sizes) == list(QUARTERS)
    for minute, state in states(0)[1].items():
        assert {day: row.tolist() for day, row in bundle.sizes[minute].sums.items()} == {day: row.tolist() for day, row in state.sums.items()}
    alone = np.vstack([bundle.predict(rows().X[i : i + 1]) for i in range(9)]), np.concatenate([bundle.scale(rows().volatility[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(alone[0], bundle.predict(rows().X[:9]), atol=1e-5)
    np.testing.assert_allclose(alone[1], bundle.scale(rows().volatility[:9]), rtol=1e-5)


def test_coins_of_a_pool_share_files_sessions_and_one_trial(tmp_path, monkeypatch):
    manifests, files = packed(references=dict(zip(COINS, COINS[::-1], strict=True)))
    folders = [export_bundle(Blobs(tmp_path), make_manifest(one, files), files.__getitem__) for one in manifests]
    real, tried = bundle_module.try_model, []
    monkeypatch.setattr(bundle_module, "try_model", lambda content, *more: tried.append(sorted(content)) or real(content, *more))
    bundles = [load_bundle(folder) for folder in folders]
    assert tried == [["model.onnx"], ["volatility.onnx"]]
    assert bundles[0].volatility is bundles[1].volatility and bundles[0].sessions == bundles[1].sessions
    for seed, (coin, bundle) in enumerate(zip(COINS, bundles, strict=True)):
        check_answers(bundle, 15)
        assert (bundle.product, bundle.intervals) == (coin, states(seed)[0])
    trials._found.clear()  # A restart: the result lies beside the files
    load_bundle(folders[1])
    assert len(tried) == 2


def test_a_row_of_the_service_goes_through_a_bundle(written):
    minutes = sim_candles("BTC-USD", "2024-01-01", "2024-01-29", step=60)
    row, bundle = live_row(minutes, to_unix("2024-01-28T12:45Z")), load_bundle(written)
    assert bundle.predict(row.inputs.T).shape == (1, 5) and 1e-5 < float(bundle.scale(row.volatility.T)[0]) < 0.1


def test_the_service_keeps_what_predictions_need(written):
    bundle = load_bundle(written)
    served = bundle.for_service()
    assert served.predict(rows().X).tobytes() == bundle.predict(rows().X).tobytes()
    assert served.scale(rows().volatility).tobytes() == bundle.scale(rows().volatility).tobytes()
    assert (served.horizon, served.by_quarter, served.bounded, served.intervals, served.sizes) == (15, True, True, bundle.intervals, bundle.sizes)
    assert len(served.manifest.model_dump_json()) < 1500 < len(bundle.manifest.model_dump_json()) / 10


def test_without_a_reference_its_columns_read_zero_and_those_behind_them_do_not(written):
    bundle = load_bundle(written)
    assert bundle.reference is None and INTRADAY_INPUTS[-len(REFERENCE) :] != REFERENCE
    X = rows().X.copy()
    zeroed = X.copy()
    zeroed[:, [INTRADAY_INPUTS.index(name) for name in REFERENCE]] = 0.0
    before = X.tobytes()
    assert bundle.predict(X).tobytes() == bundle.predict(zeroed).tobytes() and X.tobytes() == before
    np.testing.assert_allclose(bundle.predict(zeroed), trained(15)[0].model.predict(trained(15)[0].scaler.transform(zeroed)), atol=1e-4)


# --- bundles of whole hours ---


def test_a_manifest_of_whole_hours_reads_as_before(tmp_path):
    folder = toys.export_toy(tmp_path / "bundles", shift=0.1, slope=0.01)
    new = {"horizon", "volatility", "intervals", "sizes"}
    old = {name: value for name, value in json.loads((folder / "manifest.json").read_text()).items() if name not in new}
    write_json(folder / "manifest.json", old)
    bundle, said = load_bundle(folder), read_manifest(folder)
    assert (said.horizon, said.volatility, said.intervals, said.sizes, said.by_quarter) == (60, None, None, None, False)
    assert {name: value for name, value in said.model_dump(mode="json").items() if name not in new} == old
    assert (bundle.horizon, bundle.by_quarter, bundle.volatility, dict(bundle.intervals), dict(bundle.sizes)) == (60, False, None, {}, {})
    with pytest.raises(BundleError, match="without a volatility model"):
        bundle.scale(rows().volatility)
    with pytest.raises(BundleError, match=r"reads rows of 83 inputs, not an array of shape \(1, 89\)"):
        bundle.predict(rows().X[:1])


def test_a_prediction_of_whole_hours_keeps_its_bits(tmp_path):
    X = np.random.default_rng(0).normal(0, 3, (300, len(INPUTS)))
    for reference in (None, "ETH-USD"):
        bundle = load_bundle(toys.export_toy(tmp_path / str(reference), shift=0.1, slope=0.01, reference=reference))
        seen = X if reference else np.hstack([X[:, : -len(REFERENCE)], np.zeros((len(X), len(REFERENCE)))])
        (session,) = bundle.sessions
        given = [session.run(None, {"X": bundle.scaler.transform(seen[i : i + 256])})[0] for i in (0, 256)]
        assert bundle.predict(X).tobytes() == np.vstack(given).astype(float).tobytes()
        assert bundle.predict(np.asfortranarray(X)).tobytes() == bundle.predict(X).tobytes()


def test_the_key_of_a_trial_of_whole_hours_is_the_one_of_earlier_releases(monkeypatch):
    monkeypatch.setattr(trials.onnxruntime, "__version__", "1.0")
    given = {"model.onnx": "0" * 64}, {"mean": [0.0]}
    text = '[1, "1.0", [["model.onnx", "' + "0" * 64 + '"]], [["mean", [0.0]]]]'
    assert trial_key(*given) == hashlib.sha256(text.encode()).hexdigest()
    assert len({trial_key(*given), *(trial_key(*given, {"low": [low], "high": [1.0]}) for low in (0.0, 0.5))}) == 3


# --- what is refused ---

STATES: dict[str, dict] = {str(minute): {} for minute in QUARTERS}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"horizon": 20}, "horizon = '20'.*5, 15, 30, 60 minutes"),
        ({"horizon": "soon"}, "horizon = 'soon'"),
        ({"volatility": None}, r"volatility \(the range of the inputs\) is missing"),
        ({"volatility": ...}, r"volatility \(the range of the inputs\) is missing"),
        ({"volatility": {"low": [0.0] * WIDTH}}, "smallest"),
        ({"volatility": {"low": [1.0] * WIDTH, "high": [0.0] * WIDTH}}, "smallest"),
        ({"volatility": {"low": [0.0] * WIDTH, "high": [1.0] * (WIDTH - 1)}}, "smallest"),
        ({"volatility": {"low": [0.0] * 3, "high": [1.0] * 3}}, "volatility holds 3 numbers, not 42"),
        ({"volatility": {"low": [0.0] * WIDTH, "high": [1e300] * WIDTH}}, "volatility holds 42 numbers, not 42 finite ones"),
        ({"volatility": {"low": [0.0] * WIDTH, "middle": [1.0] * WIDTH}}, "middle"),
        ({"intervals": None}, "for 15 minutes, learned at the quarters of the hour, and lacks intervals"),
        ({"sizes": None}, "lacks sizes"),
        ({"horizon": 60, "sizes": None}, "lacks sizes"),
        ({"sizes": {"0": {}, "15": {}, "30": {}}}, "minute 45 of the hour is missing"),
        ({"intervals": {**STATES, "20": {}}}, "'0', '15', '30' or '45'"),
        ({"intervals": STATES}, "sim.BTC-USD/1: an interval state cannot be read"),
        ({"sizes": STATES}, "sim.BTC-USD/1: a state of sizes cannot be read"),
        ({"files": {"volatility.onnx": "0" * 64}}, "alone, without a model of the quantiles"),
        ({"files": {"model.onnx": "0" * 64}}, r"is given, files are model.onnx"),
        ({"scaler": {name: [1.0] * len(INPUTS) for name in ("low", "high", "mean", "std")}}, "its scaler is for 83 inputs, not 89"),
    ],
)
def test_a_bad_manifest_is_refused(written, tmp_path, changes, fault):
    with pytest.raises(BundleCorruptError, match=fault):
        load_bundle(changed(written, tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"inputs": INPUTS}, r"lacks \['minute', 'realised_1440', 'realised_15'\], compared with the running code's 89 inputs"),
        ({"inputs": INTRADAY_INPUTS[::-1]}, "another order"),
        ({"features_signature": features_signature()}, "trained on features with signature .*, the running code computes [0-9a-f]{16};"),
    ],
)
def test_a_bundle_of_other_inputs_is_refused(written, tmp_path, changes, fault):
    with pytest.raises(BundleMismatchError, match=fault):
        load_bundle(changed(written, tmp_path, **changes))


def test_a_shorter_horizon_needs_what_scales_it(tmp_path):
    folder = toys.export_toy(tmp_path / "bundles")
    write_json(folder / "manifest.json", {**json.loads((folder / "manifest.json").read_text()), "horizon": 15})
    with pytest.raises(BundleCorruptError, match="lacks volatility, intervals, sizes"):
        load_bundle(folder)


HOSTILE = {
    "not an ONNX file": b"noise",
    "three columns": gemm(3),
    "five columns": gemm(5),
    "for other inputs": gemm(4, width=7),
    "not finite": gemm(4, -1.0, "Log"),
    "random": gemm(4, 0.0, "RandomNormalLike"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_volatility_model_is_refused_and_tried_once(written, tmp_path, monkeypatch, name):
    folder, tried, real = with_file(written, tmp_path, HOSTILE[name]), [], bundle_module.try_model
    monkeypatch.setattr(bundle_module, "try_model", lambda content, *more: tried.append(sorted(content)) or real(content, *more))
    for _ in range(2):
        with pytest.raises(BundleCorruptError, match="sim.BTC-USD/1 cannot be used: volatility.onnx: "):
            load_bundle(folder)
    assert tried == [["model.onnx"], ["volatility.onnx"]]


def test_a_missing_or_damaged_volatility_model_is_refused(written, tmp_path):
    copy = changed(written, tmp_path)
    content = (copy / "volatility.onnx").read_bytes()
    (copy / "volatility.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleCorruptError, match="volatility.onnx has hash"):
        load_bundle(copy)
    (copy / "volatility.onnx").unlink()
    with pytest.raises(BundleCorruptError, match="volatility.onnx is missing"):
        load_bundle(copy)


def test_a_hostile_quantile_model_beside_a_good_volatility_model_is_refused(written, tmp_path):
    with pytest.raises(BundleCorruptError, match="cannot be used: it answers with 4 columns, not 5 quantiles"):
        load_bundle(with_file(written, tmp_path, gemm(4, width=len(INTRADAY_INPUTS)), "model.onnx"))


@pytest.mark.parametrize("bias", [1e4, -1e4])
def test_a_scale_that_is_no_scale_is_a_failure_of_the_model(written, tmp_path, bias):
    bundle = load_bundle(with_file(written, tmp_path, gemm(4, bias)))
    with pytest.raises(BundleFailedError, match="lasso version 1 of sim.BTC-USD failed: .*not a positive number; promote another version"):
        bundle.scale(rows().volatility[:3])


def test_inputs_of_a_scale_are_checked(written):
    bundle = load_bundle(written)
    for shape in ((WIDTH,), (1, WIDTH - 1), (1, 1, WIDTH)):
        with pytest.raises(BundleError, match="reads rows of 42 volatility inputs, not an array of shape"):
            bundle.scale(np.zeros(shape))
    for column in (0, WIDTH - 1):
        for value in (np.nan, np.inf, 1e300):
            one = rows().volatility[:1].astype(float)
            one[0, column] = value
            with pytest.raises(BundleError, match="received inputs that are not finite"):
                bundle.scale(one)
    with pytest.raises(BundleError, match="received inputs that are not finite"):
        bundle.predict(np.full((1, len(INTRADAY_INPUTS)), np.nan))


def test_a_result_for_another_range_of_inputs_does_not_count(written, tmp_path):
    load_bundle(written)
    other = changed(written, tmp_path, volatility={"low": [-1.0] * WIDTH, "high": [1.0] * WIDTH})
    assert bundle_trial(written, read_manifest(written)).recall() == ""
    assert bundle_trial(other, read_manifest(other)).recall() is None


def test_no_rows_have_no_range():
    with pytest.raises(RegistryError, match="has no range"):
        input_range(rows().volatility[:0])


# --- the signature ---


def fresh_signature() -> str:
    return intraday_signature.__wrapped__()


def test_the_signature_changes_with_each_input(monkeypatch):
    before = intraday_signature()
    assert fresh_signature() == before and len(before) == 16
    real = features_intraday.intraday_rows
    seen = {before}
    for place in (0, len(INPUTS) - 1, len(INTRADAY_INPUTS) - 1):

        def other(*given, place=place):
            found = real(*given)
            inputs = found.inputs.copy()
            inputs[place] *= 1.001
            return found._replace(inputs=inputs)

        monkeypatch.setattr(features_intraday, "intraday_rows", other)
        seen.add(fresh_signature())
    assert len(seen) == 4
    monkeypatch.setattr(features_intraday, "intraday_rows", real)
    volatility_inputs = features_intraday.volatility_inputs
    monkeypatch.setattr(features_intraday, "volatility_inputs", lambda quarters: volatility_inputs(quarters) + 1e-4)
    assert fresh_signature() not in seen
    monkeypatch.setattr(features_intraday, "volatility_inputs", volatility_inputs)
    monkeypatch.setattr(features_intraday, "INTRADAY_INPUTS", [*INTRADAY_INPUTS[:-1], "renamed"])
    assert fresh_signature() not in seen


def test_every_input_of_the_toy_takes_several_values():
    own, beside = features_intraday._toy_minutes(0.0), features_intraday._toy_minutes(1.0)
    found = features_intraday.intraday_rows(features_intraday.to_quarters(own), features_intraday.to_quarters(beside))
    still = [name for name, values in zip(INTRADAY_INPUTS, found.inputs, strict=True) if len(np.unique(values)) < 2]
    still += [name for name, values in zip(VOLATILITY_INPUTS, found.volatility, strict=True) if len(np.unique(values)) < 2]
    assert still == []

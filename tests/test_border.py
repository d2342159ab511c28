"""The border between the two worlds: the service runs where no training library can be imported."""

import ast
import importlib.util
import json
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from toys import export_toy

from crypto_rti.errors import TRAIN_MODULES

ROOT = Path(__file__).parents[1]
RESEARCH = [
    *("tensorflow", "keras", "sklearn", "lightgbm", "mlflow", "papermill", "matplotlib", "pyarrow", "filelock", "IPython", "ipykernel"),
    *("skl2onnx", "onnxmltools", "onnx", "tf2onnx", "scipy", "optuna", "joblib", "nbformat", "nbclient", "nbdev", "fastcore", "jupytext"),
]

BLOCK = f"""
import sys

class Border:
    "Refuses what an image on a Raspberry Pi does not hold."
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {RESEARCH!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} on this side of the border", name=name)

sys.meta_path.insert(0, Border())
"""

SERVE = """
import json, tempfile, time, urllib.request
import httpx
from crypto_rti.settings import load_settings
from crypto_rti.replay.server import running_exchange
from crypto_rti.service.server import running_service

with running_exchange("sim", start="2024-01-31T15:20Z", speed=0) as exchange:
    settings = load_settings(home=sys.argv[1], source=f"sim={exchange.url}", products="BTC-USD")
    with running_service(settings) as running:
        with urllib.request.urlopen(f"{running.url}/api/predict?coin=BTC-USD&time_from=3", timeout=20) as response:
            answer = json.load(response)["prediction"]
print(json.dumps({"answer": answer, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""

SIM = """
from crypto_rti.settings import load_settings
from crypto_rti.service.once import predict_once
print(predict_once(load_settings(home=sys.argv[1], source="sim"), "BTC-USD").model_dump_json())
"""


def across(code: str, *arguments: str) -> dict:
    "Run code on the runtime's side of the border; its last line is JSON."
    done = subprocess.run([sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_forecast_over_a_socket(tmp_path):
    export_toy(tmp_path / "bundles", shift=0.1)
    seen = across(SERVE, str(tmp_path))
    assert seen["answer"]["model"] == "lasso" and seen["answer"]["difference"] > 0
    assert seen["answer"]["data_until"] == "2024-01-31T12:00:00Z" and seen["answer"]["actual_price"] is not None
    assert not set(RESEARCH) & set(seen["modules"])


def test_the_simulated_market_needs_no_workbench(tmp_path):
    export_toy(tmp_path / "bundles")
    answer = across(SIM, str(tmp_path))
    assert (answer["source"], answer["model"]) == ("sim", "lasso")


MODULES = [
    *("settings", "data.candles", "data.coinbase", "data.websocket", "features", "inputs", "targets", "evaluation.intervals", "evaluation.metrics"),
    *("realised", "volatility_inputs", "features_intraday", "outcomes", "evaluation.direction"),
    *("registry.bundle", "registry.pull", "service.models", "service.forecasts", "service.feed", "service.server"),
]


IMPORT_EACH = """
import importlib, json, os, traceback
import fastapi, httpx, numpy, onnxruntime, pandas, prometheus_client, sqlalchemy, uvicorn  # Once for all of them

failed = {}
for module in sys.argv[1:]:
    read, write = os.pipe()
    if not os.fork():
        try:
            importlib.import_module(f"crypto_rti.{module}")
        except BaseException:
            os.write(write, traceback.format_exc()[-3000:].encode())
        os._exit(0)
    os.close(write)
    with open(read) as answer:
        failed |= {module: text} if (text := answer.read()) else {}
    os.wait()
print(json.dumps(failed))
"""


def test_each_runtime_module_imports_by_itself():
    "Each in a fork of its own, in which nothing of this package was imported."
    assert across(IMPORT_EACH, *MODULES) == {}
    assert list(across(IMPORT_EACH, "evaluation.backtest", "settings")) == ["evaluation.backtest"]


def test_the_package_itself_is_lazy():
    seen = across("import crypto_rti, json; print(json.dumps({'modules': sorted(sys.modules)}))")
    assert not {"numpy", "pandas", "onnxruntime", "fastapi", "httpx", "pydantic"} & set(seen["modules"])


def test_the_package_without_the_workbench_says_what_to_install():
    seen = across("""
import contextlib, io, json
from crypto_rti import *
brought = sorted(name for name in globals() if name in ("Client", "load_bundle", "build_features", "retrain", "CandleStore", "run_backtest"))
import crypto_rti
with contextlib.redirect_stdout(io.StringIO()) as shown:
    help(crypto_rti)
errors = []
for name in ("retrain", "fetch", "CandleStore", "run_backtest", "train_forecaster"):
    try:
        getattr(crypto_rti, name)
    except ImportError as error:
        errors.append(f"{type(error).__name__}: {error}")
print(json.dumps({"brought": brought, "help": len(shown.getvalue()), "errors": errors}))
""")
    assert seen["brought"] == ["Client", "build_features", "load_bundle"] and seen["help"] > 1000
    assert len(seen["errors"]) >= 4 and all(text.startswith("MissingExtraError: crypto_rti.") for text in seen["errors"])
    assert all(text.endswith("run: pip install 'crypto_rti[train]'") for text in seen["errors"])


def test_every_library_of_the_extra_is_recognised():
    "The names to import, against the distributions that settings.ini lists."
    settings = ConfigParser(delimiters=["="])
    settings.read(Path(__file__).parents[1] / "settings.ini", encoding="utf-8")
    listed = {Requirement(line).name.lower() for line in settings["DEFAULT"]["train_requirements"].splitlines() if line.strip()}
    known = {name.lower() for module in TRAIN_MODULES for name in packages_distributions().get(module, [])}
    assert listed - known <= {"tensorflow", "tensorflow-cpu"} and listed & {"tensorflow", "tensorflow-cpu"} and "tensorflow" in TRAIN_MODULES


def test_the_border_itself_holds():
    refused = "try:\n    import lightgbm\nexcept ModuleNotFoundError as error:\n    import json; print(json.dumps({'refused': error.name}))"
    assert across(refused) == {"refused": "lightgbm"}


def test_runtime_modules_import_no_research_module():
    "When they are imported; inside a function, `missing_extra` says what to install."
    spec = importlib.util.spec_from_file_location("ci_test", ROOT / ".ci" / "test.py")
    sys.modules["ci_test"] = listed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(listed)
    research = tuple(f"crypto_rti.{name}." for name in listed.RESEARCH)
    seen = 0
    for path in (ROOT / "crypto_rti").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if f"{name}.".startswith(research):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                target = ".".join([*name.split(".")[: -node.level], node.module or ""]).rstrip(".")
                assert not f"{target}.".startswith(research), f"{name} imports {target}"
                seen += 1
    assert seen > 100

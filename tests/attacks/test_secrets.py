"""A password in an address: it reaches the server that demands it, and nothing else. The retraining is in `tests/test_pipeline.py`."""

import contextlib
import os
import re
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from demanding import FORMS, CommandLines, demanding, leaks
from harness import NOW
from toys import export_toy
from waiting import wait_for

from crypto_rti import cli
from crypto_rti.replay.server import running_exchange
from crypto_rti.settings import load_settings, settings_environment

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from crypto_rti.cli import main; main()"]


def environment(home, **values):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTO_RTI_")}
    given = {"home": home, "products": "BTC-USD", "port": 0, "page": home / "none", "retries": 0, **values}
    return {**kept, **{f"CRYPTO_RTI_{name.upper()}": str(value) for name, value in given.items()}}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command line in this process: its exit code, and all that it printed."""

    def run(*arguments, **values):
        wanted = environment(values.pop("home", tmp_path / "home"), **values)
        for name in os.environ.keys() - wanted.keys():
            monkeypatch.delenv(name)
        for name, value in wanted.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["crypto-rti", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        return code, "".join(capsys.readouterr())

    return run


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

        def address():
            found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
            return found and is_up(found[0]) and found[0]

        yield wait_for(address, 150, lambda: f"a service; {log.read_text()}", process, pause=0.1), said
    finally:
        process.terminate()
        process.wait(30)
        said.append(log.read_text())


def is_up(url):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health/live").status_code == 200
    return False


def test_a_service_uses_the_password_of_its_source_and_shows_it_nowhere(exchange, tmp_path, attack):
    export_toy(tmp_path / "bundles")
    before = exchange.admitted
    with CommandLines() as lines, serving(tmp_path, source=f"sim={exchange.url}", log_level="debug") as (url, said):
        with httpx.Client(base_url=url, timeout=60) as client:
            wait_for(lambda: client.get("/health/ready").status_code == 200, 60, lambda: f"readiness; {client.get('/health/ready').text}", pause=0.2)
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
        assert any(b"cli import main" in line and b"serve" in line for line in lines.seen)
    assert exchange.admitted > before and any(b"upgrade: websocket" in head.lower() for head in exchange.heads)
    shown = [*told(said[0]), *(form for answer in answers for form in told(answer.text + str(answer.headers))), *leaks(tmp_path)]
    assert not shown and not lines.found
    attack(
        "password in CRYPTO_RTI_SOURCE, serve",
        before="in every text about the address",
        after=f"{len(shown)} places",
    )


@pytest.mark.parametrize("form", ["wrong user", "unencoded", "wrong password"])
def test_errors_of_an_exchange_that_refuses_do_not_show_the_password(form, exchange, tmp_path, call, attack):
    "The server repeats the header that it was sent."
    address = {
        "wrong user": exchange.url.replace("ann:", "bob:"),
        "unencoded": f"http://bob:c4n4ry/@7f3a@127.0.0.1:{exchange.port}",
        "wrong password": exchange.url.replace("7f3a", "wrong"),
    }[form]
    code, said = call("fetch", "--traceback", source=address)
    assert code == 1 and "401" in said and "CRYPTO_RTI_CREDENTIALS" in said, said
    assert not told(said) and not leaks(tmp_path)
    attack(f"exchange that repeats the password ({form})", before="printed, and logged", after=f"printed {len(told(said))} times")


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
def test_no_command_prints_the_password_of_an_address_that_does_not_work(address, tmp_path, call, monkeypatch):
    bare = address.removeprefix("sim=")
    given = {"source": address, "registry_uri": bare, "ledger_url": bare, "coinbase_url": bare}
    for arguments in (["fetch"], ["settings"], ["pull", bare], ["predict"], ["ledger", "export", "x.csv"], ["replay", "--source", address]):
        _, said = call(*arguments, **given)
        assert said and "c4n4ry" not in said, (arguments, said)
    assert not leaks(tmp_path)


class Listing(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_pull_sends_a_password_and_a_token_and_prints_neither(tmp_path, call, attack):
    export_toy(tmp_path / "there")
    handler = type("Handler", (Listing,), {"__init__": lambda self, *given, **more: Listing.__init__(self, *given, directory=str(tmp_path / "there"), **more)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with server, demanding(f"http://127.0.0.1:{server.server_address[1]}") as proxy:
        plain, known = f"http://127.0.0.1:{proxy.port}", f"{proxy.url}?token=c4n4ry-token"
        code, said = call("pull", plain, credentials=known)
        assert code == 0 and "copied version 1" in said, said
        assert len(proxy.heads) >= 4 and all(b"?token=c4n4ry-token" in head.splitlines()[0] for head in proxy.heads)
        missing, more = call("pull", f"{proxy.url}/nowhere", credentials=known)
        assert missing == 2 and plain in more, more
        server.shutdown()
    assert not told(said + more) and not leaks(tmp_path / "home")
    attack("password in the address of pull", before="in the text of every error", after=f"printed {len(told(said + more))} times")


HOSTILE = ["../../x", "x;id", "$(id)", "x\ny", "-x", "x/y", "\u202ex", "x" * 300]


def test_names_from_settings_and_options_are_names(tmp_path, call, attack):
    "What becomes part of a path, a query or a command is refused by its form."
    for word in HOSTILE:
        for arguments in (
            ["retrain", "--source", "sim", f"--product={word}"],
            ["retrain", "--source", "sim", f"--model={word}"],
            ["retrain", f"--source={word}=http://127.0.0.1:1"],
            ["models", f"coinbase.{word}"],
            ["promote", "coinbase.BTC-USD", "--", word],
            ["rollback", "--", word],
        ):
            code, said = call(*arguments)
            assert code and "unexpected error" not in said, (arguments, said)
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("home", "registry.lock")] and not (tmp_path.parent / "x").exists()
    attack("names such as $(id) and ../../x", before="no failure was found", after=f"{len(HOSTILE)} names refused in 6 places")


@pytest.mark.parametrize(
    "version", ["v1;touch pwned", "$(touch pwned)", "`touch pwned`", "../../v1", "-x", "v1 v2", "v1' -X 'main.x", "$(shell touch pwned)", "v1\nv2"]
)
def test_the_version_of_a_release_is_a_name(version, tmp_path, attack):
    made = ["make", "-C", str(ROOT), "-o", ".venv/.dev", "release", f"VERSION={version}"]
    for command in (["sh", str(ROOT / "deploy" / "package.sh"), version, str(tmp_path / "dist")], *([made] if "\n" not in version else [])):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode != 0 and "version must be a word" in done.stderr, done
    assert not (tmp_path / "dist").exists() and not list(tmp_path.rglob("pwned")) and not (ROOT / "pwned").exists()
    attack(f"make release VERSION={version!r}", before="read by the shell", after=f"exit code {done.returncode}")


def test_workers_get_the_password_by_their_environment(tmp_path):
    "What `serve` hands on to several workers, and `retrain` to its notebooks."
    settings = load_settings(
        home=tmp_path, source="sim=https://ann:c4n4ry@host/x", api_keys="a-key-that-nobody-knows", ledger_url="postgresql://me:c4n4ry@db/rti?sslmode=require"
    )
    for keys in (True, False):
        handed = settings_environment(settings, keys)
        assert [name for name, value in handed.items() if told(value)] == ["CRYPTO_RTI_CREDENTIALS"]
        assert ("CRYPTO_RTI_API_KEYS" in handed) == keys
    there = subprocess.run(
        [
            sys.executable,
            "-c",
            "from crypto_rti.settings import load_settings as l; s = l(); print(s.source, s.reveal('https://host/x/time'), s.ledger_address)",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, **handed},
        timeout=120,
    )
    assert there.stdout.split() == ["sim=https://host/x", "https://ann:c4n4ry@host/x/time", "postgresql://me:c4n4ry@db/rti?sslmode=require"]


def test_the_table_of_settings_shows_no_password(call):
    code, said = call("settings", source="https://ann:c4n4ry@host/?key=c4n4ry")
    assert code == 0 and not told(said) and "https://host/" in said

"""Hostile names, places and states, given to every verb of the command line: no traceback, a text that names value and remedy."""

import io
import json
import logging
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import typer
from harness import bench

from crypto_rti.cli import app, main
from crypto_rti.data.sources import Source
from crypto_rti.errors import PathError, check_folder, check_output, explain
from crypto_rti.files import write_json
from crypto_rti.service.ledger import open_ledger
from crypto_rti.service.logs import configure_logging
from crypto_rti.service.server import make_app
from crypto_rti.service.writer import Entry, write_entries
from crypto_rti.settings import CryptoRTIError, load_settings

NAMES = ["../../etc/passwd", "it's", 'say "x"', "[red]x", "[/]", "x' OR name LIKE '%", " ", "caf\udce9", "\x1b[2Jx", "x" * 3000]
NAMES += ["btc-usd", "BTC/USD", "%s{0}", "~nobody-here/x"]
SPAN = "--start 2025-01-01 --end 2025-02-01"

OPTIONS = "-s", "-p", "-m", "--train-source", "--train-product", "--refit", "--bundle"

# By verb, the ways to give it something: NAME is replaced by each of `NAMES`.
NAMED = {
    "fetch": ["-p NAME", "-s NAME", "-s sim --start NAME", "-s sim --end NAME"],
    "features": ["x.parquet -p NAME", "x.parquet -s NAME"],
    "backtest": ["--start NAME --end 2025-01-01", *(f"{SPAN} {option} NAME" for option in OPTIONS)],
    "models": ["NAME"],
    "promote": ["NAME 1"],
    "rollback": ["NAME"],
    "pull": ["NAME", "exported --name NAME", "exported --alias NAME"],
    "predict": ["NAME", "-s NAME", "--time-from NAME"],
    "serve": ["-p NAME", "-s NAME", "--port 0 --host NAME"],
    "replay": ["-s NAME --port 0", "--port 0 --start NAME", "--port 0 --host NAME"],
    "retrain": ["-p NAME", "-m NAME", "-s NAME", "--start NAME"],
    "train": ["-p NAME", "-m NAME", "-s NAME", "--start NAME"],
    "run": ["-s sim -p NAME", "-s sim -m NAME", "-s NAME"],
    "bench": ["NAME"],
    "settings": ["NAME"],
    "ledger export": ["out.csv -p NAME", "out.csv -s NAME"],
    "ledger prune": ["--yes --before NAME"],
    "import": ["NAME --out made"],
}

# By verb, what it is to write, and where it may not: HERE is replaced by each of `places`.
WRITING = {
    "features": "HERE/x.parquet",
    "backtest": f"{SPAN} -p BTC-USD -m lasso --json HERE/x.json",
    "ledger export": "HERE/x.csv",
}
# By verb, what makes it use the home folder.
AT_HOME = {
    "fetch": "-p BTC-USD --start 2024-01-01 --end 2024-01-02",
    "backtest": f"{SPAN} -p BTC-USD -m lasso",
    "models": "sim.BTC-USD",
    "promote": "sim.BTC-USD 1",
    "rollback": "sim.BTC-USD",
    "pull": "../exported",
    "retrain": "-m lasso -q",
    "train": "-m lasso -q",
    "run": "-s sim -m lasso --no-serve",
    "ledger export": "out.csv",
    "ledger prune": "--yes --before 2024-01-01",
}
REMEDY = (
    r"\b(give|choose|write|correct|check|use|make|move|restore|see|did you mean|there (is|are)|install|run|wait|swap|fetch|train|set|upgrade|stop"
    r"|is it|unexpected extra)\b"
)


def verbs(command=None, before=()):
    """Names of all verbs that the application has, also of those that are added later."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        return [" ".join(before)]
    return [verb for name, below in command.commands.items() for verb in verbs(below, (*before, name))]


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Run a verb in this process; give back its exit code and all that it printed."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in os.environ if name.startswith("CRYPTO_RTI_")]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path / "var"), "SOURCE": "sim", "RETRIES": "0", "TIMEOUT_SECONDS": "1"}.items():
        monkeypatch.setenv(f"CRYPTO_RTI_{name}", value)

    def run(*arguments, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"CRYPTO_RTI_{name}", value)
        monkeypatch.setattr(sys, "argv", ["crypto-rti", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:  # Anything else is what a person would see as a traceback
            main()
        printed = capfd.readouterr()
        return ended.value.code, printed.out + printed.err

    return run


def flat(text):
    """A text without what wrapping in a panel adds."""
    return re.sub(r"[\s│╭╮╰╯─]", "", text)


def assert_named(said, code, value, verb):
    """The promises of this file; `value` is what was wrong."""
    assert code in (1, 2), (verb, value, code, said[-1500:])
    assert "Traceback" not in said and "unexpected error" not in said, (verb, value, said[-1500:])
    forms = [value, repr(value)[1:-1], ascii(value)[1:-1], value.encode(errors="backslashreplace").decode(), value.strip().upper().replace("/", "-")]
    assert any(flat(form)[:40] in flat(said) for form in forms), (verb, value, said[-1500:])
    assert re.search(REMEDY, re.sub(r"[\s│]+", " ", said), re.IGNORECASE), (verb, value, said[-1500:])


def test_every_verb_has_a_case():
    assert set(verbs()) <= set(NAMED), "a new verb needs a line in NAMED, and where it writes in WRITING or AT_HOME"


@pytest.mark.parametrize("verb", verbs())
def test_names(call, tmp_path, verb):
    write_json(tmp_path / "work" / "exported" / "index.json", {"models": ["sim.BTC-USD"]})
    write_json(tmp_path / "work" / "exported" / "sim.BTC-USD" / "index.json", {"name": "sim.BTC-USD", "aliases": {"champion": "1"}})
    some_ledger(tmp_path / "var" / "ledger.db")
    before = sorted((tmp_path / "var").rglob("*"))
    for case in NAMED[verb]:
        for name in NAMES:
            arguments = [part.replace("NAME", name) for part in shlex.split(case)]
            code, said = call(*verb.split(), *arguments)
            assert_named(said, code, name, f"{verb} {case}")
            assert code == 2 or "--host" in case or "name too long" in said or verb == "import", (verb, case, name, said[-500:])
    assert sorted(path for path in (tmp_path / "var").rglob("*") if "ledger.db" not in path.name) == [path for path in before if "ledger.db" not in path.name]


def places(tmp_path):
    """Places where nobody, not even root, can write a file, as folders."""
    (tmp_path / "file").touch()
    return [tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere"), tmp_path / ("x" * 300), tmp_path / "[red]x" / ("y" * 300)]


@pytest.mark.parametrize("verb", WRITING)
def test_outputs_are_checked_before_the_work(call, tmp_path, verb):
    some_ledger(tmp_path / "var" / "ledger.db")
    for place in places(tmp_path):
        code, said = call(*verb.split(), *[part.replace("HERE", str(place)) for part in shlex.split(WRITING[verb])])
        assert_named(said, code, str(place), verb)
        assert "cannot be written" in said  # And not that there are no candles, which the work would find out
    folder = tmp_path / "x.json"
    folder.mkdir()
    last = WRITING[verb].split()[-1]
    code, said = call(*verb.split(), *shlex.split(WRITING[verb].replace(last, str(folder))))
    assert code == 1 and "this is a folder: give the name of a file" in said


@pytest.mark.parametrize("verb", AT_HOME)
def test_homes_that_cannot_be_written(call, tmp_path, verb):
    write_json(tmp_path / "exported" / "index.json", {"models": []})
    for place in places(tmp_path):
        code, said = call(*verb.split(), *shlex.split(AT_HOME[verb]), HOME=str(place))
        assert code in (1, 2) and "Traceback" not in said and "unexpected error" not in said, (verb, place, said[-1500:])
        assert str(place)[:40] in said or code == 2, (verb, place, said[-1500:])


def some_ledger(path):
    """A ledger with one forecast."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(f"sqlite:///{path}")
    ledger.check()
    numbers = (1.0, 2.0, 3.0, 4.0, 5.0)
    write_entries(ledger, [Entry("sim", "BTC-USD", "lasso", "1", 1704067200, 1704070800, 1704067261, 3.0, numbers, 0.01, numbers)])
    ledger.close()


def break_with(statement):
    def breaking(path):
        some_ledger(path)
        with sqlite3.connect(path) as connection:
            connection.executescript(statement)
        connection.close()

    return breaking


STATES = {
    "a directory": lambda path: path.mkdir(parents=True),
    "no database": lambda path: (path.parent.mkdir(parents=True), path.write_bytes(b"Dear diary, " * 1000)),
    "cut off": lambda path: (some_ledger(path), path.write_bytes(path.read_bytes()[:5000])),
    "of a newer version": break_with("UPDATE schema_version SET version = 99"),
    "without a column": break_with("ALTER TABLE forecasts DROP COLUMN volatility"),
    "of another program": lambda path: (path.parent.mkdir(parents=True), sqlite3.connect(path).executescript("CREATE TABLE runs (run_uuid TEXT)")),
    "locked": some_ledger,
}


@pytest.mark.parametrize("state", STATES)
def test_states_of_the_ledger(call, tmp_path, state):
    path = tmp_path / "var" / "ledger.db"
    STATES[state](path)
    holder = sqlite3.connect(path, isolation_level=None) if state == "locked" else None
    if holder:
        holder.execute("BEGIN EXCLUSIVE")
    verbs = ["export", "out.csv"], ["prune", "--yes", "--before", "2025-01-01"]
    for arguments in verbs[: 1 if state in ("locked", "without a column") else 2]:  # The one waits, the other does not need the column
        code, said = call("ledger", *arguments)
        assert_named(said, code, str(path), f"ledger {arguments[0]} {state}")
        assert not (tmp_path / "work" / "out.csv").exists()
    if holder:
        holder.close()


def test_an_export_lists_what_the_ledger_has(call, tmp_path):
    some_ledger(tmp_path / "var" / "ledger.db")
    code, said = call("ledger", "export", "out.csv", "-p", "btc-usd")
    assert code == 2 and "did you mean BTC-USD? choose one of BTC-USD" in said
    code, said = call("ledger", "export", "out.csv", "-s", "coinbase")
    assert code == 2 and "choose one of sim" in said
    assert not (tmp_path / "work" / "out.csv").exists()
    code, said = call("ledger", "export", "/dev/full")
    assert code == 74 and "no space left on device" in said and "/dev/full" in said and "ledger" not in said.lower()
    assert call("ledger", "export", "[red]x.csv")[0] == 0 and (tmp_path / "work" / "[red]x.csv").exists()
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PORT": "eighty"}, "CRYPTO_RTI_PORT='eighty'"),
        ({"PRODUCTS": "btc-usd"}, "write it like BTC-USD"),
        ({"MODELS": "lassso"}, "did you mean lasso?"),
        ({"SOURCE": "binanse"}, "'binanse' is not a source"),
        ({"LOG_FORMAT": "[red]"}, "CRYPTO_RTI_LOG_FORMAT='[red]'"),
    ],
)
def test_settings_that_name_nothing(call, tmp_path, variables, says):
    code, said = call("retrain", "-q", **variables)
    assert code == 2 and says in said and not (tmp_path / "var").exists()


def test_text_in_brackets_is_printed_as_it_is(call, monkeypatch):
    code, said = call("settings", PAGE="[red]front[/red]", LEDGER_URL="", HOST="[/]")
    assert code == 0 and "[red]front[/red]" in said and "[/]" in said


def test_spans_and_lengths_are_checked_before_anything_is_read(call):
    for arguments, says in (
        (["--start", "2025-13-01", "--end", "2025-02-01"], "'2025-13-01' is not a time"),
        (["--start", "2025-02-01", "--end", "2025-01-01"], "swap --start and --end"),
        ([*SPAN.split(), "--refit", "0d"], "give a positive one like 90d"),
        ([*SPAN.split(), "-m", "Lasso"], "did you mean lasso?"),
        ([*SPAN.split(), "--jobs", "-1"], "greater than or equal to 0"),
    ):
        code, said = call("backtest", *arguments)
        assert code == 2 and says in flat_spaces(said), said
    code, said = call("fetch", "--start", "2101-01-01")
    assert code == 2 and "lies in the future" in said


def flat_spaces(text):
    """A text on one line."""
    return re.sub(r"[\s│]+", " ", text)


def test_an_unforeseen_error_is_one_line_and_its_traceback_a_word_away(call, monkeypatch):
    monkeypatch.setattr("crypto_rti.cli.describe_settings", lambda settings: {}["[red]close"])
    code, said = call("settings")
    assert code == 1 and said.startswith("error: KeyError: '[red]close'; this is an unexpected error: run the same command with --traceback")
    for given in (["--traceback", "settings"], ["settings", "--traceback"]):
        code, said = call(*given)
        assert code == 1 and "Traceback (most recent call last)" in said and "describe_settings" in said
    code, said = call("settings", LOG_LEVEL="debug")
    assert code == 1 and "Traceback" in said


def test_a_reader_who_leaves_is_no_error():
    command = [sys.executable, "-c", "from crypto_rti.cli import main; main()", "settings"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) in (0, 1)


def test_a_folder_without_rights():
    """Rights do not hold back root, so the question is asked by a child that is nobody; a fork, for nobody may not read this Python."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o555)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which the child does not touch
        child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            for check, path in ((check_folder, folder), (check_output, folder / "x.json")):
                with pytest.raises(PathError) as caught:
                    check(path, "--json")
                os.write(writing, f"{caught.value}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    folder.rmdir()
    assert said.count(f"--json {folder}") == 2 and said.count("permission denied; correct its permissions") == 2


def test_a_full_disk_is_told_before_the_work(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        with pytest.raises(OSError, match="No space left"):
            (disk / "much").write_bytes(bytes(1_000_000))
        for check, path in ((check_folder, disk), (check_output, disk / "scores.json")):
            with pytest.raises(PathError, match="no space left on device; free space"):
                check(path, "--json")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(PathError, match="read-only file system; this place is read-only"):
            check_output(disk / "scores.json", "--json")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_errors_of_libraries_have_a_remedy(tmp_path):
    import httpx
    import pyarrow
    import sqlalchemy

    (tmp_path / "text.db").write_text("no database " * 500)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'text.db'}")
    with pytest.raises(sqlalchemy.exc.DatabaseError) as damaged, engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM t")
    assert "SELECT" not in explain(damaged.value) and "move it away" in explain(damaged.value)
    for error, says in (
        (pyarrow.ArrowInvalid("Parquet magic bytes not found in footer"), "not a readable Parquet file"),
        (httpx.ConnectError("https://ann:s3cret@host refused"), "check the address"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (ExceptionGroup("several", [MemoryError()]), "--jobs 1"),
        (json.JSONDecodeError("Expecting value", "", 0), "not JSON"),
    ):
        assert says in explain(error) and "s3cret" not in explain(error)
    assert explain(AssertionError("a bug")) == ""


# --- The service: what is spelt wrong is told at the start, and every 500 is logged -----------------------------------------


@pytest.mark.parametrize("format", ["text", "json"])
def test_every_500_is_logged_under_its_name(tmp_path, format):
    log = io.StringIO()
    with bench(tmp_path, products="BTC-USD") as up:
        level = logging.getLogger().level
        handler = configure_logging("info", format, stream=log)
        try:
            up.service.models.coins = {"BTC-USD": 7}  # Nonsense that only a bug can leave there
            bug = up.http.get("/api/predict?coin=BTC-USD", headers={"x-request-id": "visit-1"})
        finally:
            logging.getLogger().removeHandler(handler)
            logging.getLogger().setLevel(level)
    for answer, name, raised in [(bug, "visit-1", "AttributeError")]:
        assert answer.status_code == 500 and answer.headers["x-request-id"] == name and "logged" in answer.json()["detail"]
        told = [line for line in log.getvalue().splitlines() if name in line and "an unexpected error while answering '/api/predict'" in line]
        assert len(told) == 1, log.getvalue()[-3000:]
        if format == "json":
            facts = json.loads(told[0])
            assert facts["level"] == "error" and facts["request_id"] == name and facts["exception"]["type"] == raised
            assert "Traceback" in facts["exception"]["stack"]
        else:
            after = log.getvalue().partition(told[0])[2]
            assert "ERROR" in told[0] and after.startswith("\n    Traceback (most recent call last)") and raised in after


def test_a_coin_spelt_otherwise_is_told_the_spelling(tmp_path):
    with bench(tmp_path, products="BTC-USD ETH-USD") as up:
        for coin in ("btc-usd", "BTC/USD", "btc_usd"):
            for path in ("predict", "accuracy", "history", "stream"):
                answer = up.http.get(f"/api/{path}", params={"coin": coin})
                assert answer.status_code == 404 and "did you mean BTC-USD? choose one of BTC-USD, ETH-USD" in answer.json()["detail"]
        assert "did you mean lasso?" in up.predict(model_name="Lasso").json()["detail"]


@pytest.mark.parametrize("product", ["btc-usd", "BTC/USD"])
def test_a_service_does_not_start_with_a_product_spelt_otherwise(call, product):
    code, said = call("serve", "--port", "0", "-p", product)
    assert code == 2 and f"{product!r} is not a product name; write it like BTC-USD" in said
    with pytest.raises(CryptoRTIError, match="write it like BTC-USD"):
        make_app(load_settings(products=(product,)), Source("sim", "http", "http://127.0.0.1:1"))

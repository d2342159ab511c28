"""What many tests need: one Hypothesis profile, an event loop, loggers left as they were, and a PostgreSQL server of our own."""

import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from crypto_rti.service.ledger import ledger_address

PASSWORD = "hunter2/§@"

# For every property. A test that needs another number says why beside it.
settings.register_profile(
    "crypto_rti",
    max_examples=300,
    deadline=None,  # How long an example takes says more about the machine than about the code
    print_blob=True,  # A failure found in CI can be repeated elsewhere
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # Properties use such fixtures for what keeps no state between examples
)
settings.load_profile("crypto_rti")


@pytest.fixture(scope="session")
def anyio_backend():
    """What tests marked `anyio` run on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _loggers_as_they_were():
    """What a test makes quiet speaks again in the next one."""
    loggers = [logging.getLogger(name) for name in ("crypto_rti", "crypto_rti.service", "crypto_rti.access")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def postgresql_programs():
    """The folder with PostgreSQL's server programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Server:
    """A PostgreSQL server of our own, in a temporary folder, on a free port, with a password to be kept secret."""

    def __init__(self, programs):
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (self.folder / "password").write_text(PASSWORD)
        self.give(self.folder, self.folder / "password")
        self.call("initdb", "-D", self.folder / "data", "-U", "me", "-A", "scram-sha-256", "--pwfile", self.folder / "password", "-E", "UTF8", "-N")
        options = [f"port={self.port}", "listen_addresses='127.0.0.1'", f"unix_socket_directories='{self.folder}'", "fsync=off", "max_connections=50"]
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write("\n".join(options) + "\n")
        self.control("start")
        self.run("CREATE DATABASE ledger")

    def give(self, *paths):
        """PostgreSQL refuses to run as root; as root, give files to the user it runs as."""
        if os.geteuid() == 0:
            for path in paths:
                shutil.chown(path, "postgres")

    def call(self, program, *arguments):
        switch = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*switch, self.programs / program, *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def control(self, action, *arguments):
        self.call("pg_ctl", action, "-D", self.folder / "data", "-w", "-l", self.folder / "log", *arguments)

    def url(self, database, password=PASSWORD):
        return f"postgresql://me:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def run(self, statement, database="postgres"):
        engine = sa.create_engine(ledger_address(self.url(database)), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def empty(self):
        """The one database, emptied: making a new one for each test takes longer than the test."""
        self.run("DROP SCHEMA public CASCADE", "ledger")
        self.run("CREATE SCHEMA public", "ledger")
        return self.url("ledger")

    def end(self):
        self.control("stop", "-m", "immediate")
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def server():
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server programs on this machine; `make system` installs them")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it as")
    server = Server(programs)
    yield server
    server.end()

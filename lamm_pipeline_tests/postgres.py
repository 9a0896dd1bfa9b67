"""A real PostgreSQL server for tests, started by the test that needs it."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from lamm_pipeline_tests.needs import need

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=Path(shutil.which("initdb") or "initdb")).parent
USER = "lamm"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of our own."""

    port: int
    password: str

    def url(self, database: str) -> str:
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        engine = sqlalchemy.create_engine(self.url(database))
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(sqlalchemy.text(query))]
        engine.dispose()
        return found

    def create(self, database: str) -> None:
        engine = sqlalchemy.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {database}"))
        engine.dispose()


@contextmanager
def running_server(*databases: str) -> Iterator[Server]:
    """Start a server with these databases; skips the test where PostgreSQL's programs are not installed."""
    need((PROGRAMS / "initdb").exists(), "PostgreSQL's programs are not here (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="lamm-postgres-"))  # pytest's own folders are closed to the server's user
    data, found = folder / "data", Server(_free_port(), secrets.token_hex(8))
    (folder / "password").write_text(found.password)
    as_user = _as_unprivileged(folder)
    options = f"-h 127.0.0.1 -p {found.port} -k {folder}"
    try:
        _call(
            [*as_user, PROGRAMS / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8"],
            folder,
        )
        _call([*as_user, PROGRAMS / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start"], folder)
        try:
            for database in databases:
                found.create(database)
            yield found
        finally:
            _call([*as_user, PROGRAMS / "pg_ctl", "-D", data, "-w", "-m", "fast", "stop"], folder)
    finally:
        shutil.rmtree(folder)


def _as_unprivileged(folder: Path) -> list[str]:
    """Words before a command so that root runs it as somebody else, who then owns `folder`: the server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    name = next(each.pw_name for each in pwd.getpwall() if each.pw_name in ("postgres", "nobody"))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, name)
    return ["runuser", "-u", name, "--"]


def _call(command: Sequence[str | Path], folder: Path) -> None:
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

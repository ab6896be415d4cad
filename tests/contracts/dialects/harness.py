"""One database of each dialect, for the contract suite: where it is, and how to do to it what no product code does."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest

from smsevents.catalog import open_catalog
from tests.support.postgres import OWNER, administered, create_database, drop_database, restored, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database


class Harness(Protocol):
    """A database of a dialect that a test may damage."""

    package: str  # of the dialect
    url: str
    can_copy: bool  # whether smsevents copies the database itself
    gives_back_room: bool  # whether it returns room to the file system step by step
    tells_room: bool

    def opened(self) -> Database:
        """Open the database, as one more process would; it is closed after the test."""

    def bytes_stored(self) -> bytes:
        """Return all bytes that the database keeps on disk, whatever file they are in."""

    def replace(self) -> None:
        """Put another database in the place of this one, unnoticed by processes that have it open."""

    def use_up_room(self) -> None:
        """Leave no room for the next write."""

    def damage(self) -> None:
        """Damage what is stored, so that reading fails."""

    def copied(self, target: Path) -> list[tuple[int, str]]:
        """Return the shops of a copy that the dialect made."""

    def close(self) -> None:
        """Close what was opened."""


class _Opening:
    """Opens a database, and closes what it opened."""

    def __init__(self, url: str) -> None:
        """Use the database of a URL."""
        self.url = url
        self._databases: list[Database] = []

    def opened(self) -> Database:
        """Open the database."""
        self._databases.append(open_catalog(self.url))
        return self._databases[-1]

    def close(self) -> None:
        """Close what was opened."""
        for database in self._databases:
            database.close()


class SqliteHarness(_Opening):
    """A SQLite file in a folder of its own."""

    package = "sqlite"
    can_copy = gives_back_room = tells_room = True

    def __init__(self, folder: Path) -> None:
        """Use a folder that is empty."""
        self._path = folder / "log.db"
        super().__init__(f"sqlite:///{self._path}")

    def bytes_stored(self) -> bytes:
        """Return the bytes of the file and of all files beside it."""
        return b"".join(file.read_bytes() for file in sorted(self._path.parent.glob(f"{self._path.name}*")))

    def replace(self) -> None:
        """Put a file with other contents under the name."""
        other = self._path.with_name("other")
        other.write_bytes(self._path.read_bytes())
        other.rename(self._path)

    def use_up_room(self) -> None:
        """Forbid the file to grow, in every connection of the databases that are open."""
        for database in self._databases:
            database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1").close())

    def damage(self) -> None:
        """Overwrite all pages but the first, in the file and in what is not yet moved into it."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = self._path.stat().st_size
        with self._path.open("r+b") as file:
            file.seek(16 * 1024)
            file.write(os.urandom(size - 16 * 1024))

    def copied(self, target: Path) -> list[tuple[int, str]]:
        """Read the copy with SQLite alone."""
        with closing(sqlite3.connect(target)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute("SELECT trackpoint, name FROM shops ORDER BY trackpoint").fetchall()


class PostgresHarness(_Opening):
    """A database of its own on the PostgreSQL server of the tests."""

    package = "postgres"
    gives_back_room = tells_room = False

    def __init__(self, server: str, through: str | None = None) -> None:
        """Use the server of a URL for its superuser, perhaps through a pgbouncer."""
        self._server = server
        self.can_copy = through is None
        self._name = create_database(server)
        super().__init__(url_of(through or server, self._name))

    def close(self) -> None:
        """Close what was opened, and remove the database."""
        super().close()
        drop_database(self._server, self._name)

    def bytes_stored(self) -> bytes:
        """Return the bytes of all files of tables and indexes. The write-ahead log is not among them."""
        with administered(self._server) as connection:
            connection.execute("CHECKPOINT")  # removes the files of tables that were rewritten
            ((folder, number),) = connection.execute(
                "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = %s", (self._name,)
            ).fetchall()
        return b"".join(file.read_bytes() for file in sorted(Path(folder, "base", str(number)).iterdir()))

    def replace(self) -> None:
        """Put another database under the name."""
        with administered(self._server) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self._name,)
            )
            while connection.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", (self._name,)).fetchone():
                time.sleep(0.01)
            connection.execute(f"ALTER DATABASE {self._name} RENAME TO {self._name}_old")
            connection.execute(f"CREATE DATABASE {self._name} OWNER {OWNER}")
        open_catalog(url_of(self._server, self._name)).close()

    def use_up_room(self) -> None:
        """Let each new shop fail as it does on a full disk."""
        self.query(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
            "CREATE TRIGGER full_disk BEFORE INSERT ON shops FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )

    def damage(self) -> None:
        """Remove a table."""
        self.query("DROP TABLE shops CASCADE")

    def copied(self, target: Path) -> list[tuple[int, str]]:
        """Restore the dump into another database, and read that."""
        with restored(self._server, target) as (_, url), psycopg.connect(url) as connection:
            return connection.execute("SELECT trackpoint, name FROM shops ORDER BY trackpoint").fetchall()

    @property
    def server_url(self) -> str:
        """The URL of the database for the superuser, past pgbouncer."""
        return url_of(self._server, self._name, "tester")

    def query(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, without smsevents. Return the rows of the last one."""
        with administered(self.server_url) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


SLOW = pytest.mark.slow  # each run of the tests starts a server for them
HARNESSES = (
    "sqlite",
    pytest.param("postgres", marks=SLOW),
    pytest.param("pgbouncer", marks=SLOW),
)


def harness_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> SqliteHarness | PostgresHarness:
    """Make the harness of a kind of database."""
    if kind == "sqlite":
        return SqliteHarness(folder)
    server = request.getfixturevalue("postgres_url")
    return PostgresHarness(server, request.getfixturevalue("pgbouncer_url") if kind == "pgbouncer" else None)


_HOLDER = """
import sys, time
from smsevents.catalog import open_existing
dialect = open_existing(sys.argv[1]).dialect
with getattr(dialect, sys.argv[3])(int(sys.argv[2]), *map(int, sys.argv[4:])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another_process(url: str, trackpoint: int, lock: str = "shop_alone") -> Iterator[subprocess.Popen[str]]:
    """Have another process be alone with a shop, or do its upkeep. It is killed at the end, if it still runs."""
    command = [sys.executable, "-c", _HOLDER, url, str(trackpoint), lock, *(["10"] if lock == "shop_alone" else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()

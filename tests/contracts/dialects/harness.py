"""One database of each dialect, for the contract suite: where it is, and how to do to it what no product code does."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol

from smsevents.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.catalog import Database


class Harness(Protocol):
    """A database of a dialect that a test may damage."""

    name: str
    url: str

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


class SqliteHarness:
    """A SQLite file in a folder of its own."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        """Use a folder that is empty."""
        self._path = folder / "log.db"
        self.url = f"sqlite:///{self._path}"
        self._databases: list[Database] = []

    def opened(self) -> Database:
        """Open the file."""
        self._databases.append(open_catalog(self.url))
        return self._databases[-1]

    def close(self) -> None:
        """Close what was opened."""
        for database in self._databases:
            database.close()

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


HARNESSES = {"sqlite": SqliteHarness}

_HOLDER = """
import sys, time
from smsevents.catalog import open_existing
with open_existing(sys.argv[1]).dialect.shop_alone(int(sys.argv[2]), 10):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another_process(url: str, trackpoint: int) -> Iterator[subprocess.Popen[str]]:
    """Have another process be alone with a shop. It is killed at the end, if it still runs."""
    command = [sys.executable, "-c", _HOLDER, url, str(trackpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()

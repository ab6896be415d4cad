"""What is done to the files of a SQLite database as a whole, while it is in use."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

from smsevents.catalog.failures import translated
from smsevents.settings import CHECKPOINT_PAUSE_SECONDS, CHECKPOINT_TRIES, DATABASE_BUSY_MAX_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.catalog.database import Database


def vacuum(database: Database) -> None:
    """Write the whole file anew, so that nothing is left of deleted rows, also on pages that are in use.

    Where SQLite moved a row from one page to another, what it left on the first stays there until it needs the
    place: neither `secure_delete` nor REINDEX reaches that. Readers go on, writers wait. It needs as much free
    space as the file is large. Raises `StoreUnavailable`.
    """
    _run(database, "VACUUM")


def copy_to(database: Database, target: Path) -> None:
    """Write a copy of the database as it is at one moment, without free pages. Raises `StoreUnavailable`.

    The target must not be there yet, or be empty.
    """
    _run(database, "VACUUM INTO ?", str(target))


def _run(database: Database, statement: str, *values: str) -> None:
    with (
        translated("written", database.path),
        closing(sqlite3.connect(database.path, timeout=DATABASE_BUSY_MAX_SECONDS, isolation_level=None)) as connection,
    ):
        connection.execute(statement, values)


def empty_wal(database: Database) -> bool:
    """Move what is in the write-ahead log into the database file, and empty it; tell whether that worked.

    It does not while somebody reads what is older than the last write, so it is tried for some seconds.
    """
    for _ in range(CHECKPOINT_TRIES):
        # not longer at a time: while SQLite waits here it keeps writers waiting too
        with (
            translated("written", database.path),
            closing(sqlite3.connect(database.path, timeout=CHECKPOINT_PAUSE_SECONDS)) as wal,
        ):
            busy = wal.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy:
            return True
        time.sleep(CHECKPOINT_PAUSE_SECONDS)
    return False

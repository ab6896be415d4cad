"""Database files as tests handle them without smsevents: the only place above the dialect that knows SQLite.

Tests of the dialect itself are in `tests/contracts/dialects` and `tests/unit/sqlite`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from smsevents.catalog.dialects.sqlite.dialect import SqliteDialect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.catalog import Database

BUSY_MAX_SECONDS = 60


def file_of(database: Database) -> Path:
    """Return the path of a SQLite database's file."""
    assert isinstance(database.dialect, SqliteDialect)
    return database.dialect.path


def query(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement on a database file, bypassing smsevents, and return its rows."""
    with closing(sqlite3.connect(path, timeout=BUSY_MAX_SECONDS)) as connection, connection:
        return connection.execute(statement, values).fetchall()


@contextmanager
def old_view(path: Path) -> Iterator[None]:
    """Keep the database open for reading as it is now, as a slow reader in another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM segments").fetchone()
        try:
            yield
        finally:
            reader.execute("ROLLBACK")


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the write lock of a database, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


def wal_can_be_emptied(path: Path) -> bool:
    """Empty the write-ahead log. Return whether no reader prevented it."""
    return query(path, "PRAGMA wal_checkpoint(TRUNCATE)") == [(0, 0, 0)]


def is_intact(path: Path) -> bool:
    """Return whether SQLite finds nothing wrong with a file."""
    return query(path, "PRAGMA integrity_check") == [("ok",)]


def damage_newest_segment(path: Path, trackpoint: int) -> int:
    """Change one byte in the middle of the stored bytes of a shop's newest segment, and return its id."""
    ((segment_id,),) = query(
        path, "SELECT id FROM segments WHERE trackpoint = ? ORDER BY last_date DESC, id DESC LIMIT 1", trackpoint
    )
    damage(path, segment_id)
    return int(segment_id)


def damage(path: Path, segment_id: int) -> None:
    """Change one byte in the middle of the stored bytes of a segment."""
    ((data,),) = query(path, "SELECT data FROM segments WHERE id = ?", segment_id)
    middle = len(data) // 2
    changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    query(path, "UPDATE segments SET data = ? WHERE id = ?", changed, segment_id)

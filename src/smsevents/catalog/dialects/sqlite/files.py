"""Operations on the complete files of a SQLite database, while it is in use."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import NullPool, create_engine

from smsevents.catalog.dialects.sqlite.failures import translated
from smsevents.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

DATABASE_BUSY_MAX_SECONDS = 30
CHECKPOINT_TRIES = 50
CHECKPOINT_PAUSE_SECONDS = 0.1

PRIVATE_MODE = 0o600

# Without it, a file never shrinks. It takes effect in a new file, or when the file is rewritten.
GIVES_BACK_PAGES = "PRAGMA auto_vacuum = INCREMENTAL"
_INCREMENTAL = 2  # the value of that setting
GIVEN_BACK_IN_STEP_MAX_BYTES = 4 * 1024 * 1024
GIVEN_BACK_AT_FIRST_BYTES = 256 * 1024
GIVE_BACK_STEP_SECONDS = 0.02  # what a step should take at most: writers wait meanwhile
FREE_KEPT_RATIO = 0.05  # of the file; the next writes need free pages, and each one that is given back is moved first
FREE_MIN_BYTES = 256 * 1024
WAL_KEPT_WHEN_IDLE_BYTES = 256 * 1024


def make_private(path: Path) -> None:
    """Create an empty database file that only its owner may read (0600), if there is no file yet.

    SQLite would apply the umask instead, also to the target of a link. It creates `-wal` and `-shm` with the mode of
    the database. An existing file keeps its mode. Raises `StoreUnavailable`.
    """
    try:
        os.close(os.open(path.resolve(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreUnavailable(f"The database {path} cannot be made: {error.strerror}.") from error


def vacuum(path: Path) -> None:
    """Rewrite the complete file, so that no page holds remains of deleted rows, even pages that are in use.

    When SQLite moves a row to another page, a copy stays on the first page until SQLite needs the space. Neither
    `secure_delete` nor REINDEX removes that copy. Readers continue, writers wait. The rewrite needs free space of the
    file's size, both in SQLite's temporary folder and beside the database. Raises `StoreUnavailable`.
    """
    try:
        _run(path, "VACUUM")
    except StoreFull as error:
        raise StoreFull(
            "There is no room to rewrite the files. That takes as much as they are large, beside the database and"
            " in SQLite's temporary folder (SQLITE_TMPDIR, TMPDIR or /var/tmp). Free some room and try again."
        ) from error


def copy_to(path: Path, target: Path) -> None:
    """Write a copy of the database as it is at one moment, without free pages. Raises `StoreUnavailable`.

    The target must be empty or must not exist.
    """
    _run(path, "VACUUM INTO ?", str(target))


@contextmanager
def reading_copy(copy: Path) -> Iterator[Connection]:
    """Open a copy that nothing changes, without files of SQLite beside it. Raises `StoreUnavailable`."""
    url = f"{copy.absolute().as_uri()}?mode=ro&immutable=1"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(url, uri=True), poolclass=NullPool)
    with translated("read", copy), engine.connect() as connection:
        yield connection


def _run(path: Path, statement: str, *values: str) -> None:
    with (
        translated("written", path),
        closing(sqlite3.connect(path, timeout=DATABASE_BUSY_MAX_SECONDS, isolation_level=None)) as connection,
    ):
        if _number(connection, "auto_vacuum") != _INCREMENTAL:  # else it would wait for the write lock
            connection.execute(GIVES_BACK_PAGES)
        connection.execute(statement, values)


def give_back_pages(path: Path, max_bytes: int) -> bool:
    """Return free pages at the end of a file to the file system. Return whether enough are left for another step.

    Pages in use are moved from the end of the file to free places first. A file that was created before smsevents set
    GIVES_BACK_PAGES keeps its free pages until it is rewritten. Raises `StoreUnavailable`.
    """
    with (
        translated("written", path),
        closing(sqlite3.connect(path, timeout=DATABASE_BUSY_MAX_SECONDS, isolation_level=None)) as connection,
    ):
        if _number(connection, "auto_vacuum") != _INCREMENTAL:
            return False
        page_bytes = _number(connection, "page_size")
        kept = max(FREE_MIN_BYTES // page_bytes, int(_number(connection, "page_count") * FREE_KEPT_RATIO))
        spare, at_once = _number(connection, "freelist_count") - kept, max(1, max_bytes // page_bytes)
        if spare > 0:
            connection.execute("PRAGMA secure_delete = ON")
            # not `execute`, which would stop after the first page
            connection.executescript(f"PRAGMA incremental_vacuum({min(spare, at_once)})")
        return spare > at_once


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def shrink_wal(path: Path) -> None:
    """Move the contents of a large write-ahead log into the database file, unless a reader or a writer needs it now."""
    if (size_of(path.with_name(path.name + "-wal")) or 0) <= WAL_KEPT_WHEN_IDLE_BYTES:
        return
    with (
        translated("written", path),
        closing(sqlite3.connect(path, timeout=CHECKPOINT_PAUSE_SECONDS)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # most of the work, while nobody waits
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def empty_wal(path: Path) -> bool:
    """Move the contents of the write-ahead log into the database file. Return whether the log is empty then.

    This fails while a reader sees the state before the last write, so it is tried for some seconds.
    """
    for _ in range(CHECKPOINT_TRIES):
        # a short wait per try: while SQLite waits here, writers wait too
        with (
            translated("written", path),
            closing(sqlite3.connect(path, timeout=CHECKPOINT_PAUSE_SECONDS)) as wal,
        ):
            busy = wal.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy:
            return True
        time.sleep(CHECKPOINT_PAUSE_SECONDS)
    return False


def size_of(path: Path) -> int | None:
    """Return the size of a file in bytes, or None if it cannot be determined."""
    try:
        return path.stat().st_size
    except OSError:
        return None

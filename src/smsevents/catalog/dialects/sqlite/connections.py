"""Connections to a SQLite file: how they are opened, and how their transactions begin."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles

from smsevents.catalog.dialects.hints import NotByIndex
from smsevents.catalog.dialects.sqlite.files import DATABASE_BUSY_MAX_SECONDS, GIVES_BACK_PAGES, make_private
from smsevents.catalog.dialects.sqlite.free_space import DATABASE_PAGE_BYTES
from smsevents.catalog.dialects.sqlite.location import require_ours, why_unusable
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Engine
    from sqlalchemy.sql.compiler import SQLCompiler

DATABASE_CONNECTIONS_KEPT = 8  # a thread that needs another one opens it for as long as it needs it
WAL_PAUSE_SECONDS = 0.02  # between tries to put a new file into WAL mode
# What a write changes stays in memory until its commit. Otherwise SQLite would write some pages several times. A read
# needs little, and many connections read.
WRITE_CACHE_MAX_KIB, READ_CACHE_MAX_KIB = 16 * 1024, 2 * 1024
WAL_KEPT_MAX_BYTES = 64 * 1024 * 1024

_WROTE = "smsevents_wrote"  # noted with a connection: its last transaction was a write


def sqlite_engine(path: Path, *, create: bool) -> Engine:
    """Create the engine of a file, and with `create` the file. Raises `NoDatabase` or `StoreUnavailable`."""
    if not path.absolute().parent.is_dir():
        raise StoreUnavailable(f"The database {path} cannot be made: its folder does not exist. Create it first.")
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=DATABASE_CONNECTIONS_KEPT,
        max_overflow=-1,
        connect_args={
            "isolation_level": None,  # `_begin` begins transactions; the driver must not guess where one starts
            "timeout": DATABASE_BUSY_MAX_SECONDS,
            "check_same_thread": False,
        },
    )
    make_private(path)
    try:
        _use_wal(path, create=create)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The database {path} cannot be opened: {why_unusable(path) or f'{error}.'}") from error
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _use_wal(path: Path, *, create: bool) -> None:
    """Put the file into WAL mode, in which it stays. This is done once, as it needs exclusive access to the file.

    A database of another program is refused first. Raises `NoDatabase` or `StoreUnavailable`.

    When several processes open a new file at the same time, SQLite itself does not wait for that access.
    """
    deadline = time.monotonic() + DATABASE_BUSY_MAX_SECONDS
    connection = sqlite3.connect(path, timeout=DATABASE_BUSY_MAX_SECONDS)
    try:
        while True:
            try:
                require_ours(connection, path, create=create)
                if connection.execute("PRAGMA page_count").fetchone() == (0,):
                    # for a new file, and in this order; for another one, the second would wait for the write lock
                    connection.execute(f"PRAGMA page_size = {DATABASE_PAGE_BYTES}")
                    connection.execute(GIVES_BACK_PAGES)
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(WAL_PAUSE_SECONDS)
            else:
                return
    finally:
        connection.close()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # erased data is overwritten, not only unlinked
    # SQLite keeps the data to undo a savepoint in memory. Otherwise it would use a temporary file after a few pages,
    # and imports would fail whenever the folder for temporary files is full.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_MAX_BYTES}")


def _begin(connection: Connection) -> None:
    """Begin a read, or a write that holds the write lock from the start. Each has its own limit of the page cache.

    A read transaction that is upgraded later fails at once if another process wrote in between.
    """
    write = bool(connection.get_execution_options().get("write"))
    begin = "BEGIN IMMEDIATE" if write else "BEGIN"
    cursor = connection.connection.cursor()  # SQLAlchemy would take longer than SQLite
    try:
        if connection.info.get(_WROTE, False) is not write:
            cursor.execute(f"PRAGMA cache_size = -{WRITE_CACHE_MAX_KIB if write else READ_CACHE_MAX_KIB}")
            connection.info[_WROTE] = write
        cursor.execute(begin)
    except sqlite3.Error as error:
        raise OperationalError(begin, None, error) from error


@compiles(NotByIndex, "sqlite")
def _hidden_column(hint: NotByIndex[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 -- SQLAlchemy's
    """Hide a column from the planner by a unary `+` (https://www.sqlite.org/optoverview.html#uplus)."""
    return "+" + compiler.process(hint.clauses.clauses[0], **options)

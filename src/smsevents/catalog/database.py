"""The connection to the SQL database: transactions, durability, and writes that share a commit.

Every caller passes a function that gets a connection. Reads run in the caller's thread, each in its own
short transaction, which is one unchanging view of the database. Writes go to one writer thread: whatever
waits when it comes round becomes one transaction, so that many small imports at a time cost one fsync
together. A large write has a transaction of its own, after the small ones that wait: one of them keeps those that come
next waiting, and not all of them. Each write has a savepoint of its own: one that is refused takes none of the others
with it.

SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned is on the disk.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from smsevents.catalog.dialects.sqlite.failures import translated
from smsevents.catalog.dialects.sqlite.files import DATABASE_BUSY_MAX_SECONDS, make_private
from smsevents.catalog.dialects.sqlite.free_space import DATABASE_PAGE_BYTES, Room
from smsevents.catalog.dialects.sqlite.location import (
    path_of,
    require_ours,
    require_usable,
    why_unusable,
    why_unwritable,
)
from smsevents.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.engine import Engine

DATABASE_CONNECTIONS_KEPT = 8  # a thread that needs one more opens it for that time
WAL_PAUSE_SECONDS = 0.02  # between tries to put a new file into WAL mode
WAL_KEPT_MAX_BYTES = 64 * 1024 * 1024
WRITES_IN_GROUP_MAX = 256

T = TypeVar("T")

LARGE_WRITE_MIN_BYTES = 1024 * 1024  # a write of this size takes about as long as a commit


@dataclass(frozen=True)
class _Write(Generic[T]):
    """A function that waits for the writer, and where its outcome goes."""

    run: Callable[[Connection], T]
    outcome: Future[T]
    is_large: bool = False


class Database:
    """An open database. `close` it when it is no longer needed; it is safe to use from many threads."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """Open the database that `url` names, and create the file if there is none and `create` says so.

        Raises `SettingError` for a URL that cannot be used, `NoDatabase` if there is none and it is not created,
        `StoreUnavailable` if it cannot be opened.
        """
        self.path = path_of(url)
        require_usable(self.path, create=create)
        self.is_new = not self.path.exists()
        self._room = Room(self.path)
        self._engine = _sqlite_engine(self.path, create=create)
        self._writes: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        try:
            with translated("read", self.path), self._engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except BaseException:
            self._engine.dispose()
            raise
        self._file = _file_at(self.path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection in a read transaction, which sees the database as it is at its first query."""
        self._check_file()
        with translated("read", self.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """Give a connection in a write transaction of its own, committed at the end; for migrations."""
        self._check_file()
        with translated("written", self.path), self._engine.connect() as connection:
            yield connection.execution_options(begin="BEGIN IMMEDIATE")
            self._check_file()
            connection.commit()

    def write(self, run: Callable[[Connection], T]) -> T:
        """Run a write and return when it is durable. Raises what `run` raised, or `StoreUnavailable`."""
        return self.submit(run).result()

    def submit(self, run: Callable[[Connection], T], size_bytes: int = 0) -> Future[T]:
        """Hand a write of about so many bytes to the writer; the future gets its result once it is durable.

        Raises `StoreUnavailable` once the database is being closed.
        """
        outcome: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The database is being closed. Try again in a moment.")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_loop, name="smsevents-writer", daemon=True)
                self._writer.start()
            self._writes.put(_Write(run, outcome, is_large=size_bytes >= LARGE_WRITE_MIN_BYTES))
        return outcome

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if the database cannot be written just now. Nothing is written for that.

        A process that has the lock can write, so one that waits for it can too. The modes of the files are checked
        as well, because this process may hold one open for writing that the next one could not open.
        """
        self._check_file()
        if why := why_unwritable(self.path):
            raise StoreUnavailable(
                f"The database {self.path} cannot be written: {why}", "The database of the server cannot be written."
            )
        with translated("written", self.path), closing(sqlite3.connect(self.path, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
        self._room.check()

    def close(self) -> None:
        """Finish the writes that wait, then close all connections."""
        with self._lock:
            self._closed = True
            writer, self._writer = self._writer, None
            if writer is not None:
                self._writes.put(None)
        if writer is not None:
            writer.join()
        self._engine.dispose()

    def _check_file(self) -> None:
        """Refuse to go on with a file that is no longer the one under our path: what is written to it is lost."""
        if _file_at(self.path) != self._file:
            raise StoreUnavailable(
                f"The database {self.path} was moved or replaced. Put it back, or restart to use the new one.",
                "The database of the server was moved or replaced. Try again later, and tell its operator.",
            )

    def _write_loop(self) -> None:
        large: deque[_Write[Any]] = deque()
        stopping = False
        while large or not stopping:
            group: list[_Write[Any]] = []
            while not stopping and len(group) < WRITES_IN_GROUP_MAX and not (self._writes.empty() and (group or large)):
                following = self._writes.get()
                if following is None:
                    stopping = True
                elif following.is_large:
                    large.append(following)
                else:
                    group.append(following)
            self._write_group(group)
            if large:
                self._write_group([large.popleft()])

    def _write_group(self, group: list[_Write[Any]]) -> None:
        """Run writes in one transaction; tell each its outcome only after the commit."""
        group = [write for write in group if write.outcome.set_running_or_notify_cancel()]
        if not group:
            return
        outcomes: list[Callable[[], None]] = []
        try:
            with self.exclusive() as connection:
                outcomes = [_run(write, connection) for write in group]
            self._room.found()
        except Exception as failure:  # noqa: BLE001 -- nothing of the group was stored: every caller raises it
            if isinstance(failure, StoreFull):
                self._room.missed()
            outcomes = [partial(write.outcome.set_exception, failure) for write in group]
        for tell in outcomes:
            tell()


_SAVEPOINT = "one_write"  # by plain SQL, as SQLAlchemy's own savepoints cost as much as the write of one event


def _run(write: _Write[Any], connection: Connection) -> Callable[[], None]:
    """Run one write of a group in a savepoint; give what tells its caller the outcome.

    An error of the database ends the group: SQLite may have rolled back the whole transaction.
    """
    connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")
    try:
        result = write.run(connection)
    except SQLAlchemyError:
        raise
    except Exception as refusal:  # noqa: BLE001 -- handed on to the caller, who raises it
        connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        return partial(write.outcome.set_exception, refusal)
    connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    return partial(write.outcome.set_result, result)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Tell which file lies under a path: its device and inode, or None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_engine(path: Path, *, create: bool) -> Engine:
    if not path.absolute().parent.is_dir():
        raise StoreUnavailable(f"The database {path} cannot be made: its folder does not exist. Create it first.")
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=DATABASE_CONNECTIONS_KEPT,
        max_overflow=-1,
        connect_args={
            "isolation_level": None,  # transactions begin where we say so, not where the driver guesses
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
    """Put the file into WAL mode, where it stays; once, as the change needs the file for itself.

    A database of another program is refused before that. Raises `NoDatabase` or `StoreUnavailable`.

    SQLite does not wait for that by itself when several processes open a new file at a time.
    """
    deadline = time.monotonic() + DATABASE_BUSY_MAX_SECONDS
    connection = sqlite3.connect(path, timeout=DATABASE_BUSY_MAX_SECONDS)
    try:
        while True:
            try:
                require_ours(connection, path, create=create)
                connection.execute(f"PRAGMA page_size = {DATABASE_PAGE_BYTES}")  # of a file that is new
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
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only forgotten
    # What a savepoint may have to take back goes into memory: else into a temporary file as soon as it is some pages,
    # and a full folder for these would make imports fail.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_MAX_BYTES}")


def _begin(connection: Connection) -> None:
    """Begin as a reader, or for a write with the write lock held from the start.

    A read transaction that is upgraded later fails at once when another process wrote in between.
    """
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

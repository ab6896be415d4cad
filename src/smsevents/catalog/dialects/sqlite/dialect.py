"""SQLite as a dialect: one file, one writer at any moment, WAL mode with `synchronous=FULL`.

Once a commit has returned, its data is on the disk.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import text

from smsevents.catalog.dialects.base import DatabaseSizes, Scrubbed
from smsevents.catalog.dialects.sqlite import files, locks
from smsevents.catalog.dialects.sqlite.commits import Commits
from smsevents.catalog.dialects.sqlite.connections import sqlite_engine
from smsevents.catalog.dialects.sqlite.failures import translated
from smsevents.catalog.dialects.sqlite.free_space import DATABASE_PAGE_BYTES, FreeSpace, free_bytes
from smsevents.catalog.dialects.sqlite.identity import identity_of
from smsevents.catalog.dialects.sqlite.location import erasures_folder_of, require_usable, why_unwritable
from smsevents.clock.system import now_ms
from smsevents.errors import InvalidRequest, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager, ExitStack
    from pathlib import Path
    from typing import Literal

    from sqlalchemy import Connection
    from sqlalchemy.engine import Engine

    from smsevents.catalog.checks import Check

T = TypeVar("T")

_LAST_ID = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
_FORGET_LAST_ID = text("DELETE FROM sqlite_sequence WHERE name = :name")
_REMEMBER_LAST_ID = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")

VACUUM = "vacuum"
EMPTY_WAL = "empty the write-ahead log"
SCRUB_BRIEF_MAX_BYTES = 32 * 1024 * 1024  # a file of at most this size is rewritten in less than a second


class SqliteDialect:
    """One SQLite database."""

    scrub_steps = (VACUUM, EMPTY_WAL)
    reads_kept = 8  # opening one takes longer than a small read
    has_one_writer = True
    fetches_lazily = True
    marks_commits_at_once = True
    takes_arrays = False
    divides_upkeep = False  # all processes are on one machine, whose cores the server needs

    def __init__(self, path: Path, *, create: bool) -> None:
        """Check what is at a path. Raises `NoDatabase` or `StoreUnavailable`."""
        require_usable(path, create=create)
        self.path = path
        self.is_new = not path.exists()
        self._create = create
        self._room = FreeSpace(path)
        self._commits = Commits(path)
        self._step_bytes = files.GIVEN_BACK_AT_FIRST_BYTES
        self._identity: str | None = None  # of the file, once it is open

    @property
    def where(self) -> str:
        """The location of the file."""
        return str(self.path.absolute())

    @property
    def erasures_folder(self) -> Path:
        """A folder beside the file."""
        return erasures_folder_of(self.path)

    def engine(self) -> Engine:
        """Create the engine, and the file if it is missing and may be created. Raises `StoreUnavailable`."""
        engine = sqlite_engine(self.path, create=self._create)
        try:
            with self.translated("read"), engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except BaseException:
            engine.dispose()
            raise
        self._identity = identity_of(self.path)
        return engine

    def translated(self, done: Literal["read", "written"]) -> AbstractContextManager[None]:
        """Translate SQLite's errors into those of smsevents."""
        return translated(done, self.path)

    def check_same(self) -> None:
        """Refuse to continue if the path no longer leads to the open file: anything written to that file is lost."""
        if identity_of(self.path) != self._identity:
            raise StoreUnavailable(
                f"The database {self.path} was moved or replaced. Put it back, or restart to use the new one.",
                "The database of the server was moved or replaced. Try again later, and tell its operator.",
            )

    def commit_mark(self) -> int | None:
        """Return SQLite's own mark."""
        self.check_same()
        return self._commits.mark()

    def check_writable(self) -> None:
        """Try to take the write lock, and check file modes and free space.

        If another process holds the lock, that process can write, and so can this one later. The modes of the files
        are checked too, because this process may hold a file open that the next one could not open for writing.
        """
        if why := why_unwritable(self.path):
            raise StoreUnavailable(
                f"The database {self.path} cannot be written: {why}", "The database of the server cannot be written."
            )
        with self.translated("written"), closing(sqlite3.connect(self.path, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
        self._room.check()

    def wrote(self, *, found_room: bool) -> None:
        """Record whether a write found enough free space."""
        if found_room:
            self._room.found()
        else:
            self._room.missed()

    def now_ms(self) -> int:
        """Return the time of the machine's clock (Unix ms): all processes of a file run on that machine."""
        return now_ms()

    @staticmethod
    def concerns(connection: Connection) -> list[Check]:  # noqa: ARG004 -- there is nothing to ask
        """Return nothing: there is one machine."""
        return []

    def begin_append(self, connection: Connection, trackpoint: int) -> None:
        """Do nothing: there is one writer."""

    @staticmethod
    def begin_appends(connection: Connection, trackpoints: Sequence[int], reads: Sequence[str]) -> None:
        """Do nothing: there is one writer. A share takes a lock of a file, so it is taken only where it is needed."""

    def begin_block(self, connection: Connection, trackpoint: int) -> None:
        """Do nothing: there is one writer."""

    @staticmethod
    def begin_replacement(connection: Connection, trackpoint: int) -> bool:  # noqa: ARG004 -- there is one writer
        """Return True: a lock of this machine cannot be lost while the process runs."""
        return True

    def share_until_end(self, connection: Connection, trackpoint: int, held: ExitStack) -> None:  # noqa: ARG002 -- `held` ends it
        """Share a shop until `held` is closed."""
        held.enter_context(self.shop_step(trackpoint))

    @staticmethod
    def unfinished_id(connection: Connection) -> int | None:  # noqa: ARG004 -- there is one writer
        """Return None: ids appear in their order."""
        return None

    @staticmethod
    def last_id(connection: Connection, table: str) -> int:
        """Return what SQLite remembers of a table with AUTOINCREMENT."""
        found = connection.execute(_LAST_ID, {"name": table}).scalar()
        return int(found or 0)

    @staticmethod
    def set_last_id(connection: Connection, table: str, last: int) -> None:
        """Let SQLite remember it. Its table has no key."""
        connection.execute(_FORGET_LAST_ID, {"name": table})
        connection.execute(_REMEMBER_LAST_ID, {"name": table, "last": last})

    def shop_step(self, trackpoint: int) -> AbstractContextManager[None]:
        """Share a shop with other steps of the upkeep."""
        return locks.shop_step(self.path, trackpoint)

    def shop_alone(self, trackpoint: int, patience_seconds: float) -> AbstractContextManager[None]:
        """Have exclusive access to a shop."""
        return locks.shop_alone(self.path, trackpoint, patience_seconds)

    def shop_kept(self, trackpoint: int) -> AbstractContextManager[None]:
        """Do the upkeep of a shop."""
        return locks.shop_kept(self.path, trackpoint)

    def scrub_alone(self, patience_seconds: float) -> AbstractContextManager[None]:
        """Have exclusive access to scrub the files."""
        return locks.scrub_alone(self.path, patience_seconds)

    def scrub(self, step: str) -> Scrubbed:
        """Rewrite the file, or empty the write-ahead log."""
        if step == VACUUM:
            files.vacuum(self.path)
            return Scrubbed(done=True, is_brief=self.path.stat().st_size <= SCRUB_BRIEF_MAX_BYTES)
        return Scrubbed(done=files.empty_wal(self.path))

    def give_back_room(self) -> bool:
        """Move pages from the end of the file into free ones, and at the end the write-ahead log into the file.

        SQLite searches its list of free pages for each of them. So the longer that list is, the smaller are the steps.
        """
        began = time.monotonic()
        if files.give_back_pages(self.path, self._step_bytes):
            took = time.monotonic() - began
            if took > files.GIVE_BACK_STEP_SECONDS:
                self._step_bytes = max(self._step_bytes // 2, DATABASE_PAGE_BYTES)
            elif took < files.GIVE_BACK_STEP_SECONDS / 4:
                self._step_bytes = min(self._step_bytes * 2, files.GIVEN_BACK_IN_STEP_MAX_BYTES)
            return True
        files.shrink_wal(self.path)
        return False

    def copy_to(self, target: Path, read: Callable[[Connection], T], past_pool: str | None = None) -> T:
        """Copy the database without free pages, and read the copy."""
        if past_pool is not None:
            raise InvalidRequest("A SQLite file has no server. Leave out --server.")
        files.copy_to(self.path, target)
        with files.reading_copy(target) as connection:
            return read(connection)

    def sizes(self) -> DatabaseSizes:
        """Return the sizes of the files."""
        log_bytes = files.size_of(self.path.with_name(self.path.name + "-wal")) or 0
        return DatabaseSizes(files.size_of(self.path), log_bytes, free_bytes(self.path.absolute().parent))

    def close(self) -> None:
        """Stop watching the commits."""
        self._commits.close()

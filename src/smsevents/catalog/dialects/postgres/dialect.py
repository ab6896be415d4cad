"""PostgreSQL as a dialect: any number of processes on any number of machines, each of which reads and writes.

Once a commit has returned, its data is on the disk of the primary, and on those of the synchronous standbys.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from smsevents.catalog.dialects.base import Begun, DatabaseSizes, Scrubbed
from smsevents.catalog.dialects.postgres import concerns, dump, guards, scrub
from smsevents.catalog.dialects.postgres.clock import DatabaseClock
from smsevents.catalog.dialects.postgres.commits import StalledCommits
from smsevents.catalog.dialects.postgres.connections import (
    CLOCK_SQL,
    OPENING,
    begin_statements,
    begun,
    connect,
    postgres_engine,
)
from smsevents.catalog.dialects.postgres.failures import ours, translated
from smsevents.catalog.dialects.postgres.keys import Key, key_of
from smsevents.catalog.dialects.postgres.location import location_of
from smsevents.catalog.dialects.postgres.locks import Locks
from smsevents.catalog.dialects.postgres.marks import Commits
from smsevents.catalog.dialects.postgres.rights import require_usable
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager, ExitStack
    from pathlib import Path
    from typing import Literal

    from sqlalchemy import Connection
    from sqlalchemy.engine import Engine

    from smsevents.catalog.checks import Check
    from smsevents.catalog.dialects.postgres.connections import Opening
    from smsevents.catalog.dialects.postgres.location import Location
    from smsevents.catalog.dialects.postgres.locks import Place

T = TypeVar("T")

SCRUB_BRIEF_MAX_BYTES = 32 * 1024 * 1024  # tables of at most this size are rewritten in about a second
FULL_REMEMBERED_SECONDS = 60  # a server that is not ready gets no writes that would find room again
_ERASES = "is erasing from this shop"


class PostgresDialect:
    """One PostgreSQL database."""

    scrub_steps = (scrub.REWRITE,)
    erasures_folder = None  # a server has no folder for it
    reads_kept = 0  # the pool keeps them
    has_one_writer = False
    fetches_lazily = False
    marks_commits_at_once = False
    takes_arrays = True
    divides_upkeep = True

    def __init__(self, location: Location, *, create: bool) -> None:
        """Check the database at a location. Raises `NoDatabase` or `StoreUnavailable`."""
        self._location = location
        self._clock = DatabaseClock()
        self._stalls = StalledCommits()
        self._locks = Locks(self._connect, location.where)
        self._commits = Commits(self._connect)
        self._engine: Engine | None = None
        self._full_until = 0.0
        with self._connected("read") as connection:
            found = require_usable(connection, location.where, create=create)
            self._measure(connection)
        self.is_new = found.is_new
        self.identity = found.identity  # None until the tables exist

    @property
    def where(self) -> str:
        """The hosts and the name of the database."""
        return self._location.where

    def engine(self) -> Engine:
        """Create the engine."""
        self._engine = postgres_engine(self._connect, self._begin)
        return self._engine

    def translated(self, done: Literal["read", "written"]) -> AbstractContextManager[None]:
        """Translate PostgreSQL's errors into those of smsevents."""
        return translated(done, self.where)

    def check_same(self) -> None:
        """Learn the identity of a database that is new. Each transaction compares it, which costs no message."""
        if self.identity is None:
            with self._connected("read") as connection:
                self.identity = require_usable(connection, self.where, create=True).identity

    def commit_mark(self) -> str | None:
        """Ask the server for its snapshot."""
        return self._commits.mark()

    def check_writable(self) -> None:
        """Begin a write, which a standby refuses."""
        if time.monotonic() < self._full_until:
            raise StoreUnavailable(
                f"There was no room left on the disk of the database {self.where}. Free some.",
                "There is no room left on the disk of the database.",
            )
        if self._engine is None:
            return
        with self.translated("written"), self._engine.connect() as connection:
            connection.execution_options(write=True, beside=True).exec_driver_sql("SELECT 1").close()

    def wrote(self, *, found_room: bool) -> None:
        """Record whether a write found enough free space."""
        self._full_until = 0.0 if found_room else time.monotonic() + FULL_REMEMBERED_SECONDS

    def now_ms(self) -> int:
        """Return the time of the database's clock (Unix ms)."""
        return self._clock.now_ms()

    def concerns(self, connection: Connection) -> list[Check]:
        """Return what is to be said of the clocks and of the standbys."""
        return [concerns.clock(self._clock.machine_away_ms()), concerns.standbys(connection)]

    def begin_append(self, connection: Connection, trackpoint: int) -> None:
        """Let nobody block a user of the shop meanwhile."""
        guards.begin_append(connection, trackpoint)

    def begin_appends(self, connection: Connection, trackpoints: Sequence[int], reads: Sequence[str]) -> Begun:
        """Let nobody block a user of the shops meanwhile, share those that no erasure has or awaits, and read."""
        return guards.begin_appends(connection, trackpoints, reads)

    def begin_block(self, connection: Connection, trackpoint: int) -> None:
        """Wait for the running imports of the shop."""
        guards.begin_block(connection, trackpoint)

    def begin_replacement(self, connection: Connection, trackpoint: int) -> bool:
        """Return whether this process still shares the shop, or has it alone."""
        return guards.begin_replacement(connection, trackpoint, self._locks.holders(_work(trackpoint)))

    def share_until_end(self, connection: Connection, trackpoint: int, held: ExitStack) -> None:  # noqa: ARG002 -- the transaction holds it
        """Share a shop in a write transaction."""
        guards.share(connection, trackpoint)

    def unfinished_id(self, connection: Connection) -> int | None:
        """Return an id below which nothing more will appear."""
        return guards.unfinished_id(connection)

    @staticmethod
    def last_id(connection: Connection, table: str) -> int:
        """Return where the sequence of a table is."""
        found = connection.exec_driver_sql(f"SELECT last_value - 1 + is_called::int FROM {table}_id_seq")  # noqa: S608 -- a table of ours
        return int(found.scalar_one())

    @staticmethod
    def set_last_id(connection: Connection, table: str, last: int) -> None:
        """Set the sequence of a table. Without rows so far, it begins again with 1."""
        connection.exec_driver_sql(f"SELECT setval('{table}_id_seq', {max(last, 1)}, {last > 0})")

    def shop_step(self, trackpoint: int) -> AbstractContextManager[None]:
        """Share a shop with other steps of the upkeep."""
        return self._locks.shared(_work(trackpoint), _ERASES)

    def shop_alone(self, trackpoint: int, patience_seconds: float) -> AbstractContextManager[None]:
        """Have exclusive access to a shop."""
        return self._locks.alone(_work(trackpoint), patience_seconds, _ERASES)

    def shop_kept(self, trackpoint: int) -> AbstractContextManager[None]:
        """Do the upkeep of a shop."""
        return self._locks.only((int(Key.KEPT), key_of(trackpoint)), "does the upkeep of this shop")

    def scrub_alone(self, patience_seconds: float) -> AbstractContextManager[None]:
        """Have exclusive access to scrub the tables."""
        return self._locks.alone((int(Key.SCRUB), 0), patience_seconds, "is rewriting the tables")

    def scrub(self, step: str) -> Scrubbed:  # noqa: ARG002 -- there is only one
        """Rewrite the tables."""
        with self._connected("written") as connection:
            size_bytes = scrub.size_of(connection)
            return Scrubbed(scrub.rewrite(connection), is_brief=size_bytes <= SCRUB_BRIEF_MAX_BYTES)

    @staticmethod
    def give_back_room() -> bool:
        """Do nothing: autovacuum frees the space of deleted rows, for other rows."""
        return False

    def copy_to(self, target: Path, read: Callable[[Connection], T], past_pool: str | None = None) -> T:
        """Have pg_dump write a dump, and read in the same snapshot."""
        location = self._location if past_pool is None else location_of(past_pool)
        engine = postgres_engine(partial(connect, location), self._begin)
        try:
            with self.translated("read"), engine.connect() as connection, connection.begin():
                found = read(connection)
                driver: Any = connection.connection.dbapi_connection
                dump.dump(driver, location, target)
                return found
        finally:
            engine.dispose()

    def sizes(self) -> DatabaseSizes:
        """Return the size of the database. PostgreSQL does not tell how much room is left."""
        try:
            with self._connected("read") as connection:
                ((size,),) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
        except StoreUnavailable:
            size = None
        return DatabaseSizes(size, None, None)

    def close(self) -> None:
        """Close the connections of locks, of marks, and of commits that have not ended."""
        self._locks.close()
        self._commits.close()
        self._stalls.close()

    def _connect(self) -> psycopg.Connection[Any]:
        connection = connect(self._location)
        connection.stalls = self._stalls
        return connection

    @contextmanager
    def _connected(self, done: Literal["read", "written"]) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection for the block, outside of the pool."""
        with translated(done, self.where):
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()

    def _measure(self, connection: psycopg.Connection[Any]) -> None:
        asked_ms = self._clock.since_start_ms()
        ((now,),) = connection.execute(f"SELECT {CLOCK_SQL}").fetchall()
        self._clock.measured(asked_ms, now)

    def _begin(self, connection: Connection) -> None:
        """Begin a transaction of the engine, and check that the database is still the one that was opened."""
        options = connection.get_execution_options()
        identity = self.identity
        statements = begin_statements(
            write=bool(options.get("write")), alone=not options.get("beside"), with_identity=identity is not None
        )
        driver: Any = connection.connection.dbapi_connection
        opening: Opening | None = connection.info.pop(OPENING, None)
        asked_ms = self._clock.since_start_ms()
        try:
            if options.get("write"):
                self._stalls.check()
            now, found = begun(driver, statements, opening)
        except psycopg.errors.UndefinedTable as error:
            raise self._replaced() from error
        except psycopg.Error as error:
            raise ours("written" if options.get("write") else "read", self.where, error) from error
        self._clock.measured(asked_ms, now)
        if found != identity:
            raise self._replaced()

    def _replaced(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"The database {self.where} was moved or replaced. Put it back, or restart to use the new one.",
            "The database of the server was moved or replaced. Try again later, and tell its operator.",
        )


def _work(trackpoint: int) -> Place:
    """Return the lock of the work on a shop."""
    return int(Key.WORK), key_of(trackpoint)

"""What the catalog requires of an SQL database, and may rely on. Each database has its own dialect.

The tests in `tests/contracts/dialects` check every dialect against this contract.

**Reads.** All statements of one read see the database as it is at the first of them, whatever is written meanwhile.

**Writes.** If one statement of a transaction reads rows and a later one writes based on them, no other write may come
in between. SQLite has only one writer. A database with several writers lets only one such transaction run at a time.
Transactions that run `beside` others lock what they rely on, by `begin_append` and `begin_block`. `replace_stored`
locks the rows that were read, in the order of their ids, and counts them: it notices a row that is gone.

**Locks.** Steps of the upkeep share a shop. A process that needs exclusive access waits for the running steps to end,
and no new step begins meanwhile. A lock ends with the process that holds it, however the process ends.

**Clock.** All processes of a database act by one clock, `now_ms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from smsevents.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager, ExitStack
    from pathlib import Path
    from typing import Literal

    from sqlalchemy import Connection
    from sqlalchemy.engine import Engine

    from smsevents.catalog.checks import Check


T = TypeVar("T")
CommitMark: TypeAlias = int | str


class Busy(StoreUnavailable):
    """Another process holds the lock."""


class Collided(StoreUnavailable):
    """The transaction collided with another one and was rolled back. It can be run again at once."""


def no_room() -> StoreFull:
    """Return the error for a write that found no room."""
    text = "There is no room left on the disk of the database. Nothing of this was stored;"
    return StoreFull(
        f"{text} free some room and try again.", f"{text} try again later, and tell the operator of the server."
    )


@dataclass(frozen=True)
class Scrubbed:
    """The result of one scrub step. It is not `done` while others read. `is_brief`: no process had to wait for long."""

    done: bool
    is_brief: bool = True


class Begun(NamedTuple):
    """What the beginning of appends led to.

    `shared` are the shops that are shared until the write ends, as by `share_until_end`. `rows` are those of each
    statement.
    """

    shared: Collection[int]
    rows: list[list[tuple[Any, ...]]]


@dataclass(frozen=True)
class DatabaseSizes:
    """Sizes in bytes, or None where a size cannot be determined now. `log_bytes` is the write-ahead log."""

    database_bytes: int | None
    log_bytes: int | None
    free_bytes: int | None


class Dialect(Protocol):
    """One open database, as far as it differs from others. Layers above know nothing else about it."""

    @property
    def scrub_steps(self) -> Sequence[str]:
        """The steps, in order, that remove every copy of deleted rows from the database's files."""

    @property
    def is_new(self) -> bool:
        """Whether the database was created when it was opened."""

    @property
    def where(self) -> str:
        """The location of the database, for its operator."""

    @property
    def erasures_folder(self) -> Path | None:
        """A folder beside the database, for the record of erasures, or None. It need not exist."""

    @property
    def reads_kept(self) -> int:
        """How many connections for reads may be kept open outside of the engine's pool."""

    @property
    def has_one_writer(self) -> bool:
        """Whether only one write transaction runs at a time, whatever it does."""

    @property
    def fetches_lazily(self) -> bool:
        """Whether a cursor fetches rows when they are asked for, and not all of them at first."""

    @property
    def marks_commits_at_once(self) -> bool:
        """Whether `commit_mark` waits for nothing, so that an event loop may call it."""

    @property
    def takes_arrays(self) -> bool:
        """Whether a statement takes many rows as one array for each column, which is faster than row by row."""

    @property
    def divides_upkeep(self) -> bool:
        """Whether processes on several machines may do the upkeep of different shops at the same time."""

    def engine(self) -> Engine:
        """Create the engine. Its connections begin a read, or with the execution option `write=True` a write.

        With `beside=True`, other writes may be committed between the statements of the write. Raises
        `StoreUnavailable`.
        """

    def translated(self, done: Literal["read", "written"]) -> AbstractContextManager[None]:
        """Run a block on the database, and translate its errors into `StoreFull` and `StoreUnavailable`."""

    def check_same(self) -> None:
        """Raise `StoreUnavailable` if the name of the database no longer leads to the one that was opened."""

    def commit_mark(self) -> CommitMark | None:
        """Return a mark that differs after each commit of any process, or None if that is not known.

        It tells of every commit that was acknowledged before the call. If it waits for nothing, it does what
        `check_same` does, unless it returns None.
        """

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if the next write will probably fail. The check itself writes nothing."""

    def wrote(self, *, found_room: bool) -> None:
        """Record whether a write found enough free space, for `check_writable`."""

    def now_ms(self) -> int:
        """Return the time (Unix ms) of the clock that all processes of the database share."""

    def concerns(self, connection: Connection) -> list[Check]:
        """Return checks of the database and of this machine beside it, also those that are ok. Use a read.

        If one is `wrong`, this machine should serve nothing.
        """

    def begin_append(self, connection: Connection, trackpoint: int) -> None:
        """Until the write ends, let nobody block a user of the shop. Do this before the blocked users are read."""

    def begin_appends(self, connection: Connection, trackpoints: Sequence[int], reads: Sequence[str]) -> Begun | None:
        """Do what `begin_append` does for one or more shops, share them, and run `reads`: statements without values.

        Return None, with nothing shared or read, if nothing is gained by doing that together.
        """

    def begin_block(self, connection: Connection, trackpoint: int) -> None:
        """Wait until the running appends to the shop have ended, and let none begin before this write has ended."""

    def begin_replacement(self, connection: Connection, trackpoint: int) -> bool:
        """Return whether this process still has the right to rewrite segments of the shop that `shop_step` gave it.

        It is kept until the write ends.
        """

    def share_until_end(self, connection: Connection, trackpoint: int, held: ExitStack) -> None:
        """Share a shop, as `shop_step` does, until the write has ended. `held` is closed after that. Raises `Busy`."""

    def unfinished_id(self, connection: Connection) -> int | None:
        """Return an id so that no other segment with this id or a lower one will ever appear, or None for any id.

        `stored.newest_settled_id` explains how it is used.
        """

    def last_id(self, connection: Connection, table: str) -> int:
        """Return the highest id that a table ever gave out, also if its row is gone, or 0."""

    def set_last_id(self, connection: Connection, table: str, last: int) -> None:
        """Let a table give out only ids above `last` from now on."""

    def shop_step(self, trackpoint: int) -> AbstractContextManager[None]:
        """Share a shop to rewrite some of its segments. Raises `Busy` if a process has or awaits exclusive access."""

    def shop_alone(self, trackpoint: int, patience_seconds: float) -> AbstractContextManager[None]:
        """Have exclusive access to rewrite segments of a shop. Raises `Busy` after `patience_seconds`."""

    def shop_kept(self, trackpoint: int) -> AbstractContextManager[None]:
        """Do the upkeep of a shop for the block. Raises `Busy` if another process does. Erasures do not mind."""

    def scrub_alone(self, patience_seconds: float) -> AbstractContextManager[None]:
        """Have exclusive access to scrub the files. Raises `Busy` after `patience_seconds`."""

    def scrub(self, step: str) -> Scrubbed:
        """Do one of `scrub_steps`. Raises `StoreUnavailable`, `StoreFull`."""

    def give_back_room(self) -> bool:
        """Return unused space to the file system in one step, in which writers wait for some milliseconds.

        Return whether another step would return more. Raises `StoreUnavailable`.
        """

    def copy_to(self, target: Path, read: Callable[[Connection], T], past_pool: str | None = None) -> T:
        """Write the database as it is at one moment into an empty file, without deleted rows.

        Return what `read` reads in the database as it is at the same moment. `past_pool` is the URL of the server
        itself, if this database is reached through a pool of connections. Raises `StoreUnavailable`, and
        `InvalidRequest` or `SettingError` if this way is not possible.
        """

    def sizes(self) -> DatabaseSizes:
        """Return the size of the database, and the free space beside it."""

    def close(self) -> None:
        """Close what the dialect itself has open."""


DIALECT_OPTION = "smsevents_dialect"  # an execution option of the engine


def dialect_of(connection: Connection) -> Dialect:
    """Return the dialect of a connection that a `Database` opened."""
    found: Dialect = connection.get_execution_options()[DIALECT_OPTION]
    return found


class Provider(Protocol):
    """Finds the databases of one dialect. All methods raise `SettingError` for a URL that cannot be used."""

    @property
    def example(self) -> str:
        """URLs as an operator would write them."""

    def open(self, url: str, *, create: bool) -> Dialect:
        """Look for a database and return its dialect.

        Raises `NoDatabase` if there is no database and `create` is false, and `StoreUnavailable` if something else is
        there.
        """

    def diagnose(self, url: str) -> Diagnosis:
        """Examine a database without opening it for use."""

    def hand_down_identity(self, url: str) -> None:
        """Record for child processes which database is meant."""

    def require_identity(self, url: str) -> None:
        """Raise `StoreUnavailable` if the database is not the one that `hand_down_identity` recorded, if any."""


class Diagnosis(Protocol):
    """An examination of a database that is not opened for use: it creates, upgrades, changes and awaits nothing."""

    @property
    def is_usable(self) -> bool:
        """Whether there is a readable database of smsevents."""

    @property
    def where(self) -> str:
        """The location of the database, as `Dialect.where` returns it."""

    @property
    def erasures_folder(self) -> Path | None:
        """What `Dialect.erasures_folder` is."""

    def checks(self) -> list[Check]:
        """Return the results of the checks. The one of the database itself comes first."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a usable database for reading. Its tables may be those of another version."""

    def close(self) -> None:
        """Remove all files that the examination created."""

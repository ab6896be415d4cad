"""What the catalog asks of an SQL database, and what it may rely on. Each database brings a dialect of its own.

`tests/contracts/dialects` holds every dialect to this.

**Reads.** All statements of one read see the database as it is at the first of them, whatever is written meanwhile.

**Writes.** A statement that reads, and a later one of the same transaction that writes by what was read, are right as
if no other write came in between. SQLite has one writer at a time. A database with several must lock what is read, in
the order of ids: `replace_segments` counts the rows that it locked, so one that is gone is missed.

**Locks.** Steps of the upkeep share a shop; who must be alone with it waits for the steps that run, and no new step
begins meanwhile. A lock ends with the process that holds it, however that ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Literal

    from sqlalchemy import Connection
    from sqlalchemy.engine import Engine

    from smsevents.catalog.checks import Check


class Busy(StoreUnavailable):
    """Another process holds the lock."""


@dataclass(frozen=True)
class Scrubbed:
    """What one step of a scrub did. It is not `done` while others read; `is_brief` if nobody had to wait for long."""

    done: bool
    is_brief: bool = True


@dataclass(frozen=True)
class Sizes:
    """Sizes in bytes; None where one cannot be told now. `log_bytes` is the write-ahead log."""

    database_bytes: int | None
    log_bytes: int | None
    free_bytes: int | None


class Dialect(Protocol):
    """One open database, by what it does differently from others. Nothing else is known of it above."""

    @property
    def scrub_steps(self) -> Sequence[str]:
        """What has to be done, in this order, until no copy of a deleted row is left in the database's files."""

    @property
    def is_new(self) -> bool:
        """Whether the database was created when it was opened."""

    @property
    def where(self) -> str:
        """Where the database lies, for a person who runs it."""

    def engine(self) -> Engine:
        """Make the engine. A connection of it begins a read, or with the execution option `write=True` a write.

        Raises `StoreUnavailable`.
        """

    def translated(self, done: Literal["read", "written"]) -> AbstractContextManager[None]:
        """Run a block on the database, and turn its errors into ours: `StoreFull`, `StoreUnavailable`."""

    def check_same(self) -> None:
        """Raise `StoreUnavailable` if what was opened is no longer the database under its name."""

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if the next write will probably fail. Nothing is written for that."""

    def wrote(self, *, found_room: bool) -> None:
        """Note whether a write found room, for `check_writable`."""

    def now_ms(self) -> int:
        """Return the time by the clock that all processes of the database share (Unix ms)."""

    def shop_step(self, trackpoint: int) -> AbstractContextManager[None]:
        """Rewrite some segments of a shop, as others may too. Raises `Busy` if one is alone with it, or waits to be."""

    def shop_alone(self, trackpoint: int, patience_seconds: float) -> AbstractContextManager[None]:
        """Be the only one to rewrite segments of a shop. Raises `Busy` after `patience_seconds`."""

    def scrub_alone(self, patience_seconds: float) -> AbstractContextManager[None]:
        """Be the only one to scrub. Raises `Busy` after `patience_seconds`."""

    def scrub(self, step: str) -> Scrubbed:
        """Do one of `scrub_steps`. Raises `StoreUnavailable`, `StoreFull`."""

    def copy_to(self, target: Path) -> None:
        """Write the database as it is at one moment into an empty file, without what was deleted.

        Raises `StoreUnavailable`.
        """

    def sizes(self) -> Sizes:
        """Return how large the database is, and how much room is left beside it."""


class Diagnosis(Protocol):
    """A look at a database that is not opened for use: nothing is made, upgraded, changed or waited for."""

    @property
    def is_usable(self) -> bool:
        """Whether there is a database of ours that can be read."""

    def checks(self) -> list[Check]:
        """Return what was found, the database itself first."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Read a usable database, whose tables may be those of another version."""

    def close(self) -> None:
        """Leave nothing that was not there before."""

"""Erasures of a user from a shop, and what happens beside them."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from smsevents.catalog import Database
from smsevents.catalog.pending_scrubs import ROWS_LEFT
from smsevents.catalog.pending_scrubs import pending as pending_chores
from smsevents.upkeep import wiping
from smsevents.upkeep.groups import Sizes
from tests.support.databases import query
from tests.support.lines import HOUR_MS, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.support.logs import Held

T = TypeVar("T")
USER = "erase-me"
SMALL = Sizes(2000, 9000)


class Beside(Database):
    """A database beside which something happens before each transaction, and after each that writes."""

    def __init__(self, url: str, happens: Callable[[], object]) -> None:
        """Have `happens` called at each step."""
        super().__init__(url)
        self._happens = happens

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read, after whatever happens."""
        self._happens()
        with super().read() as connection:
            yield connection

    def write(self, run: Callable[[Connection], T]) -> T:
        """Write, between whatever happens."""
        self._happens()
        outcome = super().write(run)
        self._happens()
        return outcome


def fill(held: Held, imports: int, seed: int = 1) -> set[bytes]:
    """Import overlapping events, about a third of them of the user, some twice. Return the user's."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    theirs: set[bytes] = set()
    for _ in range(imports):
        lines = [
            line(held.trackpoint, held.now - chance.randrange(HOUR_MS), chance.choice([USER, "other", "third"]))
            for _ in range(8)
        ]
        repeated = chance.sample(sorted(held.lines), min(3, len(held.lines)))
        held.put([*lines, *repeated])
        theirs |= {one for one in lines if USER.encode() in one}
    return theirs


def files_of(path: Path) -> bytes:
    """Return all bytes of a database's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def pending(held: Held) -> set[str]:
    """Return the names of the pending chores."""
    return {name for (name,) in query(held.path, "SELECT name FROM chores")} - {wiping.PAUSE, ROWS_LEFT}


def is_marked(database: Database) -> bool:
    """Return whether the next erasure has to wipe the files because rows have left without one."""
    with database.read() as connection:
        return ROWS_LEFT in pending_chores(connection)

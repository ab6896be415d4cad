"""Two processes that write to one database at the same time, and points at which one waits for the other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from smsevents.catalog.segments import headers_of
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.log.joining import Joining
from smsevents.log.log import Log
from smsevents.segments.splice import unpack
from smsevents.wire.window import Window
from tests.support.ingests import CertainTime
from tests.support.lines import line
from tests.support.logs import store

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from tests.contracts.dialects.harness import PostgresHarness

WAIT_MAX_SECONDS = 30
SHOP = 7
NOW_MS = 1_790_000_000_000
ALL = Window(0, NOW_MS + 1_000_000)


class Site:
    """Two processes of one database, as two open databases of this one, and the log of the shop in each."""

    def __init__(self, harness: PostgresHarness) -> None:
        """Open the database twice, with one shop."""
        self.harness = harness
        self.one, self.other = harness.opened(), harness.opened()
        self.one.write(lambda c: insert_shop(c, Shop(SHOP, "", 1)))

    def log(self, database: Database, *, joined: bool = False) -> Log:
        """Return the log of the shop in one of them."""
        return Log(database, lambda: NOW_MS, CertainTime(lambda: NOW_MS), Joining(database) if joined else None)

    def put(self, *users: str, shop: int = SHOP, start_ms: int = NOW_MS) -> None:
        """Import an event of each user, at consecutive milliseconds."""
        store(self.log(self.one), shop, [line(shop, start_ms + at, user) for at, user in enumerate(users)])

    def users(self) -> list[str]:
        """Return the users of all events, in order of the events."""
        text = b"".join(unpack(self.log(self.one).read(SHOP, ALL)))
        return [one.split(b'"userId":"')[1].split(b'"')[0].decode() for one in text.splitlines()]

    def ids(self) -> list[int]:
        """Return the ids of the segments of the shop, in order of their first events."""
        with self.one.read() as connection:
            return [header.id for header in headers_of(connection, SHOP)]

    def is_waiting(self) -> bool:
        """Return whether a transaction waits for a lock."""
        return self.harness.query("SELECT count(*) FROM pg_locks WHERE NOT granted") != [(0,)]


class Held:
    """A point that a thread reaches, and where it waits until the test lets it go on."""

    def __init__(self) -> None:
        """Wait at first."""
        self.reached, self.released = threading.Event(), threading.Event()

    def __call__(self) -> None:
        """Wait here."""
        self.reached.set()
        assert self.released.wait(WAIT_MAX_SECONDS)

    def wait(self) -> None:
        """Wait until the thread is here."""
        assert self.reached.wait(WAIT_MAX_SECONDS)


def rows(*ids: int) -> set[tuple[str, int]]:
    """Return what names the rows with these ids in a replacement."""
    return {("row", one) for one in ids}


def entries(*users: str, start_ms: int = NOW_MS) -> list[tuple[int, bytes]]:
    """Return entries of users, at consecutive milliseconds."""
    return [(start_ms + at, line(SHOP, start_ms + at, user)) for at, user in enumerate(users)]

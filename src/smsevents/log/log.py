"""The log of each shop: `append` stores lines for good, `read` returns them in order and deduplicated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.catalog.segments import insert_segments
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.clock.system import now_ms
from smsevents.errors import StoreUnavailable
from smsevents.log.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.segment import Segment
    from smsevents.wire.window import Window


class Log:
    """The logs of all shops in one database."""

    def __init__(self, database: Database, clock: Callable[[], int] = now_ms) -> None:
        """Use a database and a clock that tells Unix milliseconds."""
        self._database = database
        self.now = clock

    def append(
        self,
        trackpoint: int,
        segments: Iterable[Segment],
        blocked: frozenset[bytes] = frozenset(),
        size_bytes: int = 0,
    ) -> Future[None]:
        """Store segments of so many stored bytes, all or none. The future is done when they are durable.

        It raises `UnknownShop` if there is no such shop, `StoreUnavailable` if the database cannot be
        written, or if other users than those in `blocked`, by digest, must not be recorded.
        """

        def store(connection: Connection) -> None:
            require_shop(connection, trackpoint)
            if blocked_digests(connection, trackpoint) != blocked:
                raise StoreUnavailable("A user of the shop was blocked or unblocked meanwhile. Send the import again.")
            insert_segments(connection, trackpoint, segments)

        return self._database.submit(store, size_bytes)

    def blocked(self, trackpoint: int) -> frozenset[bytes]:
        """Give the digests of the users of a shop who must not be recorded."""
        with self._database.read() as connection:
            return blocked_digests(connection, trackpoint)

    def read(self, trackpoint: int, window: Window) -> Reader:
        """Return a reader of the events of a shop that lie in the window."""
        return Reader(self._database, trackpoint, window)

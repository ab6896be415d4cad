"""The log of each shop: what the product does with segments.

`append` stores lines for good, `read` gives them back in order and each once, whatever was appended in
what order. Reading holds no view of the database between two pages: it goes on behind the last entry that
it gave, which nothing that happens to the log can move.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from smsevents.catalog.segments import insert_segments, segments_after
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.clock.system import now_ms
from smsevents.errors import StoreUnavailable
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES, page
from smsevents.segments.segment import Piece, end_of
from smsevents.segments.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.merge import Page
    from smsevents.segments.segment import Entry, Segment
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

    def read(
        self, trackpoint: int, window: Window, page_max_bytes: Callable[[], int] = lambda: PAGE_HELD_MAX_BYTES
    ) -> Reading:
        """Give the pieces of a shop's log that lie in the window, page by page.

        Each page is read when it is asked for, in a transaction of its own, and is not empty; `page_max_bytes` is
        asked each time how much it is to hold. Raises `StoreUnavailable`, and `DamagedSegment` for a segment whose
        bytes are not what was written.
        """
        return Reading(self._database, trackpoint, window, page_max_bytes)


class Reading:
    """Reads page after page. No generator: that would hold each page until it is asked for the next.

    While it `is_deep`, a page takes longer: much overlaps, and what does is merged for the pages that follow.
    """

    def __init__(self, database: Database, trackpoint: int, window: Window, page_max_bytes: Callable[[], int]) -> None:
        self._database = database
        self._trackpoint = trackpoint
        self._end = window.end
        self._until = end_of(window.end)
        self._page_max_bytes = page_max_bytes
        # before every entry of that millisecond: a line is never empty
        self._after: Entry | None = None if window.is_empty else (window.start, b"")
        self.is_deep = False
        self._spill: Spill | None = None

    def __iter__(self) -> Reading:
        return self

    def __next__(self) -> list[Piece]:
        while self._after is not None:
            found = self._read(self._after)
            self._after = found.after
            if found.pieces:
                return found.pieces
        raise StopIteration

    def _read(self, after: Entry) -> Page:
        if self._spill is None:
            with self._database.read() as connection:
                segments = segments_after(connection, self._trackpoint, after, self._end)
                if not self.is_deep:
                    found = page(segments, after, self._until, page_max_bytes=self._page_max_bytes())
                    self.is_deep = found.deep
                    return found
                self._spill = Spill(segments, after, self._until)
        return self._read_spill(self._spill, after)

    def _read_spill(self, spill: Spill, after: Entry) -> Page:
        found = page(spill.after(after), after, spill.reach, page_max_bytes=self._page_max_bytes())
        if found.after is not None:
            return found
        self.is_deep, self._spill = False, None
        return replace(found, after=spill.reach if spill.reach < self._until else None)

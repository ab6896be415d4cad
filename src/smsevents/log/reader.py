"""The one way out of a log: its events in a window, in order and each exactly once, page by page.

A reader holds no transaction between two pages. It continues after the last entry that it returned. No change of the
log can move that position.

Pages come from a source, which is mostly the catalog. If segments overlap more than a page can hold, the reader uses a
spill instead: it merges these segments once, and the following pages come from it.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from smsevents.catalog.stored import stored_after
from smsevents.errors import ObjectGone
from smsevents.log.long_reads import LongReads
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES, page
from smsevents.segments.pack import loaded, missing
from smsevents.segments.spill import Spill
from smsevents.wire.lines import end_of, entry_at

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.merge import Page
    from smsevents.segments.segment import Piece, StoredPiece, StoredSegment
    from smsevents.wire.lines import Entry
    from smsevents.wire.window import Window

READ_AGAIN_TRIES_MAX = 5  # of one page; only a store that loses packs takes more


class Reader:
    """Reads page after page. It is an iterator, not a generator, because a generator would hold each page too long.

    `next_is_slow` means that the next page has much to merge. Read it in a thread where no other request waits for it.
    Raises `StoreUnavailable`, and `DamagedSegment` for a segment whose bytes have changed since they were written.
    """

    def __init__(self, database: Database, trackpoint: int, window: Window) -> None:
        """Read the log of a shop. Nothing is read before the caller asks for the first page."""
        self._catalog = CatalogPages(database, trackpoint, window.end)
        self._source: PageSource = self._catalog
        # this sorts before every entry of that millisecond, as a line is never empty
        self._returned: Entry = (window.start, b"")
        self._after: Entry | None = None if window.is_empty else self._returned
        self._ahead: deque[StoredPiece] = deque()  # pieces of the page, up to `_after`, that were not returned yet
        self._is_deep = False
        self._long_reads = LongReads()

    @property
    def next_is_slow(self) -> bool:
        """Whether the next page has much to merge."""
        return self._is_deep and not self._ahead

    def next_page(self, max_bytes: int = PAGE_HELD_MAX_BYTES) -> list[Piece]:
        """Return the next pieces, about `max_bytes` in all. The list is empty at the end of the window.

        A pack that the catalog named may be gone from the store when it is read. Another one then has its events, so
        the page is read again from there. If the catalog still names the same pack, it is missing.
        """
        gone: set[str] = set()
        while True:
            try:
                return self._next(max_bytes)
            except ObjectGone as error:
                if error.key in gone or len(gone) >= READ_AGAIN_TRIES_MAX:
                    raise missing(error.key) from error
                gone.add(error.key)
                self._ahead.clear()
                self._long_reads.forget()
                self._after, self._source, self._is_deep = self._returned, self._catalog, False

    def _next(self, max_bytes: int) -> list[Piece]:
        while not self._ahead and self._after is not None:
            if self._is_deep and self._source is self._catalog:
                self._source = self._catalog.spilled(self._after)
            found = self._source.page(self._after, max_bytes)
            self._ahead.extend(found.pieces)
            self._after, self._is_deep = found.after, found.deep
            if not found.deep:
                self._source = self._catalog
        # after the transaction: a slow store must not hold one open
        run = list(_run(self._ahead, max_bytes))
        pieces = loaded(run, self._long_reads.of(self._ahead, ahead=max_bytes > PAGE_HELD_MAX_BYTES))
        for piece in run:
            self._ahead.popleft()
            self._returned = _last_of(piece)
        return pieces

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> list[Piece]:
        pieces = self.next_page()
        if not pieces:
            raise StopIteration
        return pieces


def _run(ahead: Iterable[StoredPiece], max_bytes: int) -> Iterator[StoredPiece]:
    """Go through the first pieces, about `max_bytes` in all."""
    held = 0
    for piece in ahead:
        if held >= max_bytes:
            return
        yield piece
        held += len(piece) if isinstance(piece, bytes) else piece.header.stored_bytes


def _last_of(piece: StoredPiece) -> Entry:
    """Return the last entry of a piece."""
    if not isinstance(piece, bytes):
        return piece.header.last
    return entry_at(piece, piece.rfind(b"\n", 0, len(piece) - 1) + 1)[0]


class PageSource(Protocol):
    """A source of pages."""

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page after an entry. It is `deep` if the next page is slow."""


class CatalogPages:
    """Pages of a shop's segments in the catalog and its packs. Each page is read in its own transaction."""

    def __init__(self, database: Database, trackpoint: int, end_ms: int) -> None:
        """Read up to and including a time (Unix ms)."""
        self._database = database
        self._trackpoint = trackpoint
        self._end_ms = end_ms
        self._until = end_of(end_ms)

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page that follows an entry."""
        with self._database.read() as connection, closing(self._stored(connection, after)) as stored:
            return page(stored, after, self._until, page_max_bytes=max_bytes)

    def spilled(self, after: Entry) -> SpilledPages:
        """Merge the segments that overlap after an entry, up to the first gap between them."""
        with self._database.read() as connection, closing(self._stored(connection, after)) as stored:
            return SpilledPages(Spill(stored, after, self._until), self._until)

    def _stored(self, connection: Connection, after: Entry) -> Generator[StoredSegment, None, None]:
        return stored_after(self._database, connection, self._trackpoint, after, self._end_ms)


class SpilledPages:
    """Pages of a spill. The last one reaches to the end of the spill, and is no longer `deep`."""

    def __init__(self, spill: Spill, until: Entry) -> None:
        """Read a spill. `until` is the end of the window."""
        self._spill = spill
        self._until = until

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page that follows an entry."""
        found = page(self._spill.after(after), after, self._spill.reach, page_max_bytes=max_bytes)
        if found.after is not None:
            return replace(found, deep=True)
        reach = self._spill.reach
        return replace(found, after=reach if reach < self._until else None, deep=False)

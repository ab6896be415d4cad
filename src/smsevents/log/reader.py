"""The one way out of a log: its events in a window, in order and each exactly once, page by page.

A reader holds no transaction between two pages. It continues after the last entry that it returned. No change of the
log can move that position.

Pages come from a source, which is mostly the catalog. If segments overlap more than a page can hold, the reader uses a
spill instead: it merges these segments once, and the following pages come from it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from smsevents.errors import ObjectGone
from smsevents.log.long_reads import LongReads
from smsevents.log.pages import CatalogPages
from smsevents.log.selected import SelectedPages
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.segments.pack import loaded, missing
from smsevents.segments.selection import EVERYTHING
from smsevents.wire.lines import last_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.catalog import Database
    from smsevents.log.pages import PageSource, StoredPages
    from smsevents.segments.segment import Piece, StoredPiece
    from smsevents.segments.selection import Selection
    from smsevents.wire.lines import Entry
    from smsevents.wire.window import Window

READ_AGAIN_TRIES_MAX = 5  # of one page; only a store that loses packs takes more
FOUND_EARLY_RATIO = 2  # what is found before it is needed has so many pages: to look takes several statements


class Reader:
    """Reads page after page. It is an iterator, not a generator, because a generator would hold each page too long.

    `next_is_slow` means that the next page has much to merge. Read it in a thread where no other request waits for it.
    Raises `StoreUnavailable`, and `DamagedSegment` for a segment whose bytes have changed since they were written.
    """

    def __init__(self, database: Database, trackpoint: int, window: Window, selection: Selection = EVERYTHING) -> None:
        """Read the log of a shop. Nothing is read before the caller asks for the first page.

        Segments that cannot have events of a selection are left out. All other events are returned.
        """
        self._catalog: StoredPages = (
            CatalogPages(database, trackpoint, window.end)
            if selection == EVERYTHING
            else SelectedPages(database, trackpoint, window.end, selection)
        )
        self._source: PageSource = self._catalog
        # this sorts before every entry of that millisecond, as a line is never empty
        self._returned: Entry = (window.start, b"")
        self._after: Entry | None = None if window.is_empty else self._returned
        self._ahead: deque[StoredPiece] = deque()  # pieces of the page, up to `_after`, that were not returned yet
        self._ahead_bytes = 0  # that they hold
        self._is_deep = False
        self._found_early = False  # some of these pieces, for a client that keeps up
        self._long_reads = LongReads()

    @property
    def next_is_slow(self) -> bool:
        """Whether the next page has much to merge."""
        return self._is_deep and not self._ahead

    @property
    def is_over(self) -> bool:
        """Whether all pieces of the window were returned."""
        return self._after is None and not self._ahead

    def next_page(self, max_bytes: int = PAGE_HELD_MAX_BYTES) -> list[Piece]:
        """Return the next pieces, about `max_bytes` in all. The list is empty at the end of the window.

        With a selection, it may be empty before, so that the caller can do something else; `is_over` tells.

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
                self._find_again()

    def _find_again(self) -> None:
        """Forget what is known of the pieces that were not returned."""
        self._ahead.clear()
        self._ahead_bytes, self._found_early = 0, False
        self._long_reads.forget()
        self._after, self._source, self._is_deep = self._returned, self._catalog, False

    def _next(self, max_bytes: int) -> list[Piece]:
        keeps_up = max_bytes > PAGE_HELD_MAX_BYTES
        if self._found_early and not keeps_up:  # it would be held for as long as a slow client likes
            self._find_again()
        while not self._ahead and self._after is not None:
            self._find(self._after, max_bytes)
            if self._catalog.is_stepwise:
                break
        if keeps_up and self._after is not None and self._long_reads.want_more and self._knows_little(max_bytes):
            self._find(self._after, FOUND_EARLY_RATIO * max_bytes)
            self._found_early = True
        # after the transaction: a slow store must not hold one open
        run = list(_run(self._ahead, max_bytes))
        pieces = loaded(run, self._long_reads.of(ahead=keeps_up))
        for piece in run:
            self._ahead.popleft()
            self._ahead_bytes -= _held_by(piece)
            self._returned = _last_of(piece)
        self._found_early = self._found_early and bool(self._ahead)
        return pieces

    def _find(self, after: Entry, max_bytes: int) -> None:
        """Add the pieces of the page that follows an entry to those that are known."""
        if self._is_deep and self._source is self._catalog:
            self._source = self._catalog.spilled(after)
        found = self._source.page(after, max_bytes)
        self._ahead.extend(found.pieces)
        self._ahead_bytes += sum(map(_held_by, found.pieces))
        self._long_reads.add(found.pieces)
        self._after, self._is_deep = found.after, found.deep
        if not found.deep:
            self._source = self._catalog

    def _knows_little(self, max_bytes: int) -> bool:
        """Return whether the known pieces are less than a page, and the next page takes no long merge."""
        return self._ahead_bytes < max_bytes and not self._is_deep and not self._catalog.is_stepwise

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


def _held_by(piece: StoredPiece) -> int:
    """Return how many bytes of memory a piece takes that is not loaded yet, if it is in a pack."""
    return len(piece) if isinstance(piece, bytes) else piece.held_bytes


def _last_of(piece: StoredPiece) -> Entry:
    """Return the last entry of a piece."""
    if not isinstance(piece, bytes):
        return piece.header.last
    return last_entry(piece)

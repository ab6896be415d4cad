"""The way out of a log through a filter: pages of the matching lines alone.

The pieces of a page are opened one after the other, in bounded steps, so that a filter that few events match does not
keep a thread for the complete log.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from smsevents.errors import DamagedSegment
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.segments.segment import Segment, inflate
from smsevents.segments.selection import Selection
from smsevents.wire.event_filter import EVERYTHING
from smsevents.wire.line_filter import LineFilter
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from smsevents.log.reader import Reader
    from smsevents.segments.segment import Piece
    from smsevents.wire.event_filter import EventFilter

FILTER_STEP_BYTES = 4 * 1024 * 1024  # of lines looked at in one step: a few milliseconds of work
FILTER_KEPT_MIN_BYTES = 64 * 1024  # matching lines are collected, because few lines compress badly
FILTER_WAIT_MAX_BYTES = 64 * 1024 * 1024  # of lines looked at while fewer were collected: a client must hear something

NOTHING_YET: list[Piece] = [b""]


class FilteredReader:
    """Reads like `Reader`, but returns the matching lines only."""

    def __init__(self, reader: Reader, wanted: EventFilter) -> None:
        """Filter what a reader returns."""
        self._reader = reader
        self._filter = LineFilter(wanted)
        self._ahead: deque[Segment | bytes] = deque()  # of the current page, not looked at yet
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._looked_at_bytes = 0  # since matching lines were returned
        self._is_over = False

    @property
    def next_is_slow(self) -> bool:
        """Whether the next step has much to merge."""
        return not self._ahead and self._reader.next_is_slow

    def next_page(self, max_bytes: int = PAGE_HELD_MAX_BYTES) -> list[Piece]:
        """Take a step, and return the lines that it kept. The list is empty at the end.

        It is `NOTHING_YET` if the step kept too few lines to return them already. Raises what `Reader.next_page` does.
        """
        step_bytes = 0
        while step_bytes < FILTER_STEP_BYTES and self._kept_bytes < max_bytes and self._fill(max_bytes):
            looked_at = self._look(self._ahead.popleft())
            step_bytes += looked_at
            self._looked_at_bytes += looked_at
        if not self._is_over and not self._has_enough():
            return NOTHING_YET
        kept, self._kept = self._kept, []
        self._kept_bytes = self._looked_at_bytes = 0
        if not kept:
            return [] if self._is_over else NOTHING_YET
        return [b"".join(kept)]

    def _has_enough(self) -> bool:
        return self._kept_bytes >= FILTER_KEPT_MIN_BYTES or self._looked_at_bytes >= FILTER_WAIT_MAX_BYTES

    def _fill(self, max_bytes: int) -> bool:
        """Read the next page if the current one is used up. Return whether there is anything to look at now."""
        if not self._ahead and not self._is_over:
            for piece in self._reader.next_page(max_bytes):
                self._ahead.extend([piece] if isinstance(piece, bytes | Segment) else piece.segments())
            self._is_over = not self._ahead and self._reader.is_over
        return bool(self._ahead)

    def _look(self, piece: Segment | bytes) -> int:
        """Keep the matching lines of a piece. Return how many bytes of lines it has."""
        lines = piece if isinstance(piece, bytes) else inflate(piece)
        try:
            kept = self._filter.keep(lines)
        except NotLines as error:
            if isinstance(piece, Segment):
                raise piece.header.damaged(str(error)) from error
            raise DamagedSegment(f"One of several segments that overlap is damaged: {error}.") from error
        if kept:
            self._kept.append(kept)
            self._kept_bytes += len(kept)
        return len(lines)

    def __iter__(self) -> FilteredReader:
        return self

    def __next__(self) -> list[Piece]:
        pieces = self.next_page()
        if not pieces:
            raise StopIteration
        return pieces


AnyReader: TypeAlias = "Reader | FilteredReader"


def in_steps(reader: AnyReader) -> FilteredReader:
    """Return a reader that returns lines in bounded steps, for a caller that makes something else of them."""
    return reader if isinstance(reader, FilteredReader) else FilteredReader(reader, EVERYTHING)


def selection_of(wanted: EventFilter) -> Selection:
    """Return the selection by which tallies leave out segments. They know no users."""
    return Selection(
        statuses=wanted.status,
        types=wanted.type,
        campaigns=wanted.campaign,
        nodes=wanted.node,
        sent_from=wanted.sentFrom,
        sent_to=wanted.sentTo,
    )

"""Pages of the segments that may have wanted events: the others are not read, by their tallies.

A segment that is left out has no wanted event, whatever it overlaps. Equal lines are one event, and all of a wanted
event's lines are in segments that are read. So the wanted events come in order and exactly once, as without tallies.

Most tallies say that a segment is not wanted. So a page ends after some of them, where nothing that was read overlaps
what follows: a reader must not keep a thread and a transaction until the end of the log.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from smsevents.catalog.outlines import PackedOutline, PackOutline, may_match, with_packs
from smsevents.log.pages import SpilledPages
from smsevents.segments.merge import page
from smsevents.segments.spill import Spill
from smsevents.wire.lines import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.catalog.outlines import AnyOutline
    from smsevents.segments.merge import Page
    from smsevents.segments.segment import StoredSegment
    from smsevents.segments.selection import Selection
    from smsevents.wire.lines import Entry

LEFT_OUT_SEGMENTS_MAX = 128  # segments that a page leaves out: a few milliseconds of work
SUM_LEFT_OUT_SEGMENTS = 8  # leaving out a pack by the sum of its tallies takes as long as leaving out so many segments


class SelectedPages:
    """Pages of a shop's segments that may have wanted events. Each page is read in its own transaction."""

    is_stepwise = True

    def __init__(self, database: Database, trackpoint: int, end_ms: int, selection: Selection) -> None:
        """Read up to and including a time (Unix ms)."""
        self._database = database
        self._trackpoint = trackpoint
        self._end_ms = end_ms
        self._until = end_of(end_ms)
        self._selection = selection

    def page(self, after: Entry, max_bytes: int) -> Page:
        """Return the page that follows an entry. It may be empty without being the last."""
        with (
            self._database.read() as connection,
            closing(with_packs(self._database, connection, self._trackpoint, after, self._end_ms)) as outlines,
        ):
            chosen = _Chosen(outlines, self._selection, after)
            found = page(iter(chosen), after, self._until, page_max_bytes=max_bytes)
        return replace(found, after=chosen.stopped_at) if found.after is None else found

    def spilled(self, after: Entry) -> SpilledPages:
        """Merge the segments that overlap after an entry, up to the first gap between them."""
        with (
            self._database.read() as connection,
            closing(with_packs(self._database, connection, self._trackpoint, after, self._end_ms)) as outlines,
        ):
            chosen = _Chosen(outlines, self._selection, after)
            return SpilledPages(Spill(iter(chosen), after, self._until), self._until)


class _Chosen:
    """The segments that may have wanted events, until enough others were left out."""

    def __init__(self, outlines: Iterator[AnyOutline], selection: Selection, after: Entry) -> None:
        self._outlines = outlines
        self._selection = selection
        self._reach = after  # no segment that was chosen ends after it
        self.stopped_at: Entry | None = None  # if it stopped early: all entries up to there were seen

    def __iter__(self) -> Iterator[StoredSegment]:
        left_out = 0
        for outline in self._opened():
            before = end_of(outline.header.first[0] - 1)
            if left_out >= LEFT_OUT_SEGMENTS_MAX and before > self._reach:
                self.stopped_at = before
                return
            if isinstance(outline, PackOutline):
                left_out += SUM_LEFT_OUT_SEGMENTS
            elif may_match(outline, self._selection):
                self._reach = max(self._reach, outline.header.last)
                yield outline.packed if isinstance(outline, PackedOutline) else outline.load()
            else:
                left_out += 1

    def _opened(self) -> Iterator[AnyOutline]:
        """Go through the outlines. A pack that may have wanted events is replaced by its segments."""
        for outline in self._outlines:
            if isinstance(outline, PackOutline) and may_match(outline, self._selection):
                yield from outline.segments()
            else:
                yield outline

"""Merge: the events of a log in order and deduplicated, out of segments that may overlap. Pure functions on bytes.

    page    segments by their first entry → the next pieces of the log, as many as a page holds
    merge   segments by their first entry → the next lines of the log, as many as there is room for

Both sweep over the segments, beginning with the earliest. A segment is passed on as it is if no other event is within
its bounds. This includes a segment in the middle of a wide one, if the wide one has a gap there. All other segments
are **opened**: their lines are held until their turn comes. Neither function reads further in `ordered` than it needs,
and the memory in use does not grow with the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.segments.header import damaged_among
from smsevents.segments.segment import cut
from smsevents.wire.lines import NotLines, bisect_lines, entry_at, join_lines, last_entry, parse_entries, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.errors import DamagedSegment
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import StoredPiece, StoredSegment
    from smsevents.wire.lines import Entry

PAGE_HELD_MAX_BYTES = 256 * 1024  # also the size of a full page; a client that keeps up gets EXPORT_FAST_PAGE_BYTES
MERGE_HELD_MAX_BYTES = 8 * 1024 * 1024
MERGE_INTO_LARGEST_RATIO = 16  # into this many times more lines, the few are inserted instead of sorting all

END: Entry = (2**63, b"")  # after every event


@dataclass(frozen=True, slots=True)
class Page:
    """The next pieces of a log, and the entry after which the next page continues, or None at the end.

    The bytes of segments that are passed on as they are may not be loaded yet.

    It is `deep` if more lines overlapped than could be held, so that some segments were opened in vain.
    """

    pieces: list[StoredPiece]
    after: Entry | None
    deep: bool


def page(
    ordered: Iterator[StoredSegment],
    after: Entry,
    until: Entry,
    *,
    page_max_bytes: int = PAGE_HELD_MAX_BYTES,
    merge_max_bytes: int = MERGE_HELD_MAX_BYTES,
) -> Page:
    """Return the next page of a log: the events in `after < event <= until`, in order, deduplicated, until it is full.

    `ordered` has the segments that reach past `after`, by their first entries. A full page ends when the lines still
    held of opened segments are no more than the lines returned. So opening segments again for the next page is never
    most of the work. Raises `DamagedSegment`.
    """
    opened = _Opened(after, until, merge_max_bytes, keep=True)
    try:
        return _page(ordered, after, opened, page_max_bytes)
    except NotLines as error:
        raise opened.damaged(str(error)) from error


def _page(ordered: Iterator[StoredSegment], after: Entry, opened: _Opened, page_max_bytes: int) -> Page:
    pieces: list[StoredPiece] = []
    returned = after
    held = 0
    head = next(ordered, None)
    while head is not None and head.header.first <= opened.until:
        if opened.bytes and opened.reach < head.header.first:
            pieces.append(done := opened.take())
            held += len(done)
            returned = opened.reach
        if held >= page_max_bytes and opened.bytes <= held:
            return Page(pieces, returned, opened.is_truncated)
        following = next(ordered, None)
        overlaps = following is not None and following.header.first <= head.header.last
        if overlaps or not opened.encloses(head.header) or (opened.bytes and opened.holds_any_within(head.header)):
            opened.add(head)
        else:
            if opened.bytes and (before := opened.take(head.header.first)):
                pieces.append(before)
                held += len(before)
            pieces.append(head)
            held += head.held_bytes
            returned = head.header.last
        head = following
    if rest := opened.take():
        pieces.append(rest)
    return Page(pieces, opened.until if opened.is_truncated else None, opened.is_truncated)


def merge(ordered: Iterator[StoredSegment], after: Entry, room_bytes: int) -> tuple[bytes, Entry]:
    """Return the next lines after an entry, in order, deduplicated, and the entry up to which they are complete.

    They have about `room_bytes` at most, and at least half of that unless no more lines follow. The entry is END then.
    Raises `DamagedSegment`.
    """
    opened = _Opened(after, END, room_bytes, keep=False)
    try:
        for segment in ordered:
            if segment.header.first > opened.until:
                break
            if segment.header.first > opened.reach and opened.bytes > room_bytes // 2:
                return opened.take(), opened.reach
            opened.add(segment)
        return opened.take(), opened.until
    except NotLines as error:
        raise opened.damaged(str(error)) from error


class _Opened:
    """Lines of opened segments, in `after < entry <= until`, until their turn comes.

    The room is enough for any number of overlapping segments. Whenever it is full, only the earlier half of the held
    lines is kept, and `until` becomes the last entry of that half. So each round ends with the earliest events, and the
    next one continues after them.
    """

    def __init__(self, after: Entry, until: Entry, room_bytes: int, *, keep: bool) -> None:
        self._after = after
        self._is_kept = keep  # lines that clients read, but not those that are merged once
        self.until = until
        self.reach = after  # no opened segment ends after it
        self.is_truncated = False
        self.bytes = 0
        self._room_bytes = room_bytes
        self._runs: list[bytes] = []  # each is in order, but they are not in order with one another
        self._headers: list[SegmentHeader] = []  # of the segments that the runs come from

    def encloses(self, header: SegmentHeader) -> bool:
        """Return whether a segment lies completely within the bounds."""
        return self._after < header.first and header.last <= self.until

    def add(self, segment: StoredSegment) -> None:
        """Open a segment and hold its lines."""
        self.reach = max(self.reach, segment.header.last)
        if lines := cut(segment, self._after, self.until, keep=self._is_kept):
            self._runs.append(lines)
            self._headers.append(segment.header)
            self.bytes += len(lines)
            if self.bytes > self._room_bytes:
                self._keep_the_earlier_half()

    def holds_any_within(self, header: SegmentHeader) -> bool:
        """Return whether any held event is within the bounds of a segment."""
        lines = self._merged()
        start = bisect_lines(lines, header.first, at=True)
        return start < len(lines) and entry_at(lines, start)[0] <= header.last

    def damaged(self, reason: str) -> DamagedSegment:
        """Return the error that names the segments whose lines are held."""
        return damaged_among(self._headers, reason)

    def take(self, before: Entry | None = None) -> bytes:
        """Return the lines before a bound, or all of them, and stop holding them."""
        lines = self._merged()
        end = len(lines) if before is None else bisect_lines(lines, before, at=True)
        self._hold(lines[end:])
        return lines[:end]

    def _merged(self) -> bytes:
        if len(self._runs) > 1:
            self._hold(merge_runs(self._runs))
        return self._runs[0] if self._runs else b""

    def _hold(self, lines: bytes) -> None:
        self._runs = [lines] if lines else []
        self.bytes = len(lines)
        if not lines:
            self._headers = []

    def _keep_the_earlier_half(self) -> None:
        lines = self._merged()
        if self.bytes <= self._room_bytes:
            return  # the room was full of equal events
        end = lines.index(b"\n", self._room_bytes // 2) + 1
        if end < len(lines):
            self._hold(lines[:end])
            self.until = last_entry(self._runs[0])
            self.is_truncated = True


def merge_runs(runs: list[bytes]) -> bytes:
    """Merge runs of sorted lines into one without duplicates. This empties the list on the way, to save memory.

    Raises `NotLines`.
    """
    runs.sort(key=len)
    largest = runs.pop()
    is_few = sum(map(len, runs)) < len(largest) // MERGE_INTO_LARGEST_RATIO
    if not is_few:
        runs.append(largest)
    entries: list[Entry] = []
    while runs:
        entries += parse_entries(runs.pop())
    entries = unique(entries)
    return _merge_few_into_many(largest, entries) if is_few else join_lines(entries)


def _merge_few_into_many(lines: bytes, entries: list[Entry]) -> bytes:
    """Insert few sorted entries into many sorted lines, without parsing all of these lines."""
    parts: list[bytes] = []
    start = 0
    for entry in entries:
        end = bisect_lines(lines, entry, from_start=start, at=True)
        parts.append(lines[start:end])
        if end == len(lines) or entry_at(lines, end)[0] != entry:
            parts += (entry[1], b"\n")
        start = end
    parts.append(lines[start:])
    return b"".join(parts)

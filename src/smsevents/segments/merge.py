"""Pages: the events of a log in order and each once, out of segments that may overlap. Pure functions on bytes.

    page    segments by their first entry → the next pieces of the log, as many as a page holds
    merge   segments by their first entry → the next lines of the log, as many as there is room for

Both sweep over the segments from the earliest on. A segment within whose bounds no other event lies is passed
on as it is; one that lies in the middle of what a wide segment spans is too, if the wide one has a gap there.
What is left is **opened**: its lines are held until their turn comes. Neither function reads on in `ordered`
further than it needs, and what is held does not grow with the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.segments.segment import bisect, cut, entry_at, parse_entries, plain, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.segments.segment import Entry, Piece, Segment

PAGE_HELD_MAX_BYTES = 256 * 1024  # and what fills it; a client that keeps up gets EXPORT_FAST_PAGE_BYTES
MERGE_HELD_MAX_BYTES = 8 * 1024 * 1024
MERGE_INTO_LARGEST_RATIO = 16  # lines are woven into so many times more lines, rather than all of them sorted

END: Entry = (2**63, b"")
MERGED = "(one of several that overlap)"  # to name lines whose segment is not known any more


@dataclass(frozen=True, slots=True)
class Page:
    """The next pieces of a log, and the entry behind which the page after it goes on (None: that is all).

    It is `deep` where more overlapped than could be held, so that some was opened in vain.
    """

    pieces: list[Piece]
    after: Entry | None
    deep: bool


def page(
    ordered: Iterator[Segment],
    after: Entry,
    until: Entry,
    *,
    page_max_bytes: int = PAGE_HELD_MAX_BYTES,
    merge_max_bytes: int = MERGE_HELD_MAX_BYTES,
) -> Page:
    """Read on in a log: give the events in `after < event <= until`, in order, each once, until a page is full.

    `ordered` gives the segments that reach behind `after`, by their first entry. A page that is full ends where
    no more is held of opened segments than was given, so that what must be opened again for the next page is
    never most of the work.
    """
    pieces: list[Piece] = []
    given = after
    held = 0
    opened = _Opened(after, until, merge_max_bytes)
    head = next(ordered, None)
    while head is not None and head.first <= opened.until:
        if opened.bytes and opened.reach < head.first:
            pieces.append(done := opened.take())
            held += len(done)
            given = opened.reach
        if held >= page_max_bytes and opened.bytes <= held:
            return Page(pieces, given, opened.is_cut)
        following = next(ordered, None)
        overlaps = following is not None and following.first <= head.last
        if overlaps or not opened.encloses(head) or opened.holds_any_within(head):
            opened.add(head)
        else:
            if before := opened.take(head.first):
                pieces.append(before)
                held += len(before)
            pieces.append(head)
            held += len(head.data)
            given = head.last
        head = following
    if rest := opened.take():
        pieces.append(rest)
    return Page(pieces, opened.until if opened.is_cut else None, opened.is_cut)


def merge(ordered: Iterator[Segment], after: Entry, room: int) -> tuple[bytes, Entry]:
    """Give the next lines behind `after`, in order, each once, and the entry up to which these are all.

    They are about `room` bytes at most, and at least half of that unless it is all there is, which `END`
    in the place of the entry tells.
    """
    opened = _Opened(after, END, room)
    for segment in ordered:
        if segment.first > opened.until:
            break
        if segment.first > opened.reach and opened.bytes > room // 2:
            return opened.take(), opened.reach
        opened.add(segment)
    return opened.take(), opened.until


class _Opened:
    """Lines of opened segments, in `after < entry <= until`, until their turn comes.

    However many segments overlap, the room is enough: whenever it is full, only the earlier half of what is
    held is kept, and from then on `until` is the last of it. So each round ends with the earliest events there
    are, and the next one goes on behind them.
    """

    def __init__(self, after: Entry, until: Entry, room: int) -> None:
        self._after = after
        self.until = until
        self.reach = after  # no segment that was opened ends behind it
        self.is_cut = False
        self.bytes = 0
        self._room = room
        self._runs: list[bytes] = []  # each in order, but not with one another

    def encloses(self, segment: Segment) -> bool:
        """Tell whether a segment lies whole within the bounds."""
        return self._after < segment.first and segment.last <= self.until

    def add(self, segment: Segment) -> None:
        """Open a segment and hold its lines."""
        self.reach = max(self.reach, segment.last)
        if lines := cut(segment, self._after, self.until):
            self._runs.append(lines)
            self.bytes += len(lines)
            if self.bytes > self._room:
                self._keep_the_earlier_half()

    def holds_any_within(self, segment: Segment) -> bool:
        """Tell whether an event within the bounds of a segment is held."""
        lines = self._united()
        start = bisect(lines, segment.first, MERGED, at=True)
        return start < len(lines) and entry_at(lines, start, MERGED)[0] <= segment.last

    def take(self, before: Entry | None = None) -> bytes:
        """Give the lines before a bound, or all, and hold them no longer."""
        lines = self._united()
        end = len(lines) if before is None else bisect(lines, before, MERGED, at=True)
        self._hold(lines[end:])
        return lines[:end]

    def _united(self) -> bytes:
        if len(self._runs) > 1:
            self._hold(merge_runs(self._runs))
        return self._runs[0] if self._runs else b""

    def _hold(self, lines: bytes) -> None:
        self._runs = [lines] if lines else []
        self.bytes = len(lines)

    def _keep_the_earlier_half(self) -> None:
        lines = self._united()
        if self.bytes <= self._room:
            return  # it was full of equal events
        end = lines.index(b"\n", self._room // 2) + 1
        if end < len(lines):
            self._hold(lines[:end])
            self.until = entry_at(lines, lines.rfind(b"\n", 0, end - 1) + 1, MERGED)[0]
            self.is_cut = True


def merge_runs(runs: list[bytes]) -> bytes:
    """Unite runs of sorted lines: all lines in order, each once. The list is empty then, as memory is short."""
    runs.sort(key=len)
    largest = runs.pop()
    weave = sum(map(len, runs)) < len(largest) // MERGE_INTO_LARGEST_RATIO
    if not weave:
        runs.append(largest)
    entries: list[Entry] = []
    while runs:
        entries += parse_entries(runs.pop(), MERGED)
    entries = unique(entries)
    return _merge_few_into_many(largest, entries) if weave else plain(entries)


def _merge_few_into_many(lines: bytes, entries: list[Entry]) -> bytes:
    """Put few sorted entries into many sorted lines, without taking these apart."""
    parts: list[bytes] = []
    start = 0
    for entry in entries:
        end = bisect(lines, entry, MERGED, from_start=start, at=True)
        parts.append(lines[start:end])
        if end == len(lines) or entry_at(lines, end, MERGED)[0] != entry:
            parts += (entry[1], b"\n")
        start = end
    parts.append(lines[start:])
    return b"".join(parts)

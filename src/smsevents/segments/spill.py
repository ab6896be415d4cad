"""Spill: an external merge of segments that overlap too much for one page, kept until an export has read it.

A page opens all segments that overlap at its start. If they hold much more than it has room for, it makes little
progress, and so does the next page, which opens them all again. The work would grow with the square of the overlap. So
a spill merges them in batches, each as large as there is room for, into sorted runs of small segments in a spool. No
more of these overlap than there are runs, and each page opens a few of them.

This is rare. It takes far more late or shuffled events in one place than the upkeep worker leaves unmerged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.segments.header import damaged_among
from smsevents.segments.merge import MERGE_HELD_MAX_BYTES, merge_runs
from smsevents.segments.segment import cut, pack_lines
from smsevents.segments.spool import MIB, Spool, SpoolAllowance
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Segment, StoredSegment
    from smsevents.wire.lines import Entry

SPILL_SEGMENT_BYTES = 64 * 1024  # small, because a page opens one segment of each run
SPILL_MEMORY_MAX_BYTES = 1024 * 1024  # of stored bytes; larger spills use a temporary file

SPILL_ON_DISK_MAX_BYTES = 1024 * MIB  # for all exports of a process together
_room = SpoolAllowance("exports", SPILL_ON_DISK_MAX_BYTES)


class Spill:
    """All events of a log in `after < event <= reach`, in segments of which few overlap."""

    def __init__(
        self,
        ordered: Iterator[StoredSegment],
        after: Entry,
        until: Entry,
        *,
        held_max_bytes: int = MERGE_HELD_MAX_BYTES,
        segment_bytes: int = SPILL_SEGMENT_BYTES,
    ) -> None:
        """Read segments of which each overlaps the next, after `after` and no further than `until`.

        `ordered` has the segments that reach past `after`, by their first entries. It is read up to the first gap.
        Raises `DamagedSegment`, and `StoreFull` or `StoreUnavailable` if there is no room for temporary files.
        """
        self._spool = Spool(SPILL_MEMORY_MAX_BYTES, _room)
        self._segment_bytes = segment_bytes
        self.reach = after
        runs: list[bytes] = []
        headers: list[SegmentHeader] = []
        held = 0
        for segment in ordered:
            if after < self.reach < segment.header.first:
                break
            self.reach = max(self.reach, min(segment.header.last, until))
            runs.append(cut(segment, after, until))
            headers.append(segment.header)
            held += len(runs[-1])
            if held >= held_max_bytes:
                self._put(runs, headers)
                headers, held = [], 0
        self._put(runs, headers)

    def _put(self, runs: list[bytes], headers: list[SegmentHeader]) -> None:
        """Merge runs into one, and put it into the spool. `headers` are of the segments that the runs come from."""
        if not runs:
            return
        try:
            for segment in pack_lines(merge_runs(runs), self._segment_bytes):
                self._spool.put(segment)
        except NotLines as error:
            raise damaged_among(headers, str(error)) from error

    def after(self, after: Entry) -> Iterator[Segment]:
        """Return the segments that reach past an entry, in the order of their first entries."""
        return self._spool.after(after)

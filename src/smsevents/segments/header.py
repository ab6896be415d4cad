"""The header of a segment: all that is known of it apart from its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from smsevents.errors import DamagedSegment

if TYPE_CHECKING:
    from collections.abc import Collection

    from smsevents.wire.lines import Entry

NAMED_SEGMENTS_MAX = 10  # in a message
NEW = 0  # the id of a segment that the catalog does not know yet


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a segment lie, and from which one on if it shares the place with others."""

    kind: Literal["memory", "spool", "row"]
    start: int = 0


IN_MEMORY = Place("memory")
IN_ROW = Place("row")  # of its own, in the catalog


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    r"""A segment without its bytes.

    `first` and `last` are the bounds, `events` the number of lines. `line_bytes` and `line_crc` (CRC-32) are of the
    plain lines with their `\n`; `stored_bytes` and `stored_crc` (CRC-32) of the bytes as they are stored, so that
    damage is seen before one of them is sent, also where nothing is inflated. `id` is NEW until the catalog has it.
    """

    id: int
    first: Entry
    last: Entry
    events: int
    line_bytes: int
    line_crc: int
    stored_bytes: int
    stored_crc: int
    place: Place

    def damaged(self, reason: str) -> DamagedSegment:
        """Make the error that names this segment."""
        return DamagedSegment(f"Segment {self.id or 'new'} is damaged: {reason}.")


def damaged_among(ids: Collection[int], reason: str) -> DamagedSegment:
    """Make the error that names the stored segments one of which is damaged, where it is not known which."""
    stored = sorted({segment_id for segment_id in ids if segment_id != NEW})
    if len(stored) == 1:
        return DamagedSegment(f"Segment {stored[0]} is damaged: {reason}.")
    named = ", ".join(map(str, stored[:NAMED_SEGMENTS_MAX])) + (", \u2026" if len(stored) > NAMED_SEGMENTS_MAX else "")
    return DamagedSegment(f"One of several segments that overlap ({named}) is damaged: {reason}.")

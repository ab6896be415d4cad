"""The header of a segment: its complete description, without its bytes."""

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
    """Where the bytes of a segment are, and at which byte they start if other segments share the place.

    `key` is that of the object, if the place is a pack.
    """

    kind: Literal["memory", "spool", "row", "pack"]
    start: int = 0
    key: str = ""


IN_MEMORY = Place("memory")
IN_ROW = Place("row")  # of its own, in the catalog


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    r"""A segment without its bytes.

    `first` and `last` are the bounds, `events` is the number of lines. `line_bytes` and `line_crc` (CRC-32) describe
    the plain lines with their `\n`. `stored_bytes` and `stored_crc` (CRC-32) describe the stored bytes, so that damage
    is noticed before any of them is sent, even if they are not inflated. `id` is that of the row, or of the pack that
    holds the segment, and NEW until the catalog has it.
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

    @property
    def name(self) -> str:
        """The name of the segment for an operator: the id of its row, or its pack and the byte where it starts."""
        return f"{self.place.key}+{self.place.start}" if self.place.key else str(self.id or "new")

    @property
    def stored_as(self) -> tuple[str, int]:
        """What the catalog replaces if this segment changes: the kind and the id of a row or of a pack."""
        return self.place.kind, self.id

    def damaged(self, reason: str) -> DamagedSegment:
        """Return the error that names this segment."""
        return DamagedSegment(f"Segment {self.name} is damaged: {reason}.")


def damaged_among(headers: Collection[SegmentHeader], reason: str) -> DamagedSegment:
    """Return the error for stored segments of which one is damaged, when it is not known which one."""
    found = {(*header.stored_as, header.place.start): header.name for header in headers if header.id != NEW}
    stored = [found[key] for key in sorted(found)]
    if len(stored) == 1:
        return DamagedSegment(f"Segment {stored[0]} is damaged: {reason}.")
    named = ", ".join(stored[:NAMED_SEGMENTS_MAX]) + (", \u2026" if len(stored) > NAMED_SEGMENTS_MAX else "")
    return DamagedSegment(f"One of several segments that overlap ({named}) is damaged: {reason}.")

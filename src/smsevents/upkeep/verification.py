"""Verification: every stored segment is read and checked against its header and its shop."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from smsevents.catalog.quarantine import discard_quarantine, quarantine_segment
from smsevents.catalog.segments import newest_id, rows_between, span_of
from smsevents.errors import DamagedSegment
from smsevents.segments.segment import read_entries
from smsevents.wire.events import NotAnEvent, NotJson, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.segments.segment import Segment

VERIFY_SEGMENTS_IN_READ_MAX = 32  # a long read keeps the write-ahead log from being emptied

DISCARDED_SEGMENTS_IN_STATEMENT_MAX = 100  # their pages stay in memory until the statement is done


@dataclass(frozen=True)
class Checked:
    """A checked segment. `damage` says what is wrong with it, or is None."""

    segment_id: int
    trackpoint: int
    events: int
    damage: str | None


def verify(database: Database, trackpoint: int | None) -> Iterator[Checked]:
    """Check the segments of a shop, or of all shops (None), in the order of their ids, several in each transaction.

    Only segments that exist when this begins are checked, and not those that compaction makes of them meanwhile.
    Compaction checks the segments that it reads, and following its results could go on without end.
    """
    with database.read() as connection:
        newest = newest_id(connection)
    after = 0
    while True:
        with database.read() as connection:
            checked = None
            for shop, span_ms, segment in rows_between(
                connection, after, newest, trackpoint, VERIFY_SEGMENTS_IN_READ_MAX
            ):
                checked = Checked(segment.header.id, shop, segment.header.events, damage_of(shop, span_ms, segment))
                yield checked
        if checked is None:
            return
        after = checked.segment_id


def damage_of(trackpoint: int, span_ms: int, segment: Segment) -> str | None:
    """Return what is wrong with a segment: checksum, bounds, count, order, form or shop. None if nothing is."""
    try:
        held = read_entries(segment.check_stored())
    except DamagedSegment as error:
        return str(error)
    header = segment.header
    if len(held) != header.events:
        return f"it holds {len(held)} events, not {header.events}"
    if held[0] != header.first or held[-1] != header.last:
        return "its bounds are not its first and last event"
    if span_ms != span_of(header.first[0], header.last[0]):
        return f"its span is told as {span_ms} ms, which hides it from exports that begin within it"
    if any(one >= following for one, following in pairwise(held)):
        return "its events are out of order or duplicated"
    reasons = ((number, _damage_of_line(date, line, trackpoint)) for number, (date, line) in enumerate(held, 1))
    return next((f"line {number}: {reason}" for number, reason in reasons if reason), None)


def _damage_of_line(date: int, line: bytes, trackpoint: int) -> str | None:
    try:
        event, canonical = decode(line)
    except (NotJson, NotAnEvent) as error:
        return str(error)
    if canonical != line:
        return "not in canonical form"
    if event.smsEvent.trackpoint != trackpoint:
        return f"of the shop {event.smsEvent.trackpoint}"
    return None if event.smsEvent.date == date else "of another date"


def quarantine(database: Database, checked: Checked, now: int) -> None:
    """Move a damaged segment into quarantine at `now` (Unix ms), so that the rest can be exported."""
    reason = checked.damage or ""
    database.write(lambda c: quarantine_segment(c, checked.segment_id, reason, now))


def discard(database: Database, trackpoint: int | None) -> int:
    """Delete the segments in quarantine, of a shop or of all shops (None). Return how many were deleted."""
    discarded = 0
    while some := database.write(lambda c: discard_quarantine(c, trackpoint, DISCARDED_SEGMENTS_IN_STATEMENT_MAX)):
        discarded += some
    return discarded

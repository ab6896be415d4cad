"""Verification: every stored segment is read and held to what it must be."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from smsevents.catalog.outline import discard_quarantine, find_segment, next_segment, set_aside
from smsevents.errors import DamagedSegment
from smsevents.events import NotAnEvent, NotJson, decode
from smsevents.segments import Segment, entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.segments import Entry


@dataclass(frozen=True)
class Checked:
    """A segment that was checked; `damage` says what is wrong with it, or is None."""

    segment_id: int
    trackpoint: int
    events: int
    damage: str | None


def verify(database: Database, trackpoint: int | None) -> Iterator[Checked]:
    """Check the segments of a shop, or of all shops (None), by their ids, each in a read of its own."""
    behind = 0
    while True:
        with database.read() as connection:
            found = next_segment(connection, behind, trackpoint)
            segment = None if found is None else find_segment(connection, found[0])
        if found is None or segment is None:
            return
        behind = found[0]
        yield Checked(behind, found[1], segment.events, damage_of(segment, found[1]))


def damage_of(segment: Segment, trackpoint: int) -> str | None:
    """Tell what is wrong with a segment of a shop: checksums, bounds, count, order, form or shop; None if nothing."""
    try:
        held = entries(segment.check_stored())
    except DamagedSegment as error:
        return str(error)
    except ValueError:
        return "a line has no date"
    return _damage_of_entries(held, segment, trackpoint)


def _damage_of_entries(held: list[Entry], segment: Segment, trackpoint: int) -> str | None:
    if len(held) != segment.events:
        return f"it holds {len(held)} events, not {segment.events}"
    if held[0] != segment.first or held[-1] != segment.last:
        return "its bounds are not its first and last event"
    if any(one >= following for one, following in pairwise(held)):
        return "its events are not in order, each once"
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
    """Set a damaged segment aside, so that the rest can be exported."""
    reason = checked.damage or ""
    database.write(lambda c: set_aside(c, checked.segment_id, reason, now))


def discard(database: Database, trackpoint: int | None) -> int:
    """Delete what was set aside, of a shop or of all (None); give how many segments that were."""
    return database.write(lambda c: discard_quarantine(c, trackpoint))

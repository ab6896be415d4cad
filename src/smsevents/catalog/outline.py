"""The statements of the upkeep: what is known of segments without their bytes, and their replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from smsevents.catalog.stored import insert_segments, segment_of
from smsevents.catalog.tables import quarantine, segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import Connection

    from smsevents.segments import Entry, Segment

_c = segments.c
_READ_AHEAD_ROWS = 200
_IDS_IN_STATEMENT_MAX = 500


@dataclass(frozen=True, slots=True)
class Outline:
    """A stored segment without its bytes; `stored_bytes` tells how many they are."""

    id: int
    first: Entry
    last: Entry
    events: int
    line_bytes: int
    stored_bytes: int


def outlines(connection: Connection, trackpoint: int) -> Iterator[Outline]:
    """Go through the segments of a shop by their first entry."""
    rows = connection.execute(
        select(
            _c.id,
            _c.first_date,
            _c.first_line,
            _c.last_date,
            _c.last_line,
            _c.events,
            _c.line_bytes,
            func.length(_c.data).label("stored_bytes"),
        )
        .where(_c.trackpoint == trackpoint)
        .order_by(_c.first_date, _c.first_line)
        .execution_options(yield_per=_READ_AHEAD_ROWS)
    )
    for row in rows:
        yield Outline(
            row.id,
            (row.first_date, row.first_line),
            (row.last_date, row.last_line),
            row.events,
            row.line_bytes,
            row.stored_bytes,
        )


def find_segment(connection: Connection, segment_id: int) -> Segment | None:
    """Give a segment, unchecked."""
    row = connection.execute(select(segments).where(_c.id == segment_id)).first()
    return None if row is None else segment_of(row)


def next_segment(connection: Connection, behind_id: int, trackpoint: int | None) -> tuple[int, int] | None:
    """Give the id and the trackpoint of the segment with the next id, of one shop or of all (None)."""
    statement = select(_c.id, _c.trackpoint).where(_c.id > behind_id).order_by(_c.id).limit(1)
    if trackpoint is not None:
        statement = statement.where(_c.trackpoint == trackpoint)
    row = connection.execute(statement).first()
    return None if row is None else (row.id, row.trackpoint)


def replace_segments(
    connection: Connection, trackpoint: int, read: Collection[int], gone: Collection[int], new: Iterable[Segment]
) -> bool:
    """Put new segments in the place of those that are `gone`, unless one that was `read` is no longer there.

    Ids are never used twice and a row is never changed, so a segment that is still there is the one that was
    read. When one is not, somebody else replaced it in between, perhaps to erase a user: what was made of it is
    thrown away, and the answer is False.
    """
    if _still_there(connection, read) != len(read):
        return False
    for some in _batches(gone):
        connection.execute(delete(segments).where(_c.id.in_(some)))
    insert_segments(connection, trackpoint, new)
    return True


def _still_there(connection: Connection, ids: Collection[int]) -> int:
    return sum(
        connection.execute(select(func.count()).select_from(segments).where(_c.id.in_(some))).scalar_one()
        for some in _batches(ids)
    )


def _batches(ids: Collection[int]) -> Iterator[list[int]]:
    in_order = sorted(ids)
    for start in range(0, len(in_order), _IDS_IN_STATEMENT_MAX):
        yield in_order[start : start + _IDS_IN_STATEMENT_MAX]


def delete_older(connection: Connection, before: int, at_most: int) -> tuple[int, int]:
    """Delete up to `at_most` segments that end before a time (Unix ms); give how many, and their events."""
    rows = connection.execute(
        select(_c.id, _c.events).where(_c.last_date < before).order_by(_c.last_date).limit(at_most)
    ).all()
    for some in _batches([row.id for row in rows]):
        connection.execute(delete(segments).where(_c.id.in_(some)))
    return len(rows), sum(row.events for row in rows)


def set_aside(connection: Connection, segment_id: int, reason: str, now: int) -> None:
    """Move a damaged segment into quarantine, with its bytes as they are."""
    row = connection.execute(select(segments).where(_c.id == segment_id)).first()
    if row is None:
        return
    connection.execute(
        insert(quarantine).values(
            id=row.id,
            trackpoint=row.trackpoint,
            first_date=row.first_date,
            last_date=row.last_date,
            events=row.events,
            reason=reason,
            set_aside_ms=now,
            data=row.data,
        )
    )
    connection.execute(delete(segments).where(_c.id == segment_id))


def quarantined(connection: Connection, trackpoint: int) -> int:
    """Tell how many segments of a shop lie in quarantine."""
    statement = select(func.count()).select_from(quarantine).where(quarantine.c.trackpoint == trackpoint)
    return connection.execute(statement).scalar_one()


def discard_quarantine(connection: Connection, trackpoint: int | None) -> int:
    """Delete what lies in quarantine, of one shop or of all (None); give how many segments that were."""
    statement = delete(quarantine)
    if trackpoint is not None:
        statement = statement.where(quarantine.c.trackpoint == trackpoint)
    return connection.execute(statement).rowcount

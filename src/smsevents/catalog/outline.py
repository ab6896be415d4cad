"""The statements of the upkeep: what is known of segments without their bytes, and their replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, true

from smsevents.catalog.segments import insert_segments, segment_of
from smsevents.catalog.tables import quarantine, segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import ColumnElement, Connection

    from smsevents.segments.segment import Entry, Segment

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


def _of_shop(trackpoint: int | None) -> ColumnElement[bool]:
    """Give the condition for one shop or for all (None), for a statement that goes by ids.

    The column is hidden in an expression, as SQLite would take the index that begins with it and sort all
    segments of the shop by their ids again and again.
    """
    return true() if trackpoint is None else _c.trackpoint + 0 == trackpoint


def newest_id(connection: Connection) -> int:
    """Give the highest id of a segment, or 0."""
    return connection.execute(select(func.max(_c.id))).scalar() or 0


def shops_changed(connection: Connection, after_id: int) -> list[int]:
    """Give the shops, by trackpoint, that have segments with higher ids than `after_id`."""
    return sorted(set(connection.execute(select(_c.trackpoint + 0).where(_c.id > after_id)).scalars()))


def rows_between(
    connection: Connection, after_id: int, until_id: int, trackpoint: int | None, at_most: int
) -> Iterator[tuple[int, int, Segment]]:
    """Go through all that is stored of segments, unchecked, by their ids, of one shop or of all (None).

    They are in `behind_id < id <= until_id`. Gives of each the shop, the span in milliseconds, and the segment.
    """
    statement = select(segments).where(_c.id > after_id, _c.id <= until_id, _of_shop(trackpoint)).order_by(_c.id)
    for row in connection.execute(statement.limit(at_most).execution_options(yield_per=1)):
        yield row.trackpoint, row.span_ms, segment_of(row)


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


def quarantine_segment(connection: Connection, segment_id: int, reason: str, now: int) -> None:
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


def discard_quarantine(connection: Connection, trackpoint: int | None, at_most: int) -> int:
    """Delete some of what lies in quarantine, of one shop or of all (None); give how many segments that were."""
    of_shop = true() if trackpoint is None else quarantine.c.trackpoint == trackpoint
    ids = select(quarantine.c.id).where(of_shop).limit(at_most)
    return connection.execute(delete(quarantine).where(quarantine.c.id.in_(ids))).rowcount

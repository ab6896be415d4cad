"""The statements on segments: insert them, and go through those of a shop in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select

from smsevents.catalog.tables import segments
from smsevents.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Row

    from smsevents.segments import Entry

_READ_AHEAD_ROWS = 4


def insert_segments(connection: Connection, trackpoint: int, new: Iterable[Segment]) -> None:
    """Store segments of a shop, each in a row of its own, except those that are stored already.

    A client that sends the same body again and again therefore does not make the log grow.
    """
    for segment in new:
        if _is_stored(connection, trackpoint, segment):
            continue
        connection.execute(
            insert(segments).values(
                trackpoint=trackpoint,
                first_date=segment.first[0],
                first_line=segment.first[1],
                last_date=segment.last[0],
                last_line=segment.last[1],
                span_ms=segment.last[0] - segment.first[0],
                events=segment.events,
                line_bytes=segment.line_bytes,
                line_crc=segment.line_crc,
                stored_crc=segment.stored_crc,
                data=segment.data,
            )
        )


def _is_stored(connection: Connection, trackpoint: int, segment: Segment) -> bool:
    """Tell whether the very same lines lie in a segment of their own already. Bytes are compared, not sums."""
    found = connection.execute(
        select(segments.c.id).where(
            segments.c.trackpoint == trackpoint,
            segments.c.first_date == segment.first[0],
            segments.c.first_line == segment.first[1],
            segments.c.stored_crc == segment.stored_crc,
            segments.c.data == segment.data,
        )
    )
    return found.first() is not None


def segments_behind(connection: Connection, trackpoint: int, after: Entry, until: int) -> Iterator[Segment]:
    """Go through a shop's segments that hold entries behind `after` and not later than `until`.

    They come by their first entry, each checked against the checksum of its stored bytes, and are fetched
    as they are asked for. The span of the longest segment tells where to begin: no segment that starts
    earlier than that before `after` can reach behind it.
    """
    c = segments.c
    longest = select(func.max(c.span_ms)).where(c.trackpoint == trackpoint).scalar_subquery()
    rows = connection.execute(
        select(segments)
        .where(
            c.trackpoint == trackpoint,
            c.first_date >= after[0] - func.coalesce(longest, 0),
            c.first_date <= until,
            c.last_date >= after[0],
        )
        .order_by(c.first_date, c.first_line)
        .execution_options(yield_per=_READ_AHEAD_ROWS)
    )
    for row in rows:
        segment = segment_of(row)
        if segment.last > after:
            yield segment.check_stored()


def segment_of(row: Row[tuple[object, ...]]) -> Segment:
    """Give the segment of a row."""
    return Segment(
        first=(row.first_date, row.first_line),
        last=(row.last_date, row.last_line),
        events=row.events,
        line_bytes=row.line_bytes,
        line_crc=row.line_crc,
        stored_crc=row.stored_crc,
        data=row.data,
        name=str(row.id),
    )

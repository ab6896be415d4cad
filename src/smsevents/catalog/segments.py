"""The statements on segments: insert them, and go through those of a shop in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, func, insert, select

from smsevents.catalog.tables import segments
from smsevents.segments.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Select

    from smsevents.segments.segment import Entry

_READ_AHEAD_ROWS = 4
_SEGMENTS_AT_ONCE = 32

# A statement takes longer to build than to run, so those that every request needs are built once.
_INSERT = insert(segments)
_FIND = select(segments.c.id).where(
    segments.c.trackpoint == bindparam("trackpoint"),
    segments.c.first_date == bindparam("first_date"),
    segments.c.first_line == bindparam("first_line"),
    segments.c.stored_crc == bindparam("stored_crc"),
    segments.c.data == bindparam("data"),
)
_BY_IDS = select(segments).where(segments.c.id.in_(bindparam("ids", expanding=True)))


def insert_segments(connection: Connection, trackpoint: int, new: Iterable[Segment]) -> None:
    """Store segments of a shop, each in a row of its own, except those that are stored already.

    A client that sends the same body again and again therefore does not make the log grow. Bytes are compared
    for that, not sums.
    """
    for segment in new:
        row = _row_of(trackpoint, segment)
        if connection.execute(_FIND, row).first() is None:
            connection.execute(_INSERT, row)


def _row_of(trackpoint: int, segment: Segment) -> dict[str, int | bytes]:
    return {
        "trackpoint": trackpoint,
        "first_date": segment.first[0],
        "first_line": segment.first[1],
        "last_date": segment.last[0],
        "last_line": segment.last[1],
        "span_ms": span_of(segment.first[0], segment.last[0]),
        "events": segment.events,
        "line_bytes": segment.line_bytes,
        "line_crc": segment.line_crc,
        "stored_crc": segment.stored_crc,
        "data": segment.data,
    }


def segments_after(connection: Connection, trackpoint: int, after: Entry, until: int) -> Iterator[Segment]:
    """Go through a shop's segments that hold entries behind `after` and not later than `until`.

    They come by their first entry, each checked against the checksum of its stored bytes, and are fetched
    as they are asked for: first those that begin before `after` and reach behind it, then those that begin there.
    """
    for segment in segments_of(connection, _reaching_over(connection, trackpoint, after)):
        yield segment.check_stored()
    for row in connection.execute(_IN_ORDER, {"trackpoint": trackpoint, "after": after[0], "until": until}):
        segment = segment_of(row)
        if segment.last > after:
            yield segment.check_stored()


def _in_order_statement() -> Select[Any]:
    """Build the statement that gives the segments of a shop which begin in `after <= date <= until`, in order."""
    c = segments.c
    trackpoint, after, until = (bindparam(name, type_=BigInteger) for name in ("trackpoint", "after", "until"))
    return (
        select(segments)
        .where(c.trackpoint == trackpoint, c.first_date >= after, c.first_date <= until)
        .order_by(c.first_date, c.first_line)
        .execution_options(yield_per=_READ_AHEAD_ROWS)
    )


def _reaching_over(connection: Connection, trackpoint: int, after: Entry) -> list[int]:
    """Give the ids of the segments that begin before the date of `after` and reach behind it, by their first entry."""
    rows = connection.execute(_REACHING_OVER, {"trackpoint": trackpoint, "time": after[0]})
    # Mostly that is where the page before ended, and the segment that it ended with is not to be read again.
    reaching = [row for row in rows if (row.last_date, row.last_line) > after]
    return [row.id for row in sorted(reaching, key=lambda row: (row.first_date, row.first_line))]


def _reaching_over_statement() -> Select[int, int, bytes, int, bytes]:
    """Build the statement that gives the segments which begin before a time (Unix ms) and end at or behind it.

    Spans are powers of two, so a shop has few different ones, and for each of them only the segments that begin
    no longer than the span before the time are looked at. That is few, however many there are in all and
    however wide some of them are. The rows are not ordered by the database: SQLite would then go through all
    segments before the time, because they lie in that order.
    """
    c = segments.c
    trackpoint, time = bindparam("trackpoint", type_=BigInteger), bindparam("time", type_=BigInteger)
    spans = select(func.min(c.span_ms).label("span_ms")).where(c.trackpoint == trackpoint).cte("spans", recursive=True)
    wider = select(func.min(c.span_ms)).where(c.trackpoint == trackpoint, c.span_ms > spans.c.span_ms)
    spans = spans.union_all(select(wider.scalar_subquery()).where(spans.c.span_ms.is_not(None)))
    return (
        select(c.id, c.first_date, c.first_line, c.last_date, c.last_line)
        .join(spans, c.span_ms == spans.c.span_ms)
        .where(
            c.trackpoint == trackpoint,
            c.first_date >= time - spans.c.span_ms,
            c.first_date < time,
            c.last_date >= time,
        )
    )


_IN_ORDER = _in_order_statement()
_REACHING_OVER = _reaching_over_statement()


def span_of(first_ms: int, last_ms: int) -> int:
    """Give the span under which a segment is stored: the least power of two that is not less than its own, or 0."""
    span = last_ms - first_ms
    return span if span < 1 else 1 << (span - 1).bit_length()


def segments_of(connection: Connection, ids: Sequence[int]) -> Iterator[Segment]:
    """Give the segments with these ids, unchecked, in the order of the ids; those that are gone are left out."""
    for start in range(0, len(ids), _SEGMENTS_AT_ONCE):
        some = ids[start : start + _SEGMENTS_AT_ONCE]
        found = {row.id: row for row in connection.execute(_BY_IDS, {"ids": some})}
        for segment_id in some:
            if segment_id in found:
                yield segment_of(found[segment_id])


def find_segment(connection: Connection, segment_id: int) -> Segment | None:
    """Give a segment, unchecked."""
    row = connection.execute(select(segments).where(segments.c.id == segment_id)).first()
    return None if row is None else segment_of(row)


def segment_of(row: Sequence[Any]) -> Segment:
    """Give the segment of a row of all columns. They are read by position; by name is three times slower."""
    segment_id, _, first_date, first_line, last_date, last_line, _, events, line_bytes, line_crc, stored_crc, data = row
    return Segment(
        first=(first_date, first_line),
        last=(last_date, last_line),
        events=events,
        line_bytes=line_bytes,
        line_crc=line_crc,
        stored_crc=stored_crc,
        data=data,
        name=str(segment_id),
    )

"""The statements on segments: store and replace them, and go through them in order, with or without their bytes.

Rows are read by position, because reading them by name takes three times as long. So each statement names its columns,
and a new column of the table changes nothing here.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, literal, select, text, true, union_all

from smsevents.catalog.batches import batches
from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.dialects.hints import NotByIndex
from smsevents.catalog.hot import Hot
from smsevents.catalog.in_order import InOrder, header_columns, header_of, row_of
from smsevents.catalog.tables import packs, segments
from smsevents.catalog.tallies import delete_tallies, insert_tallies
from smsevents.segments.header import IN_ROW
from smsevents.segments.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from smsevents.segments.header import SegmentHeader
    from smsevents.wire.lines import Entry

_c = segments.c
_HEADER = header_columns(segments)
_STORED = [column.name for column in _c if column.name != "id"]
HEADERS_READ_AHEAD = 200
SEGMENTS_IN_STATEMENT_MAX = 32


def _segment_of(row: Sequence[Any]) -> Segment:
    data = row[len(_HEADER)]
    return Segment(header_of(row, len(data), IN_ROW), data)


# A statement takes longer to build than to run, so statements that every request needs are built once.
_INSERT = Hot(insert(segments).values({name: bindparam(name) for name in _STORED}))
_INSERT_AND_RETURN = Hot(insert(segments).values({name: bindparam(name) for name in _STORED}).returning(_c.id))
_TAKE = Hot(
    delete(segments).where(
        _c.id == bindparam("id"), _c.trackpoint == bindparam("trackpoint"), _c.data == bindparam("data")
    )
)
_PLACE = ("trackpoint", "first_date", "first_line")  # no two segments that are stored together have the same
_GROWN = (*_STORED, "old_id", "old_data")
_ARRAYS = ", ".join(
    f"CAST(:{name}s AS {'bytea' if name.endswith(('line', 'data')) else 'bigint'}[])" for name in _GROWN
)
# of a database that takes arrays; the old rows are locked by being deleted
_GROW_MANY = Hot(
    text(f"""
        WITH grown AS (SELECT * FROM unnest({_ARRAYS}) AS one ({", ".join(_GROWN)})),
        gone AS (
            DELETE FROM segments AS s USING grown
            WHERE s.id = grown.old_id AND s.trackpoint = grown.trackpoint AND s.data = grown.old_data
            RETURNING s.id
        )
        INSERT INTO segments ({", ".join(_STORED)}) SELECT {", ".join(_STORED)} FROM grown
        WHERE old_id IS NULL OR old_id IN (SELECT id FROM gone)
        RETURNING id, {", ".join(_PLACE)}
    """)  # noqa: S608 -- names of columns
)
_GROWING = Hot(
    select(*_HEADER, _c.data)
    .where(_c.id == bindparam("id"), _c.trackpoint == bindparam("trackpoint"))
    .with_for_update()
)
_FIND = Hot(
    select(_c.id).where(
        _c.trackpoint == bindparam("trackpoint"),
        _c.first_date == bindparam("first_date"),
        _c.first_line == bindparam("first_line"),
        _c.stored_crc == bindparam("stored_crc"),
        _c.data == bindparam("data"),
    )
)
_BY_ID = Hot(select(*_HEADER, _c.data).where(_c.id == bindparam("id")))
_BY_IDS = select(*_HEADER, _c.data).where(_c.id.in_(bindparam("ids", expanding=True)))


def insert_segments(connection: Connection, trackpoint: int, new: Iterable[Segment]) -> None:
    """Store segments of a shop, each in its own row. Segments that are stored already are left out.

    So the log does not grow when a client sends the same body repeatedly. The bytes are compared, not checksums.
    """
    for segment in new:
        row = _row_of(trackpoint, segment)
        if _FIND.all(connection, row):
            continue
        if segment.tally is None:
            _INSERT.run(connection, row)
        else:
            ((segment_id,),) = _INSERT_AND_RETURN.all(connection, row)
            insert_tallies(connection, "row", segment_id, [(0, segment.tally)])


def growing_segment(connection: Connection, trackpoint: int, segment_id: int) -> Segment | None:
    """Return a segment of a shop, unchecked, and lock its row, or return None if it is gone."""
    rows = _GROWING.all(connection, {"id": segment_id, "trackpoint": trackpoint})
    return _segment_of(rows[0]) if rows else None


class Growth(NamedTuple):
    """A segment to be stored for a shop, perhaps in place of an old one, which is named by its id and its data."""

    trackpoint: int
    segment: Segment
    old_id: int | None
    old_data: bytes | None


def store_grown(connection: Connection, grown: Sequence[Growth]) -> list[int | None]:
    """Store segments and delete the old ones that they replace. Return the ids of the new ones, in the same order.

    Where the old one is gone, or has other bytes by now, nothing is stored, and the id is None. They have no tallies.
    """
    if not grown:
        return []
    if not dialect_of(connection).takes_arrays:
        return [_stored_alone(connection, one) for one in grown]
    rows: list[dict[str, Any]] = [
        {**_row_of(one.trackpoint, one.segment), "old_id": one.old_id, "old_data": one.old_data} for one in grown
    ]
    found = _GROW_MANY.all(connection, {f"{name}s": [row[name] for row in rows] for name in _GROWN})
    # a database may return the rows of a statement in any order
    ids = {tuple(place): segment_id for segment_id, *place in found}
    return [ids.get(tuple(row[name] for name in _PLACE)) for row in rows]


def _stored_alone(connection: Connection, one: Growth) -> int | None:
    values = {"id": one.old_id, "trackpoint": one.trackpoint, "data": one.old_data}
    if one.old_id is not None and not _TAKE.run(connection, values):
        return None
    found: int = _INSERT_AND_RETURN.all(connection, _row_of(one.trackpoint, one.segment))[0][0]
    return found


def _row_of(trackpoint: int, segment: Segment) -> dict[str, int | bytes]:
    return {**row_of(trackpoint, segment.header), "data": segment.data}


def segments_after(
    connection: Connection, trackpoint: int, after: Entry, until_ms: int
) -> Generator[Segment, None, None]:
    """Go through a shop's segments that hold entries after `after` and not later than `until_ms` (Unix ms).

    They come in the order of their first entries, and are fetched when the caller asks for them: first the segments
    that begin before the date of `after` and reach past `after`, then the ones that begin at that date or later. They
    are unchecked.
    """
    yield from segments_of(connection, _statements.reaching_over(connection, trackpoint, after))
    with closing(_statements.in_order(connection, trackpoint, after, until_ms)) as rows:
        for row in rows:
            segment = _segment_of(row)
            if segment.header.last > after:
                yield segment


_statements = InOrder(segments, (*_HEADER, _c.data))


def segments_of(connection: Connection, ids: Sequence[int]) -> Iterator[Segment]:
    """Go through the segments with these ids, unchecked, in the order of `ids`. Missing ones are left out."""
    if len(ids) == 1:  # mostly: no `IN` of a varying length
        yield from map(_segment_of, _BY_ID.all(connection, {"id": ids[0]}))
        return
    for start in range(0, len(ids), SEGMENTS_IN_STATEMENT_MAX):
        some = ids[start : start + SEGMENTS_IN_STATEMENT_MAX]
        found = {row[0]: row for row in connection.execute(_BY_IDS, {"ids": some})}
        for segment_id in some:
            if segment_id in found:
                yield _segment_of(found[segment_id])


def find_segment(connection: Connection, segment_id: int) -> Segment | None:
    """Return a segment, unchecked, or None if it is gone."""
    return next(segments_of(connection, [segment_id]), None)


def headers_of(connection: Connection, trackpoint: int) -> Iterator[SegmentHeader]:
    """Go through the headers of a shop's segments, in the order of their first entries."""
    statement = (
        select(*_HEADER, func.length(_c.data))
        .where(_c.trackpoint == trackpoint)
        .order_by(_c.first_date, _c.first_line)
        .execution_options(yield_per=HEADERS_READ_AHEAD)
    )
    return (header_of(row, row[len(_HEADER)], IN_ROW) for row in connection.execute(statement))


def rows_between(
    connection: Connection, after_id: int, until_id: int, trackpoint: int | None, at_most: int
) -> Iterator[tuple[int, int, Segment]]:
    """Go through up to `at_most` segments of one shop or of all (None), unchecked, in the order of their ids.

    Their ids are in `after_id < id <= until_id`. Yield for each the shop, the span in milliseconds, and the segment.
    """
    statement = (
        select(*_HEADER, _c.data, _c.trackpoint, _c.span_ms)
        .where(_c.id > after_id, _c.id <= until_id, _of_shop(trackpoint))
        .order_by(_c.id)
        .limit(at_most)
        .execution_options(yield_per=1)
    )
    for row in connection.execute(statement):
        yield row.trackpoint, row.span_ms, _segment_of(row)


def _of_shop(trackpoint: int | None) -> ColumnElement[bool]:
    """Return the condition for one shop or for all (None), for a statement in the order of ids.

    Without the hint, SQLite would use the index that begins with the trackpoint, and would sort all segments of the
    shop by their ids for each statement.
    """
    return true() if trackpoint is None else NotByIndex(_c.trackpoint) == trackpoint


def newest_id(connection: Connection) -> int:
    """Return the highest id of a segment, or 0."""
    return connection.execute(select(func.max(_c.id))).scalar() or 0


def newest_settled_id(connection: Connection) -> int:
    """Return the highest id up to which every segment has appeared, for a scan that continues after it next time.

    Where a database gives ids out before the commit, segments do not appear in their order. Read this before the read
    that looks at the segments: what is not counted here, and appears in between, is then at least seen.
    """
    unfinished = dialect_of(connection).unfinished_id(connection)
    newest = newest_id(connection)
    return newest if unfinished is None else min(newest, unfinished)


def line_bytes_after(connection: Connection, after_id: int) -> int:
    """Return the bytes of lines in all segments with higher ids than `after_id`."""
    return int(
        connection.execute(select(func.coalesce(func.sum(_c.line_bytes), 0)).where(_c.id > after_id)).scalar_one()
    )


def overlapping_line_bytes(connection: Connection) -> int:
    """Return the bytes of lines in all segments that overlap another one of their shop by more than a millisecond.

    Another one may also be a pack. Packs themselves do not count: what is opened of them is not much.
    """
    rows = (
        select(one.c.trackpoint, one.c.first_date, one.c.first_line, one.c.last_date, line_bytes.label("line_bytes"))
        for one, line_bytes in ((segments, _c.line_bytes), (packs, literal(0)))
    )
    c = union_all(*rows).subquery().c
    order = (c.first_date, c.first_line)
    reach_before = func.max(c.last_date).over(partition_by=c.trackpoint, order_by=order, rows=(None, -1))
    following = func.lead(c.first_date).over(partition_by=c.trackpoint, order_by=order)
    found = select(
        c.line_bytes,
        # neighbours in a burst share the millisecond at their border, and do not overlap
        ((c.first_date < reach_before) | (c.last_date > following)).label("overlaps"),
    ).subquery()
    return int(
        connection.execute(
            select(func.coalesce(func.sum(found.c.line_bytes), 0)).where(found.c.overlaps == true())
        ).scalar_one()
    )


def shops_changed(connection: Connection, after_id: int) -> list[int]:
    """Return the shops, by trackpoint, that have segments with higher ids than `after_id`."""
    return sorted(set(connection.execute(select(NotByIndex(_c.trackpoint)).where(_c.id > after_id)).scalars()))


def lock_segments(connection: Connection, ids: Collection[int]) -> int:
    """Lock rows until the transaction ends. Return how many of them still exist.

    They are locked in the order of ids, so that no two transactions wait for each other. SQLite has one writer, which
    holds the write lock from its start, and SQLAlchemy omits FOR UPDATE for it.
    """
    return sum(
        len(connection.execute(select(_c.id).where(_c.id.in_(some)).order_by(_c.id).with_for_update()).all())
        for some in batches(ids)
    )


def delete_segments(connection: Connection, ids: Collection[int]) -> None:
    """Delete segments, with their tallies."""
    delete_tallies(connection, "row", ids)
    for some in batches(ids):
        connection.execute(delete(segments).where(_c.id.in_(some)))


def delete_older(connection: Connection, before_ms: int, at_most: int) -> tuple[int, int]:
    """Delete up to `at_most` segments that end before a time (Unix ms). Return the number of segments and of events."""
    rows = connection.execute(
        select(_c.id, _c.events).where(_c.last_date < before_ms).order_by(_c.last_date).limit(at_most)
    ).all()
    delete_segments(connection, [row.id for row in rows])
    return len(rows), sum(row.events for row in rows)

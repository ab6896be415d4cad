"""What the tables `segments` and `packs` have in common: the header, and the order of the first entries.

Both have the columns of a header, `trackpoint` and `span_ms`, and the same indexes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, LargeBinary, bindparam, func, select, tuple_

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.hot import Hot
from smsevents.segments.header import SegmentHeader

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, FromClause, Select, Table

    from smsevents.segments.header import Place
    from smsevents.wire.lines import Entry


ROWS_FETCHED_AT_FIRST = 6  # a page; of a database that sends all rows of a statement at once
ROWS_FETCHED_MAX = 16  # about 1 MB of segments


def span_of(first_ms: int, last_ms: int) -> int:
    """Return the span under which a segment is stored: the least power of two not less than its own, or 0 (in ms)."""
    span = last_ms - first_ms
    return span if span < 1 else 1 << (span - 1).bit_length()


def header_columns(table: Table) -> tuple[Column[Any], ...]:
    """Return the columns that `header_of` reads. They come first in each statement."""
    c = table.c
    bounds = (c.id, c.first_date, c.first_line, c.last_date, c.last_line)
    return (*bounds, c.events, c.line_bytes, c.line_crc, c.stored_crc)


def header_of(row: Sequence[Any], stored_bytes: int, place: Place) -> SegmentHeader:
    """Return the header that a row describes. The row begins with the values of `header_columns`."""
    row_id, first_date, first_line, last_date, last_line, events, line_bytes, line_crc, stored_crc, *_ = row
    return SegmentHeader(
        id=row_id,
        first=(first_date, first_line),
        last=(last_date, last_line),
        events=events,
        line_bytes=line_bytes,
        line_crc=line_crc,
        stored_bytes=stored_bytes,
        stored_crc=stored_crc,
        place=place,
    )


def row_of(trackpoint: int, header: SegmentHeader) -> dict[str, int | bytes]:
    """Return the values that both tables store of a header, by column."""
    return {
        "trackpoint": trackpoint,
        "first_date": header.first[0],
        "first_line": header.first[1],
        "last_date": header.last[0],
        "last_line": header.last[1],
        "span_ms": span_of(header.first[0], header.last[0]),
        "events": header.events,
        "line_bytes": header.line_bytes,
        "line_crc": header.line_crc,
        "stored_crc": header.stored_crc,
    }


class InOrder:
    """The statements on one table. They are built once: building takes longer than running."""

    def __init__(
        self,
        table: Table,
        columns: Sequence[ColumnElement[Any]],
        joined: FromClause | None = None,
        rows_max: int = ROWS_FETCHED_MAX,
    ) -> None:
        """Select these columns of a table, or of a join with it: integers, texts and bytes.

        At most `rows_max` rows are fetched together, of a database that does not send them one by one.
        """
        self._rows_max = rows_max
        self._in_order = Hot(_in_order_statement(table, columns, joined))
        self._next_in_order = Hot(_next_in_order_statement(table, columns, joined))
        self._reaching_over = Hot(_reaching_over_statement(table))

    def in_order(
        self, connection: Connection, trackpoint: int, after: Entry, until_ms: int
    ) -> Generator[tuple[Any, ...], None, None]:
        """Go through the rows of a shop that begin at the date of an entry or later, up to a time (Unix ms)."""
        values: dict[str, Any] = {"trackpoint": trackpoint, "after": after[0], "until": until_ms}
        if dialect_of(connection).fetches_lazily:
            return self._in_order.each(connection, values)
        return self._in_order_by_pages(connection, values)

    def _in_order_by_pages(
        self, connection: Connection, values: dict[str, Any]
    ) -> Generator[tuple[Any, ...], None, None]:
        """Do what `in_order` does with one statement for some rows, each of which continues after the last row."""
        values |= {"line": b"", "id": 0}  # before all rows of that date: a line is never empty
        at_most = ROWS_FETCHED_AT_FIRST
        while True:
            rows = self._next_in_order.all(connection, values | {"at_most": at_most})
            yield from rows
            if len(rows) < at_most:
                return
            values["id"], values["after"], values["line"], *_ = rows[-1]
            at_most = min(2 * at_most, self._rows_max)

    def reaching_over(self, connection: Connection, trackpoint: int, after: Entry) -> list[int]:
        """Return the ids of rows that begin before the date of `after` and reach past it, by their first entry."""
        rows = self._reaching_over.all(connection, {"trackpoint": trackpoint, "time": after[0]})
        # `after` is mostly the end of the previous page. The segment that ends there must not be read again.
        reaching = [(first, row_id) for row_id, *first, date, line in rows if (date, line) > after]
        return [row_id for _, row_id in sorted(reaching)]


def _in_order_statement(table: Table, columns: Sequence[ColumnElement[Any]], joined: FromClause | None) -> Select[Any]:
    """Build the statement that finds the rows of a shop that begin in `after <= date <= until`, in order."""
    c = table.c
    trackpoint, after, until = (bindparam(name, type_=BigInteger) for name in ("trackpoint", "after", "until"))
    return (
        select(*columns)
        .select_from(table if joined is None else joined)
        .where(c.trackpoint == trackpoint, c.first_date >= after, c.first_date <= until)
        .order_by(c.first_date, c.first_line)
    )


def _next_in_order_statement(
    table: Table, columns: Sequence[ColumnElement[Any]], joined: FromClause | None
) -> Select[Any]:
    """Build the statement that finds some of these rows, after the row with a date, a line and an id."""
    c = table.c
    after_row = (bindparam("after", type_=BigInteger), bindparam("line", type_=LargeBinary))
    return (
        _in_order_statement(table, columns, joined)
        .where(tuple_(c.first_date, c.first_line, c.id) > tuple_(*after_row, bindparam("id", type_=BigInteger)))
        .order_by(c.id)
        .limit(bindparam("at_most", type_=Integer))
    )


def _reaching_over_statement(table: Table) -> Select[Any]:
    """Build the statement that finds the rows that begin before a time (Unix ms) and end at or after it.

    Spans are powers of two, so a shop has few different ones. For each span, the statement visits only the rows that
    begin at most that span before the time. These are few, however many there are in all and however wide some of them
    are. The database does not sort the rows. If asked to, it would go through all that begin before the time, because
    its index has them in that order.
    """
    c = table.c
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

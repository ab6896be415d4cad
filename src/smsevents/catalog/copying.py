"""All rows of a database are copied into an empty one, which may be of another dialect.

Ids are kept, because packs, tallies and responses to clients name segments by them. Rows are streamed in the order of
their keys, the tables so that a row comes after those that it refers to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, func, insert, select

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.tables import chores, leases, metadata, objects, packs, pins, readers, segments, shops, stores

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Select, Table

# They say what runs now, or which program may use the tables, and the other database has its own.
LEFT_OUT = frozenset({leases, pins, readers})
COPIED: tuple[Table, ...] = tuple(table for table in metadata.sorted_tables if table not in LEFT_OUT)
_IN_USE = (shops, segments, packs, objects, stores)  # what a database has once anybody used it

BATCH_ROWS_MAX = 1000
BATCH_MAX_BYTES = 4 * 1024 * 1024
ROWS_READ_AHEAD = 32  # a row of segments may have a megabyte


class ShopTotals(NamedTuple):
    """What a table has of a shop. The sums of checksums stand for the contents."""

    rows: int
    events: int
    line_bytes: int
    line_crcs: int
    stored_crcs: int
    stored_bytes: int


def is_unused(connection: Connection) -> bool:
    """Return whether a database has neither shops, nor events, nor a store of packs."""
    return all(connection.execute(select(*table.primary_key).limit(1)).first() is None for table in _IN_USE)


def copy_rows(source: Connection, target: Connection, chores_left_out: Collection[str]) -> dict[str, int]:
    """Copy all rows into an unused database, in place of the few that it has. Return how many, by the table's name.

    `chores_left_out` are the names of chores that concern only the files of the source. Memory does not grow with the
    number of rows. Call this within one write transaction of the target.
    """
    for table in reversed(COPIED):
        target.execute(delete(table))
    copied: dict[str, int] = {}
    for table in COPIED:
        copied[table.name] = 0
        for batch in _batches(source, _rows_of(table, chores_left_out)):
            target.execute(insert(table), batch)
            copied[table.name] += len(batch)
    for table in COPIED:
        if table.autoincrement_column is not None:  # else the id of a row that is gone would be given out again
            dialect_of(target).set_last_id(target, table.name, dialect_of(source).last_id(source, table.name))
    return copied


def _rows_of(table: Table, chores_left_out: Collection[str]) -> Select[Any]:
    statement = select(table).order_by(*table.primary_key)
    return statement.where(chores.c.name.not_in(chores_left_out)) if table is chores else statement


def _batches(source: Connection, statement: Select[Any]) -> Iterator[list[dict[str, Any]]]:
    """Go through rows in batches of bounded size."""
    batch: list[dict[str, Any]] = []
    held = 0
    for row in source.execute(statement.execution_options(yield_per=ROWS_READ_AHEAD)).mappings():
        batch.append(dict(row))
        held += sum(len(value) for value in row.values() if isinstance(value, (bytes, str)))
        if len(batch) >= BATCH_ROWS_MAX or held >= BATCH_MAX_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def count_rows(connection: Connection, chores_left_out: Collection[str]) -> dict[str, int]:
    """Return how many rows `copy_rows` copies, by the table's name."""
    return {
        table.name: connection.execute(
            select(func.count()).select_from(_rows_of(table, chores_left_out).order_by(None).subquery())
        ).scalar_one()
        for table in COPIED
    }


def totals(connection: Connection) -> Mapping[tuple[str, int], ShopTotals]:
    """Return what `segments` and `packs` have of each shop, by the table's name and the trackpoint."""
    found: dict[tuple[str, int], ShopTotals] = {}
    for table in (segments, packs):
        c = table.c
        stored = func.length(c.data) if table is segments else c.stored_bytes
        sums = [func.sum(one) for one in (c.events, c.line_bytes, c.line_crc, c.stored_crc, stored)]
        rows: Sequence[Any] = connection.execute(select(c.trackpoint, func.count(), *sums).group_by(c.trackpoint)).all()
        for trackpoint, *numbers in rows:
            found[table.name, trackpoint] = ShopTotals(*map(int, numbers))
    return found

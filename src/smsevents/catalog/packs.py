"""The statements on packs: rows that describe many segments in one object of the store."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, text

from smsevents.catalog.batches import ROWS_IN_STATEMENT_MAX, batches
from smsevents.catalog.hot import Hot
from smsevents.catalog.in_order import InOrder, header_columns, header_of, row_of
from smsevents.catalog.segments import HEADERS_READ_AHEAD
from smsevents.catalog.tables import packs
from smsevents.catalog.tallies import delete_tallies, insert_sum, insert_tallies
from smsevents.segments.header import Place
from smsevents.segments.pack import TRAILER_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.pack import Pack
    from smsevents.wire.lines import Entry

_c = packs.c
_HEADER = (*header_columns(packs), _c.stored_bytes, _c.key)

_BY_IDS = select(*_HEADER).where(_c.id.in_(bindparam("ids", expanding=True)))
_BY_ID = Hot(select(*_HEADER).where(_c.id == bindparam("id")))
_INDEX = select(_c.inner_index).where(_c.id == bindparam("id"))
_NAMED = select(_c.id).where(_c.key == bindparam("key"))
# in order, so that the index is used: a large share of the rows may be those of one shop, but not the first ones
_ANY = Hot(text("SELECT id FROM packs WHERE trackpoint = :trackpoint ORDER BY trackpoint, first_date LIMIT 1"))
_statements = InOrder(packs, _HEADER)


def _header_of(row: Sequence[Any]) -> SegmentHeader:
    stored_bytes, key = row[len(_HEADER) - 2 : len(_HEADER)]
    return header_of(row, stored_bytes, Place("pack", key=key))


def insert_pack(connection: Connection, trackpoint: int, pack: Pack) -> None:
    """Store a pack of a shop, with the tallies of its segments and their sum. Its object must be in the store."""
    found = connection.execute(
        insert(packs)
        .values(
            **row_of(trackpoint, pack.header),
            stored_bytes=pack.header.stored_bytes,
            segments=pack.segments,
            key=pack.key,
            inner_index=pack.index,
        )
        .returning(_c.id)
    )
    pack_id = found.scalar_one()
    insert_tallies(connection, "pack", pack_id, pack.tallies)
    if pack.tally_sum is not None:
        insert_sum(connection, pack_id, pack.tally_sum)


def has_packs(connection: Connection, trackpoint: int) -> bool:
    """Return whether a shop has packs."""
    return bool(_ANY.all(connection, {"trackpoint": trackpoint}))


def packs_after(
    connection: Connection, trackpoint: int, after: Entry, until_ms: int
) -> Generator[SegmentHeader, None, None]:
    """Go through a shop's packs that hold entries after `after` and not later than `until_ms` (Unix ms).

    They come in the order of their first entries, and are fetched when the caller asks for them.
    """
    yield from packs_of_ids(connection, _statements.reaching_over(connection, trackpoint, after))
    with closing(_statements.in_order(connection, trackpoint, after, until_ms)) as rows:
        for row in rows:
            header = _header_of(row)
            if header.last > after:
                yield header


def packs_of_ids(connection: Connection, ids: Sequence[int]) -> Iterator[SegmentHeader]:
    """Go through the packs with these ids, in the order of `ids`. Missing ones are left out."""
    if len(ids) == 1:  # mostly: no `IN` of a varying length
        yield from map(_header_of, _BY_ID.all(connection, {"id": ids[0]}))
        return
    for start in range(0, len(ids), ROWS_IN_STATEMENT_MAX):
        some = ids[start : start + ROWS_IN_STATEMENT_MAX]
        found = {row[0]: row for row in connection.execute(_BY_IDS, {"ids": some})}
        yield from (_header_of(found[pack_id]) for pack_id in some if pack_id in found)


def packs_of(connection: Connection, trackpoint: int) -> Iterator[SegmentHeader]:
    """Go through a shop's packs, in the order of their first entries."""
    statement = (
        select(*_HEADER)
        .where(_c.trackpoint == trackpoint)
        .order_by(_c.first_date, _c.first_line)
        .execution_options(yield_per=HEADERS_READ_AHEAD)
    )
    return map(_header_of, connection.execute(statement))


def packs_between(
    connection: Connection, after_id: int, until_id: int, trackpoint: int | None, at_most: int
) -> list[tuple[int, int, SegmentHeader]]:
    """Return up to `at_most` packs of one shop or of all (None), in the order of their ids.

    Their ids are in `after_id < id <= until_id`. Each comes with its shop and its span in milliseconds.
    """
    statement = select(*_HEADER, _c.trackpoint, _c.span_ms).where(_c.id > after_id, _c.id <= until_id)
    if trackpoint is not None:
        statement = statement.where(_c.trackpoint == trackpoint)
    rows = connection.execute(statement.order_by(_c.id).limit(at_most))
    return [(row.trackpoint, row.span_ms, _header_of(row)) for row in rows]


def shops_with_packs(connection: Connection) -> list[int]:
    """Return the shops, by trackpoint, that have packs."""
    return list(connection.execute(select(_c.trackpoint).distinct()).scalars())


def newest_pack_id(connection: Connection) -> int:
    """Return the highest id of a pack, or 0."""
    return connection.execute(select(func.max(_c.id))).scalar() or 0


def count_packs(connection: Connection) -> int:
    """Return how many packs there are, of all shops."""
    return connection.execute(select(func.count()).select_from(packs)).scalar_one()


def index_of(connection: Connection, pack_id: int) -> bytes | None:
    """Return the index of a pack, or None if the pack is gone."""
    found: bytes | None = connection.execute(_INDEX, {"id": pack_id}).scalar()
    return found


def find_pack(connection: Connection, key: str) -> SegmentHeader | None:
    """Return the pack with a key, or None."""
    row = connection.execute(select(*_HEADER).where(_c.key == key)).first()
    return None if row is None else _header_of(row)


def is_named(connection: Connection, key: str) -> bool:
    """Return whether there is a pack with the key."""
    return connection.execute(_NAMED, {"key": key}).first() is not None


def keys_named(connection: Connection) -> Iterator[str]:
    """Go through the keys of all packs."""
    statement = select(_c.key).order_by(_c.id).execution_options(yield_per=ROWS_IN_STATEMENT_MAX)
    return iter(connection.execute(statement).scalars())


def objects_named(connection: Connection) -> list[tuple[str, int]]:
    """Return the key and the size in bytes of the object of each pack."""
    size = _c.stored_bytes + func.length(_c.inner_index) + TRAILER_BYTES
    return [(row.key, row.size) for row in connection.execute(select(_c.key, size.label("size")).order_by(_c.key))]


def lock_packs(connection: Connection, ids: Collection[int]) -> int:
    """Lock packs until the transaction ends, in the order of ids. Return how many of them still exist."""
    locked = 0
    for some in batches(ids):
        locked += len(connection.execute(select(_c.id).where(_c.id.in_(some)).order_by(_c.id).with_for_update()).all())
    return locked


def delete_packs(connection: Connection, ids: Collection[int]) -> list[str]:
    """Delete packs, with the tallies of their segments, and return the keys of their objects."""
    delete_tallies(connection, "pack", ids)
    keys: list[str] = []
    for some in batches(ids):
        keys += connection.execute(select(_c.key).where(_c.id.in_(some))).scalars()
        connection.execute(delete(packs).where(_c.id.in_(some)))
    return keys


def packs_older(connection: Connection, before_ms: int, at_most: int) -> list[tuple[int, int]]:
    """Return up to `at_most` packs that end before a time (Unix ms): the id and the number of events of each."""
    rows = connection.execute(
        select(_c.id, _c.events).where(_c.last_date < before_ms).order_by(_c.last_date).limit(at_most)
    )
    return [(row.id, row.events) for row in rows]

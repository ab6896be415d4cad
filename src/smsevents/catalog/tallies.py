"""The statements on tallies: the counts of stored segments, beside them, and the sums of those in each pack.

A tally goes in the statements that delete its segment, and ids are never reused. So a tally that is found is that of
the segment, and there is nothing to invalidate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, exists, insert, literal_column, select

from smsevents.catalog.batches import batches
from smsevents.catalog.hot import Hot
from smsevents.catalog.tables import packs, segments, tallies
from smsevents.segments.tally import TALLY_LINES_MIN_BYTES, TALLY_VERSION
from smsevents.segments.tally_sum import SUM_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Connection

    from smsevents.segments.header import SegmentHeader

_c = tallies.c
_IN_ROW, _IN_PACK = 0, 1
_PLACES = {"row": _IN_ROW, "pack": _IN_PACK}
SUM_START = -1  # in place of the byte where a segment starts, for the sum of a pack

_INSERT = Hot(insert(tallies).values({column.name: bindparam(column.name) for column in _c}))
_OF_PACK = Hot(
    select(_c.start, _c.data).where(
        _c.in_pack == literal_column(str(_IN_PACK)),
        _c.stored_id == bindparam("id"),
        _c.version == literal_column(str(TALLY_VERSION)),
        _c.start > literal_column(str(SUM_START)),
    )
)
_SUM = Hot(
    select(_c.data).where(
        _c.in_pack == literal_column(str(_IN_PACK)),
        _c.stored_id == bindparam("id"),
        _c.start == literal_column(str(SUM_START)),
        _c.version == literal_column(str(SUM_VERSION)),
    )
)

# `segments`, each row with its tally or NULL
WITH_TALLIES = segments.outerjoin(
    tallies,
    and_(
        _c.in_pack == literal_column(str(_IN_ROW)),
        _c.stored_id == segments.c.id,
        _c.start == literal_column("0"),
        _c.version == literal_column(str(TALLY_VERSION)),
    ),
)

Key = tuple[str, int, int]


def key_of(header: SegmentHeader) -> Key:
    """Return by what a stored segment and its tally are known: kind and id of what holds it, and where it starts."""
    return (header.place.kind, header.id, header.place.start)


def insert_tallies(connection: Connection, kind: str, stored_id: int, found: Iterable[tuple[int, bytes]]) -> None:
    """Store tallies of a row or a pack that exists, by the byte where each segment starts. They replace older ones."""
    delete_tallies(connection, kind, [stored_id])
    for start, data in found:
        row = {"in_pack": _PLACES[kind], "stored_id": stored_id, "start": start, "version": TALLY_VERSION, "data": data}
        _INSERT.run(connection, row)


def insert_sum(connection: Connection, pack_id: int, data: bytes) -> None:
    """Store the sum of the tallies of a pack that exists. It replaces an older one."""
    connection.execute(delete(tallies).where(_c.in_pack == _IN_PACK, _c.stored_id == pack_id, _c.start == SUM_START))
    row = {"in_pack": _IN_PACK, "stored_id": pack_id, "start": SUM_START, "version": SUM_VERSION, "data": data}
    _INSERT.run(connection, row)


def delete_tallies(connection: Connection, kind: str, stored_ids: Collection[int]) -> None:
    """Delete the tallies of rows or of packs, and the sums of packs."""
    for some in batches(stored_ids):
        connection.execute(delete(tallies).where(_c.in_pack == _PLACES[kind], _c.stored_id.in_(some)))


def tallies_of_pack(connection: Connection, pack_id: int) -> dict[int, bytes]:
    """Return the tallies of a pack's segments as they are stored, by the byte where each segment starts."""
    return {start: bytes(data) for start, data in _OF_PACK.all(connection, {"id": pack_id})}


def sum_of_pack(connection: Connection, pack_id: int) -> bytes | None:
    """Return the sum of a pack's tallies as it is stored, or None if there is none."""
    for (data,) in _SUM.all(connection, {"id": pack_id}):
        return bytes(data)
    return None


def tallies_of(connection: Connection, headers: Sequence[SegmentHeader]) -> dict[Key, bytes]:
    """Return the tallies of stored segments as they are stored. Segments without one are left out."""
    found: dict[Key, bytes] = {}
    for kind, place in _PLACES.items():
        wanted = {header.id for header in headers if header.place.kind == kind}
        for some in batches(wanted):
            statement = select(_c.stored_id, _c.start, _c.data).where(
                _c.in_pack == place, _c.stored_id.in_(some), _c.version == TALLY_VERSION
            )
            found |= {(kind, row.stored_id, row.start): row.data for row in connection.execute(statement)}
    return {key: found[key] for header in headers if (key := key_of(header)) in found}


def rows_without_tally(connection: Connection, after_id: int, until_id: int, at_most: int) -> list[tuple[int, int]]:
    """Return up to `at_most` rows that have no tally but could, with ids in `after_id < id <= until_id`, by their ids.

    Return the id and the shop of each.
    """
    s = segments.c
    statement = (
        select(s.id, s.trackpoint)
        .where(s.id > after_id, s.id <= until_id, s.line_bytes >= TALLY_LINES_MIN_BYTES)
        .where(~exists().where(_c.in_pack == _IN_ROW, _c.stored_id == s.id, _c.start == 0, _c.version == TALLY_VERSION))
        .order_by(s.id)
        .limit(at_most)
    )
    return [(row.id, row.trackpoint) for row in connection.execute(statement)]


def packs_without_tallies(connection: Connection, after_id: int, until_id: int, at_most: int) -> list[int]:
    """Return up to `at_most` packs without any tally, with ids in `after_id < id <= until_id`, by their ids."""
    p = packs.c
    has_any = exists().where(
        _c.in_pack == _IN_PACK, _c.stored_id == p.id, _c.start > SUM_START, _c.version == TALLY_VERSION
    )
    statement = select(p.id).where(p.id > after_id, p.id <= until_id, ~has_any).order_by(p.id).limit(at_most)
    return list(connection.execute(statement).scalars())


def packs_without_sum(connection: Connection, after_id: int, until_id: int, at_most: int) -> list[int]:
    """Return up to `at_most` packs that have no sum, with ids in `after_id < id <= until_id`, by their ids."""
    p = packs.c
    has_sum = exists().where(
        _c.in_pack == _IN_PACK, _c.stored_id == p.id, _c.start == SUM_START, _c.version == SUM_VERSION
    )
    statement = select(p.id).where(p.id > after_id, p.id <= until_id, ~has_sum).order_by(p.id).limit(at_most)
    return list(connection.execute(statement).scalars())

"""Tallying: segments get their tallies and packs the sums of theirs, so that statistics need not open them.

What the upkeep writes is counted while it is written. Segments of imports, and of versions that knew no tallies, are
counted once they have survived a round of the upkeep: mostly, a compaction replaces them before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from smsevents.catalog.packs import lock_packs, newest_pack_id, packs_of_ids
from smsevents.catalog.segments import find_segment, lock_segments
from smsevents.catalog.tallies import (
    delete_tallies,
    insert_sum,
    insert_tallies,
    key_of,
    packs_without_sum,
    packs_without_tallies,
    rows_without_tally,
    tallies_of,
    tallies_of_pack,
)
from smsevents.errors import DamagedSegment, ObjectGone
from smsevents.segments.header import NEW
from smsevents.segments.segment import inflate
from smsevents.segments.tally import UnreadableTally, decode_tally, encoded_tally_of, tally_of
from smsevents.segments.tally_sum import encoded_sum_of
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.pack import PackedSegment
    from smsevents.segments.segment import Segment
    from smsevents.segments.tally import Tally

TALLIED_ROWS_AT_ONCE_MAX = 16  # segments in one transaction, of about 8 ms each before it


def tallied(database: Database, segments: Sequence[Segment]) -> list[Segment]:
    """Return segments with their tallies: known ones, and those of the stored segments that they were copied from.

    The others are counted. Raises `DamagedSegment`.
    """
    copied = [one.header for one in segments if one.tally is None and one.header.id != NEW]
    with database.read() as connection:
        found = tallies_of(connection, copied)
    return [
        one if one.tally is not None else replace(one, tally=found.get(key_of(one.header)) or tally_in(one))
        for one in segments
    ]


def tally_in(segment: Segment) -> bytes | None:
    """Return the tally of a segment as it is stored, or None if it is not worth storing. Raises `DamagedSegment`."""
    try:
        return encoded_tally_of(inflate(segment))
    except NotLines as error:
        raise segment.header.damaged(str(error)) from error


def sum_in(segments: Iterable[Segment]) -> bytes | None:
    """Return the sum of the tallies of segments as it is stored, or None if it is too large.

    Segments without a tally are counted. Raises `DamagedSegment`.
    """
    return encoded_sum_of(_decoded(one.tally) or _counted(one) for one in segments)


def sum_of_packed(segments: Iterable[PackedSegment], known: Mapping[int, bytes]) -> bytes | None:
    """Do what `sum_in` does for the segments of a pack, by their tallies and the byte where each starts.

    The lines of the others are read, one segment at a time. Raises `ObjectGone` and `StoreUnavailable`, too.
    """
    return encoded_sum_of(_decoded(known.get(one.header.place.start)) or _counted(one.load()) for one in segments)


def _decoded(encoded: bytes | None) -> Tally | None:
    try:
        return None if encoded is None else decode_tally(encoded)
    except UnreadableTally:
        return None  # the lines say the same


def _counted(segment: Segment) -> Tally:
    try:
        return tally_of(inflate(segment))
    except NotLines as error:
        raise segment.header.damaged(str(error)) from error


@dataclass
class Backfill:
    """How far segments without a tally were looked for: all up to these ids have one, or are not worth one.

    So were packs without a sum.
    """

    rows_until: int = 0
    packs_until: int = 0
    sums_until: int = 0

    def steps(self, database: Database, until_id: int) -> Iterator[int]:
        """Count segments that have no tally, those in rows up to an id. Yield after each step how many were counted.

        A damaged segment gets no tally: `verify` finds it. Raises `StoreUnavailable`.
        """
        while True:
            with database.read() as connection:
                some = [
                    one
                    for one, _ in rows_without_tally(connection, self.rows_until, until_id, TALLIED_ROWS_AT_ONCE_MAX)
                ]
            if not some:
                break
            yield _tally_rows(database, some)
            self.rows_until = some[-1]
        self.rows_until = max(self.rows_until, until_id)
        with database.read() as connection:
            newest = newest_pack_id(connection)
        while True:
            with database.read() as connection:
                packs = packs_without_tallies(connection, self.packs_until, newest, 1)
            if not packs:
                break
            yield _tally_pack(database, packs[0])
            self.packs_until = packs[0]
        self.packs_until = max(self.packs_until, newest)
        while True:
            with database.read() as connection:
                packs = packs_without_sum(connection, self.sums_until, newest, 1)
            if not packs:
                break
            _sum_pack(database, packs[0])
            yield 0
            self.sums_until = packs[0]
        self.sums_until = max(self.sums_until, newest)


def tally_again(database: Database, header: SegmentHeader) -> None:
    """Count a stored segment whose tally is wrong, and the others of its pack, and add these up.

    `header` may be that of the pack, if its sum is wrong. Raises `StoreUnavailable`.
    """
    kind, stored_id = header.stored_as
    database.write(lambda connection: delete_tallies(connection, kind, [stored_id]))
    if header.place.kind == "row":
        _tally_rows(database, [header.id])
    else:
        _tally_pack(database, header.id)
        _sum_pack(database, header.id)


def _tally_rows(database: Database, ids: Sequence[int]) -> int:
    counted: list[tuple[int, bytes]] = []
    for one in ids:
        with database.read() as connection:
            segment = find_segment(connection, one)
        if segment is not None and (tally := _tally_if_sound(segment)) is not None:
            counted.append((one, tally))

    def store(connection: Connection) -> int:
        kept = [(one, tally) for one, tally in counted if lock_segments(connection, [one])]
        for one, tally in kept:
            insert_tallies(connection, "row", one, [(0, tally)])
        return len(kept)

    return database.write(store) if counted else 0


def _segments_of(database: Database, pack_id: int) -> list[PackedSegment]:
    """Return the segments of a pack, or none if the pack is gone. Raises what `PackStore.segments` does."""
    with database.read() as connection:
        pack = next(packs_of_ids(connection, [pack_id]), None)
        return [] if pack is None else list(database.packs(connection).segments(connection, pack))


def _tally_pack(database: Database, pack_id: int) -> int:
    counted: list[tuple[int, bytes]] = []
    try:
        for one in _segments_of(database, pack_id):
            try:
                tally = tally_in(one.load())
            except DamagedSegment:
                continue
            if tally is not None:
                counted.append((one.header.place.start, tally))
    except (ObjectGone, DamagedSegment):
        return 0  # replaced meanwhile, or for `verify` to report

    def store(connection: Connection) -> int:
        if not lock_packs(connection, [pack_id]):
            return 0
        insert_tallies(connection, "pack", pack_id, counted)
        return len(counted)

    return database.write(store) if counted else 0


def _sum_pack(database: Database, pack_id: int) -> None:
    with database.read() as connection:
        known = tallies_of_pack(connection, pack_id)
    try:
        if not (segments := _segments_of(database, pack_id)):
            return
        found = sum_of_packed(segments, known)
    except (ObjectGone, DamagedSegment):
        return  # replaced meanwhile, or for `verify` to report
    if found is None:
        return

    def store(connection: Connection) -> None:
        if lock_packs(connection, [pack_id]):
            insert_sum(connection, pack_id, found)

    database.write(store)


def _tally_if_sound(segment: Segment) -> bytes | None:
    try:
        return tally_in(segment.check_stored())
    except DamagedSegment:
        return None

"""Packing: a shop's settled segments leave the database and become packs in the store.

    pack_settled  consecutive segments of past days that overlap nothing → packs
    repack        packs, and late segments that overlap them → packs
    unpack_shop   packs → segments in the database

Each step reads a bounded run of segments. Segments that no late event falls into are copied as they are. The others are
merged and compressed again. Then the step

1. announces each new object in the catalog,
2. writes it to the store, durably,
3. replaces the old segments and packs by the new packs, in one transaction,

and the collection deletes the objects of the old packs later (`collecting.py`). A kill in between leaves an announced
object that no pack names. The collection finds it.

A pack holds PACK_MIN_BYTES to PACK_MAX_BYTES, and spans PACK_SPAN_MAX_MS at most. What does not fill a pack in that
time stays in the database, so that there are few objects however many small shops there are.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from smsevents.catalog.attachment import store_to_change
from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.objects import adopt_object, announce, doom
from smsevents.catalog.pack_store import check_replaced
from smsevents.catalog.pending_scrubs import mark_rows_left
from smsevents.catalog.replacement import RETIRED_KEPT_MS, replace_stored
from smsevents.catalog.stored import stored_among, stored_headers
from smsevents.catalog.stores import is_packing
from smsevents.errors import ObjectGone, StoreUnavailable
from smsevents.segments.merge import page
from smsevents.segments.pack import PACK_SEGMENTS_MAX, load_run, loaded, make_pack
from smsevents.segments.segment import Run
from smsevents.upkeep.groups import DEFAULT_SIZES, Compacted, PackSizes, Sizes
from smsevents.upkeep.tallying import sum_in, tallied
from smsevents.upkeep.tidying import Tidy
from smsevents.wire.times import EPOCH, MILLISECOND
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.replacement import StoredAs
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.pack import Pack
    from smsevents.segments.segment import Segment
    from smsevents.storage.base import ByteStore
    from smsevents.wire.lines import Entry

PACK_READ_BYTES = 2 * 1024 * 1024  # of stored segments, in one transaction


def pack_settled(
    database: Database,
    trackpoint: int,
    old_by_ms: int,
    past_before_ms: int,
    sizes: Sizes = DEFAULT_SIZES,
) -> Compacted:
    """Pack the segments of a shop that end before `past_before_ms` (Unix ms) and overlap nothing.

    Events older than the history at `old_by_ms`, a trusted time, are left out. Raises `DamagedSegment` and
    `StoreUnavailable`.
    """
    with database.read() as connection:
        headers = stored_headers(connection, trackpoint)
    done = Compacted()
    oldest: Entry = (history_start(old_by_ms), b"")
    try:
        for run in runs_to_pack(headers, past_before_ms, sizes.packs):
            # the log may have been moved back into the database meanwhile
            done += repack(database, trackpoint, run, oldest, sizes, only_if=is_packing)
    except Busy:
        return done + Compacted(whole=False, gave_way=True)
    return done


def runs_to_pack(
    headers: Sequence[SegmentHeader], past_before_ms: int, sizes: PackSizes = DEFAULT_SIZES.packs
) -> Iterator[list[SegmentHeader]]:
    """Go through the runs of consecutive segments that are worth packs. `headers` are by their first entries.

    Small packs, which an erasure or the retention may leave, are packed again with their neighbours.
    """
    run: list[SegmentHeader] = []
    reach: Entry | None = None
    for number, header in enumerate(headers):
        following = headers[number + 1] if number + 1 < len(headers) else None
        overlaps = (reach is not None and header.first <= reach) or (
            following is not None and following.first <= max(header.last, reach or header.last)
        )
        reach = header.last if reach is None else max(reach, header.last)
        is_whole_pack = header.place.kind == "pack" and header.stored_bytes >= sizes.min_bytes
        if overlaps or is_whole_pack or header.last[0] >= past_before_ms:
            yield from _worth_a_pack(run, sizes)
            run = []
        else:
            if run and header.last[0] - run[0].first[0] > sizes.span_max_ms:
                yield from _worth_a_pack(run, sizes)
                run = []
            run.append(header)
    yield from _worth_a_pack(run, sizes)


def _worth_a_pack(run: list[SegmentHeader], sizes: PackSizes) -> Iterator[list[SegmentHeader]]:
    is_one_pack = len(run) == 1 and run[0].place.kind == "pack"
    if not is_one_pack and sum(header.stored_bytes for header in run) >= sizes.min_bytes:
        yield run


def repack(  # noqa: PLR0913 -- what goes, what comes, and when
    database: Database,
    trackpoint: int,
    members: Sequence[SegmentHeader],
    oldest: Entry,
    sizes: Sizes = DEFAULT_SIZES,
    *,
    only_if: Callable[[Connection], bool] = lambda _: True,
) -> Compacted:
    """Merge packs and segments, in the order of their first entries, into packs. Events up to `oldest` are left out.

    This is done step by step, and each step begins where the one before it ended. `only_if` is that of `write_stored`.
    Raises `Busy`, `DamagedSegment` and `StoreUnavailable`.
    """
    after = oldest
    left = list(members)
    made = 0
    for until in _ends_of_steps(members, sizes.packs):
        with database.dialect.shop_step(trackpoint):
            try:
                segments = list(_merged(database, left, after, until, sizes.segment_bytes))
            except ObjectGone as error:
                check_replaced(database, error)
                return Compacted(len(members), made, whole=False)
            read = {member.stored_as for member in left if member.first <= until}
            gone = {member.stored_as for member in left if member.last <= until}
            also = mark_left_out(members, oldest)
            if not write_stored(database, trackpoint, segments, read, gone, sizes.packs, only_if=only_if, also=also):
                return Compacted(len(members), made, whole=False)
        made += len(segments)
        after = until
        left = [member for member in left if member.stored_as not in gone]
    return Compacted(len(members), made)


def mark_left_out(members: Sequence[SegmentHeader], oldest: Entry) -> Callable[[Connection], None]:
    """Return what else the transaction does that replaces members by their events after `oldest`.

    If that leaves out events, it marks that rows have left (`catalog/pending_scrubs.py`).
    """
    if any(member.first < oldest for member in members):
        return lambda connection: mark_rows_left(connection, oldest[0])
    return lambda _: None


def _ends_of_steps(members: Sequence[SegmentHeader], sizes: PackSizes) -> list[Entry]:
    """Return the last entries of the steps, in each of which about the target size is written."""
    ends: list[Entry] = []
    held = 0
    before = members[0].first
    start_ms = members[0].first[0]
    in_order = sorted(members, key=lambda member: member.last)
    for member in in_order:
        if held >= sizes.min_bytes and member.last[0] - start_ms > sizes.span_max_ms:
            ends.append(before)
            start_ms, held = before[0], 0
        before = member.last
        held += member.stored_bytes
        if held >= sizes.target_bytes:
            ends.append(before)
            start_ms, held = before[0], 0
    if held < sizes.min_bytes and ends:
        ends.pop()  # the last step takes the rest, too
    if not ends or ends[-1] < in_order[-1].last:
        ends.append(in_order[-1].last)
    return ends


def _merged(
    database: Database, members: Sequence[SegmentHeader], after: Entry, until: Entry, segment_bytes: int
) -> Iterator[Segment]:
    """Go through the segments that hold the events of members in `after < event <= until`."""
    tidy = Tidy(segment_bytes)
    position: Entry | None = after
    while position is not None:
        start = position
        reaching = [member for member in members if member.last > start and member.first <= until]
        with database.read() as connection:
            found = page(
                stored_among(database, connection, reaching, start), start, until, page_max_bytes=PACK_READ_BYTES
            )
        for piece in loaded(found.pieces):
            for one in piece.segments() if isinstance(piece, Run) else (piece,):
                yield from tidy.add(one)
        position = found.after
    yield from tidy.end()


def write_stored(  # noqa: PLR0913, PLR0917 -- what goes, what comes, and when
    database: Database,
    trackpoint: int,
    segments: Sequence[Segment],
    read: Collection[StoredAs],
    gone: Collection[StoredAs],
    sizes: PackSizes = DEFAULT_SIZES.packs,
    *,
    kept_ms: int = RETIRED_KEPT_MS,
    only_if: Callable[[Connection], bool] = lambda _: True,
    also: Callable[[Connection], None] = lambda _: None,
) -> bool:
    """Replace what is in `gone` by packs of segments in order, or by rows if they are too few for a pack.

    Nothing is done, and the result is False, if something in `read` was replaced meanwhile or `only_if` returns False.
    Both `only_if` and `also` run in the same transaction. Raises `StoreUnavailable` and `StoreFull`, and nothing is
    replaced then.
    """
    now = database.dialect.now_ms()
    rows = tallied(database, segments)
    packs: list[Pack] = []
    if sum(len(segment.data) for segment in segments) >= sizes.min_bytes:
        packs, rows = _put(database, trackpoint, rows, sizes, now), []

    def replace(connection: Connection) -> bool:
        if not only_if(connection):
            return False
        if not replace_stored(connection, trackpoint, read, gone, rows, packs, now=now, kept_ms=kept_ms):
            return False
        also(connection)
        return True

    size_bytes = sum(len(segment.data) for segment in rows)
    done = False
    try:
        done = database.submit(replace, size_bytes).result()
    finally:
        if not done:
            _abandon(database, trackpoint, packs, now)
    return done


def _put(database: Database, trackpoint: int, segments: Sequence[Segment], sizes: PackSizes, now: int) -> list[Pack]:
    """Announce packs of segments, and write their objects."""
    with database.read() as connection:
        store = store_to_change(database, connection)
    packs: list[Pack] = []
    try:
        for some in _shares(segments, sizes):
            packs.append(_put_one(database, store, trackpoint, some, now))  # noqa: PERF401 -- what was put is abandoned
    except BaseException:
        _abandon(database, trackpoint, packs, now)
        raise
    return packs


def _put_one(database: Database, store: ByteStore, trackpoint: int, segments: Sequence[Segment], now: int) -> Pack:
    key = new_key(trackpoint, segments[0].header.first[0], now)
    pack, parts = make_pack(trackpoint, key, segments, sum_in(segments))
    database.write(partial(announce, trackpoint=trackpoint, key=key, size_bytes=pack.object_bytes, now=now))
    try:
        store.put(key, parts)
    except BaseException:
        _abandon(database, trackpoint, [pack], now)
        raise
    return pack


def _abandon(database: Database, trackpoint: int, packs: Sequence[Pack], now: int) -> None:
    """Let the collection delete the objects of packs that the catalog will not name.

    If this process was slow, the collection may have deleted an object before it was written, and forgotten its row.
    """

    def abandon(connection: Connection) -> None:
        for pack in packs:
            adopt_object(connection, trackpoint, pack.key, pack.object_bytes, now)
        doom(connection, [pack.key for pack in packs], now)

    if packs:
        with suppress(StoreUnavailable):  # then the collection finds them later
            database.write(abandon)


def _shares(segments: Sequence[Segment], sizes: PackSizes) -> Iterator[Sequence[Segment]]:
    """Split segments into about equal shares, one for each pack."""
    total = sum(len(segment.data) for segment in segments)
    count = -(-total // sizes.max_bytes)
    share: list[Segment] = []
    held = taken = 0
    for segment in segments:
        share.append(segment)
        held += len(segment.data)
        is_full = held * count >= total * (taken + 1)
        if is_full or len(share) >= PACK_SEGMENTS_MAX:
            yield share
            share = []
            taken += is_full
    if share:
        yield share


def new_key(trackpoint: int, first_ms: int, now: int) -> str:
    """Return a key that was never used: the shop, the day (UTC) of the first event, and a UUIDv7 (RFC 9562)."""
    day = (EPOCH + first_ms * MILLISECOND).strftime("%Y%m%d")
    return f"{trackpoint}/{day}/{_uuid7(now)}.pack"


def _uuid7(now: int) -> str:
    """Return a UUIDv7 of a time (Unix ms): 48 bits of time, the rest random but for version and variant."""
    number = int.from_bytes(os.urandom(16)) & ((1 << 80) - 1) | (now & ((1 << 48) - 1)) << 80
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=number))


def unpack_shop(database: Database, trackpoint: int, packs: Sequence[SegmentHeader]) -> bool:
    """Move packs of a shop into the database, one after the other.

    Return whether all were moved: others may have been replaced meanwhile. Raises `Busy`, `DamagedSegment` and
    `StoreUnavailable`.
    """
    whole = True
    for pack in packs:
        with database.dialect.shop_step(trackpoint):
            try:
                with database.read() as connection:
                    found = list(database.packs(connection).segments(connection, pack))
                segments = tallied(database, list(load_run(found).segments()))
            except ObjectGone as error:
                check_replaced(database, error)
                whole = False
                continue
            read = {pack.stored_as}
            now = database.dialect.now_ms()
            replace = partial(
                replace_stored, trackpoint=trackpoint, read=read, gone=read, new=segments, now=now, kept_ms=0
            )
            whole &= database.submit(replace, pack.stored_bytes).result()
    return whole

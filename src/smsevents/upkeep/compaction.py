"""Compaction: a shop's small and overlapping segments become sorted, disjoint ones of about the target size.

Compaction works on **groups**: runs of segments in which each overlaps the next, or that are small neighbours. A group
is merged step by step from its start. Each step reads, merges and packs a bounded run of entries without a write
transaction. Then one short transaction replaces the segments that are used up. A segment that a step reached but did
not use up stays, so its first entries exist twice for a while. Readers treat equal entries as one.

The log is complete at every moment, so a reader, a writer, a kill or another compaction may come at any time.
Compaction gives way only to an erasure, which must find the events of a user where they were when it began
(`erasure.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.replacement import replace_stored
from smsevents.catalog.stored import stored_among, stored_headers
from smsevents.errors import DamagedSegment
from smsevents.segments.header import damaged_among
from smsevents.segments.merge import END, merge
from smsevents.segments.segment import deflate, deflate_compacted, no_tally, pack_lines
from smsevents.segments.tally import encoded_tally_of
from smsevents.upkeep.groups import DEFAULT_SIZES, Compacted, Group, Sizes, groups, line_bytes_of
from smsevents.upkeep.packing import mark_left_out, repack
from smsevents.wire.lines import NotLines
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.replacement import StoredAs
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Segment
    from smsevents.wire.lines import Entry

COMPACTION_PASSES_MAX = 12
FLATTEN_SEGMENTS_MIN = 4  # with room for fewer segments, merging in batches hardly reduces the overlap


def compact_group(
    database: Database, trackpoint: int, group: Group, now: int, sizes: Sizes = DEFAULT_SIZES
) -> Compacted:
    """Merge a group. Events older than the history at `now`, a trusted time, are left out.

    Raises `DamagedSegment`. The log is then as it was after the last step.
    """
    oldest: Entry = (history_start(now), b"")
    try:
        return _compact_group(database, trackpoint, group, oldest, sizes)
    except Busy:
        return Compacted(whole=False, gave_way=True)


def _compact_group(database: Database, trackpoint: int, group: Group, oldest: Entry, sizes: Sizes) -> Compacted:
    rows = Group([member for member in group.members if member.place.kind == "row"])
    flattens = sizes.held_max_bytes >= FLATTEN_SEGMENTS_MIN * sizes.segment_bytes
    if flattens and rows.deepest_bytes > sizes.held_max_bytes:
        return _flatten(database, trackpoint, rows, oldest, sizes)
    if len(rows.members) < len(group.members):
        return repack(database, trackpoint, group.members, oldest, sizes)
    return _sweep(database, trackpoint, group, oldest, sizes)


def _flatten(database: Database, trackpoint: int, group: Group, oldest: Entry, sizes: Sizes) -> Compacted:
    """Merge complete members in batches, each as large as may be held, so that fewer of the results overlap.

    If more overlaps than may be held, a sweep over the group would open most of it again for each step.
    """
    done = Compacted(whole=False)
    for batch in _batches(group.members, sizes.held_max_bytes):
        # room for twice their lines, so that one merge takes all of them
        room = Sizes(sizes.segment_bytes, 2 * line_bytes_of(batch))
        ids = {member.stored_as for member in batch}
        with database.dialect.shop_step(trackpoint):
            # the sweep that follows writes these lines again, so compress them fast here
            packed, reach = _packed(database, batch, oldest, room, deflate)
            also = mark_left_out(batch, oldest)
            if reach == END and _replace(database, trackpoint, ids, ids, packed, also):
                done += Compacted(len(batch), len(packed))
    return done


def _batches(members: list[SegmentHeader], held_max_bytes: int) -> Iterator[list[SegmentHeader]]:
    batch: list[SegmentHeader] = []
    held = 0
    for member in members:
        if len(batch) > 1 and held + member.line_bytes > held_max_bytes:
            yield batch
            batch, held = [], 0
        batch.append(member)
        held += member.line_bytes
    if len(batch) > 1:
        yield batch


def _sweep(database: Database, trackpoint: int, group: Group, oldest: Entry, sizes: Sizes) -> Compacted:
    """Merge a group step by step from its start. Each step begins after the last entry of the previous one."""
    after = oldest
    left = group.members
    made = 0
    also = mark_left_out(group.members, oldest)
    while left:
        with database.dialect.shop_step(trackpoint):
            packed, reach = _packed(database, left, after, sizes, deflate_compacted)
            reached = _reached(left, reach)
            if len(packed) > 1 and (len(reached) < len(left) or any(member.last > reach for member in reached)):
                # leave the lines that do not fill a segment to the next step
                packed.pop()
                reach = packed[-1].header.last
                reached = _reached(left, reach)
            read = {member.stored_as for member in reached}
            used_up = {member.stored_as for member in reached if member.last <= reach}
            if not _replace(database, trackpoint, read, used_up, packed, also):
                return Compacted(len(group.members), made, whole=False)
        made += len(packed)
        after = reach
        left = [member for member in reached if member.last > reach] + left[len(reached) :]
    return Compacted(len(group.members), made)


def _reached(left: list[SegmentHeader], reach: Entry) -> list[SegmentHeader]:
    """Return the members that begin at or before an entry. A group may have many times more that begin later."""
    return left[: bisect_right(left, reach, key=lambda member: member.first)]


def _packed(
    database: Database,
    members: list[SegmentHeader],
    after: Entry,
    sizes: Sizes,
    compress: Callable[[bytes], bytes],
) -> tuple[list[Segment], Entry]:
    """Pack the first lines of members after `after`, as many as may be held. Return the segments and their reach."""
    with database.read() as connection:
        # a segment that is gone is missing here; `replace_stored` notices it
        lines, reach = merge(stored_among(database, connection, members, after), after, sizes.held_max_bytes)
    try:
        # what a flattening writes is soon written again
        tally = encoded_tally_of if compress is deflate_compacted else no_tally
        return list(pack_lines(lines, sizes.segment_bytes, compress, tally)), reach
    except NotLines as error:
        raise damaged_among(members, str(error)) from error


def _replace(  # noqa: PLR0913, PLR0917 -- what goes, what comes, and what else
    database: Database,
    trackpoint: int,
    read: set[StoredAs],
    gone: set[StoredAs],
    new: list[Segment],
    also: Callable[[Connection], None],
) -> bool:
    def replace(connection: Connection) -> bool:
        if not replace_stored(connection, trackpoint, read, gone, new):
            return False
        also(connection)
        return True

    return database.write(replace)


def compact_shop(
    database: Database,
    trackpoint: int,
    now: int,
    choose: Callable[[list[SegmentHeader]], list[Group]] | None = None,
    sizes: Sizes = DEFAULT_SIZES,
) -> Compacted:
    """Compact a shop: everything that can be compacted, or the groups that `choose` returns for its headers.

    Passes repeat while work is left: the result of one group may be a small neighbour of the next, a deep group takes
    several passes, and another process may have changed a group meanwhile. There are at most COMPACTION_PASSES_MAX,
    because imports may bring more all the time. Raises `DamagedSegment`, after the other groups of the pass.
    """
    done = Compacted()
    for _ in range(COMPACTION_PASSES_MAX):
        with database.read() as connection:
            headers = stored_headers(connection, trackpoint)
        chosen = list(groups(headers, sizes)) if choose is None else choose(headers)
        gained, damaged = Compacted(), None
        for group in chosen:
            try:
                gained += compact_group(database, trackpoint, group, now, sizes)
            except DamagedSegment as error:
                damaged = damaged or error  # the other groups are compacted all the same
        done = Compacted(done.before + gained.before, done.after + gained.after, gained.whole, gained.gave_way)
        if damaged:
            raise damaged
        if not chosen or gained.gave_way or (gained.whole and choose is not None):
            return done
    return done

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

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.segments import headers_of, replace_segments, segments_of
from smsevents.errors import DamagedSegment
from smsevents.segments.header import damaged_among
from smsevents.segments.merge import END, merge
from smsevents.segments.segment import SEGMENT_LINES_BYTES, deflate, deflate_compacted, pack_lines
from smsevents.wire.lines import NotLines
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Segment
    from smsevents.wire.lines import Entry

COMPACTION_HELD_MAX_BYTES = 16 * 1024 * 1024
COMPACTION_PASSES_MAX = 12
COMPACTION_SMALL_SEGMENTS_MIN = 8  # merge small ones with each other while it is too expensive to rewrite large ones
COMPACTION_WORTH_RATIO = 4  # rewrite settled segments once the late ones hold at least a fourth of their bytes


@dataclass(frozen=True)
class Sizes:
    """The target size of segments, and how much a step may hold in memory, both in bytes of lines."""

    segment_bytes: int = SEGMENT_LINES_BYTES
    held_max_bytes: int = COMPACTION_HELD_MAX_BYTES

    def is_small(self, member: SegmentHeader) -> bool:
        """Return whether a segment is so small that it should be merged with its neighbours."""
        return member.line_bytes < self.segment_bytes // 2


DEFAULT_SIZES = Sizes()
FLATTEN_SEGMENTS_MIN = 4  # with room for fewer segments, merging in batches hardly reduces the overlap


@dataclass
class Group:
    """Segments that overlap or are small neighbours, in the order of their first entries."""

    members: list[SegmentHeader] = field(default_factory=list)

    @property
    def deepest_bytes(self) -> int:
        """The most bytes of lines in members that overlap at the same point."""
        deepest = depth = 0
        ending: list[tuple[Entry, int]] = []
        for member in self.members:
            while ending and ending[0][0] < member.first:
                depth -= heapq.heappop(ending)[1]
            heapq.heappush(ending, (member.last, member.line_bytes))
            depth += member.line_bytes
            deepest = max(deepest, depth)
        return deepest


@dataclass(frozen=True)
class Compacted:
    """The result of a compaction: the number of segments before it and after it.

    It is not `whole` if work is left: a group was too deep to be merged at once, or another process changed it
    meanwhile. It `gave_way` if an erasure needs exclusive access to the shop.
    """

    before: int = 0
    after: int = 0
    whole: bool = True
    gave_way: bool = False

    def __add__(self, other: Compacted) -> Compacted:
        """Add two results."""
        return Compacted(
            self.before + other.before,
            self.after + other.after,
            self.whole and other.whole,
            self.gave_way or other.gave_way,
        )


def groups(ordered: Iterable[SegmentHeader], sizes: Sizes = DEFAULT_SIZES) -> Iterator[Group]:
    """Go through the groups of two or more segments of a shop. `ordered` has its segments by their first entries."""
    group = Group()
    reach: Entry | None = None
    for member in ordered:
        joins = reach is not None and (
            member.first <= reach or (sizes.is_small(member) and sizes.is_small(group.members[-1]))
        )
        if joins and reach is not None:
            group.members.append(member)
            reach = max(reach, member.last)
            continue
        if len(group.members) > 1:
            yield group
        group, reach = Group([member]), member.last
    if len(group.members) > 1:
        yield group


def worth_it(group: Group, sizes: Sizes = DEFAULT_SIZES) -> list[Group]:
    """Return what is worth rewriting of a group now, in the background: all of it, some late segments, or nothing.

    Late events are few and scattered, and they come all the time. Rewriting the large settled segments around each of
    them would cost far more than it gains. So late segments are merged with each other, by the same rule, until they
    hold a fair part of the bytes that they overlap.
    """
    settled, late = _settled_and_late(group.members, sizes)
    if not settled:
        return [group] if len(late) >= COMPACTION_SMALL_SEGMENTS_MIN else []
    if _line_bytes(late) * COMPACTION_WORTH_RATIO >= _line_bytes(settled):
        return [group]
    # late segments need not overlap each other, and those that do not are no reason to rewrite each other
    return [part for overlapping in groups(late, sizes) for part in worth_it(overlapping, sizes)]


def _settled_and_late(members: list[SegmentHeader], sizes: Sizes) -> tuple[list[SegmentHeader], list[SegmentHeader]]:
    """Return as many large segments as possible that do not overlap, and all other segments, both in order."""
    settled: list[SegmentHeader] = []
    for member in sorted(members, key=lambda member: member.last):
        if not sizes.is_small(member) and (not settled or member.first > settled[-1].last):
            settled.append(member)
    chosen = {member.id for member in settled}
    return settled, [member for member in members if member.id not in chosen]


def _line_bytes(members: list[SegmentHeader]) -> int:
    return sum(member.line_bytes for member in members)


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
    flattens = sizes.held_max_bytes >= FLATTEN_SEGMENTS_MIN * sizes.segment_bytes
    if flattens and group.deepest_bytes > sizes.held_max_bytes:
        return _flatten(database, trackpoint, group, oldest, sizes)
    return _sweep(database, trackpoint, group, oldest, sizes)


def _flatten(database: Database, trackpoint: int, group: Group, oldest: Entry, sizes: Sizes) -> Compacted:
    """Merge complete members in batches, each as large as may be held, so that fewer of the results overlap.

    If more overlaps than may be held, a sweep over the group would open most of it again for each step.
    """
    done = Compacted(whole=False)
    for batch in _batches(group.members, sizes.held_max_bytes):
        # room for twice their lines, so that one merge takes all of them
        room = Sizes(sizes.segment_bytes, 2 * _line_bytes(batch))
        ids = {member.id for member in batch}
        with database.dialect.shop_step(trackpoint):
            # the sweep that follows writes these lines again, so compress them fast here
            packed, reach = _packed(database, batch, oldest, room, deflate)
            if reach == END and _replace(database, trackpoint, ids, ids, packed):
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
    while left:
        with database.dialect.shop_step(trackpoint):
            packed, reach = _packed(database, left, after, sizes, deflate_compacted)
            used_up = {member.id for member in left if member.last <= reach}
            if len(packed) > 1 and len(used_up) < len(left):
                # leave the lines that do not fill a segment to the next step
                packed.pop()
                reach = packed[-1].header.last
                used_up = {member.id for member in left if member.last <= reach}
            read = {member.id for member in left if member.first <= reach}
            if not _replace(database, trackpoint, read, used_up, packed):
                return Compacted(len(group.members), made, whole=False)
        made += len(packed)
        after = reach
        left = [member for member in left if member.id not in used_up]
    return Compacted(len(group.members), made)


def _packed(
    database: Database,
    members: list[SegmentHeader],
    after: Entry,
    sizes: Sizes,
    compress: Callable[[bytes], bytes],
) -> tuple[list[Segment], Entry]:
    """Pack the first lines of members after `after`, as many as may be held. Return the segments and their reach."""
    with database.read() as connection:
        # a segment that is gone is missing here; `replace_segments` notices it
        found = segments_of(connection, [member.id for member in members])
        lines, reach = merge((segment.check_stored() for segment in found), after, sizes.held_max_bytes)
    try:
        return list(pack_lines(lines, sizes.segment_bytes, compress)), reach
    except NotLines as error:
        raise damaged_among([member.id for member in members], str(error)) from error


def _replace(database: Database, trackpoint: int, read: set[int], gone: set[int], new: list[Segment]) -> bool:
    return database.write(lambda connection: replace_segments(connection, trackpoint, read, gone, new))


def worth_merging(headers: list[SegmentHeader], sizes: Sizes = DEFAULT_SIZES) -> list[Group]:
    """Return the groups, or parts of groups, that are worth rewriting now. `headers` are by their first entries."""
    return [part for group in groups(headers, sizes) for part in worth_it(group, sizes)]


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
            headers = list(headers_of(connection, trackpoint))
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

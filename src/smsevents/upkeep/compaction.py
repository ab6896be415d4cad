"""Compaction: a shop's small and overlapping segments become sorted, disjoint ones of about the target size.

The log is looked at in **groups**: runs of segments that overlap, one the next, or that are small neighbours. A
group is merged step by step, each step a bounded run of entries from its start on: read, merged and packed
without a lock, then put in the place of the segments that are used up, in one short transaction. A segment that
a step reached but did not use up stays, so its first entries are there twice for a while, and reading takes
equal entries for one. At every moment the log is whole, so a reader, a writer, a kill or another compaction may
come at any time. Only to an erasure it gives way: that must find what it looks for where it was (`erasure.py`).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.segments import headers_of, replace_segments, segments_of
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
COMPACTION_SMALL_SEGMENTS_MIN = 8  # small ones are merged with each other while rewriting large ones is too dear
COMPACTION_WORTH_RATIO = 4  # large segments are rewritten for small ones that hold at least this part of them


@dataclass(frozen=True)
class Sizes:
    """How large segments are to become, and how much a step may hold, both in bytes of lines."""

    segment_bytes: int = SEGMENT_LINES_BYTES
    held_max_bytes: int = COMPACTION_HELD_MAX_BYTES

    def is_small(self, member: SegmentHeader) -> bool:
        """Tell whether a segment is so small that it should be one with its neighbours."""
        return member.line_bytes < self.segment_bytes // 2


DEFAULT_SIZES = Sizes()
FLATTEN_SEGMENTS_MIN = 4  # with room for fewer, merging some at a time hardly makes fewer overlap


@dataclass
class Group:
    """Segments that overlap or are small neighbours, by their first entry."""

    members: list[SegmentHeader] = field(default_factory=list)

    @property
    def deepest_bytes(self) -> int:
        """Give the most bytes of lines of members that all overlap."""
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
    """What a compaction did: segments that it read and segments that it made of them.

    It is not `whole` where more is left to do: a group was too deep to be merged at once, or somebody else
    changed it meanwhile. It `gave_way` where somebody erases users of the shop, who must be alone with it.
    """

    before: int = 0
    after: int = 0
    whole: bool = True
    gave_way: bool = False

    def __add__(self, other: Compacted) -> Compacted:
        """Add up two."""
        return Compacted(
            self.before + other.before,
            self.after + other.after,
            self.whole and other.whole,
            self.gave_way or other.gave_way,
        )


def groups(ordered: Iterable[SegmentHeader], sizes: Sizes = DEFAULT_SIZES) -> Iterator[Group]:
    """Find the groups of a shop that have something to be merged."""
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


def worth_it(group: Group, sizes: Sizes = DEFAULT_SIZES) -> Group | None:
    """Choose what of a group is worth its rewriting now, in the background: all, the late part of it, or nothing.

    Late events are few, scattered, and come all the time; to rewrite the large settled segments that they lie
    in for each of them would cost far more than it gains. So what is late is merged with itself, by the same
    rule, until it holds a fair part of what it overlaps.
    """
    settled, late = _settled_and_late(group.members, sizes)
    if not settled:
        return group if len(late) >= COMPACTION_SMALL_SEGMENTS_MIN else None
    if _line_bytes(late) * COMPACTION_WORTH_RATIO >= _line_bytes(settled):
        return group
    return worth_it(Group(late), sizes)


def _settled_and_late(members: list[SegmentHeader], sizes: Sizes) -> tuple[list[SegmentHeader], list[SegmentHeader]]:
    """Find as many large segments as possible that do not overlap, and give them and all others, in order."""
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
    """Merge a group; what is older than the history at `now`, a time that is trusted, is left out.

    Raises `DamagedSegment`; the log is then as it was after the last step.
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
    """Merge as many whole members at a time as may be held, so that fewer of what comes out overlap.

    To sweep over a group where more overlaps than may be held would open most of it again for each step.
    """
    done = Compacted(whole=False)
    for batch in _batches(group.members, sizes.held_max_bytes):
        # twice what they hold, so that all of them are taken
        room = Sizes(sizes.segment_bytes, 2 * _line_bytes(batch))
        ids = {member.id for member in batch}
        with database.dialect.shop_step(trackpoint):
            # it is written once more by the sweep that follows, so this time fast
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
    """Merge a group step by step from its start on, each step behind the last entry of the one before."""
    after = oldest
    left = group.members
    made = 0
    while left:
        with database.dialect.shop_step(trackpoint):
            packed, reach = _packed(database, left, after, sizes, deflate_compacted)
            used_up = {member.id for member in left if member.last <= reach}
            if len(packed) > 1 and len(used_up) < len(left):
                # what does not fill a segment is left to the next step
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
    database: Database, members: list[SegmentHeader], after: Entry, sizes: Sizes, compress: Callable[[bytes], bytes]
) -> tuple[list[Segment], Entry]:
    """Pack the first lines of members behind `after`, as many as may be held; tell how far they reach, too."""
    with database.read() as connection:
        # one that is gone is left out here; the commit sees it
        found = segments_of(connection, [member.id for member in members])
        lines, reach = merge((segment.check_stored() for segment in found), after, sizes.held_max_bytes)
    try:
        return list(pack_lines(lines, sizes.segment_bytes, compress)), reach
    except NotLines as error:
        raise damaged_among([member.id for member in members], str(error)) from error


def _replace(database: Database, trackpoint: int, read: set[int], gone: set[int], new: list[Segment]) -> bool:
    return database.write(lambda connection: replace_segments(connection, trackpoint, read, gone, new))


def compact_shop(
    database: Database, trackpoint: int, now: int, *, everything: bool, sizes: Sizes = DEFAULT_SIZES
) -> Compacted:
    """Compact a shop: everything that can be, or what is worth it. Raises `DamagedSegment`.

    It goes on as long as something is left: what one group leaves may be a small neighbour of the next, a deep
    group takes several passes, and somebody else may have changed a group meanwhile. But not endlessly, as
    imports may bring more all the time.
    """
    done = Compacted()
    for _ in range(COMPACTION_PASSES_MAX):
        with database.read() as connection:
            found = list(groups(headers_of(connection, trackpoint), sizes))
        chosen = found if everything else [part for group in found if (part := worth_it(group, sizes)) is not None]
        gained = sum((compact_group(database, trackpoint, group, now, sizes) for group in chosen), Compacted())
        done = Compacted(done.before + gained.before, done.after + gained.after, gained.whole, gained.gave_way)
        if not chosen or gained.gave_way or (gained.whole and not everything):
            return done
    return done

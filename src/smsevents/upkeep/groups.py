"""Groups: runs of a shop's segments in which each overlaps the next, or that are small neighbours, and what to merge.

A segment here is a row, or a pack, which is one long segment.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smsevents.segments.segment import SEGMENT_LINES_BYTES
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.segments.header import SegmentHeader
    from smsevents.wire.lines import Entry

COMPACTION_HELD_MAX_BYTES = 16 * 1024 * 1024
COMPACTION_SMALL_SEGMENTS_MIN = 8  # merge small ones with each other while it is too expensive to rewrite large ones
COMPACTION_WORTH_RATIO = 4  # rewrite settled segments once the late ones hold at least a fourth of their bytes


PACK_TARGET_BYTES = 8 * 1024 * 1024  # of stored segments
PACK_MIN_BYTES = 1024 * 1024
PACK_MAX_BYTES = 16 * 1024 * 1024
PACK_SPAN_MAX_MS = 7 * DAY_MS  # a pack is deleted once all of its events are too old


@dataclass(frozen=True)
class PackSizes:
    """How many stored bytes packs hold, and how much time their events span."""

    target_bytes: int = PACK_TARGET_BYTES
    min_bytes: int = PACK_MIN_BYTES
    max_bytes: int = PACK_MAX_BYTES
    span_max_ms: int = PACK_SPAN_MAX_MS


@dataclass(frozen=True)
class Sizes:
    """The target size of segments, and how much a step may hold in memory, both in bytes of lines; those of packs."""

    segment_bytes: int = SEGMENT_LINES_BYTES
    held_max_bytes: int = COMPACTION_HELD_MAX_BYTES
    packs: PackSizes = field(default_factory=PackSizes)

    def is_small(self, member: SegmentHeader) -> bool:
        """Return whether a segment is so small that it should be merged with its neighbours."""
        return member.place.kind != "pack" and member.line_bytes < self.segment_bytes // 2


DEFAULT_SIZES = Sizes()


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
    if line_bytes_of(late) * COMPACTION_WORTH_RATIO >= line_bytes_of(settled):
        return [group]
    # late segments need not overlap each other, and those that do not are no reason to rewrite each other
    return [part for overlapping in groups(late, sizes) for part in worth_it(overlapping, sizes)]


def _settled_and_late(members: list[SegmentHeader], sizes: Sizes) -> tuple[list[SegmentHeader], list[SegmentHeader]]:
    """Return as many large segments as possible that do not overlap, and all other segments, both in order."""
    settled: list[SegmentHeader] = []
    for member in sorted(members, key=lambda member: member.last):
        if not sizes.is_small(member) and (not settled or member.first > settled[-1].last):
            settled.append(member)
    chosen = {member.stored_as for member in settled}
    return settled, [member for member in members if member.stored_as not in chosen]


def line_bytes_of(members: list[SegmentHeader]) -> int:
    """Return the bytes of lines in members together."""
    return sum(member.line_bytes for member in members)


def worth_merging(headers: list[SegmentHeader], sizes: Sizes = DEFAULT_SIZES) -> list[Group]:
    """Return the groups, or parts of groups, that are worth rewriting now. `headers` are by their first entries."""
    return [part for group in groups(headers, sizes) for part in worth_it(group, sizes)]

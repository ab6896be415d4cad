"""Compaction: a shop's small and overlapping segments become sorted, disjoint ones of about the target size.

The log is looked at in **groups**: runs of segments that overlap, one the next, or that are small neighbours. A
group is merged step by step, each step a bounded run of entries from its start on: read, merged and packed
without a lock, then put in the place of the segments that are used up, in one short transaction. A segment that
a step reached but did not use up stays, so its first entries are there twice for a while, and reading takes
equal entries for one. At every moment the log is whole, so a reader, a writer, a kill or another compaction may
come at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smsevents.catalog.outline import Outline, find_segment, outlines, replace_segments
from smsevents.segments import merge, pack
from smsevents.settings import (
    COMPACTION_HELD_MAX_BYTES,
    COMPACTION_SMALL_SEGMENTS_MIN,
    COMPACTION_WORTH_RATIO,
    SEGMENT_LINES_BYTES,
)
from smsevents.window import history_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.catalog import Database
    from smsevents.segments import Entry, Segment

_BEHIND_ALL: Entry = (2**63, b"")


@dataclass(frozen=True)
class Sizes:
    """How large segments are to become, and how much a step may hold, both in bytes of lines."""

    segment_bytes: int = SEGMENT_LINES_BYTES
    held_max_bytes: int = COMPACTION_HELD_MAX_BYTES

    def is_small(self, member: Outline) -> bool:
        """Tell whether a segment is so small that it should be one with its neighbours."""
        return member.line_bytes < self.segment_bytes // 2


DEFAULT_SIZES = Sizes()


@dataclass
class Group:
    """Segments that overlap or are small neighbours, by their first entry."""

    members: list[Outline] = field(default_factory=list)

    @property
    def reach(self) -> Entry:
        """Give the last entry of any member."""
        return max(member.last for member in self.members)


@dataclass(frozen=True)
class Compacted:
    """What a compaction did: segments that it read and segments that it made of them."""

    before: int = 0
    after: int = 0

    def __add__(self, other: Compacted) -> Compacted:
        """Add up two."""
        return Compacted(self.before + other.before, self.after + other.after)


def groups(ordered: Iterable[Outline], sizes: Sizes = DEFAULT_SIZES) -> Iterator[Group]:
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


def _settled_and_late(members: list[Outline], sizes: Sizes) -> tuple[list[Outline], list[Outline]]:
    """Find as many large segments as possible that do not overlap, and give them and all others, in order."""
    settled: list[Outline] = []
    for member in sorted(members, key=lambda member: member.last):
        if not sizes.is_small(member) and (not settled or member.first > settled[-1].last):
            settled.append(member)
    chosen = {member.id for member in settled}
    return settled, [member for member in members if member.id not in chosen]


def _line_bytes(members: list[Outline]) -> int:
    return sum(member.line_bytes for member in members)


def compact_group(
    database: Database, trackpoint: int, group: Group, now: int, sizes: Sizes = DEFAULT_SIZES
) -> Compacted | None:
    """Merge a group; what is older than the history is left out. None if somebody else changed it meanwhile.

    Raises `DamagedSegment`; the log is then as it was after the last step.
    """
    oldest: Entry = (history_start(now), b"")
    after = oldest
    left = group.members
    made = 0
    while left:
        entries, reach = _read_step(database, left, after, sizes.held_max_bytes)
        packed = list(pack(entries, sizes.segment_bytes))
        used_up = {member.id for member in left if member.last <= reach}
        if len(packed) > 1 and len(used_up) < len(left):
            # what does not fill a segment is left to the next step
            packed.pop()
            reach = packed[-1].last
            used_up = {member.id for member in left if member.last <= reach}
        read = {member.id for member in left if member.first <= reach}
        if not database.write(lambda c, p=packed, r=read, u=used_up: replace_segments(c, trackpoint, r, u, p)):  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
            return None
        made += len(packed)
        after = reach
        left = [member for member in left if member.id not in used_up]
    return Compacted(len(group.members), made)


def _read_step(
    database: Database, members: list[Outline], after: Entry, held_max_bytes: int
) -> tuple[list[Entry], Entry]:
    """Read the first entries of a group behind `after`, as many as may be held; give them and how far they reach."""
    with database.read() as connection:

        def load() -> Iterator[Segment]:
            for member in members:
                segment = find_segment(connection, member.id)
                if segment is not None:  # else the commit sees that it is gone
                    yield segment.check_stored()

        ordered = load()
        head = next(ordered, None)
        if head is None:
            return [], _BEHIND_ALL
        entries: list[Entry] = []
        merged = merge(head, ordered, after, _BEHIND_ALL, held_max_bytes)
        entries += merged.entries
        while not merged.cut and merged.behind is not None and _size(entries) < held_max_bytes // 2:
            merged = merge(merged.behind, ordered, after, _BEHIND_ALL, held_max_bytes)
            entries += merged.entries
        return entries, merged.reach


def _size(entries: list[Entry]) -> int:
    return sum(len(line) for _, line in entries)


def compact_shop(
    database: Database, trackpoint: int, now: int, *, everything: bool, sizes: Sizes = DEFAULT_SIZES
) -> Compacted:
    """Compact a shop: everything that can be, or what is worth it. Raises `DamagedSegment`.

    If everything is to be compacted it goes on until nothing is left: what one group leaves may be a small
    neighbour of the next, and somebody else may have changed a group meanwhile.
    """
    done = Compacted()
    while True:
        with database.read() as connection:
            found = list(groups(outlines(connection, trackpoint), sizes))
        chosen = found if everything else [part for group in found if (part := worth_it(group, sizes)) is not None]
        outcomes = [compact_group(database, trackpoint, group, now, sizes) for group in chosen]
        gained = sum((outcome for outcome in outcomes if outcome is not None), Compacted())
        again = None in outcomes or gained.before > gained.after or done == Compacted()
        done += gained
        if not (everything and found and again):
            return done

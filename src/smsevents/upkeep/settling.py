"""Settling: what has come to rest is merged completely, however few late events it has.

In the background, compaction rewrites large segments only once late events hold a fair part of their bytes. That is
right while events come all the time. But a few percent of late events never hold that part, and would leave every
segment overlapped for good: an export would have to open nearly all lines.

So overlapping segments **settle**, that is, all of them are merged, once none has arrived since the previous round. In
a busy shop the present is never at rest, and all its segments are connected by late events. So days that ended a day
ago are looked at apart from it: nearly all of their events have arrived.

Later events unsettle a day. Then it settles again, first after SETTLED_MIN_MS and each time after a longer pause, up to
SETTLED_MAX_MS. So events that come late once are soon merged, and a gateway that reports days late makes the log
rewrite a day at most every two days. As part of the present, a day has pauses of its own.

The pauses are kept in memory. A new upkeep worker settles at once what is not settled, which costs little: what is
settled overlaps nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from smsevents.upkeep.compaction import DEFAULT_SIZES, compact_shop, groups, worth_merging
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.upkeep.compaction import Compacted, Group, Sizes

PAST_AFTER_MS = DAY_MS  # since the end of the day (UTC); nearly all late events have arrived by then
SETTLED_MIN_MS = 10 * 60 * 1000
SETTLED_MAX_MS = 2 * DAY_MS
SETTLED_GROWTH_RATIO = 4  # of each pause to the one before


@dataclass(frozen=True)
class Pause:
    """Something is not merged again before `until_ms`. `length_ms` is how long it waits since it was merged."""

    until_ms: int
    length_ms: int


@dataclass(frozen=True)
class Part:
    """A part of a shop that settles by itself: the days that are past, or the present."""

    is_past: bool
    day: int  # since 1970, UTC


def past_before(now: int) -> int:
    """Return the end (Unix ms, exclusive) of the last day that is past at `now`."""
    return (now - PAST_AFTER_MS) // DAY_MS * DAY_MS


class Settling:
    """What can settle in the shops of a database, and when. Times are Unix ms by any one clock."""

    def __init__(self, sizes: Sizes = DEFAULT_SIZES) -> None:
        """Begin with no pauses. `sizes` are those of the compaction."""
        self.sizes = sizes
        self._pauses: dict[int, dict[Part, Pause]] = {}  # by shop
        self._chosen: dict[int, set[Part]] = {}  # what is being merged in a shop
        self._look_ms: dict[int, int] = {}  # when something of a shop may settle that could not before
        self._all_before = 0  # the end of the last past day when all shops were looked at

    def shops_due(self, now: int) -> set[int] | None:
        """Return the shops in which something may settle now, or None for all of them: another day is past."""
        if past_before(now) != self._all_before:
            return None
        return {trackpoint for trackpoint, at in self._look_ms.items() if at <= now}

    def looked_at_all(self, now: int) -> None:
        """Record that all shops were looked at, at `now`."""
        self._all_before = past_before(now)
        for trackpoint, pauses in list(self._pauses.items()):
            kept = {part: pause for part, pause in pauses.items() if now < pause.until_ms + SETTLED_MAX_MS}
            self._pauses[trackpoint] = kept
            if not kept:
                del self._pauses[trackpoint]

    def choose(self, trackpoint: int, headers: list[SegmentHeader], now: int, old_id: int) -> list[Group]:
        """Return the groups of a shop to merge now: those that settle, and of the rest what is worth it.

        `headers` are in the order of their first entries. A group with a segment newer than `old_id` waits: more may
        be on its way.
        """
        self._look_ms.pop(trackpoint, None)
        before = past_before(now)
        past = [header for header in headers if header.last[0] < before]
        present = [header for header in headers if header.last[0] >= before]
        chosen: list[Group] = []
        for is_past, headers_of_part in ((True, past), (False, present)):
            for group in groups(headers_of_part, self.sizes):
                parts = _parts(group, is_past=is_past)
                at = self._settles_ms(trackpoint, parts)
                if at <= now and all(member.id <= old_id for member in group.members):
                    chosen.append(group)
                    self._chosen.setdefault(trackpoint, set()).update(parts)
                else:
                    self._look_ms[trackpoint] = min(at, self._look_ms.get(trackpoint, at))
        taken = {member.id for group in chosen for member in group.members}
        rest = [header for header in headers if header.id not in taken]
        return chosen + worth_merging(rest, self.sizes)

    def compacted(self, trackpoint: int, now: int, *, whole: bool) -> None:
        """Record that a shop was compacted: what settled pauses. If work is left, the shop is due again."""
        parts = self._chosen.pop(trackpoint, set())
        if not whole:
            self._look_ms[trackpoint] = now
            return
        pauses = self._pauses.setdefault(trackpoint, {}) if parts else {}
        for part in parts:
            before = pauses.get(part)
            length = SETTLED_MIN_MS if before is None else min(before.length_ms * SETTLED_GROWTH_RATIO, SETTLED_MAX_MS)
            pauses[part] = Pause(now + length, length)

    def _settles_ms(self, trackpoint: int, parts: Sequence[Part]) -> int:
        """Return the end of the longest pause, or 0."""
        pauses = self._pauses.get(trackpoint, {})
        return max((pauses[part].until_ms for part in parts if part in pauses), default=0)


def compact_background(  # noqa: PLR0913 -- what it depends on is passed in
    database: Database, trackpoint: int, old_by_ms: int, settling: Settling, *, now: int, old_id: int
) -> Compacted:
    """Compact what settles in a shop, and of the rest what is worth it.

    Events older than the history at `old_by_ms`, a trusted time, are left out; `now` decides what settles, see
    `Settling.choose`. Raises `DamagedSegment`; the days concerned then pause as if they had settled.
    """
    whole = True
    try:
        done = compact_shop(
            database,
            trackpoint,
            old_by_ms,
            partial(settling.choose, trackpoint, now=now, old_id=old_id),
            settling.sizes,
        )
        whole = done.whole
    finally:
        settling.compacted(trackpoint, now, whole=whole)
    return done


def _parts(group: Group, *, is_past: bool) -> list[Part]:
    """Return the days from the first event of a group to its last."""
    last = max(member.last[0] for member in group.members)
    return [Part(is_past, day) for day in range(group.members[0].first[0] // DAY_MS, last // DAY_MS + 1)]

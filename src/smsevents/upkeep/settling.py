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

from smsevents.catalog.segments import newest_id
from smsevents.errors import DamagedSegment
from smsevents.log.joining import JOINED_MAX_BYTES
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.groups import DEFAULT_SIZES, groups, worth_merging
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.upkeep.groups import Compacted, Group, Sizes

PAST_AFTER_MS = DAY_MS  # since the end of the day (UTC); nearly all late events have arrived by then
SETTLED_MIN_MS = 10 * 60 * 1000
SETTLED_MAX_MS = 2 * DAY_MS
SETTLED_GROWTH_RATIO = 4  # of each pause to the one before


@dataclass(frozen=True, slots=True)
class Days:
    """Consecutive days (since 1970, UTC), looked at as past or as part of the present."""

    first: int
    last: int
    is_past: bool

    def overlaps(self, other: Days) -> bool:
        """Return whether they have a day in common, and are looked at in the same way."""
        return self.is_past == other.is_past and self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Pause:
    """Days are not merged again before `until_ms`. `length_ms` is how long they wait since they were merged."""

    days: Days
    until_ms: int
    length_ms: int

    def counts(self, now: int) -> bool:
        """Return whether it began before `now`, by a clock that may have been set back, and has not ended long ago."""
        return self.until_ms - self.length_ms <= now < self.until_ms + SETTLED_MAX_MS


def past_before(now: int) -> int:
    """Return the end (Unix ms, exclusive) of the last day that is past at `now`."""
    return (now - PAST_AFTER_MS) // DAY_MS * DAY_MS


class Settling:
    """What can settle in the shops of a database, and when. Times are Unix ms by any one clock."""

    def __init__(self, sizes: Sizes = DEFAULT_SIZES) -> None:
        """Begin with no pauses. `sizes` are those of the compaction."""
        self.sizes = sizes
        self._pauses: dict[int, list[Pause]] = {}  # by shop, one for each group that was merged
        self._chosen: dict[int, list[Days]] = {}  # what is being merged in a shop
        self._look_ms: dict[int, int] = {}  # when something of a shop may settle that could not before
        self._waiting_since_ms: dict[int, int] = {}  # since when past days of a shop wait, as events keep arriving
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
            self._pauses[trackpoint] = [pause for pause in pauses if pause.counts(now)]
            if not self._pauses[trackpoint]:
                del self._pauses[trackpoint]

    def choose(self, trackpoint: int, headers: list[SegmentHeader], *, now: int, new_ids: range) -> list[Group]:
        """Return the groups of a shop to merge now: those that settle, and of the rest what is worth it.

        `headers` are in the order of their first entries. A group with a segment in `new_ids` has only just arrived and
        does not settle yet: more may be on its way. Past days wait for that no longer than SETTLED_MIN_MS.
        """
        self._look_ms.pop(trackpoint, None)
        before = past_before(now)
        past = [header for header in headers if header.last[0] < before]
        present = [header for header in headers if header.last[0] >= before]
        chosen: list[Group] = []
        arriving = False  # whether past days wait only for that
        for is_past, headers_of_part in ((True, past), (False, present)):
            for group in groups(headers_of_part, self.sizes):
                days = _days(group, is_past=is_past)
                at = max((pause.until_ms for pause in self._pauses_of(trackpoint, days, now)), default=0)
                is_new = any(member.place.kind == "row" and member.id in new_ids for member in group.members)
                if at <= now and (not is_new or (is_past and self._has_waited(trackpoint, now))):
                    chosen.append(group)
                    self._chosen.setdefault(trackpoint, []).append(days)
                else:
                    self._look_ms[trackpoint] = min(at, self._look_ms.get(trackpoint, at))
                    arriving |= is_past and at <= now
        if arriving:  # the clock may have been set back since
            self._waiting_since_ms[trackpoint] = min(now, self._waiting_since_ms.get(trackpoint, now))
        else:
            self._waiting_since_ms.pop(trackpoint, None)
        taken = {member.stored_as for group in chosen for member in group.members}
        # Small imports may replace these at any moment, and would undo the work. In the first round all ids are new.
        growing = {
            header.stored_as
            for header in headers
            if new_ids.start > 1
            and header.place.kind == "row"
            and header.id in new_ids
            and header.line_bytes < JOINED_MAX_BYTES
        }
        rest = [header for header in headers if header.stored_as not in taken | growing]
        return chosen + worth_merging(rest, self.sizes)

    def compacted(self, trackpoint: int, now: int, *, whole: bool) -> None:
        """Record that a shop was compacted: what settled pauses. If work is left, the shop is due at once."""
        chosen = self._chosen.pop(trackpoint, [])
        if not whole:
            self._look_ms[trackpoint] = 0  # whatever the clock says then
            return
        made = []
        for days in dict.fromkeys(chosen):  # a deep group takes several passes, and is chosen in each
            before = max((pause.length_ms for pause in self._pauses_of(trackpoint, days, now)), default=0)
            length = min(max(before * SETTLED_GROWTH_RATIO, SETTLED_MIN_MS), SETTLED_MAX_MS)
            made.append(Pause(days, now + length, length))
        kept = [
            pause
            for pause in self._pauses.get(trackpoint, [])
            if pause.counts(now) and not any(pause.days.overlaps(days) for days in chosen)
        ]
        if kept or made:
            self._pauses[trackpoint] = kept + made

    def _pauses_of(self, trackpoint: int, days: Days, now: int) -> Iterator[Pause]:
        found = self._pauses.get(trackpoint, [])
        return (pause for pause in found if pause.counts(now) and pause.days.overlaps(days))

    def _has_waited(self, trackpoint: int, now: int) -> bool:
        """Return whether past days of a shop have waited for SETTLED_MIN_MS because events for them keep arriving."""
        since = self._waiting_since_ms.get(trackpoint)
        return since is not None and since + SETTLED_MIN_MS <= now


def compact_background(  # noqa: PLR0913 -- what it depends on is passed in
    database: Database, trackpoint: int, old_by_ms: int, settling: Settling, *, now: int, old_id: int
) -> Compacted:
    """Compact what settles in a shop, and of the rest what is worth it.

    Events older than the history at `old_by_ms`, a trusted time, are left out. `now` decides what settles. Segments
    with higher ids than `old_id` have only just arrived, see `Settling.choose`. Raises `DamagedSegment`; the days
    concerned then pause as if they had settled.
    """
    with database.read() as connection:
        # what this compaction itself makes has higher ids, and is not new
        new_ids = range(old_id + 1, newest_id(connection) + 1)
    choose = partial(settling.choose, trackpoint, now=now, new_ids=new_ids)
    whole = False
    try:
        done = compact_shop(database, trackpoint, old_by_ms, choose, settling.sizes)
        whole = done.whole
    except DamagedSegment:
        whole = True
        raise
    finally:
        settling.compacted(trackpoint, now, whole=whole)
    return done


def _days(group: Group, *, is_past: bool) -> Days:
    """Return the days from the first event of a group to its last."""
    last = max(member.last[0] for member in group.members)
    return Days(group.members[0].first[0] // DAY_MS, last // DAY_MS, is_past)

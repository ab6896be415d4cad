"""Keeping: the messages of settled days of sending are counted once and kept, so that questions need not count them.

A day is counted once it is past and what is stored of it has not changed between two rounds of the upkeep. Events that
come later, compaction and erasures change that. The day is then counted again, but not before half of its age at the
last count has passed, or DAY_COUNTED_AGAIN_MAX_MS: so a day to which events keep coming is counted a few times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from smsevents.catalog.dialects.base import Busy, dialect_of
from smsevents.catalog.message_days import all_kept_days, drop_days, store_days
from smsevents.catalog.sent_days import bases_of, holdings_of, stored_marks
from smsevents.errors import DamagedSegment, ObjectGone
from smsevents.segments.message_day import MESSAGE_DAY_VERSION, encode_message_day
from smsevents.stats.day_counts import count_days
from smsevents.stats.kept_messages import dates_of
from smsevents.stats.parts import go_on
from smsevents.upkeep.settling import past_before
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import DAY_MS
from smsevents.wire.window import Window, history_start

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.message_days import Kept
    from smsevents.catalog.sent_days import Basis, Holding
    from smsevents.stats.parts import Check

logger = structlog.get_logger()

COUNTED_EVENTS_MAX = 1_000_000  # together, unless a single day has more: some seconds
COUNTED_DAYS_MAX = 8  # together: all of their numbers are in memory
DAY_COUNTED_AGAIN_MAX_MS = DAY_MS  # after the last count
_ALWAYS = Window(-INT64_MAX - 1, INT64_MAX)


class DayKeeper:
    """Counts the days that are not kept, of all shops. It remembers what it saw in the previous round."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        # by shop: which days were past, and what was stored, when nothing was left to do
        self._done: dict[int, tuple[int, tuple[object, ...]]] = {}
        self._seen: dict[int, dict[int, bytes]] = {}  # by shop: the bases of days that are not kept

    def steps(self, database: Database, now: int, check: Check = go_on) -> Iterator[int]:
        """Count days at `now` (Unix ms), some in each step. Yield after each step how many days were counted.

        A shop from which somebody erases waits, and so does one with a damaged segment: `verify` finds it. `check` is
        called often. Raises `StoreUnavailable`, `StoreFull`, and what `check` does.
        """
        with database.read() as connection:
            marks = stored_marks(connection)
        for trackpoint in sorted(marks.keys() | self._done.keys()):
            found = (past_before(now), marks.get(trackpoint, ()))
            if self._done.get(trackpoint) == found:
                continue
            try:
                if (yield from self.shop_steps(database, trackpoint, now, check)):
                    self._done[trackpoint] = found
            except (DamagedSegment, ObjectGone) as error:
                logger.warning("messages not counted", trackpoint=trackpoint, reason=str(error))
                self._done[trackpoint] = found  # as long as nothing changes, it would be the same
            except Busy:
                continue

    def shop_steps(
        self, database: Database, trackpoint: int, now: int, check: Check = go_on
    ) -> Generator[int, None, bool]:
        """Do what `steps` does for one shop. Return whether all its days are kept that are past.

        Raises `Busy`, `DamagedSegment` and `ObjectGone`, too.
        """
        with database.read() as connection:
            kept = all_kept_days(connection, trackpoint)
            holdings = holdings_of(database, connection, trackpoint, check)
        bases = bases_of(holdings)
        if gone := kept.keys() - bases.keys():
            database.write(lambda connection: drop_days(connection, trackpoint, gone))
        days = range(history_start(now) // DAY_MS, past_before(now) // DAY_MS)
        wanted = {
            day: basis
            for day, basis in sorted(bases.items())
            if day in days and not (day in kept and kept[day].is_of(basis.digest))
        }
        seen = self._seen.get(trackpoint, {})
        self._seen[trackpoint] = {day: basis.digest for day, basis in wanted.items()}
        due = [
            day for day, basis in wanted.items() if seen.get(day) == basis.digest and _is_due(kept.get(day), day, now)
        ]
        counted = 0
        for some in _shares(due, bases):
            found = _keep(database, trackpoint, {day: bases[day] for day in some}, holdings, now, check)
            counted += found
            yield found
        return counted == len(wanted)


def _is_due(kept: Kept | None, day: int, now: int) -> bool:
    """Return whether a day that is not kept, or not any more, may be counted at `now` (Unix ms)."""
    if kept is None or kept.version != MESSAGE_DAY_VERSION:
        return True
    age_ms = kept.counted_ms - (day + 1) * DAY_MS
    waits_ms = min(age_ms // 2, DAY_COUNTED_AGAIN_MAX_MS)
    return not kept.counted_ms <= now < kept.counted_ms + waits_ms  # the clock may have been set back


def _shares(due: Sequence[int], bases: Mapping[int, Basis]) -> Iterator[list[int]]:
    """Go through days in their order, some at a time."""
    share: list[int] = []
    events = 0
    for day in due:
        if share and (events + bases[day].events > COUNTED_EVENTS_MAX or len(share) == COUNTED_DAYS_MAX):
            yield share
            share, events = [], 0
        share.append(day)
        events += bases[day].events
    if share:
        yield share


def _keep(  # noqa: PLR0913, PLR0917 -- what is counted, and where it is
    database: Database, trackpoint: int, days: Mapping[int, Basis], holdings: Sequence[Holding], now: int, check: Check
) -> int:
    """Count days and keep their numbers, unless what is stored of them changes meanwhile. Return how many are kept.

    Nobody erases meanwhile. So nothing can come and go again unnoticed: the same basis means the same events. Raises
    `Busy`, and what `DayKeeper.steps` does.
    """
    events = sum(one.events for one in days.values())
    with database.dialect.shop_step(trackpoint):
        windows = dates_of(holdings, days.keys(), _ALWAYS)
        counted = count_days(database, trackpoint, days, list(windows), events, check)
        for day in [day for day, found in counted.items() if found is None and len(days) > 1]:
            counted |= count_days(database, trackpoint, [day], dates_of(holdings, {day}, _ALWAYS), events, check)
        with database.read() as connection:
            bases = bases_of(holdings_of(database, connection, trackpoint, check))
        kept: dict[int, tuple[bytes, bytes | None]] = {
            day: (days[day].digest, None if found is None else encode_message_day(found))
            for day, found in counted.items()
            if day in bases and bases[day].digest == days[day].digest
        }

        def store(connection: Connection) -> bool:
            if not dialect_of(connection).begin_replacement(connection, trackpoint):
                return False  # the lock of the shop was lost, and an erasure may have begun meanwhile
            store_days(connection, trackpoint, kept, now)
            return True

        is_stored = bool(kept) and database.write(store)
    return len(kept) if is_stored else 0

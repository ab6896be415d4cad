"""Shops whose events are counted, and questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from smsevents.catalog.message_days import all_kept_days
from smsevents.catalog.segments import newest_id
from smsevents.demo.generate import generate
from smsevents.segments.selection import Selection
from smsevents.stats.keeping import DayKeeper
from smsevents.stats.question import Question
from smsevents.upkeep.groups import PackSizes, Sizes
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.window import Window

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from tests.support.logs import Held

SIZES = Sizes(
    segment_bytes=100_000, packs=PackSizes(target_bytes=30_000, min_bytes=1, max_bytes=60_000, span_max_ms=90 * DAY_MS)
)


def filled(held: Held, events: int = 3000, days: float = 20, seed: int = 1) -> None:
    """Import invented events of some days before now."""
    held.put(generate(held.trackpoint, events=events, days=days, seed=seed, end_ms=held.now))


def backfill(held: Held) -> int:
    """Count all segments that have no tally."""
    with held.database.read() as connection:
        newest = newest_id(connection)
    return sum(Backfill().steps(held.database, newest))


def keep_days(database: Database, trackpoint: int, now: int) -> int:
    """Count all days of sending of a shop up to now that are not kept, as the upkeep does some days later.

    Return how many were counted.
    """
    keeper = DayKeeper()
    with database.read() as connection:
        counted_ms = (one.counted_ms for one in all_kept_days(connection, trackpoint).values())
    later = max(now + 3 * DAY_MS, *(one + DAY_MS for one in counted_ms), 0)  # no day waits to be counted again
    assert list(keeper.shop_steps(database, trackpoint, later)) == []  # it waits for a round in which nothing changes
    return sum(keeper.shop_steps(database, trackpoint, later))


def asked(held: Held, selection: Selection = Selection()) -> Question:  # noqa: B008 -- it is immutable
    """Return a question about everything."""
    window = Window(held.now - HISTORY_MS, held.now + DAY_MS)
    return Question(window, ZoneInfo("UTC"), "event", "all", held.now, wanted=selection)


def last_days(held: Held, days: int) -> Window:
    """Return an interval of some days up to now."""
    return Window(held.now - days * DAY_MS, held.now)

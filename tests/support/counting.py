"""Shops whose events are counted, and questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from smsevents.catalog.segments import newest_id
from smsevents.demo.generate import generate
from smsevents.segments.selection import Selection
from smsevents.stats.question import Question
from smsevents.upkeep.groups import PackSizes, Sizes
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.window import Window

if TYPE_CHECKING:
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


def asked(held: Held, selection: Selection = Selection()) -> Question:  # noqa: B008 -- it is immutable
    """Return a question about everything."""
    window = Window(held.now - HISTORY_MS, held.now + DAY_MS)
    return Question(window, ZoneInfo("UTC"), "event", "all", held.now, wanted=selection)


def last_days(held: Held, days: int) -> Window:
    """Return an interval of some days up to now."""
    return Window(held.now - days * DAY_MS, held.now)

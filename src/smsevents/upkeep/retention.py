"""Retention: events older than the history leave the disk.

Only complete segments are deleted. A segment that straddles the start of the history loses its old events when
compaction rewrites it, or at the latest when all its events are old. Exports leave out old events even if they are
still on the disk.

Trusted time decides what is old (`clock.trusted.Judgement.old_by_ms`), not a reading of the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.catalog.segments import delete_older
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from smsevents.catalog import Database

EXPIRED_SEGMENTS_IN_STATEMENT_MAX = 100  # their pages stay in memory until the statement is done


@dataclass(frozen=True)
class Expired:
    """The number of segments and of events that were deleted."""

    segments: int
    events: int


def expire(database: Database, old_by_ms: int) -> Expired:
    """Delete all shops' segments that end before the history at `old_by_ms`, a bounded number per transaction."""
    before = history_start(old_by_ms)
    segments = events = 0
    while True:
        some, theirs = database.write(lambda c: delete_older(c, before, EXPIRED_SEGMENTS_IN_STATEMENT_MAX))
        segments += some
        events += theirs
        if some < EXPIRED_SEGMENTS_IN_STATEMENT_MAX:
            return Expired(segments, events)

"""Retention: what is older than the history leaves the disk.

Whole segments are deleted; one that straddles the start of the history loses its old events when compaction
rewrites it, or at the latest when it is all old. Exports leave old events out whatever is still on the disk.

What is old is told by trusted time (`trusted.Judgement.old_by_ms`), not by a reading of the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.catalog.segments import delete_older
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from smsevents.catalog import Database

EXPIRED_SEGMENTS_IN_STATEMENT_MAX = 100  # their pages are in memory until the statement is done


@dataclass(frozen=True)
class Expired:
    """What was deleted."""

    segments: int
    events: int


def expire(database: Database, old_by_ms: int) -> Expired:
    """Delete the segments of all shops that end before the history at a time, a bounded number in a transaction."""
    before = history_start(old_by_ms)
    segments = events = 0
    while True:
        some, theirs = database.write(lambda c: delete_older(c, before, EXPIRED_SEGMENTS_IN_STATEMENT_MAX))
        segments += some
        events += theirs
        if some < EXPIRED_SEGMENTS_IN_STATEMENT_MAX:
            return Expired(segments, events)

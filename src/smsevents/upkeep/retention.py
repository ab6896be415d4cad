"""Retention: events older than the history leave the disk.

Only complete segments and packs are deleted. One that straddles the start of the history loses its old events when
compaction rewrites it, or at the latest when all its events are old. Exports leave out old events even if they are
still on the disk.

Trusted time decides what is old (`clock.trusted.Judgement.old_by_ms`), not a reading of the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.catalog.message_days import drop_days_before
from smsevents.catalog.objects import make_dead
from smsevents.catalog.packs import delete_packs, packs_older
from smsevents.catalog.pending_scrubs import mark_rows_left
from smsevents.catalog.replacement import RETIRED_KEPT_MS
from smsevents.catalog.segments import delete_older
from smsevents.wire.limits import DAY_MS
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog import Database

EXPIRED_PACKS_IN_STATEMENT_MAX = 500
EXPIRED_SEGMENTS_IN_STATEMENT_MAX = 100  # their pages stay in memory until the statement is done


@dataclass(frozen=True)
class Expired:
    """The number of segments, of packs, and of the events in both that were deleted."""

    segments: int
    events: int
    packs: int = 0


def expire(database: Database, old_by_ms: int) -> Expired:
    """Delete all shops' segments and packs that end before the history at `old_by_ms`, some per transaction.

    What is kept of the messages that were sent on earlier days goes, too.
    """
    before = history_start(old_by_ms)
    database.write(lambda connection: drop_days_before(connection, before // DAY_MS))
    segments = events = 0
    while True:
        some, theirs = database.write(lambda c: _delete_segments(c, before, database.dialect.now_ms()))
        segments += some
        events += theirs
        if some < EXPIRED_SEGMENTS_IN_STATEMENT_MAX:
            break
    packs = 0
    while True:
        some, theirs = database.write(lambda c: _delete_packs(c, before, database.dialect.now_ms()))
        packs += some
        events += theirs
        if some < EXPIRED_PACKS_IN_STATEMENT_MAX:
            return Expired(segments, events, packs)


def _delete_segments(connection: Connection, before_ms: int, now: int) -> tuple[int, int]:
    """Delete segments that end before a time (Unix ms)."""
    some, theirs = delete_older(connection, before_ms, EXPIRED_SEGMENTS_IN_STATEMENT_MAX)
    if some:
        mark_rows_left(connection, now)
    return some, theirs


def _delete_packs(connection: Connection, before_ms: int, now: int) -> tuple[int, int]:
    """Delete packs that end before a time (Unix ms). The collection deletes their objects."""
    found = packs_older(connection, before_ms, EXPIRED_PACKS_IN_STATEMENT_MAX)
    keys = delete_packs(connection, [pack_id for pack_id, _ in found])
    make_dead(connection, keys, now, now + RETIRED_KEPT_MS)
    if found:
        mark_rows_left(connection, now)  # the bounds of a pack are events
    return len(found), sum(events for _, events in found)

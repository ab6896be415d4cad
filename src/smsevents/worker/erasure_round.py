"""Looks after the record of erasures now and then, as a part of the upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from smsevents.errors import DamagedSegment, StoreUnavailable
from smsevents.upkeep.erasure_records import complete, keep
from smsevents.upkeep.erasure_repeats import repeat_erasures

if TYPE_CHECKING:
    from smsevents.catalog import Database

RECORDS_LOOKED_AT_EVERY_MS = 60 * 60 * 1000

logger = structlog.get_logger()


class ErasureRound:
    """Repeats erasures that the database does not know, and keeps the record complete and no longer than it should."""

    def __init__(self, database: Database, kept_days: int) -> None:
        """Use a database whose records are kept for some days."""
        self._database = database
        self._kept_days = kept_days
        self._last_ms: int | None = None

    def run(self, now: int, old_by_ms: int) -> None:
        """Do it at `now` (Unix ms), unless it was done a moment ago. `old_by_ms` decides which records are old."""
        if self._last_ms is not None and self._last_ms <= now < self._last_ms + RECORDS_LOOKED_AT_EVERY_MS:
            return
        self._last_ms = now
        try:
            done = repeat_erasures(self._database, now)
            completed = complete(self._database, now)
            keep(self._database, old_by_ms, self._kept_days)
        except (StoreUnavailable, DamagedSegment) as error:
            logger.warning("erasures not looked after", reason=str(error))
            return
        if done.erasures:
            logger.warning("erasures repeated", erasures=done.erasures, events=done.events)
        if completed:
            logger.info("record of erasures completed", records=completed)

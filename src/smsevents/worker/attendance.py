"""Attendance: a server process periodically checks the clock, and whether the upkeep is working.

The upkeep worker does the same. But there may be no upkeep worker, and one that cannot work does not report it.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from smsevents.errors import StoreUnavailable
from smsevents.timekeeper import Herald

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.timekeeper import Timekeeper

logger = structlog.get_logger()

NOTE_INTERVAL_SECONDS = 60
IDLE_MAX_SECONDS = 10 * 60  # longer than this without upkeep causes a warning


class Attendant:
    """Notes the time in the database, and warns when the upkeep does not work."""

    def __init__(
        self, timekeeper: Timekeeper, *, upkeep: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Watch a database. `upkeep` is true if an upkeep worker should be running for it."""
        self._timekeeper = timekeeper
        self._upkeep = upkeep
        self._monotonic = monotonic
        self._herald = Herald(monotonic)
        self._patient_until = monotonic() + IDLE_MAX_SECONDS  # the upkeep worker starts when this process does

    def look(self) -> None:
        """Check once. If the database is busy or full, the next check follows soon."""
        try:
            judgement = self._timekeeper.note()
        except StoreUnavailable as error:
            logger.warning("time not noted", error=str(error))
            return
        self._herald.hear(judgement)
        idle_seconds = judgement.idle_ms // 1000
        if self._upkeep and idle_seconds > IDLE_MAX_SECONDS and self._monotonic() >= self._patient_until:
            logger.warning("no upkeep", idle_seconds=idle_seconds)
            self._patient_until = self._monotonic() + IDLE_MAX_SECONDS


@contextmanager
def attended(timekeeper: Timekeeper, *, upkeep: bool) -> Iterator[None]:
    """Run an attendant in a thread for as long as the block runs."""
    stopping = threading.Event()
    attendant = Attendant(timekeeper, upkeep=upkeep)

    def attend() -> None:
        attendant.look()
        while not stopping.wait(NOTE_INTERVAL_SECONDS):
            attendant.look()

    thread = threading.Thread(target=attend, name="smsevents-attendant", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()

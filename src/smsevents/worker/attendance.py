"""Attendance: a server process periodically checks the clock, and whether the upkeep is working.

The upkeep worker does the same. But there may be no upkeep worker, and one that cannot work does not report it.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from smsevents.catalog.checks import State
from smsevents.errors import StoreUnavailable
from smsevents.timekeeper import SAID_AGAIN_SECONDS, Herald

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.catalog.checks import Check
    from smsevents.timekeeper import Timekeeper

logger = structlog.get_logger()

NOTE_INTERVAL_SECONDS = 60
IDLE_MAX_SECONDS = 10 * 60  # longer than this without upkeep causes a warning


class Attendant:
    """Notes the time in the database, and warns when the upkeep does not work."""

    def __init__(
        self,
        timekeeper: Timekeeper,
        *,
        upkeep: bool,
        concerns: Callable[[], list[Check]] = list,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch a database. `upkeep` is true if an upkeep worker should be running for it.

        `concerns` returns checks of the database and of this machine, see `Dialect.concerns`.
        """
        self._timekeeper = timekeeper
        self._upkeep = upkeep
        self._concerns = concerns
        self._said: dict[str, tuple[State, float]] = {}  # by the name of a check: what was logged last, and when
        self._monotonic = monotonic
        self._herald = Herald(monotonic)
        self._patient_until = monotonic() + IDLE_MAX_SECONDS  # the upkeep worker starts when this process does

    def look(self) -> None:
        """Check once. If the database is busy or full, the next check follows soon."""
        try:
            judgement = self._timekeeper.note()
            concerns = self._concerns()
        except StoreUnavailable as error:
            logger.warning("time not noted", error=str(error))
            return
        for one in concerns:
            self._say(one)
        self._herald.hear(judgement)
        idle_seconds = judgement.idle_ms // 1000
        if self._upkeep and idle_seconds > IDLE_MAX_SECONDS and self._monotonic() >= self._patient_until:
            logger.warning("no upkeep", idle_seconds=idle_seconds)
            self._patient_until = self._monotonic() + IDLE_MAX_SECONDS

    def _say(self, check: Check) -> None:
        """Log a check that is not ok if its state changed, or SAID_AGAIN_SECONDS have passed."""
        state, at = self._said.get(check.name, (State.OK, 0.0))
        now = self._monotonic()
        if check.state is state and (state is State.OK or now - at < SAID_AGAIN_SECONDS):
            return
        self._said[check.name] = (check.state, now)
        if check.state is State.OK:
            logger.info("in order again", what=check.name)
        else:
            logger.warning("needs attention", what=check.name, detail=check.detail)


@contextmanager
def attended(
    timekeeper: Timekeeper,
    *,
    upkeep: bool,
    concerns: Callable[[], list[Check]] = list,
    forget: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Run an attendant in a thread for as long as the block runs. It also calls `forget` regularly."""
    stopping = threading.Event()
    attendant = Attendant(timekeeper, upkeep=upkeep, concerns=concerns)

    def attend() -> None:
        attendant.look()
        while not stopping.wait(NOTE_INTERVAL_SECONDS):
            forget()
            attendant.look()

    thread = threading.Thread(target=attend, name="smsevents-attendant", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()

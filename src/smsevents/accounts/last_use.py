"""The last use of each key, so that a rotation can be finished: written seldom, and never waited for."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from smsevents.catalog.shops import note_uses
from smsevents.clock.system import now_ms
from smsevents.errors import SmsEventsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from smsevents.catalog import Database

USE_NOTED_EVERY_SECONDS = 60


class Uses:
    """Notes in the database when keys are used, each at most once in USE_NOTED_EVERY_SECONDS in a process."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use a database, a clock that tells Unix milliseconds, and one in seconds that never steps back."""
        self._database = database
        self._now = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # when the next use of a key is to be noted
        self._waiting: dict[str, int] = {}  # uses that are not written yet
        self._is_writing = False

    def note(self, key_id: str) -> None:
        """Note that a key is used now. What cannot be written is tried again with the next use."""
        now = self._monotonic()
        with self._lock:
            if now < self._due.get(key_id, now):
                return
            self._due[key_id] = now + USE_NOTED_EVERY_SECONDS
            self._waiting[key_id] = self._now()
            if self._is_writing:
                return
            self._is_writing = True
            uses, self._waiting = self._waiting, {}
        self._write(uses)

    def _write(self, uses: dict[str, int]) -> None:
        def written(outcome: Future[None]) -> None:
            failed = outcome.cancelled() or outcome.exception() is not None
            with self._lock:
                if failed:
                    self._waiting = uses | self._waiting
                more, self._waiting = ({}, self._waiting) if failed else (self._waiting, {})
                self._is_writing = bool(more)
            if more:
                self._write(more)

        try:
            writing = self._database.submit(lambda connection: note_uses(connection, uses))
        except SmsEventsError:  # the database is being closed
            with self._lock:
                self._is_writing = False
            return
        writing.add_done_callback(written)

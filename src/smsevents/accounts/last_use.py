"""The last use of each key or receiver, for operators. Writes are rare, and no request waits for one."""

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

    from sqlalchemy import Connection

    from smsevents.catalog import Database

USE_NOTED_EVERY_SECONDS = 60


class Uses:
    """Records when keys are used, each at most once per USE_NOTED_EVERY_SECONDS in each process."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
        note: Callable[[Connection, dict[str, int]], None] = note_uses,
    ) -> None:
        """Use a database, a wall clock in Unix milliseconds, and a monotonic clock in seconds.

        `note` writes the times, by id. By default the ids are those of keys.
        """
        self._note = note
        self._database = database
        self._now = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # key id → when to record its next use
        self._waiting: dict[str, int] = {}  # key id → time of a use that is not written yet
        self._is_writing = False

    def note(self, key_id: str) -> None:
        """Record that a key is used now. A write that fails is tried again at the next use."""
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
            writing = self._database.submit(lambda connection: self._note(connection, uses))
        except SmsEventsError:  # the database is closing
            with self._lock:
                self._is_writing = False
            return
        writing.add_done_callback(written)

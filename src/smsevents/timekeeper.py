"""The timekeeper of a process: it keeps the mark of trusted time in the database, and says what to think of the clock.

`judge` is asked before anything that depends on the time and cannot be taken back. `note` moves the mark on in the
database: a process that lives long calls it now and then, a command when it starts.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from smsevents.catalog.trusted_time import find_mark, first_mark_of, put_mark
from smsevents.clock.system import SYSTEM_CLOCKS
from smsevents.clock.trusted import (
    NO_EVIDENCE,
    Memory,
    evidence_of,
    first_mark,
    judgement_of,
    noted,
    reset,
    utc,
)
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.clock.system import Clocks, Reading
    from smsevents.clock.trusted import Doubt, Judgement, Mark

KNOWN_MAX_MS = 2000  # what others wrote about the time is seen after so long
SAID_AGAIN_SECONDS = 60 * 60

WHAT_TO_DO = "If the clock is wrong, set it right. If it is right, run `smsevents expire --force`."


class Timekeeper:
    """Knows the trusted time of one database. It is safe to use from many threads."""

    def __init__(self, database: Database, clocks: Clocks = SYSTEM_CLOCKS) -> None:
        """Use a database and the clocks of the machine."""
        self._database = database
        self._clocks = clocks
        self._lock = threading.Lock()
        self._known: tuple[Mark, Reading] | None = None  # what the database said, and when
        self._memory: Memory | None = None
        self._evidence = NO_EVIDENCE

    def judge(self) -> Judgement:
        """Say what to think of the time now. Raises `StoreUnavailable`."""
        known = self._known
        now = self._clocks.read()
        if known is None or not 0 <= now.since_start_ms - known[1].since_start_ms <= KNOWN_MAX_MS:
            with self._database.read() as connection:
                self._known = (find_mark(connection) or first_mark_of(connection, now), now)
        return self.judge_remembered()

    def judge_remembered(self) -> Judgement:
        """Do what `judge` does without a look into the database: what others wrote lately may be missed."""
        known, memory = self._known, self._memory
        now = self._clocks.read()
        if known is None:
            return judgement_of(first_mark(now, None, has_events=False), now)
        return judgement_of(noted(known[0], now, memory), now)

    def witness(self, newest_ms: int | None) -> None:
        """Hear of an import whose newest event has this date (Unix ms); None if it had no event."""
        if newest_ms is None:
            return
        evidence = evidence_of(newest_ms, self._clocks.read())
        with self._lock:
            self._evidence += evidence

    def note(self, *, worked: bool = False) -> Judgement:
        """Move the mark on in the database, and say what to think of the time. Raises `StoreUnavailable`.

        `worked` says that the upkeep is at work.
        """
        with self._lock:
            evidence, self._evidence = self._evidence, NO_EVIDENCE

        def note(connection: Connection) -> tuple[Mark, Reading]:
            now = self._clocks.read()  # here, where no other process can note the time
            mark = find_mark(connection) or first_mark_of(connection, now)
            return noted(mark, now, self._memory, evidence, worked=worked), now

        try:
            return self._put(note)
        except StoreUnavailable:
            with self._lock:
                self._evidence += evidence
            raise

    def trust_clock(self) -> Judgement:
        """Take the clock for right, as a person says, and end all doubt. Raises `StoreUnavailable`."""

        def trust(connection: Connection) -> tuple[Mark, Reading]:
            now = self._clocks.read()
            return reset(find_mark(connection) or first_mark_of(connection, now), now, now.wall_ms), now

        return self._put(trust)

    def _put(self, make: Callable[[Connection], tuple[Mark, Reading]]) -> Judgement:
        """Store the mark that is made, in one transaction, and remember it."""

        def put(connection: Connection) -> tuple[Mark, Reading]:
            mark, now = make(connection)
            put_mark(connection, mark)
            return mark, now

        mark, now = self._database.write(put)
        self._memory = Memory(now, mark.trusted_ms, mark.generation)
        self._known = (mark, now)
        return judgement_of(mark, now)


class Herald:
    """Says in the log when time comes into doubt, from time to time while it is, and when it no longer is."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Have said nothing yet; use a clock in seconds that never steps back."""
        self._monotonic = monotonic
        self._doubt: Doubt | None = None
        self._said = 0.0

    def hear(self, judgement: Judgement) -> None:
        """Hear a judgement, and say what is to be said."""
        due = self._monotonic() - self._said >= SAID_AGAIN_SECONDS
        if judgement.doubt and (judgement.doubt != self._doubt or due):
            _logger().warning(
                "time in doubt", reason=judgement.doubt.value, detail=judgement.explain(), what_to_do=WHAT_TO_DO
            )
            self._said = self._monotonic()
        elif self._doubt and not judgement.doubt:
            _logger().info("time trusted again", trusted=utc(judgement.trusted_ms))
        self._doubt = judgement.doubt


def _logger() -> Any:  # noqa: ANN401 -- as structlog has it
    import structlog  # noqa: PLC0415 -- it takes a tenth of a second to load, and no command needs it to begin

    return structlog.get_logger()

"""The timekeeper of a process: it keeps the mark of trusted time in the database and judges the clock.

Call `judge` before anything that depends on the time and cannot be undone. `note` advances the mark in the database:
a long-running process calls it periodically, a command when it starts.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from smsevents.catalog.trusted_time import find_mark, first_mark_of, put_mark
from smsevents.clock.system import Clocks
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
    from smsevents.clock.system import Reading
    from smsevents.clock.trusted import Doubt, Judgement, Mark

KNOWN_MAX_MS = 2000  # how long a mark that another process wrote may go unseen
SAID_AGAIN_SECONDS = 60 * 60

WHAT_TO_DO = "If the clock is wrong, set it right. If it is right, run `smsevents expire --force`."


class Timekeeper:
    """Keeps the trusted time of one database. Thread-safe."""

    def __init__(self, database: Database, clocks: Clocks | None = None) -> None:
        """Use a database and clocks. The default is the database's wall clock, and the machine's that cannot be set."""
        self._database = database
        self._clocks = clocks or Clocks(wall_ms=database.dialect.now_ms)
        self._lock = threading.Lock()
        self._known: tuple[Mark, Reading] | None = None  # the mark as last read from the database, and when
        self._memory: Memory | None = None
        self._evidence = NO_EVIDENCE

    def judge(self) -> Judgement:
        """Return the judgement of the current time. Raises `StoreUnavailable`."""
        judgement = self.judge_known()
        if judgement is not None:
            return judgement
        now = self._clocks.read()
        with self._database.read() as connection:
            self._known = (find_mark(connection) or first_mark_of(connection, now), now)
        return self.judge_remembered()

    def judge_known(self) -> Judgement | None:
        """Do what `judge` does, or return None if the database must be read for that."""
        known = self._known
        now = self._clocks.read()
        if known is None or not 0 <= now.since_start_ms - known[1].since_start_ms <= KNOWN_MAX_MS:
            return None
        return judgement_of(noted(known[0], now, self._memory), now)

    def judge_remembered(self) -> Judgement:
        """Do what `judge` does without reading the database. It may miss what other processes wrote recently."""
        known, memory = self._known, self._memory
        now = self._clocks.read()
        if known is None:
            return judgement_of(first_mark(now, None, has_events=False), now)
        return judgement_of(noted(known[0], now, memory), now)

    def witness(self, newest_ms: int | None) -> None:
        """Take an import as evidence, by the date of its newest event (Unix ms); None if it had no events."""
        if newest_ms is None:
            return
        evidence = evidence_of(newest_ms, self._clocks.read())
        with self._lock:
            self._evidence += evidence

    def note(self, *, worked: bool = False) -> Judgement:
        """Advance the mark in the database and return the judgement of the current time. Raises `StoreUnavailable`.

        `worked` is true if the caller is doing the upkeep.
        """
        with self._lock:
            evidence, self._evidence = self._evidence, NO_EVIDENCE

        def note(connection: Connection) -> tuple[Mark, Reading]:
            now = self._clocks.read()  # inside the transaction, where no other process can note the time
            mark = find_mark(connection) or first_mark_of(connection, now)
            return noted(mark, now, self._memory, evidence, worked=worked), now

        try:
            return self._put(note)
        except StoreUnavailable:
            with self._lock:
                self._evidence += evidence
            raise

    def trust_clock(self) -> Judgement:
        """Accept the clock because a person confirmed it, and end all doubt. Raises `StoreUnavailable`."""

        def trust(connection: Connection) -> tuple[Mark, Reading]:
            now = self._clocks.read()
            return reset(find_mark(connection) or first_mark_of(connection, now), now, now.wall_ms), now

        return self._put(trust)

    def _put(self, make: Callable[[Connection], tuple[Mark, Reading]]) -> Judgement:
        """Create and store a mark in one transaction, keep it in memory, and return its judgement."""

        def put(connection: Connection) -> tuple[Mark, Reading]:
            mark, now = make(connection)
            put_mark(connection, mark)
            return mark, now

        mark, now = self._database.write(put)
        self._memory = Memory(now, mark.trusted_ms, mark.generation)
        self._known = (mark, now)
        return judgement_of(mark, now)


class Herald:
    """Logs when time comes into doubt, again every SAID_AGAIN_SECONDS while it is, and when the doubt ends."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Use a monotonic clock in seconds. Nothing was logged yet."""
        self._monotonic = monotonic
        self._doubt: Doubt | None = None
        self._said = 0.0

    def hear(self, judgement: Judgement) -> None:
        """Log a judgement if the doubt changed or is due to be repeated."""
        due = self._monotonic() - self._said >= SAID_AGAIN_SECONDS
        if judgement.doubt and (judgement.doubt != self._doubt or due):
            _logger().warning(
                "time in doubt", reason=judgement.doubt.value, detail=judgement.explain(), what_to_do=WHAT_TO_DO
            )
            self._said = self._monotonic()
        elif self._doubt and not judgement.doubt:
            _logger().info("time trusted again", trusted=utc(judgement.trusted_ms))
        self._doubt = judgement.doubt


def _logger() -> Any:  # noqa: ANN401 -- the type that structlog declares
    import structlog  # noqa: PLC0415 -- it takes a tenth of a second to load, and no command needs it at the start

    return structlog.get_logger()

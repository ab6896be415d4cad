"""The clock of the database, by which all processes on all machines act. Each transaction reads it in passing.

Between two transactions, the clock of the machine that cannot be set continues it. So nothing waits for the database
to learn the time, and a wrong clock of the machine has no influence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.clock.system import now_ms, since_start_ms

if TYPE_CHECKING:
    from collections.abc import Callable

EXACT_MAX_MS = 50  # a reading that took longer, such as after a wait for a lock, says too little
KNOWN_MAX_MS = 60_000  # after so long, any reading is better than none


class DatabaseClock:
    """Remembers how far the database's clock is from the time since the machine started. Thread-safe."""

    def __init__(self, since_start: Callable[[], int] = since_start_ms) -> None:
        """Use a clock that cannot be set, in milliseconds."""
        self.since_start_ms = since_start
        self._known: tuple[int, int] | None = None  # the difference, and when it was measured

    def measured(self, before_ms: int, database_ms: int) -> None:
        """Take a time of the database (Unix ms), asked for at `before_ms` since the start and received now."""
        after = self.since_start_ms()
        known = self._known
        if known is None or after - before_ms <= EXACT_MAX_MS or after - known[1] > KNOWN_MAX_MS:
            self._known = (database_ms - (before_ms + after) // 2, after)

    def machine_away_ms(self) -> int:
        """Return how far the clock of this machine is ahead of that of the database, as far as is known."""
        return now_ms() - self.now_ms()

    def now_ms(self) -> int:
        """Return the time of the database (Unix ms). Before the first transaction, it is that of the machine."""
        known = self._known
        return now_ms() if known is None else known[0] + self.since_start_ms()

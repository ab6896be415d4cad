"""A machine whose clocks a test sets."""

from __future__ import annotations

from smsevents.clock.system import Clocks

START_MS = 1_790_000_000_000


class FakeMachine:
    """A machine with a wall clock that may be wrong, and one that cannot be set. `true_ms` is the true time."""

    def __init__(self, true_ms: int = START_MS) -> None:
        """Start with correct clocks and some uptime."""
        self.true_ms = true_ms
        self.wrong_ms = 0  # how far the wall clock is ahead
        self._started_ms = true_ms - 1_000_000
        self._starts = 1

    @property
    def clocks(self) -> Clocks:
        """The clocks, as the code under test takes them."""
        return Clocks(
            wall_ms=lambda: self.true_ms + self.wrong_ms,
            since_start_ms=lambda: self.true_ms - self._started_ms,
            start=lambda: f"start {self._starts}",
        )

    def passes(self, length_ms: int) -> None:
        """Let time pass, awake or asleep."""
        self.true_ms += length_ms

    def restart(self, off_ms: int) -> None:
        """Turn the machine off for `off_ms`, and start it again."""
        self.true_ms += off_ms
        self._started_ms = self.true_ms
        self._starts += 1

"""The pace of a body: how long a client may pause, and how slow it may be overall."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class BodyPace:
    """The time that a client has left. Each byte that it sends earns more.

    A client starts with `pause_max_seconds` and never has more than that. Each byte earns the time that it may take at
    the minimum rate. So a client may pause, even often, if it is fast in between. A client that only sends a byte now
    and then runs out of time.
    """

    def __init__(
        self, pause_max_seconds: float, rate_min_bytes_per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the time now, by a monotonic clock in seconds."""
        self._pause_max = pause_max_seconds
        self._rate_min = rate_min_bytes_per_second
        self._clock = clock
        self._until = clock() + pause_max_seconds
        self.is_in_time = True  # whether the client had the full time before its current pause

    def received(self, count: int) -> None:
        """Add the time that received bytes earn."""
        earned, most = self._until + count / self._rate_min, self._clock() + self._pause_max
        self.is_in_time = earned >= most
        self._until = min(earned, most)

    @property
    def seconds_left(self) -> float:
        """The time left until the next byte must arrive."""
        return max(0.0, self._until - self._clock())

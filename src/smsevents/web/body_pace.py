"""The pace of a body: how long a client may pause, and how slow it may be on the whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Time that a client has, and earns by what it sends.

    It has `pause_max_seconds` at first and never more than that. Each byte earns the time that it may take at the
    least rate. So a client may pause, also often, if it makes up for it, and one that sends a byte now and then runs
    out of time.
    """

    def __init__(
        self, pause_max_seconds: float, rate_min_bytes_per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin now; the clock tells seconds and never steps back."""
        self._pause_max = pause_max_seconds
        self._rate_min = rate_min_bytes_per_second
        self._clock = clock
        self._until = clock() + pause_max_seconds
        self.is_in_time = True  # whether it has all the time that it can have, so that only a pause can use it up

    def received(self, count: int) -> None:
        """Note that so many bytes came."""
        earned, most = self._until + count / self._rate_min, self._clock() + self._pause_max
        self.is_in_time = earned >= most
        self._until = min(earned, most)

    @property
    def seconds_left(self) -> float:
        """How long the client has for the next byte."""
        return max(0.0, self._until - self._clock())

"""Limiting wrong keys at the sign-in. A key cannot be guessed; the limit stops scripts that try one after the other."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smsevents.errors import TooManyAttempts, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRONG_KEYS_PER_MINUTE_MAX = 20
_MINUTE_SECONDS = 60
_CLIENTS_MAX = 10_000  # those that failed first are forgotten


class Attempts:
    """The wrong keys of the last minute, by the client's address, in one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Use a monotonic clock in seconds."""
        self._monotonic = monotonic
        self._failed: dict[str | None, deque[float]] = {}

    @contextmanager
    def counted(self, client: str | None) -> Iterator[None]:
        """Run an attempt; it counts if it ends in `Unauthorized`. Raises `TooManyAttempts` without running it."""
        failed = self._failed.get(client)
        now = self._monotonic()
        while failed and failed[0] <= now - _MINUTE_SECONDS:
            failed.popleft()
        if failed is not None and len(failed) >= WRONG_KEYS_PER_MINUTE_MAX:
            raise TooManyAttempts(
                f"There were {len(failed)} wrong keys from this address within a minute. Wait a minute, then try again."
            )
        try:
            yield
        except Unauthorized:
            if client not in self._failed and len(self._failed) >= _CLIENTS_MAX:
                del self._failed[next(iter(self._failed))]
            self._failed.setdefault(client, deque()).append(now)
            raise

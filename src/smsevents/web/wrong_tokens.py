"""Limits how often a client may send tokens that are wrong. A valid token is never limited."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smsevents.errors import TooManyAtOnce

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG_TOKEN_TRIES_MAX = 30  # of a client in WRONG_TOKENS_SECONDS
WRONG_TOKENS_SECONDS = 60
_CLIENTS_MAX = 10_000


class WrongTokens:
    """Counts the wrong tokens of each client address."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Use a monotonic clock in seconds."""
        self._monotonic = monotonic
        self._counted: dict[str | None, tuple[float, int]] = {}  # by client: the end of its period, and how many

    def refuse(self, client: str | None) -> None:
        """Count a wrong token of a client. Raises `TooManyAtOnce` once there were too many."""
        now = self._monotonic()
        until, count = self._counted.get(client, (0.0, 0))
        if now >= until:
            if len(self._counted) >= _CLIENTS_MAX:
                self._counted.clear()
            until, count = now + WRONG_TOKENS_SECONDS, 0
        self._counted[client] = (until, count + 1)
        if count >= WRONG_TOKEN_TRIES_MAX:
            raise TooManyAtOnce(
                f"There were more than {WRONG_TOKEN_TRIES_MAX} calls with a wrong token from this address within"
                f" {WRONG_TOKENS_SECONDS} seconds. Check the address in the gateway's configuration."
            )

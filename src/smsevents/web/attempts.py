"""Limiting what is wrong: keys at the sign-in, tokens of receivers. Neither can be guessed; the limit stops scripts.

Whatever is right is served, however much else came from the same address: behind a proxy that is not trusted, all
clients have one address, and somebody with wrong keys must not lock out everybody else.

An IPv6 client counts by its network of /64: a single machine has all addresses of it.
"""

from __future__ import annotations

import time
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from smsevents.errors import TooManyAttempts

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG_PER_MINUTE_MAX = 30
_MINUTE_SECONDS = 60
_NETWORK_BYTES = 8  # of an IPv6 address: /64
_CLIENTS_MAX = 10_000  # those whose minute began first are forgotten


class Attempts:
    """Counts what was wrong within a minute, by the client's address, in one process."""

    def __init__(self, what: str, advice: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Name `what` is wrong and what to do about it. Use a monotonic clock in seconds."""
        self._what = what
        self._advice = advice
        self._monotonic = monotonic
        # by address or network: the end of the minute, and how many; the oldest first
        self._wrong: dict[str | bytes | None, tuple[float, int]] = {}

    def count(self, client: str | None) -> None:
        """Count something wrong of a client. Raises `TooManyAttempts` once it is too much."""
        now = self._monotonic()
        counted = _counted_as(client)
        until, wrong = self._wrong.get(counted, (now, 0))
        if now >= until:
            self._wrong.pop(counted, None)
            if len(self._wrong) >= _CLIENTS_MAX:
                del self._wrong[next(iter(self._wrong))]
            until, wrong = now + _MINUTE_SECONDS, 0
        self._wrong[counted] = (until, wrong + 1)
        if wrong >= WRONG_PER_MINUTE_MAX:
            raise TooManyAttempts(
                f"There were more than {WRONG_PER_MINUTE_MAX} wrong {self._what} from this address within a minute."
                f" {self._advice}"
            )


def _counted_as(client: str | None) -> str | bytes | None:
    """Return the network of an IPv6 client, and any other one as it is (`networks.client_of` has read it)."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return client
    return address.packed[:_NETWORK_BYTES] if isinstance(address, IPv6Address) else client

"""How long to wait for what, when to try again, and how long to wait before that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.client.errors import ClientError, Recovery
from smsevents.client.head import date_of

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS_BYTES_PER_MINUTE_MIN = 4096  # some 15 events
_DOUBLINGS_MAX = 64  # after these any wait is at its longest
_DIGITS_MAX = 12


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the client waits, each for one thing; nothing limits a complete export that makes progress.

    `silence_seconds` is how long the server may send nothing, before the response and within it; its head must be
    complete within that time. In each such period of the body `events_bytes_per_minute_min` bytes of events must
    come for each minute, so that a server that drips is not waited for without an end; 0 asks for none.
    """

    connect_seconds: float = 15.0
    silence_seconds: float = 120.0
    send_seconds: float = 60.0
    events_bytes_per_minute_min: int = EVENTS_BYTES_PER_MINUTE_MIN


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a call is tried, and how long to wait in between.

    The wait begins with `first_wait_seconds` and doubles up to `wait_max_seconds`; up to half of it is left
    off by chance, so that many clients do not come back at the same moment. A longer `Retry-After` of the
    server is kept to. If it is over `retry_after_max_seconds`, the error is raised at once.
    """

    tries_max: int = 5
    first_wait_seconds: float = 1.0
    wait_max_seconds: float = 60.0
    retry_after_max_seconds: float = 300.0


NEVER = Retry(tries_max=1)
"""Do not try again."""


def _is_over_soon(error: ClientError) -> bool:
    return error.recovery is Recovery.NOW


class Tries:
    """The tries of one call, or of something larger that can begin again from the start."""

    def __init__(
        self, policy: Retry, jitter: Callable[[], float], is_worth_it: Callable[[ClientError], bool] = _is_over_soon
    ) -> None:
        """Keep to a policy; `jitter` returns numbers from 0 to 1, `is_worth_it` whether an error may be over soon."""
        self._policy = policy
        self._jitter = jitter
        self._is_worth_it = is_worth_it
        self._made = 0

    def wait_seconds(self, error: ClientError) -> float:
        """Return how long to wait before the next try. Raises the error if there is to be none."""
        self._made += 1
        if not self._is_worth_it(error) or self._made >= self._policy.tries_max:
            raise error
        # of a call that is repeated; a fault is no promise that the server is well again by then
        told = (error.recovery is Recovery.NOW and getattr(error, "retry_after_seconds", None)) or 0.0
        if told > self._policy.retry_after_max_seconds:
            raise error
        wait = self._policy.wait_max_seconds
        if self._made <= _DOUBLINGS_MAX:
            wait = min(wait, self._policy.first_wait_seconds * 2.0 ** (self._made - 1))
        return max(told, wait * (1 - self._jitter() / 2))


def retry_after_seconds(text: str | None, now_ms: int) -> float | None:
    """Read the header Retry-After (RFC 9110, 10.2.3): seconds, or a date. None if it is not there or neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS_MAX])
    date = date_of(text)
    return None if date is None else max(0.0, date.timestamp() - now_ms / 1000)

"""Timeouts, and when to retry a call after which wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.client.errors import ClientError, Recovery
from smsevents.client.head import date_of

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS_BYTES_PER_MINUTE_MIN = 4096  # about 15 events
_DOUBLINGS_MAX = 64  # after these, any wait has reached its maximum
_DIGITS_MAX = 12


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the client waits for single steps. The total time of an export that makes progress is not limited.

    `silence_seconds` is how long the server may send nothing, before the response and within it; its headers must be
    complete within that time. In each such period of the body, `events_bytes_per_minute_min` bytes of events must
    arrive per minute, so that the client gives up on a server that sends almost nothing; 0 disables this minimum.
    """

    connect_seconds: float = 15.0
    silence_seconds: float = 120.0
    send_seconds: float = 60.0
    events_bytes_per_minute_min: int = EVENTS_BYTES_PER_MINUTE_MIN


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a call is tried, and how long to wait in between.

    The wait starts at `first_wait_seconds` and doubles up to `wait_max_seconds`. It is shortened at random by up to
    half, so that many clients do not return at the same moment. If the server's `Retry-After` is longer, the client
    waits that long. If it exceeds `retry_after_max_seconds`, the error is raised immediately.
    """

    tries_max: int = 5
    first_wait_seconds: float = 1.0
    wait_max_seconds: float = 60.0
    retry_after_max_seconds: float = 300.0


NEVER = Retry(tries_max=1)
"""Never retry."""


def _is_over_soon(error: ClientError) -> bool:
    return error.recovery is Recovery.NOW


class Tries:
    """The tries of one call, or of a larger task that can start over."""

    def __init__(
        self, policy: Retry, jitter: Callable[[], float], is_worth_it: Callable[[ClientError], bool] = _is_over_soon
    ) -> None:
        """Apply a policy. `jitter` returns numbers from 0 to 1; `is_worth_it` says whether to retry after an error."""
        self._policy = policy
        self._jitter = jitter
        self._is_worth_it = is_worth_it
        self._made = 0

    def wait_seconds(self, error: ClientError) -> float:
        """Return how long to wait before the next try. Raises the error if there is none."""
        self._made += 1
        if not self._is_worth_it(error) or self._made >= self._policy.tries_max:
            raise error
        # only if the call is repeated; after a server fault, Retry-After does not mean that the server has recovered
        told = (error.recovery is Recovery.NOW and getattr(error, "retry_after_seconds", None)) or 0.0
        if told > self._policy.retry_after_max_seconds:
            raise error
        wait = self._policy.wait_max_seconds
        if self._made <= _DOUBLINGS_MAX:
            wait = min(wait, self._policy.first_wait_seconds * 2.0 ** (self._made - 1))
        return max(told, wait * (1 - self._jitter() / 2))


def retry_after_seconds(text: str | None, now_ms: int) -> float | None:
    """Read a `Retry-After` header (RFC 9110, 10.2.3): seconds or a date. Return None if it is missing or neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS_MAX])
    date = date_of(text)
    return None if date is None else max(0.0, date.timestamp() - now_ms / 1000)

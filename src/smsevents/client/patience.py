"""Patience: how long to wait for what, when to try again, and how long to wait before that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from smsevents.client.errors import ClientError, CutStream, RateLimited, ServerUnavailable, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_DOUBLINGS_MAX = 64  # behind these any wait is at its longest
_DIGITS_MAX = 12


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the client waits, each for one thing; nothing limits a whole export.

    `silence_seconds` is how long the server may send nothing, before the answer and within it.
    """

    connect_seconds: float = 15.0
    silence_seconds: float = 120.0
    send_seconds: float = 60.0


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


class Tries:
    """The tries of one call."""

    def __init__(self, policy: Retry, jitter: Callable[[], float]) -> None:
        self._policy = policy
        self._jitter = jitter
        self._made = 0

    def wait_seconds(self, error: ClientError) -> float:
        """Tell how long to wait before the next try; raise the error if there is none."""
        self._made += 1
        if not _is_passing(error) or self._made >= self._policy.tries_max:
            raise error
        told = getattr(error, "retry_after_seconds", None) or 0.0
        if told > self._policy.retry_after_max_seconds:
            raise error
        wait = self._policy.wait_max_seconds
        if self._made <= _DOUBLINGS_MAX:
            wait = min(wait, self._policy.first_wait_seconds * 2.0 ** (self._made - 1))
        return max(told, wait * (1 - self._jitter() / 2))


def _is_passing(error: ClientError) -> bool:
    if isinstance(error, Unreachable):
        return not error.permanent
    return isinstance(error, (RateLimited, ServerUnavailable, CutStream))


def retry_after_seconds(text: str | None, now_ms: int) -> float | None:
    """Read the header Retry-After (RFC 9110, 10.2.3): seconds, or a date. None if it is not there or neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS_MAX])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)  # "-0000", a time in UTC from who knows where
    return max(0.0, date.timestamp() - now_ms / 1000)

"""Every error that the client raises on purpose.

    SmsEventsError
    └── ClientError
        ├── ConfigurationError      the caller gave something that cannot be used: a key, an address, a time
        ├── MissingExtra            a part of the client needs packages that are not installed
        ├── Unreachable             no answer came: no connection, or the server went silent before it answered
        ├── Refused                 the server answered with an error; `status` and `detail` say which
        │   ├── BadRequest          400, 404, 405, 413, 415, 422 and the like: the same call fails again
        │   │   └── RefusedLines    lines of an import; `lines` has their numbers and reasons
        │   ├── Unauthorized        401
        │   ├── Forbidden           403
        │   ├── RateLimited         429; `retry_after_seconds` if the server told it
        │   ├── ServerUnavailable   408, 425, 502, 503, 504; `retry_after_seconds` if the server told it
        │   └── ServerFault         500 and other 5xx
        ├── UnexpectedAnswer        an answer that is none of this API, such as the page of a proxy
        ├── SyncFailed              the events came, but could not be loaded into the warehouse
        └── NotWhole                an export that began well and cannot be taken for whole
            ├── CutStream           it ended early; `lines` and `body_bytes` say how far it came
            │   └── TooSlow         it came so slowly that it was given up
            └── BadLine             a line that is not an event; `line`, `reason` and `text` say which

The text of an error says what was wrong, where, and what to do next. It never holds the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smsevents.errors import SmsEventsError

__all__ = [
    "BadLine",
    "BadRequest",
    "ClientError",
    "ConfigurationError",
    "CutStream",
    "Forbidden",
    "MissingExtra",
    "NotWhole",
    "RateLimited",
    "Refused",
    "RefusedLine",
    "RefusedLines",
    "ServerFault",
    "ServerUnavailable",
    "SyncFailed",
    "TooSlow",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
]


class ClientError(SmsEventsError):
    """The root of the client's errors. They can be pickled, so they come out of a process pool as they are."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), str(self), vars(self))


def _rebuilt(kind: type[ClientError], text: str, attributes: dict[str, Any]) -> ClientError:
    error = kind.__new__(kind, text)  # not by its arguments: some make their text of them
    vars(error).update(attributes)
    return error


class ConfigurationError(ClientError):
    """The caller gave something that cannot be used, or not enough; nothing was sent."""


class MissingExtra(ClientError, ImportError):
    """A part of the client needs packages that are not installed; the text names the extra that brings them."""


class Unreachable(ClientError):
    """No answer came. `permanent` tells that trying again does not help, as with a wrong certificate."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class Refused(ClientError):
    """The server answered with an error.

    `status` is the HTTP status. `detail` is what the server said about it (RFC 9457), shortened, or "".
    """

    def __init__(self, text: str, *, status: int, detail: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class BadRequest(Refused):
    """The server does not take the request as it is; the same request fails again."""


@dataclass(frozen=True)
class RefusedLine:
    """A line of an import that was refused: its number, counted from 1, and why."""

    line: int
    reason: str


class RefusedLines(BadRequest):
    """Lines of an import that the server refuses; nothing of the import was stored.

    `lines` names some of them. `more` tells that there may be further ones.
    """

    def __init__(self, text: str, *, status: int, detail: str, lines: list[RefusedLine], more: bool) -> None:
        super().__init__(text, status=status, detail=detail)
        self.lines = lines
        self.more = more


class Unauthorized(Refused):
    """The server does not know the key."""


class Forbidden(Refused):
    """The key is good, but not for this shop or not for this action."""


class RateLimited(Refused):
    """The server asks to wait: `retry_after_seconds`, or None if it did not say how long."""


class ServerUnavailable(Refused):
    """The server, or a proxy before it, cannot answer just now; `retry_after_seconds` if it said how long."""


class ServerFault(Refused):
    """The server failed; trying again at once does not help."""


class UnexpectedAnswer(ClientError):
    """The answer is none of this API: another media type, a redirect, a page of a proxy.

    `permanent` tells that every other call to this address gets the same, as with a redirect.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class SyncFailed(ClientError):
    """The events came, but could not be loaded into the warehouse; what was loaded before is there."""


class NotWhole(ClientError):
    """An export that began well and cannot be taken for whole. What came of it before is not all there is."""


class CutStream(NotWhole):
    """An export that ended before its end, or whose bytes do not match their checksum.

    `lines` counts the lines that were given before, `body_bytes` the bytes of the body that arrived.
    """

    def __init__(self, reason: str, *, lines: int, body_bytes: int) -> None:
        super().__init__(
            f"The export was cut after {lines:,} lines: {reason}. What came is not all there is; ask for it again."
        )
        self.reason = reason
        self.lines = lines
        self.body_bytes = body_bytes


class TooSlow(CutStream):
    """An export that came so slowly that the client gave it up; see `Timeouts`."""


class BadLine(NotWhole):
    """A line of an export that is not an event, such as an error text in the middle of it.

    `line` is its number, counted from 1, `reason` what is wrong with it, `text` its beginning.
    """

    def __init__(self, *, line: int, reason: str, text: str) -> None:
        super().__init__(
            f"Line {line:,} of the export is not an event: {reason}. It reads: {text}"
            " The export cannot be taken for whole; ask for it again, and tell the operator of the server if it stays."
        )
        self.line = line
        self.reason = reason
        self.text = text

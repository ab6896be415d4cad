"""Every error that the client raises on purpose.

    SmsEventsError
    └── ClientError
        ├── ConfigurationError      the caller gave something that cannot be used: a key, an address, a time
        ├── MissingExtra            a part of the client needs packages that are not installed
        ├── Unreachable             no response came: no connection, or the server went silent before it responded
        ├── Refused                 the server responded with an error; `status` and `detail` say which
        │   ├── BadRequest          400, 404, 405, 413, 415, 422 and the like: the same call fails again
        │   │   └── RefusedLines    lines of an import; `lines` has their numbers and reasons
        │   ├── Unauthorized        401
        │   ├── Forbidden           403
        │   ├── RateLimited         429; `retry_after_seconds` if the server told it
        │   ├── ServerUnavailable   408, 425, 502, 503, 504; `retry_after_seconds` if the server told it
        │   └── ServerFault         500 and other 5xx
        ├── UnexpectedResponse      a response that is not one of this API, such as the page of a proxy
        ├── SyncFailed              the events came, but could not be loaded into the warehouse
        └── IncompleteExport        an export that began well and cannot be taken for complete
            ├── TruncatedStream     it ended early; `lines` and `body_bytes` say how far it came
            │   └── TooSlow         it came so slowly that it was given up
            └── BadLine             a line that is not an event; `line`, `reason` and `text` say which

The text of an error says what was wrong, where, and what to do next. It never holds the key. `recovery` says whether
and when to try again, and `fails_all` whether other calls fail for the same reason.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from smsevents.errors import RefusedLine, SmsEventsError

__all__ = [
    "BadLine",
    "BadRequest",
    "ClientError",
    "ConfigurationError",
    "Forbidden",
    "IncompleteExport",
    "MissingExtra",
    "RateLimited",
    "Recovery",
    "Refused",
    "RefusedLine",
    "RefusedLines",
    "ServerFault",
    "ServerUnavailable",
    "SyncFailed",
    "TooSlow",
    "TruncatedStream",
    "Unauthorized",
    "UnexpectedResponse",
    "Unreachable",
]


class Recovery(Enum):
    """Whether and when the same call may succeed.

    NOW: in some seconds, so the call itself is repeated. LATER: not by repeating the call at once, but a caller
    that can begin again from the start may try. NEVER: not before somebody changed something, or not for a long time.
    """

    NOW = "now"
    LATER = "later"
    NEVER = "never"


class ClientError(SmsEventsError):
    """The root of the client's errors. They can be pickled, so they come out of a process pool as they are."""

    recovery: Recovery = Recovery.NEVER
    fails_all: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), str(self), vars(self))


def _rebuilt(kind: type[ClientError], text: str, attributes: dict[str, Any]) -> ClientError:
    error = kind.__new__(kind, text)  # not by its arguments: some make their text of them
    vars(error).update(attributes)
    return error


class ConfigurationError(ClientError):
    """The caller gave something that cannot be used, or not enough; nothing was sent."""

    fails_all = True


class MissingExtra(ClientError, ImportError):
    """A part of the client needs packages that are not installed; the text names the extra that brings them."""


class Unreachable(ClientError):
    """No response came. `permanent` tells that trying again does not help, as with a wrong certificate."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = self.fails_all = permanent
        self.recovery = Recovery.NEVER if permanent else Recovery.NOW


class Refused(ClientError):
    """The server responded with an error.

    `status` is the HTTP status. `detail` is what the server said about it (RFC 9457), shortened, or "".
    """

    fails_all = True

    def __init__(self, text: str, *, status: int, detail: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class BadRequest(Refused):
    """The server does not take the request as it is; the same request fails again."""


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

    recovery = Recovery.NOW


class ServerUnavailable(Refused):
    """The server, or a proxy before it, cannot respond just now; `retry_after_seconds` if it said how long."""

    recovery = Recovery.NOW
    fails_all = False


class ServerFault(Refused):
    """The server failed; trying again at once does not help."""

    recovery = Recovery.LATER
    fails_all = False


class UnexpectedResponse(ClientError):
    """The response is not one of this API: another media type, a redirect, a page of a proxy.

    `permanent` tells that every other call to this address gets the same, as with a redirect.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = self.fails_all = permanent
        self.recovery = Recovery.NEVER if permanent else Recovery.LATER


class SyncFailed(ClientError):
    """The events came, but could not be loaded into the warehouse; what was loaded before is there."""


class IncompleteExport(ClientError):
    """An export that began well and cannot be taken for complete. What came of it before is not all there is."""


class TruncatedStream(IncompleteExport):
    """An export that ended before its end, or whose bytes do not match their checksum.

    `lines` counts the lines that were returned before, `body_bytes` the bytes of the body that arrived.
    """

    recovery = Recovery.NOW

    def __init__(self, reason: str, *, lines: int, body_bytes: int) -> None:
        super().__init__(
            f"The export was cut after {lines:,} lines: {reason}. What came is not all there is; ask for it again."
        )
        self.reason = reason
        self.lines = lines
        self.body_bytes = body_bytes


class TooSlow(TruncatedStream):
    """An export that came so slowly that the client gave it up; see `Timeouts`."""

    recovery = Recovery.NEVER  # not for a long time: the next try takes minutes to be as slow


class BadLine(IncompleteExport):
    """A line of an export that is not an event, such as an error text in the middle of it.

    `line` is its number, counted from 1, `reason` what is wrong with it, `text` its beginning.
    """

    recovery = Recovery.LATER

    def __init__(self, *, line: int, reason: str, text: str) -> None:
        super().__init__(
            f"Line {line:,} of the export is not an event: {reason}. It reads: {text}"
            " The export cannot be taken for whole; ask for it again, and tell the operator of the server if it stays."
        )
        self.line = line
        self.reason = reason
        self.text = text

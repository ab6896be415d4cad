"""Every error that the client raises on purpose.

    SmsEventsError
    └── ClientError
        ├── ConfigurationError      an argument or setting cannot be used: a key, an address, a time
        ├── MissingExtra            a part of the client needs packages that are not installed
        ├── Unreachable             no response: no connection, or the server fell silent before it responded
        ├── Refused                 the server responded with an error; `status` and `detail` say which
        │   ├── BadRequest          400, 404, 405, 413, 415, 422 and the like: the same call fails again
        │   │   └── RefusedLines    lines of an import; `lines` has their numbers and reasons
        │   ├── Unauthorized        401
        │   ├── Forbidden           403
        │   ├── RateLimited         429; `retry_after_seconds` if the server sent it
        │   ├── ServerUnavailable   408, 425, 502, 503, 504; `retry_after_seconds` if the server sent it
        │   └── ServerFault         500 and other 5xx
        ├── UnexpectedResponse      a response that is not part of this API, such as a proxy's page
        ├── SyncFailed              the events arrived but could not be loaded into the warehouse
        └── IncompleteExport        an export that began well but cannot be accepted as complete
            ├── TruncatedStream     it ended early; `lines` and `body_bytes` say how far it got
            │   └── TooSlow         it was so slow that the client gave up
            └── BadLine             a line that is not an event; `line`, `reason` and `text` say which

The text of an error says what was wrong, where, and what to do next. It never contains the key. `recovery` says
whether and when to try again; `fails_all` says whether other calls fail for the same reason.
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

    NOW: within seconds, so the client repeats the call. LATER: repeating the call immediately does not help, but a
    caller that can start over may try again. NEVER: only after something was changed, or after a long time.
    """

    NOW = "now"
    LATER = "later"
    NEVER = "never"


class ClientError(SmsEventsError):
    """The root of the client's errors. They can be pickled, so they pass through a process pool unchanged."""

    recovery: Recovery = Recovery.NEVER
    fails_all: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), str(self), vars(self))


def _rebuilt(kind: type[ClientError], text: str, attributes: dict[str, Any]) -> ClientError:
    error = kind.__new__(kind, text)  # not from the arguments: some classes derive the text from theirs
    vars(error).update(attributes)
    return error


class ConfigurationError(ClientError):
    """An argument or setting is missing or cannot be used. Nothing was sent."""

    fails_all = True


class MissingExtra(ClientError, ImportError):
    """A part of the client needs packages that are not installed. The text names the extra that installs them."""


def missing_extra(need: str, extra: str) -> MissingExtra:
    """Return the error for a package that is not installed. `need` says what needs which package."""
    return MissingExtra(
        f"{need}, which is not installed. In the checkout of smsevents, run: pip install '.[{extra}]'"
        f" (or: make install WITH={extra})"
    )


class Unreachable(ClientError):
    """No response arrived. If `permanent`, trying again does not help, as with a wrong certificate."""

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
    """The server rejects the request; the same request fails again."""


class RefusedLines(BadRequest):
    """The server refused lines of an import and stored nothing of it.

    `lines` lists some of the refused lines. If `more`, there may be others.
    """

    def __init__(self, text: str, *, status: int, detail: str, lines: list[RefusedLine], more: bool) -> None:
        super().__init__(text, status=status, detail=detail)
        self.lines = lines
        self.more = more


class Unauthorized(Refused):
    """The server does not know the key."""


class Forbidden(Refused):
    """The key is valid, but not for this shop or this action."""


class RateLimited(Refused):
    """The server asks the client to wait `retry_after_seconds`; None if it did not say how long."""

    recovery = Recovery.NOW


class ServerUnavailable(Refused):
    """The server, or a proxy in front of it, is temporarily unavailable; `retry_after_seconds` if it said how long."""

    recovery = Recovery.NOW
    fails_all = False


class ServerFault(Refused):
    """The server failed; trying again immediately does not help."""

    recovery = Recovery.LATER
    fails_all = False


class UnexpectedResponse(ClientError):
    """The response is not part of this API: another media type, a redirect, a proxy's page.

    If `permanent`, every other call to this address gets the same response, as with a redirect.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = self.fails_all = permanent
        self.recovery = Recovery.NEVER if permanent else Recovery.LATER


class SyncFailed(ClientError):
    """The events arrived but could not be loaded into the warehouse. Events loaded earlier stay there."""


class IncompleteExport(ClientError):
    """An export that began well but cannot be accepted as complete. The events received so far are not all of them."""


class TruncatedStream(IncompleteExport):
    """An export that ended early, or whose bytes do not match their checksum.

    `lines` counts the lines yielded before the error, `body_bytes` the bytes of the body that arrived.
    """

    recovery = Recovery.NOW

    def __init__(self, reason: str, *, lines: int, body_bytes: int) -> None:
        super().__init__(
            f"The export was truncated after {lines:,} lines: {reason}. The data is incomplete; export it again."
        )
        self.reason = reason
        self.lines = lines
        self.body_bytes = body_bytes


class TooSlow(TruncatedStream):
    """An export that was so slow that the client gave up; see `Timeouts`."""

    recovery = Recovery.NEVER  # the next try would probably take minutes to fail again


class BadLine(IncompleteExport):
    """A line of an export that is not an event, such as an error text in the middle of the export.

    `line` is its number, counted from 1; `reason` says what is wrong with it; `text` is its beginning.
    """

    recovery = Recovery.LATER

    def __init__(self, *, line: int, reason: str, text: str) -> None:
        super().__init__(
            f"Line {line:,} of the export is not an event: {reason}. It reads: {text}"
            " The export cannot be accepted as complete. Export again; if the error persists, contact the operator of"
            " the server."
        )
        self.line = line
        self.reason = reason
        self.text = text

"""Turns the headers and the body of an error response into the error to raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from smsevents.client.errors import (
    BadRequest,
    ClientError,
    Forbidden,
    RateLimited,
    Refused,
    RefusedLine,
    RefusedLines,
    ServerFault,
    ServerUnavailable,
    Unauthorized,
    UnexpectedResponse,
)
from smsevents.client.head import clock_of, spoken
from smsevents.client.lines import printable, shortened
from smsevents.client.retry import retry_after_seconds
from smsevents.wire.gzip_stream import Inflater, NotGzip

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP_OK = 200
ERROR_BODY_MAX_BYTES = 64 * 1024
DETAIL_SHOWN_CHARACTERS = 1000
SECONDS_SHOWN_MAX = 600  # a longer wait is shown in minutes, hours or days

# media types that servers and proxies use for a stream of JSON lines; `text/html` is excluded on purpose
LINES_TYPES = frozenset(
    {
        "application/json",
        "application/json-lines",
        "application/json-seq",
        "application/jsonl",
        "application/jsonlines",
        "application/ndjson",
        "application/octet-stream",
        "application/x-json-stream",
        "application/x-jsonl",
        "application/x-jsonlines",
        "application/x-ndjson",
        "binary/octet-stream",
        "text/plain",
        "text/x-ndjson",
    }
)

_ADVICE: dict[int, tuple[type[Refused], str]] = {
    401: (Unauthorized, "Check the API key; it may be wrong, revoked or expired."),
    403: (Forbidden, "Check the trackpoint, and that the key belongs to it and has the required scope."),
    404: (BadRequest, "Check the address and the trackpoint."),
    408: (ServerUnavailable, "Try again in a moment."),
    413: (BadRequest, "Send it in several parts."),
    425: (ServerUnavailable, "Try again in a moment."),
    429: (RateLimited, "Wait, then try again with fewer concurrent calls."),
    502: (ServerUnavailable, "Try again in a moment."),
    503: (ServerUnavailable, "Try again in a moment."),
    504: (ServerUnavailable, "Try again in a moment."),
}
_SERVER_ERRORS = range(500, 600)
_CLIENT_ERRORS = range(400, 500)


def error_of(status: int, headers: Mapping[str, str], body: bytes, now_ms: int) -> ClientError:
    """Return the error for a response other than 200. `body` is its beginning, not decoded.

    `now_ms` is the time by this machine's clock. The server's `Date`, if present, takes precedence, because a date
    in `Retry-After` is by the server's clock.
    """
    text = plain(body, coding_of(headers))
    problem = _problem(text)
    detail = _detail(problem, text)
    said = f" It says: {detail}" if detail else ""
    if lines := _lines(problem):
        return RefusedLines(
            f"The server refused some lines and stored nothing ({status}).{said}",
            status=status,
            detail=detail,
            lines=lines,
            more=problem.get("more") is True,
        )
    if status not in _SERVER_ERRORS and status not in _CLIENT_ERRORS:
        target = (
            f". It redirects to {printable(headers['location'])}; use that address" if "location" in headers else ""
        )
        return UnexpectedResponse(
            f"The server responded with status {status}, not 200{target}.{said}", permanent="location" in headers
        )
    kind, advice = _ADVICE.get(status, (ServerFault if status in _SERVER_ERRORS else BadRequest, ""))
    server_ms = clock_of(headers.get("date"))
    wait = retry_after_seconds(headers.get("retry-after"), now_ms if server_ms is None else server_ms)
    length = f"{wait:g} seconds" if wait and wait <= SECONDS_SHOWN_MAX else spoken(round((wait or 0) * 1000))
    waiting = f" It asks the client to wait {length}." if wait else ""
    parts = f"The server responded with status {status}.{said}{waiting} {advice}"
    return kind(parts.strip(), status=status, detail=detail, retry_after_seconds=wait)


def media_type_of(headers: Mapping[str, str]) -> str:
    """Return the media type without its parameters, or "" if there is none. The result is printable."""
    return printable(headers.get("content-type", "").partition(";")[0].strip().lower())


def coding_of(headers: Mapping[str, str]) -> str:
    """Return the content coding: `identity`, `gzip`, or whatever else the server chose."""
    coding = printable(headers.get("content-encoding", "").strip().lower())
    return {"": "identity", "x-gzip": "gzip"}.get(coding, coding)


def plain(body: bytes, coding: str) -> bytes:
    """Return the decoded beginning of a body, as far as it can be decoded."""
    if coding != "gzip":
        return body
    try:
        return next(Inflater().feed(body), b"")
    except NotGzip:
        return b""


def _problem(text: bytes) -> dict[str, Any]:
    try:
        read = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _detail(problem: dict[str, Any], text: bytes) -> str:
    """Return the server's explanation: the member of RFC 9457, a common alternative, or else the body itself."""
    for name in ("detail", "message", "error", "title"):
        if isinstance(said := problem.get(name), str) and said:
            return shortened(said.encode(), characters=DETAIL_SHOWN_CHARACTERS)
    return shortened(text)


def _lines(problem: dict[str, Any]) -> list[RefusedLine]:
    try:
        lines = msgspec.convert(problem.get("errors", []), list[RefusedLine])
    except msgspec.ValidationError:
        return []
    return [RefusedLine(line.line, printable(line.reason, DETAIL_SHOWN_CHARACTERS)) for line in lines]

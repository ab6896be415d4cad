"""The head of a request: the request line and the header fields, read strictly (RFC 9112, sections 2 to 6).

A head that two programs could read in two ways is refused, so that this server never sees a different request than
the proxy or the client sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from smsevents.errors import HeadTooLarge, MalformedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[bytes, bytes]]

HEADERS_MAX = 128
_TOO_MANY = f"There are more than {HEADERS_MAX} headers. Send fewer."
LENGTH_MAX_DIGITS = 18  # without leading zeros; every such number fits in 64 bits

# The methods that Litestar can route. RFC 9110, section 9 has others, but none is useful here.
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^ ]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([^\x00-\x08\x0a-\x1f\x7f]*)")
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")  # visible ASCII without fragments
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%\-]*)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]+)([^?]*)(?:\?(.*))?", re.DOTALL)

_IN_A_HEAD = bytes(byte for byte in range(256) if byte in b"\t\r\n" or (byte >= 0x20 and byte != 0x7F))  # noqa: PLR2004


@dataclass(slots=True)
class Head:
    """A request line and its header fields, with what they say about the body and the connection."""

    method: str
    path: str  # decoded except for `%2F`: its slashes are those of the request
    raw_path: bytes
    query: bytes
    is_http_1_0: bool
    headers: list[tuple[bytes, bytes]]  # names in lower case, values without the whitespace around them
    length: int | None  # of the body, in bytes; None if it comes in chunks
    keep_alive: bool
    expects_continue: bool


def parse_head(data: bytes) -> Head:
    """Parse a head, passed without the empty line that ends it.

    Raises `MalformedRequest` for what RFC 9112 does not allow and for versions other than 1.x, `HeadTooLarge` for
    more than HEADERS_MAX header fields.
    """
    if data.count(b"\r\n") > HEADERS_MAX:
        raise HeadTooLarge(_TOO_MANY)
    first, *lines = data.split(b"\r\n")
    method, target, minor = _request_line(first)
    headers = [_field(line) for line in lines]
    special: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _SPECIAL:
            special.setdefault(name, []).append(value)
    is_http_1_0 = minor == b"0"
    _check_host(special.get(b"host", []), required=not is_http_1_0)
    path, query = _target(method, target)
    options = list_of(special.get(b"connection", ()))
    length = _length(special, is_http_1_0=is_http_1_0)
    return Head(
        method=method.decode(),
        path=_decoded(path),
        raw_path=path,
        query=query,
        is_http_1_0=is_http_1_0,
        headers=headers,
        length=length,
        keep_alive=not is_http_1_0 and b"close" not in options,
        expects_continue=_expects_continue(special.get(b"expect", ())) and not is_http_1_0 and length != 0,
    )


_SPECIAL = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"expect"})


def check_unfinished(data: bytearray, start: int) -> None:
    """Refuse an invalid head before it ends, so that the client does not have to wait for the response.

    The bytes before `start` were checked by an earlier call. Raises `MalformedRequest` or `HeadTooLarge`. A check of
    64 KiB takes only a few microseconds, because any client may cause it again and again.
    """
    new = bytes(data[start - 1 if data[start - 1 : start] == b"\r" else start :])
    if new.translate(None, _IN_A_HEAD):
        raise MalformedRequest(
            "The request line or a header holds a control character. This is not what HTTP/1.1 allows; if you meant"
            " https://, this port serves http:// alone."
        )
    line_ends = new.count(b"\r\n")
    if new.count(b"\n") != line_ends or new.count(b"\r") - new.endswith(b"\r") != line_ends:
        raise MalformedRequest("A line must end in CR LF, which HTTP/1.1 asks for.")
    if data.count(b"\r\n") > HEADERS_MAX + 1:
        raise HeadTooLarge(_TOO_MANY)
    end = data.find(b"\r\n")
    if end >= 0:
        if start <= end + 1:  # once
            _request_line(bytes(data[:end]))
    elif not re.match(_TOKEN + rb"(?: |\r?\Z)", data[:64]):
        raise MalformedRequest("This is not a request line of HTTP/1.1. It is like `POST /path HTTP/1.1`.")


def list_of(values: Sequence[bytes]) -> list[bytes]:
    """Return the members of a list in lower case; it may be spread over several fields (RFC 9110, section 5.6.1)."""
    return [member for member in (part.strip(b" \t").lower() for part in b",".join(values).split(b",")) if member]


def check_field(line: bytes) -> None:
    """Check a trailer field. Raises `MalformedRequest`."""
    _field(line)


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedRequest("This is not a request line of HTTP/1.1. It is like `POST /path HTTP/1.1`.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise MalformedRequest(f"HTTP/{major.decode()}.{minor.decode()} is not served here. Use HTTP/1.1.")
    if method not in METHODS:
        known = ", ".join(sorted(name.decode() for name in METHODS))
        raise MalformedRequest(f"The method is unknown. The HTTP methods here are {known}.")
    return method, target, minor


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        if line[:1] in {b" ", b"\t"}:
            raise MalformedRequest("A header is folded over two lines, which HTTP/1.1 no longer allows. Use one line.")
        raise MalformedRequest(
            "A header is not what HTTP/1.1 allows. It is like `Name: value`, without a space in front."
        )
    name, value = match.groups()
    return name.lower(), value.strip(b" \t")


def _check_host(hosts: Sequence[bytes], *, required: bool) -> None:
    """Enforce RFC 9112, section 3.2: exactly one Host from HTTP/1.1 on, with a valid value."""
    if len(hosts) > 1:
        raise MalformedRequest("There are several Host headers. HTTP/1.1 allows one.")
    if not hosts:
        if required:
            raise MalformedRequest("There is no Host header. HTTP/1.1 requires one.")
        return
    if _HOST.fullmatch(hosts[0]) is None:
        raise MalformedRequest("The Host header is not a host with an optional port, which HTTP/1.1 requires.")


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request target (RFC 9112, section 3.2)."""
    if _TARGET.fullmatch(target) is None:
        raise MalformedRequest(
            "The path holds a character that HTTP/1.1 does not allow there. Percent-encode it, also `#` (%23)."
        )
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return path, query
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or _HOST.fullmatch(absolute[1]) is None or absolute[1].startswith(b":"):
        raise MalformedRequest("The path does not begin with a slash, as HTTP/1.1 requires.")
    return absolute[2] or b"/", absolute[3] or b""


def _decoded(raw_path: bytes) -> str:
    """Decode a path for routing. An escaped slash stays escaped: it is part of a name, not a separator."""
    path = raw_path.decode("ascii")
    if "%" not in path:
        return path
    return "/".join(unquote(part).replace("/", "%2F") for part in path.split("/"))


def _length(special: dict[bytes, list[bytes]], *, is_http_1_0: bool) -> int | None:
    """Return the length of the body in bytes, or None for chunks (RFC 9112, section 6)."""
    lengths = special.get(b"content-length", ())
    codings = special.get(b"transfer-encoding")
    if codings is None:
        return _announced(lengths)
    if lengths:
        raise MalformedRequest("There are both Content-Length and Transfer-Encoding. HTTP/1.1 allows one of them.")
    if is_http_1_0:
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding. Send a Content-Length, or use HTTP/1.1.")
    if len(codings) != 1 or codings[0].lower() != b"chunked":
        raise MalformedRequest("Transfer-Encoding is not `chunked`, the only one of HTTP/1.1 that is read here.")
    return None


def _announced(lengths: Sequence[bytes]) -> int:
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise MalformedRequest("There are several Content-Length headers. HTTP/1.1 allows one.")
    digits = lengths[0]
    if not digits.isdigit():  # for bytes, this accepts only ASCII digits
        raise MalformedRequest("Content-Length is not a number, as HTTP/1.1 requires.")
    significant = digits.lstrip(b"0")
    if len(significant) > LENGTH_MAX_DIGITS:
        raise MalformedRequest(f"Content-Length has more than {LENGTH_MAX_DIGITS} digits; no HTTP body is as long.")
    return int(significant or b"0")


def _expects_continue(values: Sequence[bytes]) -> bool:
    """Return whether the client waits for `100 Continue`. Raises `MalformedRequest` for any other expectation."""
    expected = list_of(values)
    if any(one != b"100-continue" for one in expected):
        raise MalformedRequest("The header Expect asks for more than `100-continue`, the only one that HTTP/1.1 knows.")
    return bool(expected)

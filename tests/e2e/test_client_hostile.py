"""The client with a malicious or broken server: every call ends, and its error messages are safe to display."""

from __future__ import annotations

import asyncio
import time
import zlib
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.client import (
    NEVER,
    AsyncClient,
    BadLine,
    Client,
    ClientError,
    Retry,
    Timeouts,
    TooSlow,
    UnexpectedResponse,
    Unreachable,
)
from tests.support.hostile import Hostile
from tests.support.lines import body_of, line
from tests.support.servers import PLAIN, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TRACKPOINT = 1001
START = 1_795_000_000_000
HASTY = Timeouts(connect_seconds=5, silence_seconds=1, events_bytes_per_minute_min=60_000)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json-seq\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ONE = line(TRACKPOINT, START)
ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e\u2066"


def chunk(data: bytes) -> bytes:
    """Return data framed as a chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def slowly(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield one piece every 50 ms, so that no single read ever waits long."""
    for piece in pieces:
        time.sleep(0.05)
        yield piece


def bytewise(data: bytes) -> Iterator[bytes]:
    """Yield single bytes, repeating the same data without end."""
    return (bytes([one]) for one in chain.from_iterable(repeat(data)))


def line_feeds() -> Iterator[bytes]:
    """Yield an endless gzip stream of line feeds."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    while True:
        if data := packer.compress(b"\n" * 1024 * 1024):
            yield chunk(data)


HEADS: dict[str, Callable[[], Iterable[bytes]]] = {
    "interim answers": lambda: repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "interim answers slowly": lambda: slowly(repeat(b"HTTP/1.1 102 Processing\r\n\r\n")),
    "head byte by byte": lambda: slowly(chain([OK], bytewise(b"X-A: b\r\n"))),
}
BODIES: dict[str, Callable[[], Iterable[bytes]]] = {
    "byte by byte": lambda: chain([CHUNKED], slowly(map(chunk, bytewise(ONE + b"\n")))),
    "chunk extensions": lambda: chain([CHUNKED, chunk(ONE + b"\n"), b"1;"], slowly(repeat(b"a"))),
    "trailers": lambda: chain([CHUNKED, chunk(ONE + b"\n"), b"0\r\n"], slowly(repeat(b"a: b\r\n"))),
    "line feeds slowly": lambda: chain([CHUNKED], slowly(repeat(chunk(b"\n")))),
    "bytes of a length": lambda: chain([OK + b"Content-Length: 99999999\r\n\r\n"], slowly(bytewise(ONE + b"\n"))),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_never_ends_is_given_up(name: str) -> None:
    """A server that sends an endless response head is given up after the silence timeout and not retried."""
    with (
        Hostile(HEADS[name]) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, timeouts=HASTY, retry=Retry(first_wait_seconds=0)) as client,
        pytest.raises(Unreachable, match="response headers were not complete") as caught,
    ):
        list(client.export_lines())

    assert caught.value.permanent
    assert hostile.connections == 1


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_drips_is_given_up(name: str) -> None:
    """A body that brings too few bytes of events per minute raises `TooSlow`, whatever else it brings."""
    with (
        Hostile(BODIES[name]) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, timeouts=HASTY, ssl_context=PLAIN) as client,
        pytest.raises(TooSlow, match="fewer than 1,000 bytes of events arrived in 1 seconds") as caught,
    ):
        for _ in client.export_lines():
            pass

    assert hostile.connections == 1
    assert caught.value.body_bytes < 1000


@pytest.mark.parametrize("pieces", [HEADS["interim answers slowly"], BODIES["byte by byte"]], ids=["head", "body"])
def test_the_asynchronous_client_gives_up_too(pieces: Callable[[], Iterable[bytes]]) -> None:
    """The asynchronous client enforces the same minimum pace."""

    async def read(url: str) -> None:
        """Read an export to its end."""
        async with AsyncClient(TRACKPOINT, "key", url=url, timeouts=HASTY, retry=NEVER, ssl_context=PLAIN) as client:
            async for _ in client.export_lines():
                pass

    with Hostile(pieces) as hostile, pytest.raises((TooSlow, Unreachable)):
        asyncio.run(read(hostile.url))


def test_gzip_of_line_feeds_is_refused() -> None:
    """A megabyte of blank lines with hardly any events is an error long before its compressed stream ends."""
    with (
        Hostile(
            lambda: chain([OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"], line_feeds())
        ) as h,
        Client(TRACKPOINT, "key", url=h.url, retry=NEVER, ssl_context=PLAIN) as client,
        pytest.raises(BadLine, match="blank lines"),
    ):
        list(client.export_lines())


def test_a_slow_reader_is_not_a_slow_server() -> None:
    """The time the caller spends on received data does not count against the server."""
    lines = [line(TRACKPOINT, START + number) for number in range(2000)]
    parts = [body_of(lines[at : at + 500]) for at in range(0, 2000, 500)]
    sent = [CHUNKED, *map(chunk, parts), b"0\r\n\r\n"]
    with (
        Hostile(lambda: sent) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, timeouts=HASTY, ssl_context=PLAIN) as client,
    ):
        got = []
        for batch in client.export_batches():
            time.sleep(0.6)
            got += batch.lines

    assert got == lines


def test_few_events_are_enough_if_they_keep_coming() -> None:
    """A server that sends slowly but steadily above the minimum pace is read to the end, over many periods."""
    lines = [line(TRACKPOINT, START + number) for number in range(50)]
    with (
        Hostile(lambda: chain([CHUNKED], slowly(chunk(one + b"\n") for one in lines), [b"0\r\n\r\n"])) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, timeouts=HASTY, ssl_context=PLAIN) as client,
    ):
        assert list(client.export_lines()) == lines


def problem(text: str) -> bytes:
    """Return a refusal with a detail text."""
    body = b'{"detail":"%b"}' % text.encode()
    return b"HTTP/1.1 422 No\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def field(name: bytes, value: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a response with one additional header field."""
    return b"HTTP/1.1 %b\r\n%b: %b\r\nContent-Length: 0\r\n\r\n" % (status, name, value)


SHOWN: dict[str, bytes] = {
    "detail": problem(ESCAPES.encode("unicode_escape").replace(b"\\x", b"\\u00").decode()),
    "text": b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n%b" % (len(ESCAPES.encode()), ESCAPES.encode()),
    "location": field(b"Location", b"http://x/\xc2\x9b31m\xe2\x80\xae" + b"y" * 5000, b"302 Found"),
    "type": field(b"Content-Type", b"text/\xc2\x9b31m" + b"y" * 5000),
    "coding": field(b"Content-Encoding", b"\xc2\x9b31m" + b"y" * 5000),
    "status line": b"HTTP/1.1 \x1b[31m\r\n\r\n",
    "unknown key": CHUNKED + chunk(b'{"\\u001b[31m\\u202e":1}\n') + b"0\r\n\r\n",
    "repeated key": CHUNKED + chunk(ONE.replace(b'"source"', b'"\\u001b[31m":1,"\\u001b[31m":1,"source"') + b"\n"),
    "status": CHUNKED + chunk(ONE.replace(b"DELIVERED", b"\\u001b[31m\\u009b") + b"\n") + b"0\r\n\r\n",
    "bytes": CHUNKED + chunk(ESCAPES.encode() + b"\n") + b"0\r\n\r\n",
    "chunk": CHUNKED + b"\x1b[31m\r\n",
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_the_server_says_can_be_shown(name: str) -> None:
    """An error's text contains no control characters, escapes or direction changes, and its length is limited."""
    with (
        Hostile(lambda: [SHOWN[name]]) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, retry=NEVER, timeouts=HASTY, ssl_context=PLAIN) as client,
        pytest.raises(ClientError) as caught,
    ):
        list(client.export_lines())

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


NUMBERS: dict[str, bytes] = {
    "length of 5,000 digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "length of 5,000 zeros": OK + b"Content-Length: " + b"0" * 5000 + b"2\r\n\r\n\n\n",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n\n\n",
    "huge chunk": CHUNKED + b"f" * 400 + b"\r\n",
    "status of 400 digits": b"HTTP/1.1 " + b"2" * 400 + b" OK\r\n\r\n",
    "date of 400 digits": CHUNKED + chunk(ONE.replace(b"1795000000000", b"9" * 400) + b"\n") + b"0\r\n\r\n",
    "date of 5,000 digits": CHUNKED + chunk(ONE.replace(b"1795000000000", b"9" * 5000) + b"\n") + b"0\r\n\r\n",
    "NaN": CHUNKED + chunk(ONE.replace(b"1795000000000", b"NaN") + b"\n") + b"0\r\n\r\n",
    "infinity": CHUNKED + chunk(ONE.replace(b"1795000000000", b"1e999") + b"\n") + b"0\r\n\r\n",
    "wait of 400 digits": field(b"Retry-After", b"9" * 400, b"503 No"),
    "wait of no number": field(b"Retry-After", b"NaN", b"503 No"),
    "wait until an odd date": field(b"Retry-After", b"Mon, 01 Jan 99999 00:00:00 +9999999999999999", b"503 No"),
    "lines of 400 digits": b"HTTP/1.1 422 No\r\nContent-Length: 432\r\n\r\n"
    + b'{"errors":[{"line":%b,"reason":"x"}]}' % (b"9" * 396),
    "gzip of nothing": OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    "deep JSON": CHUNKED + chunk(b"[" * 30_000 + b"\n") + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_cannot_be_are_errors_of_ours(name: str) -> None:
    """Whatever number or date the server sends, the call ends with an error of the client, not another exception."""
    with (
        Hostile(lambda: [NUMBERS[name]]) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, retry=NEVER, timeouts=HASTY, ssl_context=PLAIN) as client,
        pytest.raises(ClientError),
    ):
        list(client.export_lines())


@pytest.mark.parametrize(
    "date", ["", "soon", "Mon, 01 Jan 1990 00:00:00 GMT", "Mon, 01 Jan 2400 00:00:00 GMT", "9" * 5000]
)
def test_a_clock_that_cannot_be_is_none(date: str) -> None:
    """A `Date` that is missing, unreadable or from a clock that was never set is reported as None."""
    heads: list[Any] = []
    head = OK + b"Content-Length: 0\r\nX-Export-From: " + b"9" * 400 + b"\r\nX-Export-To: soon\r\n"
    sent = head + (f"Date: {date}\r\n".encode() if date else b"") + b"\r\n"
    with (
        Hostile(lambda: [sent]) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, retry=NEVER, ssl_context=PLAIN) as client,
    ):
        list(client.export_batches(on_head=heads.append))

    assert [(one.date_ms, one.from_ms, one.to_ms) for one in heads] == [(None, None, None)]


def test_a_redirect_is_not_followed_and_ends_all() -> None:
    """A redirect is reported once with its target: the key is not sent there, and no other day is requested."""
    with (
        Hostile(lambda: [field(b"Location", b"http://127.0.0.1:%d/" % free_port(), b"307 Away")]) as hostile,
        Client(TRACKPOINT, "key", url=hostile.url, ssl_context=PLAIN) as client,
        pytest.raises(UnexpectedResponse, match=r"redirects to http://127\.0\.0\.1:\d+/; use that address") as caught,
    ):
        list(client.export_lines())

    assert caught.value.permanent
    assert hostile.connections == 1


@pytest.mark.parametrize("unit", ["from_", "to"])
def test_seconds_are_refused(unit: str) -> None:
    """Seconds in place of milliseconds are refused before any request, with the correct number in the message."""
    interval: dict[str, Any] = {unit: 1_795_000_000}
    with (
        Client(TRACKPOINT, "key", url="http://127.0.0.1:1", ssl_context=PLAIN) as client,
        pytest.raises(ClientError, match="1795000000000"),
    ):
        client.export_lines(**interval)

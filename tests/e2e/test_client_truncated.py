"""The client with truncated and damaged exports: incomplete data is never taken for complete."""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import random

import pytest

from smsevents.client import (
    NEVER,
    AsyncClient,
    BadLine,
    IncompleteExport,
    TruncatedStream,
    UnexpectedResponse,
)
from tests.support.client_reads import LINES, START, TRACKPOINT, Sleeps, client_of, read
from tests.support.lines import body_of, line
from tests.support.servers import PLAIN
from tests.support.standin import Answer, StandIn

CUTS = 200


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("gzip", [True, False])
def test_no_cut_is_taken_for_whole(standin: StandIn, framing: str, *, gzip: bool) -> None:
    """Wherever a stream is truncated, the reader gets an error, preceded only by lines that were sent, in order."""
    whole = Answer(lines=LINES, gzip=gzip, framing=framing, chunk_bytes=1500)  # type: ignore[arg-type]
    standin.answers(whole)
    with client_of(standin, retry=NEVER) as client:
        assert read(client) == (LINES, None)
        size = sum(map(len, whole.wire(standin.requests[0])[1]))
        chance = random.Random(5)  # noqa: S311 -- test data, not a secret
        cuts = {0, 1, size - 1, size - 2, size - 5, size - 8} | {chance.randrange(size) for _ in range(CUTS)}
        for cut_at in sorted(cuts):
            standin.answers(
                Answer(lines=LINES, gzip=gzip, framing=framing, chunk_bytes=1500, cut_at=cut_at)  # type: ignore[arg-type]
            )
            got, error = read(client)
            assert isinstance(error, TruncatedStream), cut_at
            assert got == LINES[: len(got)]
            assert error.lines == len(got)
            assert error.body_bytes <= cut_at


def test_no_cut_of_gzip_without_framing_is_taken_for_whole(standin: StandIn) -> None:
    """When only the end of the connection ends the body, the gzip trailer reveals whether it is complete."""
    standin.answers(Answer(lines=LINES, gzip=True, framing="close"))
    with client_of(standin, retry=NEVER) as client:
        assert read(client) == (LINES, None)
        for cut_at in range(-40, 0):
            standin.answers(Answer(lines=LINES, gzip=True, framing="close", cut_at=cut_at))
            got, error = read(client)
            assert isinstance(error, TruncatedStream)
            assert got == LINES[: len(got)]


def test_what_cannot_be_told_from_a_cut_is_not_taken(standin: StandIn) -> None:
    """Plain lines delimited only by connection close are refused, unless the caller accepts that risk."""
    standin.answers(Answer(lines=LINES, framing="close"))

    with client_of(standin) as client:
        got, error = read(client)
    assert isinstance(error, UnexpectedResponse)
    assert got == []
    assert "accept_unframed" in str(error)
    with client_of(standin, accept_unframed=True) as client:
        assert read(client) == (LINES, None)


def test_a_cut_is_told_on_an_event_loop_too(standin: StandIn) -> None:
    """The asynchronous client raises the same error after the same lines, and waits with its own sleep."""
    sleeps = Sleeps()
    standin.answers(Answer(status=503), Answer(lines=LINES, chunk_bytes=1500, cut_at=-5))
    got: list[bytes] = []

    async def run() -> None:
        """Read until the truncation."""
        async with AsyncClient(
            TRACKPOINT, "k", url=standin.url, ssl_context=PLAIN, sleep=sleeps.on_a_loop, jitter=lambda: 0.5
        ) as client:
            async for one in client.export_lines():
                got.append(one)  # noqa: PERF401 -- lines before an error count

    with pytest.raises(TruncatedStream):
        asyncio.run(run())
    assert got == LINES
    assert sleeps == [0.75]


def test_a_last_line_without_its_end_is_a_cut(standin: StandIn) -> None:
    """A body that ends properly but within a line, or without the last line feed, is not a complete export."""
    for tail in (LINES[9], LINES[9][:50], b"{"):
        standin.answers(Answer(lines=LINES[:9], tail=tail))
        with client_of(standin) as client:
            got, error = read(client)
        assert isinstance(error, TruncatedStream)
        assert (got, error.lines) == (LINES[:9], 9)


def test_damaged_gzip_is_no_export(standin: StandIn) -> None:
    """A gzip stream with one wrong byte, or with data after it, is an error, whatever its framing says."""
    packed = gzip_module.compress(body_of(LINES), 1, mtime=0)
    headers = {"Content-Encoding": "gzip"}
    for at in [*range(3), *range(10, len(packed) - 8, 97), *range(len(packed) - 8, len(packed))]:
        wrong = packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :]
        standin.answers(Answer(tail=wrong, headers=headers))
        with client_of(standin, retry=NEVER) as client:
            _, error = read(client)
        assert isinstance(error, IncompleteExport), at
    standin.answers(Answer(tail=packed + b"\nError: timeout\n", headers=headers))
    with client_of(standin, retry=NEVER) as client:
        assert isinstance(read(client)[1], TruncatedStream)


def test_gzip_of_several_members_is_read(standin: StandIn) -> None:
    """Several concatenated gzip members are one export, as RFC 1952 specifies."""
    packed = b"".join(gzip_module.compress(body_of(LINES[at : at + 100])) for at in range(0, 400, 100))
    standin.answers(Answer(tail=packed, headers={"Content-Encoding": "gzip"}, chunk_bytes=1000))
    with client_of(standin) as client:
        assert read(client) == (LINES, None)


ERROR_TEXTS = {
    "a text": b"terminated early\n",
    "a text without an end": b"terminated early",
    "an error object": b'{"error":"internal"}\n',
    "an error object without an end": b'{"exception":"Code: 241"}',
    "an array": b"[]\n",
    "null": b"null\n",
    "a page": b"<html><body>502 Bad Gateway</body></html>\n",
    "no UTF-8": b"\xff\xfe\n",
    "another shop": line(7, START) + b"\n",
    "an unknown status": line(TRACKPOINT, START, status="SENT") + b"\n",
    "two events on a line": LINES[0] + LINES[1] + b"\n",
    "an event on two lines": LINES[0].replace(b',"source"', b',\n"source"') + b"\n",
    "nested too deep": b"[" * 100_000 + b"\n",
    "endless": b"x" * 300_000,
    "endless blanks": b" " * 300_000,
}


@pytest.mark.parametrize("text", ERROR_TEXTS.values(), ids=ERROR_TEXTS)
@pytest.mark.parametrize("before", [0, 1, 250])
@pytest.mark.parametrize("after", [0, 5])
def test_an_error_text_within_an_export_is_told(standin: StandIn, text: bytes, before: int, after: int) -> None:
    """A line that is not an event is an error with its number, never skipped; the lines before it are returned."""
    if after and not text.endswith(b"\n"):
        text += b"\n"
    standin.answers(Answer(lines=LINES[:before], tail=text + body_of(LINES[:after]), chunk_bytes=40_000))
    with client_of(standin) as client:
        got, error = read(client)

    assert got == LINES[:before]
    assert isinstance(error, BadLine)
    assert error.line == before + 1
    assert f"Line {before + 1}" in str(error)
    assert len(error.text) <= 120
    assert len(standin.requests) == 1


def test_an_error_text_cannot_steer_a_terminal(standin: StandIn) -> None:
    """Text from another server is shown without control characters, on one line."""
    standin.answers(Answer(tail=b"\x1b[2J\x07boom\x00\xe2\x80\xae\n"))
    with client_of(standin) as client:
        _, error = read(client)
    assert isinstance(error, BadLine)
    assert error.text.startswith("[2J boom")
    assert str(error).isprintable()

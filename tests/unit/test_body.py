"""Reading a body: what was announced is compared with what came, whatever the connection below made of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from litestar import Request

from smsevents.errors import InvalidRequest
from smsevents.settings import Settings
from smsevents.web.body import stream


def read(messages: list[tuple[bytes, bool]], headers: list[tuple[bytes, bytes]]) -> bytes:
    """Read a body that comes in messages, each with whether more follows."""
    waiting = iter(messages)

    async def receive() -> Any:
        """Return the next message."""
        body, more = next(waiting)
        return {"type": "http.request", "body": body, "more_body": more}

    async def collect() -> bytes:
        """Put the parts together."""
        scope: Any = {"type": "http", "method": "POST", "headers": headers, "path": "/", "query_string": b""}
        request: Request[Any, Any, Any] = Request(scope, receive=receive)
        return b"".join([part async for part in stream(request, 100, Settings(), "too large")])

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("announced", "messages"),
    [
        (b"5", [(b"", False)]),
        (b"5", [(b"hell", False)]),
        (b"5", [(b"hello", True), (b"!", False)]),
        (b"0", [(b"hello", False)]),
    ],
)
def test_another_length_than_announced_is_refused(announced: bytes, messages: list[tuple[bytes, bool]]) -> None:
    """A body that ends at another length than was announced is an error, never a shorter or an empty body."""
    with pytest.raises(InvalidRequest, match=f"announced {announced.decode()} bytes"):
        read(messages, [(b"content-length", announced)])


def test_the_announced_length_is_read() -> None:
    """A body of the announced length, and one without an announcement, are read as they come."""
    assert read([(b"he", True), (b"llo", False)], [(b"content-length", b"0005")]) == b"hello"
    assert read([(b"he", True), (b"llo", False)], []) == b"hello"


@pytest.mark.parametrize("value", [b"\xb2", b"", b"-1", b"1" * 101])
def test_what_is_not_a_length_is_refused(value: bytes) -> None:
    """A Content-Length that is not a number is a refusal, not a defect."""
    with pytest.raises(InvalidRequest, match="not a number"):
        read([(b"", False)], [(b"content-length", value)])

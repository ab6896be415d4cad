"""Malformed HTTP gets the same kind of response as every error, and the connection ends."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.lines import line

if TYPE_CHECKING:
    from tests.support.servers import Server

LONG_AGO = 1_000_000_000_000  # a time that an event can have but that is no longer exported

BAD_REQUESTS = {
    "unknown method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "control character in the path": b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
}


def answer_to(server: Server, data: bytes) -> tuple[bytes, dict[str, object]]:
    """Send bytes on a new connection and read until it ends; return the status line and the problem."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(data)
        received = b""
        while part := client.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert f"content-length: {len(body)}".encode() in head.lower()
    return head.splitlines()[0], json.loads(body)


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_what_is_no_http_gets_a_problem(server: Server, kind: str) -> None:
    """Anything but valid HTTP/1.1 gets a problem with status 400, and the server keeps running."""
    status, problem = answer_to(server, BAD_REQUESTS[kind])

    assert status == b"HTTP/1.1 400 Bad Request"
    assert problem["status"] == 400
    assert "HTTP" in str(problem["detail"])


def test_a_head_that_is_too_long_gets_a_problem(server: Server) -> None:
    """A head of more than 64 KiB gets a problem with status 431."""
    status, problem = answer_to(server, b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 66_000)

    assert status == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert "65536 bytes" in str(problem["detail"])


def test_long_bodies_and_many_requests_are_no_long_head(server: Server) -> None:
    """Consecutive requests with large bodies on one connection do not count towards the limit of the head."""
    shop = server.shop()
    body = b"\n" * 100_000 + line(shop.trackpoint, LONG_AGO)
    request = (
        f"POST /shop/{shop.trackpoint}/import-sms-events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        for _ in range(3):
            client.sendall(request)
            received = b""
            while not received.endswith(b"}"):
                received += client.recv(65536)

            assert received.startswith(b"HTTP/1.1 200 OK")
            assert received.endswith(b'{"received":1,"expired":1}')

"""HTTP as raw bytes on a socket: the server gets exactly the bytes that a test sends."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT_SECONDS = 60
_STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ [0-9]{3} ")


@dataclass(frozen=True)
class Reply:
    """One response: its status, its headers in lower case, its body without chunks, and whether it reached its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_complete: bool

    @property
    def problem(self) -> dict[str, Any]:
        """Return the body, decoded as a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.is_complete
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        return problem


class Wire:
    """A connection to a server."""

    def __init__(self, port: int, host: str = "127.0.0.1", window_bytes: int | None = None) -> None:
        """Connect; with a small window the server soon waits for a client that does not read."""
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if window_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        self.socket.settimeout(TIMEOUT_SECONDS)
        try:
            self.socket.connect((host, port))
        except OSError:
            self.socket.close()
            raise
        self.received = b""  # and not yet consumed
        self.was_reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(b"".join(parts))

    def more(self) -> bool:
        """Receive some bytes. Return False if the connection ended instead."""
        try:
            data = self.socket.recv(1024 * 1024)
        except ConnectionError:
            self.was_reset = True
            return False
        self.received += data
        return bool(data)

    def rest(self) -> bytes:
        """Receive until the connection ends, and return everything."""
        while self.more():
            pass
        data, self.received = self.received, b""
        return data

    def rest_within(self, seconds: float) -> bytes:
        """Receive for some time, and return everything; the connection need not have ended."""
        deadline = time.monotonic() + seconds
        with suppress(TimeoutError):
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.more():
                    break
        self.socket.settimeout(TIMEOUT_SECONDS)
        data, self.received = self.received, b""
        return data

    def head(self) -> tuple[int, dict[str, str]]:
        """Receive a status line and headers, without the body; a `100 Continue` is a separate head."""
        while b"\r\n\r\n" not in self.received:
            assert self.more(), f"the connection ended after {self.received!r}"
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        fields = (line.partition(": ") for line in lines)
        return int(first.split(" ", 2)[1]), {name.lower(): value for name, _, value in fields}

    def reply(self, *, to_head: bool = False) -> Reply:
        """Receive one response, framed as its headers say (RFC 9112, section 6.3)."""
        status, headers = self.head()
        if to_head or status < 200 or status in {204, 304}:
            return Reply(status, headers, b"", is_complete=True)
        if headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in headers
            return Reply(status, headers, *self._chunks())
        if "content-length" in headers:
            length = int(headers["content-length"])
            while len(self.received) < length and self.more():
                pass
            body, self.received = self.received[:length], self.received[length:]
            return Reply(status, headers, body, is_complete=len(body) == length)
        return Reply(status, headers, self.rest(), is_complete=not self.was_reset)

    def _chunks(self) -> tuple[bytes, bool]:
        body: list[bytes] = []
        while True:
            while b"\r\n" not in self.received:
                if not self.more():
                    return b"".join(body), False
            line, _, self.received = self.received.partition(b"\r\n")
            size = int(line, 16)
            while len(self.received) < size + 2:
                if not self.more():
                    return b"".join([*body, self.received]), False
            body.append(self.received[:size])
            assert self.received[size : size + 2] == b"\r\n"
            self.received = self.received[size + 2 :]
            if not size:
                return b"".join(body), True


def ask(
    method: str,
    path: str,
    *headers: str,
    body: bytes | None = None,
    version: str = "HTTP/1.1",
    host: str | None = "localhost",
) -> bytes:
    """Return a request, with a Content-Length if there is a body."""
    lines = [f"{method} {path} {version}", *([] if host is None else [f"Host: {host}"]), *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(parts: Iterable[bytes], trailers: bytes = b"") -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


def only_reply(port: int, *sends: bytes) -> Reply:
    """Send bytes on a new connection, and return the only response received until the server closes it."""
    with Wire(port) as wire:
        wire.send(*sends)
        reply = wire.reply()
        assert wire.rest() == b""
    return reply


def count_responses(data: bytes) -> int:
    """Return the number of status lines in bytes."""
    return len(_STATUS_LINE.findall(data))

"""The body of a request on the wire: by length, or in chunks with trailers (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

import re
from typing import Protocol

from smsevents.errors import HeadTooLarge, MalformedRequest
from smsevents.web.connection.head import check_field

TRAILERS_MAX_BYTES = 8 * 1024
# How many bytes chunks may have in addition to their data; no legitimate body needs more. Each chunk and each byte of
# data adds a little to the allowance.
CHUNK_OVERHEAD_MAX_BYTES = 16 * 1024
CHUNK_OVERHEAD_FREE_BYTES = 16
CHUNK_OVERHEAD_FREE_RATIO = 2
CHUNK_LINE_MAX_BYTES = 4 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r")


class RequestBody(Protocol):
    """Reads the bytes of a connection until the body ends."""

    done: bool

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take bytes. Return the pieces of the body in them, and the bytes after its end.

        Raises `MalformedRequest` or `HeadTooLarge`.
        """
        ...


class LengthBody:
    """A body whose length was announced."""

    def __init__(self, length: int) -> None:
        """Expect `length` bytes; at least one."""
        self._missing = length
        self.done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take bytes."""
        size = len(data)
        if size < self._missing:
            self._missing -= size
            return [data], b""
        self.done = True
        if size == self._missing:
            return [data], b""
        return [data[: self._missing]], data[self._missing :]


class ChunkedBody:
    """A body in chunks. Extensions and trailers are checked, counted and dropped."""

    def __init__(self) -> None:
        """Start before the first chunk."""
        self.done = False
        self._line = b""  # the start of a line that is not complete yet
        self._missing = 0  # bytes of the current chunk that have not arrived yet
        self._after_chunk = False  # whether the CR LF after a chunk's data comes next
        self._in_trailers = False
        self._overhead = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take bytes."""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._missing:
                piece = data[at : at + self._missing]
                pieces.append(piece)
                at += len(piece)
                self._missing -= len(piece)
                self._after_chunk = not self._missing
                continue
            end = data.find(b"\n", at)
            line = self._line + data[at : len(data) if end < 0 else end]
            self._check_size(line)
            if end < 0:
                self._line = line
                break
            self._line = b""
            at = end + 1
            self._take_line(line)
            if self.done:
                return pieces, data[at:]
        return pieces, b""

    def _check_size(self, line: bytes) -> None:
        if self._in_trailers:
            if self._trailer_bytes + len(line) > TRAILERS_MAX_BYTES:
                raise HeadTooLarge(f"The trailers after the body are more than {TRAILERS_MAX_BYTES} bytes. Send none.")
        elif len(line) > CHUNK_LINE_MAX_BYTES:
            raise MalformedRequest(f"The line before a chunk has more than {CHUNK_LINE_MAX_BYTES} bytes in HTTP.")

    def _take_line(self, line: bytes) -> None:
        """Process a line, passed without its line feed."""
        if self._after_chunk:
            if line != b"\r":
                raise MalformedRequest("A chunk is longer than announced, or lacks the CR LF of HTTP/1.1 at its end.")
            self._after_chunk = False
        elif self._in_trailers:
            self._take_trailer(line)
        else:
            self._begin_chunk(line)

    def _begin_chunk(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise MalformedRequest("A chunk does not begin with its size in hexadecimal and CR LF, as in HTTP/1.1.")
        self._missing = int(size[1], 16)
        free = CHUNK_OVERHEAD_FREE_BYTES + CHUNK_OVERHEAD_FREE_RATIO * self._missing
        self._overhead = max(0, self._overhead + len(line) - free)
        if self._overhead > CHUNK_OVERHEAD_MAX_BYTES:
            raise MalformedRequest("The chunks carry more extensions than data, which HTTP does not need. Send none.")
        self._in_trailers = not self._missing

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 1
        if line == b"\r":
            self.done = True
            return
        if not line.endswith(b"\r"):
            raise MalformedRequest("A trailer does not end in CR LF, which HTTP/1.1 asks for.")
        check_field(line[:-1])

"""Splice: pieces of a log → one gzip member, or plain lines. Pure functions on bytes.

Segments are runs of raw deflate that end on a byte boundary, so several in sequence are one deflate stream. A gzip
header before it, and a final block, the combined CRC-32 and the size after it, make a gzip member (RFC 1952). No
stored bytes are inflated for this.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from isal import igzip_lib, isal_zlib

from smsevents.segments.segment import Segment, deflate, inflate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Piece, Run

GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, system unknown
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # a stored block of no bytes that begins on a byte boundary (section 3.2.4)
FINAL_BLOCK = b"\x03\x00"  # an empty block with fixed codes, marked as the last one (RFC 1951, section 3.2.6)


class GzipMember:
    """A gzip member in the making: the bytes to send before the next piece, and the sums for the trailer."""

    def __init__(self) -> None:
        self._head = GZIP_HEADER
        self._crc = self._size = 0

    def take(self, pieces: Iterable[Piece]) -> bytes:
        """Return the bytes of the next pieces. The header precedes the first ones."""
        return b"".join(self.take_parts(pieces))  # a single part is passed on, two would be copied

    def take_parts(self, pieces: Iterable[Piece]) -> list[bytes]:
        """Return the bytes of the next pieces in parts, so that none are copied."""
        run = [self._head] if self._head else []
        self._head = b""
        for piece in pieces:
            if isinstance(piece, bytes):
                if piece:
                    self._add(isal_zlib.crc32(piece), len(piece))
                    run.append(deflate(piece))
            else:
                for header in headers_of(piece):
                    self._add(header.line_crc, header.line_bytes)
                run.append(piece.data)
        return run

    def nothing(self) -> bytes:
        """Return bytes that stand for no lines, so that the client receives something."""
        head, self._head = self._head, b""
        return head + EMPTY_BLOCK

    def _add(self, crc: int, size: int) -> None:
        self._crc = isal_zlib.crc32_combine(self._crc, crc, size)
        self._size += size

    def end(self) -> bytes:
        """Return the end of the member. It has the CRC-32 of all lines and their size (RFC 1952, section 2.3.1).

        So a client can check whether it received the complete member.
        """
        return self._head + FINAL_BLOCK + self._crc.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little")


def gzipped(lines: bytes) -> bytes:
    """Return a few lines as one gzip member, compressed in half the time of `deflate` to a third more bytes."""
    return igzip_lib.compress(lines, igzip_lib.ISAL_BEST_SPEED, igzip_lib.COMP_GZIP)


def splice(pages: Iterable[Iterable[Piece]]) -> Iterator[bytes]:
    """Yield one gzip member of the pieces of all pages: the bytes of each page, and the end."""
    member = GzipMember()
    yield from map(member.take, pages)  # holds no page while its bytes are being sent
    yield member.end()


def unpack(pages: Iterable[Iterable[Piece]]) -> Iterator[bytes]:
    """Yield the plain lines of the pieces of all pages: the bytes of each piece."""
    return chain.from_iterable(map(lines_of, pages))


def lines_of(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the plain lines of pieces, a segment at a time. Raises `DamagedSegment`."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        elif isinstance(piece, Segment):
            yield inflate(piece)
        else:
            yield from map(inflate, piece.segments())


def count(pieces: Iterable[Piece]) -> int:
    """Return how many events are in the pieces."""
    return sum(
        piece.count(b"\n") if isinstance(piece, bytes) else sum(header.events for header in headers_of(piece))
        for piece in pieces
    )


def headers_of(piece: Segment | Run) -> Sequence[SegmentHeader]:
    """Return the headers of a segment, or of the segments of a run."""
    return (piece.header,) if isinstance(piece, Segment) else piece.headers

"""Tidying: pieces of a log → segments of about the target size, with as few lines compressed again as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.segments.segment import SEGMENT_LINES_BYTES, Segment, deflate_compacted, inflate, pack_lines
from smsevents.segments.tally import encoded_tally_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tidy:
    """Takes pieces in order. Segments of a fair size pass unchanged; small ones and lines are packed together."""

    def __init__(self, segment_bytes: int = SEGMENT_LINES_BYTES) -> None:
        """Make segments of about `segment_bytes` of lines."""
        self._segment_bytes = segment_bytes
        self._held: Segment | None = None  # the last segment; small ones that follow are packed with it
        self._lines: list[bytes] = []  # that follow it and are not packed yet
        self._size = 0

    def add(self, piece: Segment | bytes) -> Iterator[Segment]:
        """Take a piece. Yield the segments that are ready. Raises `DamagedSegment`."""
        if isinstance(piece, bytes):
            yield from self._add_lines(piece)
        elif self._is_small(piece.header.line_bytes) or (self._size and self._is_small(self._size)):
            yield from self._add_lines(inflate(piece))
        else:
            yield from self._pack()
            if self._held is not None:
                yield self._held
            self._held = piece

    def end(self) -> Iterator[Segment]:
        """Yield the remaining segments."""
        if self._held is not None and self._size and self._is_small(self._size):
            self._lines.insert(0, inflate(self._held))
            self._size += self._held.header.line_bytes
            self._held = None
        yield from self._pack()
        if self._held is not None:
            yield self._held
            self._held = None

    def _add_lines(self, lines: bytes) -> Iterator[Segment]:
        self._lines.append(lines)
        self._size += len(lines)
        if self._size >= 2 * self._segment_bytes:
            yield from self._pack()

    def _pack(self) -> Iterator[Segment]:
        """Yield the held segment and the lines, as segments of equal size, but hold the last one."""
        if not self._size:
            return
        lines = b"".join(self._lines)
        self._lines, self._size = [], 0
        count = -(-len(lines) // self._segment_bytes)
        for segment in pack_lines(lines, -(-len(lines) // count), deflate_compacted, encoded_tally_of):
            if self._held is not None:
                yield self._held
            self._held = segment

    def _is_small(self, size: int) -> bool:
        return size < self._segment_bytes // 2

"""Long reads: one request for all that a page passes on of a pack, taken in order, run after run.

A request to a store on the network takes milliseconds before the first byte, so a page of an export should not wait for
one. What follows in the same pack arrives by the same request. The next packs are requested while the reader still
takes from this one, if its client keeps up. What was requested and not taken waits in the connections.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from smsevents.segments.pack import PackedSegment, follows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.segments.pack import Read
    from smsevents.segments.segment import StoredPiece
    from smsevents.storage.base import ByteStore, Incoming

LONG_READ_MAX_BYTES = 16 * 1024 * 1024  # as large as the largest pack
PACKS_AHEAD_MAX = 2  # a pack may take less time than the first byte of the next one


class _Part(NamedTuple):
    """A part of an object: its store and key, where it starts and ends."""

    store: ByteStore
    key: str
    start: int
    end: int


class LongReads:
    """The requests of one reader: the one that it takes from, and the next ones. It reads files as they come."""

    def __init__(self) -> None:
        """Begin without requests."""
        self._at: tuple[ByteStore, str, int] | None = None  # the next byte of the current request
        self._left_bytes = 0
        self._current: Incoming | None = None
        self._following: deque[tuple[_Part, Incoming]] = deque()

    def forget(self) -> None:
        """Forget all requests: the reader continues elsewhere."""
        self._at, self._current, self._left_bytes = None, None, 0
        self._following.clear()

    def of(self, pieces: Iterable[StoredPiece], *, ahead: bool) -> Read:
        """Return a function that reads the pieces of a page in order. It requests the next part `ahead`, if wanted."""
        return partial(self._read, pieces, ahead)

    def _read(  # noqa: PLR0913, PLR0917 -- a page, and what a store is asked for
        self, pieces: Iterable[StoredPiece], ahead: bool, store: ByteStore, key: str, start: int, size: int
    ) -> bytes:
        if not store.prefers_long_reads:
            return store.read(key, start, size)
        if self._current is None or self._at != (store, key, start) or self._left_bytes < size:
            self._request(pieces, _Part(store, key, start, start + size), ahead=ahead)
        if self._current is None:
            return store.read(key, start, size)
        current, self._current = self._current, None  # an error ends it
        data = current.take(size)
        self._at = (store, key, start + size)
        self._left_bytes -= size
        self._current = current if self._left_bytes else None
        return data

    def _request(self, pieces: Iterable[StoredPiece], wanted: _Part, *, ahead: bool) -> None:
        """Take from the part that begins as `wanted` does, and perhaps request those after it."""
        parts = _parts(pieces, wanted)
        part = next(parts, wanted)
        self._current = None
        while self._following and self._current is None:
            requested, incoming = self._following.popleft()
            if requested[:3] == part[:3] and requested.end >= wanted.end:
                part, self._current = requested, incoming
        if self._current is None and part.end > wanted.end:
            self._current = part.store.incoming(part.key, part.start, part.end - part.start)
        self._at, self._left_bytes = part[:3], part.end - part.start
        if ahead:
            self._request_ahead(parts)

    def _request_ahead(self, parts: Iterator[_Part]) -> None:
        for number, part in enumerate(islice(parts, PACKS_AHEAD_MAX)):
            if number < len(self._following) and self._following[number][0][:3] == part[:3]:
                continue
            while len(self._following) > number:  # what comes next has changed
                self._following.pop()
            incoming = part.store.incoming(part.key, part.start, part.end - part.start, ahead=True)
            self._following.append((part, incoming))


def _parts(pieces: Iterable[StoredPiece], first: _Part) -> Iterator[_Part]:
    """Go through the parts of packs that pieces are in, from the first of them that begins as `first` does."""
    run: list[PackedSegment] = []
    size = 0
    begun = False
    for piece in pieces:
        if not isinstance(piece, PackedSegment):
            continue
        header = piece.header
        begun = begun or (header.place.key, header.place.start) == (first.key, first.start)
        if not begun:
            continue
        if run and not (follows(header, run[-1].header) and size + header.stored_bytes <= LONG_READ_MAX_BYTES):
            yield _part_of(run, size)
            run, size = [], 0
        run.append(piece)
        size += header.stored_bytes
    if run:
        yield _part_of(run, size)


def _part_of(run: list[PackedSegment], size: int) -> _Part:
    place = run[0].header.place
    return _Part(run[0].store, place.key, place.start, place.start + size)

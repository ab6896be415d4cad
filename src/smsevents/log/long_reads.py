"""Long reads: one request for all that a page passes on of a pack, taken in order, run after run.

A request to a store on the network takes milliseconds before the first byte, so a page of an export should not wait for
one. What follows in the same pack arrives by the same request. The next packs are requested while the reader still
takes from this one, if its client keeps up. So that they are known by then, it reads on in the catalog early. What was
requested and not taken waits in the connections.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from smsevents.segments.pack import PackedSegment

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self._part: _Part | None = None  # what is left of the current request
        self._current: Incoming | None = None
        self._following: deque[tuple[_Part, Incoming]] = deque()
        self._known: deque[_Part] = deque()  # follows, and is not requested yet

    def forget(self) -> None:
        """Forget all requests and pieces: the reader continues elsewhere."""
        self._part, self._current = None, None
        self._following.clear()
        self._known.clear()

    @property
    def want_more(self) -> bool:
        """Whether a long request is under way, and few parts are known that could be requested after it."""
        return (self._current is not None or bool(self._following)) and len(self._known) < PACKS_AHEAD_MAX

    def add(self, pieces: Iterable[StoredPiece]) -> None:
        """Know of further pieces, which will be read in this order, after those that are known."""
        for piece in pieces:
            if isinstance(piece, PackedSegment) and piece.store.prefers_long_reads:
                place = piece.header.place
                part = _Part(piece.store, place.key, place.start, place.start + piece.header.stored_bytes)
                last = self._known[-1] if self._known else None
                if last is not None and _is_one_request(last, part):
                    self._known[-1] = _Part(last.store, last.key, last.start, part.end)
                else:
                    self._known.append(part)

    def of(self, *, ahead: bool) -> Read:
        """Return a function that reads the next pieces in order. It requests the next parts `ahead`, if wanted."""
        return partial(self._read, ahead)

    def _read(self, ahead: bool, store: ByteStore, key: str, start: int, size: int) -> bytes:
        if not store.prefers_long_reads:
            return store.read(key, start, size)
        data = self._take(_Part(store, key, start, start + size), ahead=ahead)
        if 0 < len(data) < size:  # the pieces after that were not known yet when this was requested
            data += self._read(ahead, store, key, start + len(data), size - len(data))
        return data

    def _take(self, wanted: _Part, *, ahead: bool) -> bytes:
        """Return the bytes of a part, or fewer if a request ends before that."""
        part = self._part
        if part is None or self._current is None or part[:3] != wanted[:3]:
            part = self._part = self._begin(wanted)
        if ahead:
            self._request_ahead()
        current, self._current = self._current, None  # an error ends it
        if current is None:
            return wanted.store.read(wanted.key, wanted.start, wanted.end - wanted.start)
        end = min(wanted.end, part.end)
        data = current.take(end - wanted.start)
        self._part = part._replace(start=end)
        self._current = current if end < part.end else None
        return data

    def _begin(self, wanted: _Part) -> _Part:
        """Take from the part that begins as `wanted` does. It may have been requested; else all that follows is."""
        self._current = None
        while self._following:
            part, self._current = self._following.popleft()
            if part[:3] == wanted[:3]:
                return part
        self._current = None
        while self._known:
            part = self._known.popleft()
            if part[:3] == wanted[:3]:
                if part.end > wanted.end:
                    self._current = part.store.incoming(part.key, part.start, part.end - part.start)
                return part
        return wanted

    def _request_ahead(self) -> None:
        while self._known and len(self._following) < PACKS_AHEAD_MAX:
            part = self._known.popleft()
            incoming = part.store.incoming(part.key, part.start, part.end - part.start, ahead=True)
            self._following.append((part, incoming))


def _is_one_request(part: _Part, following: _Part) -> bool:
    """Return whether a part and one that may follow it in the same object are requested together."""
    is_next = part.key == following.key and part.end == following.start
    return is_next and following.end - part.start <= LONG_READ_MAX_BYTES

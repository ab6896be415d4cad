"""A long part of an object in a bucket, which arrives while it is taken."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError

from smsevents.storage.base import ends_early

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future

    from typing_extensions import Buffer

    from smsevents.storage.s3 import S3Store

CHUNK_BYTES = 256 * 1024
RESUMED_TRIES_MAX = 1  # without a byte in between; the library has repeated each of them


class IncomingObject:
    """One request for a long part of an object. What is not taken yet waits in the connection, and not in memory."""

    def __init__(self, store: S3Store, key: str, start: int, size: int, ahead: Executor | None = None) -> None:
        """Take `size` bytes of an object from `start`, which are requested now if there are threads for it `ahead`."""
        self._store = store
        self._key = key
        self._at = start  # of the next byte that arrives
        self._end = start + size
        self._held: deque[memoryview] = deque()  # has arrived, and is not taken yet
        self._held_bytes = 0
        self._chunks: Iterator[Buffer] | None = None
        self._requesting: Future[Iterator[Buffer]] | None = ahead.submit(self._request) if ahead else None

    def _request(self) -> Iterator[Buffer]:
        return self._store.stream(self._key, self._at, self._end - self._at, CHUNK_BYTES)

    def _requested(self) -> Iterator[Buffer]:
        if self._chunks is None:
            requesting, self._requesting = self._requesting, None
            if requesting is None or requesting.cancel():  # it still waited for a thread
                self._chunks = self._request()
            else:
                self._chunks = requesting.result()
        return self._chunks

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        If the response breaks off, as when it takes too long because nothing was taken for a while, the rest of the
        part is requested again.
        """
        tries_left = RESUMED_TRIES_MAX
        while self._held_bytes < size:
            error: Exception | None = None
            chunks = self._requested()
            try:
                data = memoryview(next(chunks, b""))
            except (BaseError, OSError, ValueError) as failure:
                error, data = failure, memoryview(b"")
            if data:
                self._arrived(data)
                tries_left = RESUMED_TRIES_MAX
                continue
            self._chunks = None
            tries_left -= 1
            if tries_left < 0:
                raise self._store.failed(error) if error else ends_early(self._store.url, self._key)
        return self._taken(size)

    def _arrived(self, data: memoryview) -> None:
        self._at += len(data)
        if self._at > self._end:
            raise ends_early(self._store.url, self._key)
        self._held.append(data)
        self._held_bytes += len(data)

    def _taken(self, size: int) -> bytes:
        """Return what has arrived first. It is copied once."""
        parts: list[memoryview] = []
        missing = size
        while missing:
            part = self._held.popleft()
            if len(part) > missing:
                self._held.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= len(part)
        self._held_bytes -= size
        return b"".join(parts)

"""A long part of an object, which arrives while it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obstore.exceptions import BaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.storage.s3 import S3Store

CHUNK_BYTES = 256 * 1024
RESUMED_TRIES_MAX = 3  # without a byte in between


class IncomingObject:
    """One request for a long part of an object. What was not taken yet waits in the connection, not in memory."""

    def __init__(self, store: S3Store, key: str, start: int, size: int) -> None:
        """Request `size` bytes of an object from `start`. Raises what `ByteStore.read` does."""
        self._store = store
        self._key = key
        self._at = start  # of the next byte that arrives
        self._end = start + size
        self._held: list[bytes] = []  # has arrived, and was not taken yet
        self._held_bytes = 0
        self._chunks = self._requested()

    def _requested(self) -> Iterator[bytes]:
        return self._store.stream(self._key, self._at, self._end - self._at, CHUNK_BYTES)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes. They must be within the part. Raises what `ByteStore.read` does.

        If the response breaks off, as when it takes too long because nothing was taken for a while, the rest of the
        part is requested again.
        """
        tries_left = RESUMED_TRIES_MAX
        while self._held_bytes < size:
            try:
                chunk = next(self._chunks, b"")
            except (BaseError, OSError, ValueError) as error:
                if not tries_left:
                    raise self._store.failed(self._key, error) from None
                chunk = b""
            if chunk:
                self._arrived(chunk)
                tries_left = RESUMED_TRIES_MAX
                continue
            if not tries_left:
                raise self._store.shorter(self._key)
            tries_left -= 1
            self._chunks = self._requested()
        return self._taken(size)

    def _arrived(self, chunk: bytes) -> None:
        data = bytes(chunk)
        self._at += len(data)
        if self._at > self._end:
            raise self._store.shorter(self._key)
        self._held.append(data)
        self._held_bytes += len(data)

    def _taken(self, size: int) -> bytes:
        held = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        rest = held[size:]
        self._held = [rest] if rest else []
        self._held_bytes = len(rest)
        return held[:size]

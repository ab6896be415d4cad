"""What a store of objects must do. The tests in `tests/contracts/storage` check every store against this contract.

An object is immutable, and its key is never used twice. So an object that can be read is the one that was written, and
an object that is gone stays gone. A reader that finds an object gone looks at the catalog again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUTSIDE = "The server cannot reach a part of its stored events. Try again later, and tell its operator."


class StoredObject(NamedTuple):
    """An object as its store lists it: its key, its size in bytes, and when it was written (Unix ms)."""

    key: str
    size_bytes: int
    written_ms: int


class Incoming(Protocol):
    """A long part of an object, which is taken in order, by one thread at a time."""

    def take(self, size: int) -> bytes:
        """Return exactly the next `size` bytes, which must be within the part. Raises what `ByteStore.read` does."""


class ByteStore(Protocol):
    """A store of objects. It is safe to use from many threads and processes."""

    @property
    def url(self) -> str:
        """The URL that opens this store."""

    @property
    def prefers_long_reads(self) -> bool:
        """Whether one request for much takes far less than many for a little each, as over a network."""

    def is_current(self) -> bool:
        """Return whether its URL would open the same store now, as far as that can be told without reading anything."""

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Write an object, the parts one after the other. It is durable when this returns.

        If this raises, there may or may not be an object. Raises `StoreFull` and `StoreUnavailable`.
        """

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return `size` bytes of an object from `start`, or fewer if it ends before that, in one request.

        Raises `ObjectGone`, `StoreUnavailable`, and `DamagedSegment` if the disk cannot read this part any more.
        """

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Incoming:
        """Return a long part of an object, which the object must have, in one request if it does not break off.

        It is requested when it is first taken from, or, if `ahead`, now, while the caller does something else. Errors
        are raised when it is taken from.
        """

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete objects. Return the keys under which there is certainly no object any more.

        Raises `StoreUnavailable` only if nothing is known about any of them.
        """

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through all objects whose keys begin with a prefix, also those that were not written completely.

        The order is any. Raises `StoreUnavailable`.
        """

    def unsafe(self) -> str | None:
        """Return why deleted objects would not really be gone here, such as old versions that are kept; else None."""

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if objects can probably not be written."""

    def free_bytes(self) -> int | None:
        """Return the room for further objects, or None if it is not known."""


class Parts:
    """A long part of an object in a store in which many requests are as good as one."""

    def __init__(self, store: ByteStore, key: str, start: int) -> None:
        """Begin at a byte of an object."""
        self._store = store
        self._key = key
        self._at = start

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises what `ByteStore.read` does, and `StoreUnavailable` if the object ends."""
        data = self._store.read(self._key, self._at, size)
        if len(data) != size:
            raise ends_early(self._store.url, self._key)
        self._at += size
        return data


def ends_early(url: str, key: str) -> StoreUnavailable:
    """Return the error for an object that does not have the part that was requested, or a response without it."""
    return StoreUnavailable(
        f"{url} of SMSEVENTS_SEGMENTS returned only a part of what was requested of {key}.", OUTSIDE
    )

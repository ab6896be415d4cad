"""What a store of objects must do. The tests in `tests/contracts/storage` check every store against this contract.

An object is immutable, and its key is never used twice. So an object that can be read is the one that was written, and
an object that is gone stays gone. A reader that finds an object gone looks at the catalog again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class StoredObject(NamedTuple):
    """An object as its store lists it: its key, its size in bytes, and when it was written (Unix ms)."""

    key: str
    size_bytes: int
    written_ms: int


class ByteStore(Protocol):
    """A store of objects. It is safe to use from many threads and processes."""

    @property
    def url(self) -> str:
        """The URL that opens this store."""

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Write an object, the parts one after the other. It is durable when this returns.

        If this raises, there may or may not be an object. Raises `StoreFull` and `StoreUnavailable`.
        """

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return `size` bytes of an object from `start`, or fewer if it ends before that, in one request.

        Raises `ObjectGone`, `StoreUnavailable`, and `DamagedSegment` if the disk cannot read this part any more.
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

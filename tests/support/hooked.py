"""A store beside which something happens at its calls, so that races are the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smsevents.storage.base import ByteStore, Incoming, StoredObject


class Hooked:
    """A store that calls `happens` with the name of each call, before it is done and after it."""

    def __init__(self, inner: ByteStore) -> None:
        """Pass everything on to a store."""
        self.inner = inner
        self.url = inner.url
        self.prefers_long_reads = inner.prefers_long_reads
        self.happens: Callable[[str], object] = lambda _: None

    def on(self, call: str, number: int, happens: Callable[[], object]) -> None:
        """Have something happen once, at the call of a name and number, beginning with 0."""
        left = number

        def count(name: str) -> None:
            nonlocal left
            if name == call:
                left -= 1
                if left == -1:
                    happens()

        self.happens = count

    def is_current(self) -> bool:
        """Return whether it is what its URL opens."""
        return self.inner.is_current()

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Put an object."""
        self.happens("put")
        self.inner.put(key, parts)
        self.happens("after put")

    def read(self, key: str, start: int, size: int) -> bytes:
        """Read a part of an object."""
        self.happens("read")
        return self.inner.read(key, start, size)

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Incoming:
        """Read a long part of an object."""
        return _HookedPart(self, self.inner.incoming(key, start, size, ahead=ahead))

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete objects."""
        self.happens("delete")
        gone = self.inner.delete(keys)
        self.happens("after delete")
        return gone

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List objects."""
        return self.inner.objects(prefix)

    def unsafe(self) -> str | None:
        """Return what the store does."""
        return self.inner.unsafe()

    def check_writable(self) -> None:
        """Check the store."""
        self.inner.check_writable()

    def free_bytes(self) -> int | None:
        """Return what the store does."""
        return self.inner.free_bytes()


class _HookedPart:
    """A long part of an object, each step of which is a read."""

    def __init__(self, store: Hooked, inner: Incoming) -> None:
        self._store = store
        self._inner = inner

    def take(self, size: int) -> bytes:
        """Take the next bytes."""
        self._store.happens("read")
        return self._inner.take(size)

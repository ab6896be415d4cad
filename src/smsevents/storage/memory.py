"""Objects in memory. They are gone with the process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from smsevents.clock.system import now_ms
from smsevents.errors import ObjectGone
from smsevents.storage.base import Parts, StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class MemoryStore:
    """Objects in a dictionary."""

    url = "memory:"
    prefers_long_reads = False

    def __init__(self) -> None:
        """Begin empty."""
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def is_current(self) -> bool:
        """Return True: nothing can take its place."""
        return True

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Keep an object."""
        with self._lock:
            self._objects[key] = (b"".join(parts), now_ms())

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return a part of an object. Raises `ObjectGone`."""
        found = self._objects.get(key)
        if found is None:
            raise ObjectGone(key)
        return found[0][start : start + size]

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Parts:  # noqa: ARG002 -- of others
        """Return a part of an object, each piece of which is read when it is taken."""
        return Parts(self, key, start)

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Drop objects."""
        with self._lock:
            for key in keys:
                self._objects.pop(key, None)
        return keys

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the objects."""
        with self._lock:
            found = list(self._objects.items())
        return (StoredObject(key, len(data), at) for key, (data, at) in found if key.startswith(prefix))

    def unsafe(self) -> str | None:
        """Return None: what is dropped is gone."""
        return None

    def check_writable(self) -> None:
        """Do nothing: memory can always be written."""

    def free_bytes(self) -> int | None:
        """Return None: it is not known."""
        return None

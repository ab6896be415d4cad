"""What tallies said to the questions of this process, so that the next question need not read them again.

A stored segment is never changed and its id is never reused. So what was taken from its tally stays true, and nothing
has to be invalidated. A question with another interval finds what it needs, too: the end of the log alone is new.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Hashable

KEPT_MAX_BYTES = 32 * 1024 * 1024
KEPT_ENTRY_BYTES = 1000  # of one segment and question, besides what was taken: measured


class _Entry(NamedTuple):
    taken: object
    size_bytes: int


class Kept:
    """What was taken from tallies, the latest uses. It is safe to use from many threads."""

    def __init__(self, max_bytes: int = KEPT_MAX_BYTES) -> None:
        """Keep so many bytes."""
        self._entries: LRUCache[Hashable, _Entry] = LRUCache(max_bytes, lambda entry: entry.size_bytes)
        self._lock = Lock()

    def get(self, key: Hashable) -> object | None:
        """Return what is kept under a key, or None."""
        with self._lock:
            found = self._entries.get(key)
        return None if found is None else found.taken

    def put(self, key: Hashable, taken: object, taken_bytes: int) -> None:
        """Keep something that takes so many bytes, unless that is too much."""
        entry = _Entry(taken, taken_bytes + KEPT_ENTRY_BYTES)
        with self._lock:
            if entry.size_bytes <= self._entries.maxsize:
                self._entries[key] = entry


KEPT = Kept()

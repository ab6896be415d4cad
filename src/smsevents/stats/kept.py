"""What tallies said to the questions of this process, so that the next question need not read them again.

A stored segment is never changed and its id is never reused. So what was taken from its tally stays true, and nothing
has to be invalidated. A question with another interval finds what it needs, too: the end of the log alone is new.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

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
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()  # in the order of their latest uses
        self._lock = Lock()

    def get(self, key: Hashable) -> object | None:
        """Return what is kept under a key, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
        return found.taken

    def put(self, key: Hashable, taken: object, taken_bytes: int) -> None:
        """Keep something that takes so many bytes, unless that is too much."""
        entry = _Entry(taken, taken_bytes + KEPT_ENTRY_BYTES)
        if entry.size_bytes > self._max_bytes:
            return
        with self._lock:
            replaced = self._entries.pop(key, None)
            self._size_bytes += entry.size_bytes - (0 if replaced is None else replaced.size_bytes)
            while self._size_bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._size_bytes -= dropped.size_bytes
            self._entries[key] = entry


KEPT = Kept()

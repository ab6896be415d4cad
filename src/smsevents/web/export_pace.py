"""The pace of an export: how much is read at a time, and whether the next chunk is read while one is sent.

A client that keeps up gets larger pages, read ahead. A slow one gains nothing by that, and a hundred of them would hold
a hundred times as much.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from smsevents.segments.merge import PAGE_HELD_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPORT_FAST_PAGE_BYTES = 1024 * 1024
EXPORT_AHEAD_MAX_SECONDS = 0.02  # nothing is read ahead for a client that takes longer for a chunk
EXPORT_RUNS_AHEAD_MAX = 8  # in a process: what is read ahead for clients that stop reading stays bounded


class Slots:
    """A fixed number of slots; a caller that gets none goes on without."""

    def __init__(self, free: int) -> None:
        """Have `free` slots."""
        self._free = free

    def take(self) -> bool:
        """Take a slot, to be returned; return whether there was one."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Return a slot."""
        self._free += 1


class Step(NamedTuple):
    """How the next chunk is read: while this one is sent or after that, and in pages of how many bytes."""

    is_ahead: bool
    page_max_bytes: int


class ExportPace:
    """Decides for one export, by how long its client took for the chunk before."""

    def __init__(self, slots: Slots) -> None:
        """Share the slots of the process for reading ahead."""
        self._slots = slots
        self._keeps_up = True

    def sent(self, seconds: float) -> None:
        """Note how long the client took for a chunk."""
        self._keeps_up = seconds < EXPORT_AHEAD_MAX_SECONDS

    @contextmanager
    def step(self) -> Iterator[Step]:
        """Decide how to send one chunk and read the next, and keep to the slots while the block does both."""
        if not self._keeps_up or not self._slots.take():
            yield Step(is_ahead=False, page_max_bytes=PAGE_HELD_MAX_BYTES)
            return
        try:
            yield Step(is_ahead=True, page_max_bytes=EXPORT_FAST_PAGE_BYTES)
        finally:
            self._slots.give_back()

"""The pace of an export: the size of each read, and whether the thread that reads also sends.

A client that keeps up gets larger pages, sent directly by the thread. A slow client would gain nothing from that, and a
hundred slow clients would hold a hundred times as much memory, and each a descriptor more.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from smsevents.segments.merge import PAGE_HELD_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPORT_FAST_PAGE_BYTES = 1024 * 1024
EXPORT_DIRECT_MAX_SECONDS = 0.02  # nothing is sent directly to a client that takes longer for a chunk
EXPORTS_DIRECT_MAX = 8  # in a process: limits the memory that clients can hold by not reading, and the descriptors
EXPORTS_DIRECT_OF_SHOP_MAX = 4  # so that the clients of one shop that stop reading do not slow down all others


class Slots:
    """A fixed number of slots, of which a shop may have some. A caller that gets none continues without one."""

    def __init__(self, free: int, of_shop: int = EXPORTS_DIRECT_OF_SHOP_MAX) -> None:
        """Start with `free` slots, up to `of_shop` for each shop."""
        self._free = free
        self._of_shop = of_shop
        self._taken: Counter[int] = Counter()

    def take(self, trackpoint: int) -> bool:
        """Take a slot for a shop if one is free. Return whether one was; if so, return it with `give_back`."""
        if self._free == 0 or self._taken[trackpoint] == self._of_shop:
            return False
        self._free -= 1
        self._taken[trackpoint] += 1
        return True

    def give_back(self, trackpoint: int) -> None:
        """Return a slot that was taken for a shop."""
        self._free += 1
        self._taken[trackpoint] -= 1
        if not self._taken[trackpoint]:
            del self._taken[trackpoint]


class Step(NamedTuple):
    """How the next chunk is sent: by the thread that reads it or in messages, and the page size in bytes."""

    is_direct: bool
    page_max_bytes: int


class ExportPace:
    """Decides how one export reads, by how long its client took for the previous chunk."""

    def __init__(self, slots: Slots, trackpoint: int) -> None:
        """Send an export of a shop. The slots for sending directly are those of all exports of the process."""
        self._slots = slots
        self._trackpoint = trackpoint
        self._keeps_up = True

    def sent(self, seconds: float) -> None:
        """Note how long the client took for a chunk, in seconds."""
        self._keeps_up = seconds < EXPORT_DIRECT_MAX_SECONDS

    @contextmanager
    def step(self) -> Iterator[Step]:
        """Yield how to read and send the next chunks. A slot for sending directly is held until the block ends."""
        if not self._keeps_up or not self._slots.take(self._trackpoint):
            yield Step(is_direct=False, page_max_bytes=PAGE_HELD_MAX_BYTES)
            return
        try:
            yield Step(is_direct=True, page_max_bytes=EXPORT_FAST_PAGE_BYTES)
        finally:
            self._slots.give_back(self._trackpoint)

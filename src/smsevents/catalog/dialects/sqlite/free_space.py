"""Whether there is room for the next write, determined without writing anything."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATABASE_PAGE_BYTES = 16 * 1024  # a segment is read page by page, and larger pages need fewer calls

ROOM_MIN_BYTES = 4 * DATABASE_PAGE_BYTES  # even the smallest write changes a few pages
# A failed write is forgotten after this time. A load balancer sends nothing to a server that is not ready, so no write
# would arrive to find out that there is room again.
REMEMBERED_SECONDS = 60
FREED_MIN_BYTES = 256 * 1024  # with this much more free space than at the failure, another write is worth a try


class FreeSpace:
    """Remembers whether the last write of this process found room, and how much space was free then."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Watch the disk of a database file. `monotonic` is a clock in seconds that never steps back."""
        self._folder = path.absolute().parent
        self._monotonic = monotonic
        self._needed_bytes = ROOM_MIN_BYTES
        self._until = 0.0

    def found(self) -> None:
        """Record that a write found room."""
        self._until = 0.0

    def missed(self) -> None:
        """Record that a write found no room."""
        self._needed_bytes = (free_bytes(self._folder) or 0) + FREED_MIN_BYTES
        self._until = self._monotonic() + REMEMBERED_SECONDS

    def check(self) -> None:
        """Raise `StoreUnavailable` if the next write will probably find no room."""
        needed = self._needed_bytes if self._monotonic() < self._until else ROOM_MIN_BYTES
        free = free_bytes(self._folder)
        if free is not None and free < needed:
            raise StoreUnavailable(
                f"There is no room left on the disk of the database, {self._folder}. Free some.",
                "There is no room left on the disk of the database.",
            )


def free_bytes(folder: Path) -> int | None:
    """Return the free space on the disk of a folder in bytes, or None if it cannot be determined."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize

"""Whether there is room for the next write: told without writing anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smsevents.errors import StoreUnavailable
from smsevents.settings import DATABASE_PAGE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

ROOM_MIN_BYTES = 4 * DATABASE_PAGE_BYTES  # the least write changes a few pages
FREED_MIN_BYTES = 256 * 1024  # so much more than there was when a write failed is worth another one


class Room:
    """Remembers whether the last write of this process found room, and how much was left then."""

    def __init__(self, path: Path) -> None:
        """Look at the disk of a database file."""
        self._folder = path.absolute().parent
        self._left_bytes: int | None = None

    def found(self) -> None:
        """Note that a write found room."""
        self._left_bytes = None

    def missed(self) -> None:
        """Note that a write found no room."""
        self._left_bytes = self._free_bytes()

    def check(self) -> None:
        """Raise `StoreUnavailable` if the next write will probably find no room."""
        needed = ROOM_MIN_BYTES if self._left_bytes is None else self._left_bytes + FREED_MIN_BYTES
        if self._free_bytes() < needed:
            raise StoreUnavailable(
                f"There is no room left on the disk of the database, {self._folder}. Free some.",
                "There is no room left on the disk of the database.",
            )

    def _free_bytes(self) -> int:
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

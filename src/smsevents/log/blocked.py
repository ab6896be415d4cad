"""Who is blocked in each shop, remembered for a moment.

What is remembered only saves a read. The write of an import compares it with the database.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smsevents.catalog.shops import blocked_digests

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.catalog import Database

BLOCKED_KNOWN_SECONDS = 2
BLOCKED_SHOPS_KEPT = 1000


class BlockedUsers:
    """The digests of the blocked users of each shop. Thread-safe."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Use a database and a monotonic clock in seconds."""
        self._database = database
        self._monotonic = monotonic
        self._known: dict[int, tuple[float, frozenset[bytes]]] = {}

    def read(self, trackpoint: int) -> frozenset[bytes]:
        """Read and remember the digests of a shop. Raises `StoreUnavailable`."""
        until = self._monotonic() + BLOCKED_KNOWN_SECONDS
        with self._database.read() as connection:
            found = blocked_digests(connection, trackpoint)
        if len(self._known) >= BLOCKED_SHOPS_KEPT:
            self._known.clear()
        self._known[trackpoint] = (until, found)
        return found

    def remembered(self, trackpoint: int) -> frozenset[bytes] | None:
        """Return the digests of a shop, at most BLOCKED_KNOWN_SECONDS old, or None if they must be read."""
        known = self._known.get(trackpoint)
        return known[1] if known is not None and self._monotonic() < known[0] else None

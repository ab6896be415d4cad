"""Shares: which of several upkeep workers does the upkeep of a shop.

Each worker has a row among the leases, which expires soon after it dies. Each shop belongs to the worker for which the
hash of both is the highest (rendezvous hashing). So all workers divide the shops in the same way without a word, and
only the shops of a worker that comes or goes change hands. A shop keeps its worker otherwise, which remembers what has
settled there.

For a moment, workers may see different rows. That a shop has only one worker at a time is ensured by a lock
(`Dialect.shop_kept`), which ends with the process.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from smsevents.catalog.leases import LEASE_SECONDS, holders_of, release_lease, take_lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database

EXTENDED_EVERY_SECONDS = LEASE_SECONDS // 4
MEMBER = "upkeep worker "  # the names of the leases, before that of the worker


class Shares:
    """The shops of one worker, by its name, among the workers of a database."""

    def __init__(self, database: Database, worker: str) -> None:
        """Know of no other worker yet."""
        self._database = database
        self._worker = worker
        self._workers: Sequence[str] = ()
        self._joined_ms = 0

    @property
    def workers(self) -> Sequence[str]:
        """The names of the workers when this one last looked."""
        return self._workers

    def join(self, now: int) -> None:
        """Be one of the workers for LEASE_SECONDS from `now` (Unix ms), and look at the others."""

        def take(connection: Connection) -> Sequence[str]:
            expires = now + LEASE_SECONDS * 1000
            take_lease(connection, MEMBER + self._worker, self._worker, now, expires)
            return holders_of(connection, MEMBER, now, expires)

        self._workers = self._database.write(take)
        self._joined_ms = now

    def extend(self, now: int) -> None:
        """Do what `join` does if the last time was long ago, or the clock was set back."""
        if not 0 <= now - self._joined_ms < EXTENDED_EVERY_SECONDS * 1000:
            self.join(now)

    def leave(self) -> None:
        """Leave the shops to the others at once."""
        self._database.write(lambda connection: release_lease(connection, MEMBER + self._worker, self._worker))

    def has(self, trackpoint: int) -> bool:
        """Return whether a shop is one of this worker."""
        return self._worker == max(self._workers, key=lambda worker: _rank(worker, trackpoint), default=self._worker)


def _rank(worker: str, trackpoint: int) -> bytes:
    return hashlib.blake2b(f"{worker} {trackpoint}".encode(), digest_size=8).digest()

"""The shops that a write appends to, looked up together: a statement for each of them would take longer than all else.

From `begin_appends` until the write ends, nobody can block a user of these shops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import Busy, dialect_of
from smsevents.catalog.shops import blocked_in

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import ExitStack

    from sqlalchemy import Connection


class Appending:
    """Shops that a write appends to. Create it with `begin_appends`."""

    def __init__(
        self,
        connection: Connection,
        blocked: Mapping[int, frozenset[bytes]],
        held: ExitStack,
        shared: Collection[int] | None,
    ) -> None:
        """Take the digests of the blocked users of each shop that exists, and the shops that are shared already."""
        self.connection = connection
        self.blocked = blocked
        self.held = held
        self._shared = shared
        self._asked: dict[int, bool] = {}

    def may_grow(self, trackpoint: int) -> bool:
        """Share a shop until the write has ended. Return False if an erasure has or awaits it."""
        if self._shared is not None:
            return trackpoint in self._shared
        found = self._asked.get(trackpoint)
        if found is None:
            found = self._asked[trackpoint] = self._share(trackpoint)
        return found

    def _share(self, trackpoint: int) -> bool:
        try:
            dialect_of(self.connection).share_until_end(self.connection, trackpoint, self.held)
        except Busy:
            return False
        return True


def begin_appends(connection: Connection, trackpoints: Collection[int], held: ExitStack) -> Appending:
    """Begin to append to one or more shops. `held` is closed after the write has ended."""
    shared = dialect_of(connection).begin_appends(connection, sorted(trackpoints))
    return Appending(connection, blocked_in(connection, trackpoints), held, shared)

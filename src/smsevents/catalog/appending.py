"""The shops that a write appends to, looked up together: a statement for each of them would take longer than all else.

From `begin_appends` until the write ends, nobody can block a user of these shops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.catalog.dialects.base import Busy, dialect_of
from smsevents.catalog.hot import rows_of
from smsevents.catalog.shops import blocked_in, blocked_sql

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import ExitStack

    from sqlalchemy import Connection


class Appending:
    """Shops that a write appends to. Create it with `begin_appends`."""

    def __init__(
        self,
        connection: Connection,
        held: ExitStack,
        rows: Sequence[Sequence[Sequence[Any]]],
        shared: Collection[int] | None,
    ) -> None:
        """Take the rows of `blocked_sql` and of further statements, and the shops that are shared already, if any."""
        self.connection = connection
        self.held = held
        self.blocked = blocked_in(rows[0])  # the digests of the blocked users of each shop that exists
        self.rows = rows[1:]  # of each further statement
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


def begin_appends(
    connection: Connection, trackpoints: Collection[int], held: ExitStack, reads: Sequence[str] = ()
) -> Appending:
    """Begin to append to one or more shops. `held` is closed after the write has ended.

    `reads` are further statements without values that are run together with those that are needed for this.
    """
    all_reads = [blocked_sql(trackpoints), *reads]
    begun = dialect_of(connection).begin_appends(connection, sorted(trackpoints), all_reads)
    if begun is None:
        return Appending(connection, held, [rows_of(connection, sql) for sql in all_reads], None)
    return Appending(connection, held, begun.rows, begun.shared)

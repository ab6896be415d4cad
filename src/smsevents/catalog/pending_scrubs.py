"""The statements on chores: work on the database's files that is still to be done after an erasure.

The transaction that erases something also stores the chore, which stays until it is done. A kill or a full disk
therefore cannot lose it. Each such transaction gives the chore a new token. A process that has done a chore removes
it only if its token is still the one that was there when the process began.

Rows with user data also leave without an erasure: they expire, or are replaced. Nobody waits for those to be wiped, so
they only leave a mark, ROWS_LEFT, in the same transaction. An erasure that finds the mark makes a scrub pending, even
if no row names the user any more. The next rewrite of the files removes the mark.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, text

from smsevents.catalog.tables import chores

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROWS_LEFT = "rows left since the last wipe"  # not a chore: a mark

_ADD = text("""
    INSERT INTO chores (name, token, since_ms) VALUES (:name, :token, :now)
    ON CONFLICT (name) DO UPDATE SET token = excluded.token, since_ms = excluded.since_ms
""")


def add_pending(connection: Connection, name: str, token: str, now: int) -> None:
    """Record that a chore is to be done, since `now` (Unix ms)."""
    connection.execute(_ADD, {"name": name, "token": token, "now": now})


def mark_rows_left(connection: Connection, now: int) -> None:
    """Record that rows with user data were deleted or replaced by something other than an erasure."""
    add_pending(connection, ROWS_LEFT, secrets.token_hex(8), now)


def pending(connection: Connection) -> dict[str, str]:
    """Return the chores that are to be done: tokens by name."""
    return {row.name: row.token for row in connection.execute(select(chores))}


def pending_since(connection: Connection) -> dict[str, tuple[str, int]]:
    """Return the chores that are to be done: by name, the token and since when (Unix ms)."""
    return {row.name: (row.token, row.since_ms) for row in connection.execute(select(chores))}


def drop_pending(connection: Connection, name: str) -> None:
    """Remove a chore, no matter who added it."""
    connection.execute(delete(chores).where(chores.c.name == name))


def mark_done(connection: Connection, name: str, token: str) -> None:
    """Record that a chore is done, unless another erasure has stored it again meanwhile."""
    connection.execute(delete(chores).where(chores.c.name == name, chores.c.token == token))

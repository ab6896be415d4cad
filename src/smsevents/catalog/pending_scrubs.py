"""The statements on chores: what still has to be done to the database's files after an erasure.

A chore stands in the database from the transaction on that erases something, until it is done, so that a kill or
a full disk cannot make it be forgotten. Each such transaction owes it under a token of its own: who does a chore
takes away only what was owed when it began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from smsevents.catalog.tables import chores

if TYPE_CHECKING:
    from sqlalchemy import Connection


def add_pending(connection: Connection, name: str, token: str, now: int) -> None:
    """Note that a chore has to be done, since `now` (Unix ms)."""
    connection.execute(delete(chores).where(chores.c.name == name))
    connection.execute(insert(chores).values(name=name, token=token, since_ms=now))


def pending(connection: Connection) -> dict[str, str]:
    """Give the chores that have to be done: their names and tokens."""
    return {row.name: row.token for row in connection.execute(select(chores))}


def pending_since(connection: Connection) -> dict[str, tuple[str, int]]:
    """Give the chores with their tokens and since when they are owed (Unix ms)."""
    return {row.name: (row.token, row.since_ms) for row in connection.execute(select(chores))}


def drop_pending(connection: Connection, name: str) -> None:
    """Remove a chore, no matter who added it."""
    connection.execute(delete(chores).where(chores.c.name == name))


def mark_done(connection: Connection, name: str, token: str) -> None:
    """Note that a chore is done, unless somebody owed it again meanwhile."""
    connection.execute(delete(chores).where(chores.c.name == name, chores.c.token == token))

"""The statements on sessions and on the tickets that open one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from smsevents.catalog.tables import sessions, tickets

if TYPE_CHECKING:
    from sqlalchemy import Connection

SESSIONS_OF_KEY_MAX = 50  # a sign-in beyond that ends the sessions of the key that expire first


def insert_session(connection: Connection, digest: bytes, key_id: str, expires_ms: int, now: int) -> None:
    """Store a session, and remove those of the key that have expired or are beyond SESSIONS_OF_KEY_MAX."""
    connection.execute(insert(sessions).values(digest=digest, key_id=key_id, expires_ms=expires_ms))
    connection.execute(delete(sessions).where(sessions.c.key_id == key_id, sessions.c.expires_ms <= now))
    newest = (
        select(sessions.c.digest)
        .where(sessions.c.key_id == key_id)
        .order_by(sessions.c.expires_ms.desc(), sessions.c.digest)
        .limit(SESSIONS_OF_KEY_MAX)
    )
    connection.execute(delete(sessions).where(sessions.c.key_id == key_id, sessions.c.digest.not_in(newest)))


def find_session(connection: Connection, digest: bytes) -> tuple[str, int] | None:
    """Return the id of a session's key and when the session expires (Unix ms), or None."""
    statement = select(sessions.c.key_id, sessions.c.expires_ms).where(sessions.c.digest == digest)
    row = connection.execute(statement).first()
    return None if row is None else (row.key_id, row.expires_ms)


def delete_session(connection: Connection, digest: bytes) -> None:
    """Remove a session, if there is one."""
    connection.execute(delete(sessions).where(sessions.c.digest == digest))


def delete_sessions_of_key(connection: Connection, key_id: str) -> None:
    """Remove all sessions and tickets of a key."""
    connection.execute(delete(sessions).where(sessions.c.key_id == key_id))
    connection.execute(delete(tickets).where(tickets.c.key_id == key_id))


def insert_ticket(connection: Connection, digest: bytes, key_id: str, expires_ms: int, now: int) -> None:
    """Store a ticket, and remove those that have expired."""
    connection.execute(delete(tickets).where(tickets.c.expires_ms <= now))
    connection.execute(insert(tickets).values(digest=digest, key_id=key_id, expires_ms=expires_ms))


def take_ticket(connection: Connection, digest: bytes) -> tuple[str, int] | None:
    """Remove a ticket, and return the id of its key and when it expires (Unix ms), or None if it is not there.

    One statement: of two requests with the same ticket, only one gets it.
    """
    statement = delete(tickets).where(tickets.c.digest == digest).returning(tickets.c.key_id, tickets.c.expires_ms)
    row = connection.execute(statement).first()
    return None if row is None else (row.key_id, row.expires_ms)

"""The statements on leases: which process does the upkeep.

A lease keeps processes from doing the same work twice. It is not a lock: what holds a lease may be slow and lose
it, so that two may work for a while. Every step of the upkeep is therefore right by itself, see
`segments.replace_segments`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from smsevents.catalog.tables import leases

if TYPE_CHECKING:
    from sqlalchemy import Connection

LEASE_SECONDS = 120


def take_lease(connection: Connection, name: str, holder: str, now: int, expires: int) -> bool:
    """Take or prolong a lease until `expires` (Unix ms); tell whether it is the holder's now.

    One that ends later than a lease which is taken now is not valid: a clock that was ahead wrote it, and it would
    keep everybody from the work until that clock is right.
    """
    row = connection.execute(select(leases).where(leases.c.name == name)).first()
    if row is None:
        connection.execute(insert(leases).values(name=name, holder=holder, expires_ms=expires))
        return True
    if row.holder != holder and now < row.expires_ms <= expires:
        return False
    connection.execute(update(leases).where(leases.c.name == name).values(holder=holder, expires_ms=expires))
    return True


def release_lease(connection: Connection, name: str, holder: str) -> None:
    """Give a lease back, if it is the holder's."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

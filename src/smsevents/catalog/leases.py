"""The statements on leases: which process does the upkeep.

A lease keeps processes from doing the same work twice. It is not a lock: a slow process may lose its lease, and two
processes may then work for a while. Every step of the upkeep is therefore correct by itself, see
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
    """Take or extend a lease until `expires` (Unix ms). Return whether the holder has it now.

    A stored lease that ends later than `expires` is not valid. A clock that was ahead wrote it, and it would keep all
    processes from the work until that time.
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
    """Release a lease, if the holder has it."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

"""The statements on leases: which processes do the upkeep, and which one leads.

A lease keeps processes from doing the same work twice. It is not a lock: a slow process may lose its lease, and two
processes may then work for a while. Every step of the upkeep is therefore correct by itself, see
`replacement.replace_stored`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select, text

from smsevents.catalog.tables import leases

if TYPE_CHECKING:
    from sqlalchemy import Connection

LEASE_SECONDS = 120

# One statement, so that of two processes that take a lease at the same time only one gets it.
_TAKE = text("""
    INSERT INTO leases (name, holder, expires_ms) VALUES (:name, :holder, :expires)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_ms = excluded.expires_ms
    WHERE leases.holder = :holder OR leases.expires_ms <= :now OR leases.expires_ms > :expires
""")


def take_lease(connection: Connection, name: str, holder: str, now: int, expires: int) -> bool:
    """Take or extend a lease until `expires` (Unix ms). Return whether the holder has it now.

    A stored lease that ends later than `expires` is not valid. A clock that was ahead wrote it, and it would keep all
    processes from the work until that time.
    """
    return connection.execute(_TAKE, {"name": name, "holder": holder, "now": now, "expires": expires}).rowcount == 1


def is_held(connection: Connection, name: str, now: int, expires: int) -> bool:
    """Return whether a lease is valid at `now` (Unix ms). One that ends after `expires` is not, see `take_lease`."""
    ends = connection.execute(select(leases.c.expires_ms).where(leases.c.name == name)).scalar()
    return ends is not None and now < ends <= expires


def holders_of(connection: Connection, prefix: str, now: int, expires: int) -> list[str]:
    """Return the holders of valid leases whose names begin with a prefix, in order, and delete such leases that ended.

    At `now` (Unix ms), a lease is valid that ends later, but not after `expires`, see `take_lease`.
    """
    c = leases.c
    named = c.name.startswith(prefix, autoescape=True)
    connection.execute(delete(leases).where(named, or_(c.expires_ms <= now, c.expires_ms > expires)))
    return list(connection.execute(select(c.holder).where(named).order_by(c.holder)).scalars())


def release_lease(connection: Connection, name: str, holder: str) -> None:
    """Release a lease, if the holder has it."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

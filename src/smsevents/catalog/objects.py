"""The statements on objects: what may be in the store, and what is to be deleted there.

An object is **announced** before it is written, becomes **live** in the transaction that names it in `packs`, and
**dead** in the one that stops naming it. Its row goes only once the store has confirmed that the object is gone. So
whatever is killed, every object has a row. A row is also a fence: an object that is dead can never become live, so the
collection may delete it while a slow process is still writing it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, func, insert, or_, select, text, update

from smsevents.catalog.batches import batches
from smsevents.catalog.tables import objects, packs, pins

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection

_c = objects.c


class State(StrEnum):
    """The state of an object."""

    ANNOUNCED = "announced"
    LIVE = "live"
    DEAD = "dead"


def announce(connection: Connection, trackpoint: int, key: str, size_bytes: int, now: int) -> None:
    """Record at `now` (Unix ms) that an object of a shop is going to be written."""
    connection.execute(
        insert(objects).values(key=key, trackpoint=trackpoint, state=State.ANNOUNCED, since_ms=now, bytes=size_bytes)
    )


def lock_announced(connection: Connection, keys: Collection[str]) -> int:
    """Lock announced objects until the transaction ends. Return how many of them there are."""
    statement = select(_c.key).where(_c.key.in_(keys), _c.state == State.ANNOUNCED).order_by(_c.key).with_for_update()
    return len(connection.execute(statement).all())


def make_live(connection: Connection, key: str, now: int) -> None:
    """Record at `now` (Unix ms) that a pack names an object."""
    connection.execute(update(objects).where(_c.key == key).values(state=State.LIVE, since_ms=now))


def make_dead(connection: Connection, keys: Collection[str], now: int, delete_after_ms: int) -> None:
    """Record at `now` that no pack names objects any more, and that they go after `delete_after_ms` (Unix ms)."""
    for some in batches(keys):
        _bury(connection, _c.key.in_(some), now, delete_after_ms)


def _bury(connection: Connection, which: ColumnElement[bool], now: int, delete_after_ms: int) -> int:
    statement = update(objects).where(which).values(state=State.DEAD, since_ms=now, delete_after_ms=delete_after_ms)
    return connection.execute(statement).rowcount


def adopt_object(connection: Connection, trackpoint: int, key: str, size_bytes: int, now: int) -> None:
    """Record an object that has no row, as dead since `now` (Unix ms) and to be deleted. Do nothing if it has one."""
    connection.execute(
        text("""
            INSERT INTO objects (key, trackpoint, state, since_ms, delete_after_ms, bytes)
            VALUES (:key, :trackpoint, 'dead', :now, :now, :bytes) ON CONFLICT DO NOTHING
        """),
        {"key": key, "trackpoint": trackpoint, "now": now, "bytes": size_bytes},
    )


def doom(connection: Connection, keys: Collection[str], now: int) -> None:
    """Record at `now` (Unix ms) that announced objects are to be deleted. Those that became live stay live."""
    for some in batches(keys):
        _bury(connection, _c.key.in_(some) & (_c.state == State.ANNOUNCED), now, now)


def expedite(connection: Connection, trackpoint: int, now: int) -> int:
    """Let all objects of a shop that no pack names be deleted at `now` (Unix ms). Return how many there are.

    Nothing may be writing objects of the shop at the same time.
    """
    return _bury(connection, (_c.trackpoint == trackpoint) & (_c.state != State.LIVE), now, now)


def hasten(connection: Connection, now: int) -> None:
    """Let all dead objects be deleted at `now` (Unix ms), and not only later."""
    connection.execute(update(objects).where(_c.state == State.DEAD).values(delete_after_ms=now))


def has_abandoned(connection: Connection, before_ms: int) -> bool:
    """Return whether an object was announced before `before_ms` (Unix ms) and not finished."""
    statement = select(_c.key).where(_c.state == State.ANNOUNCED, _c.since_ms < before_ms).limit(1)
    return connection.execute(statement).first() is not None


def doom_abandoned(connection: Connection, before_ms: int, now: int) -> None:
    """Record at `now` that objects announced before `before_ms` (Unix ms) are dead."""
    _bury(connection, (_c.state == State.ANNOUNCED) & (_c.since_ms < before_ms), now, now)


def objects_due(connection: Connection, now: int, at_most: int, skipped: int = 0) -> list[str]:
    """Return the keys of up to `at_most` objects that are to be deleted at `now` (Unix ms), without the first few.

    An object that died after `now`, by a clock that was ahead, is to be deleted, too.
    """
    statement = select(_c.key).where(
        _c.state == State.DEAD,
        or_(_c.delete_after_ms <= now, _c.since_ms > now),
        ~exists().where(packs.c.key == _c.key),  # nothing makes such a row; if it did, events would be lost
    )
    return list(connection.execute(statement.order_by(_c.since_ms, _c.key).limit(at_most).offset(skipped)).scalars())


def forget_objects(connection: Connection, keys: Collection[str]) -> None:
    """Remove the rows of dead objects that are certainly gone."""
    for some in batches(keys):
        connection.execute(delete(objects).where(_c.key.in_(some), _c.state == State.DEAD))


def count_objects(connection: Connection, state: State) -> tuple[int, int]:
    """Return how many objects are in a state, and their bytes."""
    statement = select(func.count(), func.coalesce(func.sum(_c.bytes), 0)).where(_c.state == state)
    count, size = connection.execute(statement).one()
    return count, int(size)


def has_object(connection: Connection, key: str) -> bool:
    """Return whether an object has a row, in any state."""
    return connection.execute(select(_c.key).where(_c.key == key)).first() is not None


def has_objects(connection: Connection) -> bool:
    """Return whether any object has a row, in any state."""
    return connection.execute(select(_c.key).limit(1)).first() is not None


_PIN = text("""
    INSERT INTO pins (name, expires_ms) VALUES (:name, :expires)
    ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms
""")


def pin(connection: Connection, name: str, expires_ms: int) -> None:
    """Keep all objects until `expires_ms` (Unix ms), or until the pin is removed."""
    connection.execute(_PIN, {"name": name, "expires": expires_ms})


def renew_pin(connection: Connection, name: str, now: int, expires_ms: int) -> bool:
    """Let a pin last until `expires_ms` (Unix ms). Return False if it has expired at `now` already."""
    statement = update(pins).where(pins.c.name == name, pins.c.expires_ms > now).values(expires_ms=expires_ms)
    return bool(connection.execute(statement).rowcount)


def drop_pins(connection: Connection) -> None:
    """Remove all pins."""
    connection.execute(delete(pins))


def unpin(connection: Connection, name: str) -> None:
    """Remove a pin."""
    connection.execute(delete(pins).where(pins.c.name == name))


def is_pinned(connection: Connection, now: int, longest_ms: int) -> bool:
    """Return whether a pin keeps objects at `now`. One that lasts longer than `longest_ms` is of a wrong clock."""
    valid = pins.c.expires_ms.between(now, now + longest_ms)
    return connection.execute(select(pins.c.name).where(valid).limit(1)).first() is not None

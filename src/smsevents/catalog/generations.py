"""The statements on generations: the names that this database wrote into the marker of its store of packs.

A copy of the database has those that were written before it was made, and none that the original wrote since. So of
the two, only the one that wrote last finds its own generation in the store (`attachment.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from smsevents.catalog.tables import generations

if TYPE_CHECKING:
    from sqlalchemy import Connection

GENERATIONS_KEPT_MAX = 1000  # a slow process may write an earlier one again; at one per hour, six weeks

_c = generations.c


def add_generation(connection: Connection, name: str, now: int) -> None:
    """Record at `now` (Unix ms) a generation that is going to be written into the store.

    No other one counts as newer, even if it was recorded by a clock that was ahead.
    """
    newest = select(_c.name).order_by(_c.written_ms.desc()).limit(GENERATIONS_KEPT_MAX)
    connection.execute(delete(generations).where(_c.name.not_in(newest)))
    connection.execute(update(generations).where(_c.written_ms > now).values(written_ms=now))
    connection.execute(insert(generations).values(name=name, written_ms=now))


def is_own_generation(connection: Connection, name: str) -> bool:
    """Return whether this database wrote a generation."""
    return connection.execute(select(_c.name).where(_c.name == name)).first() is not None


def newest_generation_ms(connection: Connection) -> int | None:
    """Return when the newest generation was recorded (Unix ms), or None if there is none."""
    newest: int | None = connection.execute(select(func.max(_c.written_ms))).scalar()
    return newest

"""The statements on milestones: when something was last done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from smsevents.catalog.tables import milestones

if TYPE_CHECKING:
    from sqlalchemy import Connection

BACKUP = "backup"


def reach(connection: Connection, name: str, at_ms: int) -> None:
    """Record that the thing called `name` was done at `at_ms` (Unix ms)."""
    connection.execute(delete(milestones).where(milestones.c.name == name))
    connection.execute(insert(milestones).values(name=name, at_ms=at_ms))


def reached(connection: Connection) -> dict[str, int]:
    """Return when each thing was last done: Unix milliseconds by name."""
    return {row.name: row.at_ms for row in connection.execute(select(milestones))}

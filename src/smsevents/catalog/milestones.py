"""The statements on milestones: when something was done last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from smsevents.catalog.tables import milestones

if TYPE_CHECKING:
    from sqlalchemy import Connection

BACKUP = "backup"


def reach(connection: Connection, name: str, at_ms: int) -> None:
    """Note that something was done at a time (Unix ms)."""
    connection.execute(delete(milestones).where(milestones.c.name == name))
    connection.execute(insert(milestones).values(name=name, at_ms=at_ms))


def reached(connection: Connection) -> dict[str, int]:
    """Tell when each thing was done last (Unix ms)."""
    return {row.name: row.at_ms for row in connection.execute(select(milestones))}

"""The statements on milestones: when something was last done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, text

from smsevents.catalog.tables import milestones

if TYPE_CHECKING:
    from sqlalchemy import Connection

BACKUP = "backup"
ERASURES_FORGOTTEN = "erasures forgotten"  # the time before which no records of erasures are kept
RECONCILED = "reconciled"  # the store of packs with the rows of its objects

_REACH = text("""
    INSERT INTO milestones (name, at_ms) VALUES (:name, :at_ms)
    ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms
""")


def reach(connection: Connection, name: str, at_ms: int) -> None:
    """Record that the thing called `name` was done at `at_ms` (Unix ms)."""
    connection.execute(_REACH, {"name": name, "at_ms": at_ms})


def reached(connection: Connection) -> dict[str, int]:
    """Return when each thing was last done: Unix milliseconds by name."""
    return {row.name: row.at_ms for row in connection.execute(select(milestones))}

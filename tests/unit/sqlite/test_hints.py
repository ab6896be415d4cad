"""Hints for the planner: SQLite's statements have them, those of other databases do not."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from smsevents.catalog.dialects.hints import NotByIndex
from smsevents.catalog.tables import segments


def test_only_sqlite_hides_a_column_from_its_planner() -> None:
    """SQLite gets a unary plus before the column; another database gets the column as it is and may use the index."""
    statement = select(segments.c.id).where(NotByIndex(segments.c.trackpoint) == 7)

    assert "WHERE +segments.trackpoint = " in str(statement.compile(dialect=sqlite.dialect()))
    assert "WHERE segments.trackpoint = " in str(statement.compile())

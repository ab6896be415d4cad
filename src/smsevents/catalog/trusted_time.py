"""The statements on the mark of trusted time, and on the times that the database itself contains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from smsevents.catalog.tables import blocked_users, keys, segments, shops, trusted_time
from smsevents.clock.system import Reading
from smsevents.clock.trusted import Doubt, Evidence, Mark, first_mark

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ID = 1


def find_mark(connection: Connection) -> Mark | None:
    """Return the mark, or None if the time was never recorded."""
    row = connection.execute(select(trusted_time).where(trusted_time.c.id == _ID)).first()
    return None if row is None else mark_of(row)


def mark_of(row: Any) -> Mark:  # noqa: ANN401 -- a row of SQLAlchemy, or an object with the same attributes
    """Return the mark of a row of `trusted_time`, which has its columns as attributes."""
    return Mark(
        trusted_ms=row.trusted_ms,
        expected_ms=row.expected_ms,
        noted=Reading(row.noted_wall_ms, row.noted_start, row.noted_since_start_ms),
        steady=Reading(row.steady_wall_ms, row.steady_start, row.steady_since_start_ms),
        evidence=Evidence(row.agreed, row.contradicted, row.witness_ms),
        doubt=None if row.doubt is None else Doubt(row.doubt),
        generation=row.generation,
        worked_ms=row.worked_ms,
        settled=bool(row.settled),
    )


def put_mark(connection: Connection, mark: Mark) -> None:
    """Store a mark in place of the present one."""
    values = {
        "trusted_ms": mark.trusted_ms,
        "expected_ms": mark.expected_ms,
        "noted_start": mark.noted.start,
        "noted_wall_ms": mark.noted.wall_ms,
        "noted_since_start_ms": mark.noted.since_start_ms,
        "steady_start": mark.steady.start,
        "steady_wall_ms": mark.steady.wall_ms,
        "steady_since_start_ms": mark.steady.since_start_ms,
        "agreed": mark.evidence.agreed,
        "contradicted": mark.evidence.contradicted,
        "witness_ms": mark.evidence.witness_ms,
        "doubt": None if mark.doubt is None else mark.doubt.value,
        "generation": mark.generation,
        "worked_ms": mark.worked_ms,
        "settled": int(mark.settled),
    }
    if connection.execute(update(trusted_time).where(trusted_time.c.id == _ID).values(values)).rowcount == 0:
        connection.execute(insert(trusted_time).values(id=_ID, **values))


def first_mark_of(connection: Connection, now: Reading) -> Mark:
    """Return a first mark for a database without one, based on the newest times that the database contains."""
    columns = (segments.c.last_date, shops.c.created_ms, keys.c.created_ms, blocked_users.c.blocked_ms)
    newest = [connection.execute(select(func.max(column))).scalar() for column in columns]
    known = [one for one in newest if one is not None]
    return first_mark(now, max(known, default=None), has_events=newest[0] is not None)

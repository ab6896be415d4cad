"""The statements on the numbers of messages that are kept for days of sending.

What is kept for a day counts only while the basis of the day (`catalog.sent_days`) is the one that it was counted from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, insert, select

from smsevents.catalog.batches import batches
from smsevents.catalog.hot import Hot
from smsevents.catalog.sent_days import bases_of, holdings_of
from smsevents.catalog.tables import message_days
from smsevents.segments.message_day import MESSAGE_DAY_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database

_c = message_days.c
_DATA = Hot(select(_c.data).where(_c.trackpoint == bindparam("trackpoint"), _c.day == bindparam("day")))


class Kept(NamedTuple):
    """That a day was counted, when (Unix ms), and from what. It is not `worth` keeping if its numbers are too large."""

    version: int
    basis: bytes
    counted_ms: int
    is_worth: bool

    def is_of(self, basis: bytes) -> bool:
        """Return whether it was counted from what is stored, in the way of this version."""
        return self.version == MESSAGE_DAY_VERSION and self.basis == basis


def kept_days(connection: Connection, trackpoint: int, first: int, last: int) -> dict[int, Kept]:
    """Return the days (since 1970) of a shop from `first` to `last` that were counted."""
    columns = (_c.day, _c.version, _c.basis, _c.counted_ms, _c.data.is_not(None))
    rows = connection.execute(select(*columns).where(_c.trackpoint == trackpoint, _c.day.between(first, last)))
    return {
        day: Kept(version, bytes(basis), counted_ms, bool(worth)) for day, version, basis, counted_ms, worth in rows
    }


def all_kept_days(connection: Connection, trackpoint: int) -> dict[int, Kept]:
    """Return all days of a shop that were counted."""
    return kept_days(connection, trackpoint, -(2**31), 2**31 - 1)


def data_of_day(connection: Connection, trackpoint: int, day: int) -> bytes | None:
    """Return what is kept of a day, as it is stored, or None."""
    rows = _DATA.all(connection, {"trackpoint": trackpoint, "day": day})
    return bytes(rows[0][0]) if rows and rows[0][0] is not None else None


def store_days(
    connection: Connection, trackpoint: int, counted: Mapping[int, tuple[bytes, bytes | None]], counted_ms: int
) -> None:
    """Keep days, by their number: the basis of each, and its numbers or None if these are too large to be kept."""
    drop_days(connection, trackpoint, counted)
    for day, (basis, data) in counted.items():
        row = {"trackpoint": trackpoint, "day": day, "version": MESSAGE_DAY_VERSION, "basis": basis}
        connection.execute(insert(message_days).values(**row, counted_ms=counted_ms, data=data))


def drop_days(connection: Connection, trackpoint: int, days: Collection[int]) -> None:
    """Delete what is kept for days of a shop."""
    for some in batches(days):
        connection.execute(delete(message_days).where(_c.trackpoint == trackpoint, _c.day.in_(some)))


def drop_days_before(connection: Connection, day: int) -> None:
    """Delete what is kept for days before one, of all shops."""
    connection.execute(delete(message_days).where(_c.day < day))


def drop_outdated_days(database: Database, trackpoint: int) -> None:
    """Delete what is kept for days of a shop whose events are not those that it was counted from.

    Raises what `holdings_of` does.
    """
    with database.read() as connection:
        kept = all_kept_days(connection, trackpoint)
        if not kept:
            return
        bases = bases_of(holdings_of(database, connection, trackpoint, lambda: None))
    outdated = [day for day, one in kept.items() if day not in bases or not one.is_of(bases[day].digest)]
    if outdated:
        database.write(lambda connection: drop_days(connection, trackpoint, outdated))

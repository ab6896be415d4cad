"""The statements on records of erasures: which ones this database knows, and what seals them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, text

from smsevents.catalog.batches import batches
from smsevents.catalog.milestones import ERASURES_FORGOTTEN, reach, reached
from smsevents.catalog.tables import erasure_keys, erasure_records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import Connection

_c = erasure_records.c
_ADD = text("INSERT INTO erasure_records (name, at_ms) VALUES (:name, :at_ms) ON CONFLICT DO NOTHING")


def sealing_key(connection: Connection) -> bytes:
    """Return the key that seals the records. The migration made it."""
    return bytes(connection.execute(select(erasure_keys.c.key)).scalar_one())


def add_known(connection: Connection, names: Iterable[tuple[str, int]]) -> None:
    """Remember records by their names and times (Unix ms). Those that are known already stay as they are."""
    if rows := [{"name": name, "at_ms": at_ms} for name, at_ms in names]:
        connection.execute(_ADD, rows)


def newest_known_ms(connection: Connection) -> int:
    """Return the time (Unix ms) of the newest record that is known, or 0."""
    return connection.execute(select(func.max(_c.at_ms))).scalar() or 0


def known_among(connection: Connection, names: Collection[str]) -> set[str]:
    """Return those of the names whose records are known."""
    found: set[str] = set()
    for some in batches(names):
        found.update(connection.execute(select(_c.name).where(_c.name.in_(some))).scalars())
    return found


def known_names(connection: Connection) -> Iterator[str]:
    """Go through the names of all records that are known."""
    return iter(connection.execute(select(_c.name)).scalars())


def forget_known(connection: Connection, before_ms: int) -> None:
    """Forget the records from before a time (Unix ms), for good: see `forgotten_before_ms`."""
    connection.execute(delete(erasure_records).where(_c.at_ms < before_ms))
    if before_ms > forgotten_before_ms(connection):
        reach(connection, ERASURES_FORGOTTEN, before_ms)


def forgotten_before_ms(connection: Connection) -> int:
    """Return the time (Unix ms) from before which records may be known no more, or 0."""
    return reached(connection).get(ERASURES_FORGOTTEN, 0)

"""The statements on the store that holds the packs: one row, which is created when a store is first used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from smsevents.catalog.tables import stores

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ID = 1


@dataclass(frozen=True)
class StoreRecord:
    """The store: its URL, the identity that is also in the store, and whether new packs are made."""

    url: str
    identity: str
    packing: bool


def find_store(connection: Connection) -> StoreRecord | None:
    """Return the store that holds the packs, or None if there never was one."""
    row = connection.execute(select(stores)).first()
    return None if row is None else StoreRecord(row.url, row.identity, bool(row.packing))


def is_packing(connection: Connection) -> bool:
    """Return whether there is a store in which new packs are made."""
    found = find_store(connection)
    return found is not None and found.packing


def record_store(connection: Connection, record: StoreRecord) -> None:
    """Record the store, instead of the one that was recorded before."""
    connection.execute(delete(stores))
    connection.execute(
        insert(stores).values(id=_ID, url=record.url, identity=record.identity, packing=int(record.packing))
    )


def set_packing(connection: Connection, *, packing: bool) -> None:
    """Record whether new packs are made."""
    connection.execute(update(stores).values(packing=int(packing)))

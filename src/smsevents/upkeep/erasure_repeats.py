"""Erasures that were made after a backup are repeated in the database that was restored from it.

They are found in the record of erasures (`erasure_records.py`). What reads or records events repeats them first:
`serve`, `export` and `import`. So no reader sees a restored database before they are repeated.

In a database that was not restored, there is nothing to repeat: it knows all records. The exception is a failover of
PostgreSQL that lost its last transactions. The upkeep worker finds that out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smsevents.catalog.erasures import add_known, known_among
from smsevents.catalog.shops import all_shops, block_user, unblock_user
from smsevents.upkeep.erasure import erase_alone
from smsevents.upkeep.erasure_records import Act, known_of, places_to_read, unknown
from smsevents.upkeep.erasure_users import UsersByDigest
from smsevents.upkeep.receipt_rows import erase_receipts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.storage.base import ByteStore
    from smsevents.upkeep.erasure_records import ErasureRecord

REPEAT_PATIENCE_SECONDS = 600  # another process that starts at the same time may be repeating them


class Repeated(NamedTuple):
    """How many erasures were repeated and how many events they removed, and how many records cannot be opened."""

    erasures: int
    events: int
    unreadable: int


def repeat_erasures(database: Database, now: int, places: Sequence[ByteStore] | None = None) -> Repeated:
    """Repeat the erasures that the database does not know, at `now` (Unix ms), by the records in places.

    The default are the places of the database. `wipe` must follow. Records of a shop that does not exist wait until it
    does. Raises what `erase` raises.
    """
    places = places_to_read(database) if places is None else places
    with database.read() as connection:
        found = unknown(connection, places)
        shops = {shop.trackpoint for shop in all_shops(connection)}
    by_shop: dict[int, dict[str, ErasureRecord]] = {}
    for name, record in found.records.items():
        if record.trackpoint in shops:
            by_shop.setdefault(record.trackpoint, {})[name] = record
    erasures = events = 0
    for trackpoint, records in by_shop.items():
        done = _repeat_in_shop(database, trackpoint, records, now)
        erasures += done[0]
        events += done[1]
    return Repeated(erasures, events, found.unreadable)


def _repeat_in_shop(
    database: Database, trackpoint: int, records: Mapping[str, ErasureRecord], now: int
) -> tuple[int, int]:
    """Block, erase, and know the records, in this order. A kill anywhere leaves them to be repeated again."""
    with database.dialect.shop_alone(trackpoint, REPEAT_PATIENCE_SECONDS):
        with database.read() as connection:  # another process may have repeated them, and users may have new events
            known = known_among(connection, records.keys())
            decided_ms = {one.digest: one.at_ms for one in _decisions(known_of(connection, trackpoint))}
        left = {name: record for name, record in records.items() if name not in known}
        if not left:
            return 0, 0
        is_blocked = {  # by the last record of each user, unless it was decided otherwise since the restore
            record.digest: record.act is Act.BLOCK
            for record in _decisions(left.values())
            if record.at_ms > decided_ms.get(record.digest, 0)
        }
        erased = {record.digest for record in left.values() if record.act is not Act.ALLOW}

        def block(connection: Connection) -> None:
            for digest, blocked in is_blocked.items():
                if blocked:
                    block_user(connection, trackpoint, digest, now)
                else:
                    unblock_user(connection, trackpoint, digest)

        database.write(block)
        events = 0
        if erased:
            users = UsersByDigest(trackpoint, erased)
            erase_receipts(database, trackpoint, users, now)
            events = erase_alone(database, trackpoint, users, now).events
        database.write(lambda connection: add_known(connection, ((name, one.at_ms) for name, one in left.items())))
    return len(erased), events


def _decisions(records: Iterable[ErasureRecord]) -> list[ErasureRecord]:
    """Return the records that block or allow a user, in the order of their times."""
    return sorted((one for one in records if one.act is not Act.ERASE), key=lambda one: one.at_ms)

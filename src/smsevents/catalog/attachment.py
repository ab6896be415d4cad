"""Which store holds the packs of a database, and that no other database uses it.

The store has a **marker**, an object that names the store's identity and the database. The database has a row with the
URL of the store and the same identity (`stores.py`). A folder without the marker is not the one that holds the packs:
its disk is probably not mounted. A marker of another database means that two would delete each other's packs, as after
a copy of the database was opened.

A copy that is opened elsewhere may have the same location and identity. So the marker also has a **generation**, which
is renewed every hour. Each database knows those that it wrote itself. If the marker has another one, the database is a
copy, or it was copied, or it was restored from an earlier backup: the store may hold packs that it does not know, and
may miss some that it names. It then writes and deletes nothing in the store, until the operator has decided which of
the two keeps it. Reading goes on.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from smsevents.catalog.generations import add_generation, is_own_generation, newest_generation_ms
from smsevents.catalog.markers import MARKER_KEY, Marker, is_pack, read_marker, write_marker
from smsevents.catalog.objects import drop_pins, has_objects
from smsevents.catalog.packs import count_packs, keys_named
from smsevents.catalog.stores import StoreRecord, find_store, record_store
from smsevents.errors import SettingError, StoreUnavailable
from smsevents.storage.base import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.storage.base import ByteStore

NAMED_PACKS_MAX = 3  # in a message
RENEWED_EVERY_MS = 60 * 60 * 1000  # for so long, a copy of the database is taken for the original


def is_store_needed(connection: Connection) -> bool:
    """Return whether there is a store that holds anything, or will."""
    record = find_store(connection)
    return record is not None and (record.packing or is_in_use(connection))


def is_in_use(connection: Connection) -> bool:
    """Return whether objects may be in the store. Each pack has one."""
    return has_objects(connection)


def open_recorded(database: Database, record: StoreRecord | None) -> ByteStore:
    """Open the store that the catalog names. Raises `StoreUnavailable` if it is not the one that holds the packs."""
    if record is None:
        raise StoreUnavailable("The database names packs, but no store of them. Run `smsevents adopt`.", OUTSIDE)
    store = database.open_store(record.url)
    check_marker(database.dialect.where, store, record)
    return store


def store_to_change(database: Database, connection: Connection) -> ByteStore:
    """Return the store of the packs, to write or delete objects in it. Raises `StoreUnavailable`.

    Another process may have named another store since this one was opened, or another database may have taken it over
    or written into it.
    """
    record, store = find_store(connection), database.packs(connection).store
    if record is None or record.url != store.url:
        database.forget_packs()
        record, store = find_store(connection), database.packs(connection).store
    if record is not None:
        check_own(connection, database.dialect.where, store, record)
    return store


def attach(database: Database, url: str) -> None:
    """Use the store that a URL names for the packs of a database, from now on.

    A store that has no marker yet must be empty. A store that was moved is recognized by its marker. Raises
    `SettingError` if the URL or the store cannot be used for this database, and `StoreUnavailable`.
    """
    store = _opened_safe(database, url)
    with database.read() as connection:
        record = find_store(connection)
    is_same = record is not None and record.url == store.url
    marker = read_marker(store)
    if (
        record
        and is_same
        and marker
        and (marker.identity, marker.database) == (record.identity, database.dialect.where)
    ):
        return
    with database.exclusive() as connection:  # of several processes that start at once, one attaches the store
        _attach(database, connection, store)


def _opened_safe(database: Database, url: str) -> ByteStore:
    """Open a store that can be written, and in which deleted objects are really gone."""
    store = database.open_store(url)
    store.check_writable()
    if why := store.unsafe():
        raise SettingError(f"SMSEVENTS_SEGMENTS is {url!r}, which cannot be used: {why}")
    return store


def _attach(database: Database, connection: Connection, store: ByteStore) -> None:
    record, marker = find_store(connection), read_marker(store)
    where = database.dialect.where
    in_use = is_in_use(connection)
    if marker is None and record is not None and in_use:
        raise _without_marker(where, store, record)
    if marker is None:
        if _holds_others(store):
            raise SettingError(
                f"{store.url} of SMSEVENTS_SEGMENTS holds other files. Name an empty folder or an unused prefix for the"
                " packs."
            )
        marker = _mark(database, connection, store)
    elif marker.database != where:
        raise _of_another(store, marker)
    elif record is None or (record.identity != marker.identity and not in_use):
        if _holds_others(store):
            raise SettingError(
                f"{store.url} of SMSEVENTS_SEGMENTS holds packs of an earlier database at {where}. If you restored a"
                " backup that has packs, run `smsevents adopt`. Otherwise name another place."
            )
        # a new identity: the other database may be in use, with the same location on another machine
        marker = _mark(database, connection, store)
    elif record.identity != marker.identity:
        raise SettingError(
            f"{store.url} of SMSEVENTS_SEGMENTS does not hold the packs of this database. They are in {record.url}."
        )
    elif record.url != store.url:
        require_all(connection, store)
    packing = record is None or record.packing
    record_store(connection, StoreRecord(store.url, marker.identity, packing=packing))
    database.forget_packs()


def adopt(database: Database, url: str, *, incomplete: bool = False, copies: ByteStore | None = None) -> int:
    """Take over a store for this database, whatever its marker says, if it has all packs that the catalog names.

    This follows after the database was moved, or restored from a backup. Packs that are missing come from `copies`,
    such as those of the backup, if they are there. Return the number of packs. Raises
    `StoreUnavailable` if a pack is missing, unless the store may be `incomplete`, and `SettingError` if the store
    cannot be used.
    """
    store = _opened_safe(database, url)
    if copies is not None:
        with database.read() as connection:
            named = list(keys_named(connection))
        _bring(named, copies, store)
    with database.exclusive() as connection:
        found = count_packs(connection) if incomplete else require_all(connection, store)
        record = find_store(connection)
        marker = _mark(database, connection, store)
        packing = record is None or record.packing
        record_store(connection, StoreRecord(store.url, marker.identity, packing=packing))
        drop_pins(connection)  # a copy of the database has the pin of the backup that made it
    database.forget_packs()
    return found


def _bring(named: Sequence[str], copies: ByteStore, store: ByteStore) -> None:
    """Copy packs that a store does not have. One of another size was not copied completely, by whatever tool."""
    there = {(one.key, one.size_bytes) for one in store.objects()}
    sizes = {one.key: one.size_bytes for one in copies.objects()}
    for key in named:
        if key in sizes and (key, sizes[key]) not in there:
            store.put(key, [copies.read(key, 0, sizes[key])])


def require_all(connection: Connection, store: ByteStore) -> int:
    """Raise `StoreUnavailable` unless a store has all packs that the catalog names. Return their number."""
    there = {one.key for one in store.objects()}
    named = list(keys_named(connection))
    if missing := [key for key in named if key not in there]:
        some = ", ".join(missing[:NAMED_PACKS_MAX]) + (", \u2026" if len(missing) > NAMED_PACKS_MAX else "")
        raise StoreUnavailable(
            f"{len(missing)} of {len(named)} packs of the database are not in {store.url}: {some}."
            " Copy them there and try again.",
            OUTSIDE,
        )
    return len(named)


def check_marker(where: str, store: ByteStore, record: StoreRecord) -> Marker:
    """Return the marker of a store.

    Raises `StoreUnavailable` if the store is not the one that holds the packs of the database at `where`.
    """
    marker = read_marker(store)
    if marker is None:
        raise _without_marker(where, store, record)
    if marker.identity != record.identity or marker.database != where:
        raise _of_another(store, marker)
    return marker


def check_own(connection: Connection, where: str, store: ByteStore, record: StoreRecord) -> None:
    """Do what `check_marker` does. Also raise `StoreUnavailable` if a copy of the database wrote into the store."""
    generation = check_marker(where, store, record).generation
    if generation and not is_own_generation(connection, generation):
        raise _of_a_copy(store, where)


def renew(database: Database, now: int) -> None:
    """Write a new generation into the marker of the store, unless the last one is younger than RENEWED_EVERY_MS.

    `now` is in Unix milliseconds. Raises `StoreUnavailable` as `store_to_change` does.
    """
    with database.read() as connection:
        newest = newest_generation_ms(connection)
        if newest is not None and newest <= now < newest + RENEWED_EVERY_MS:
            return
        store = store_to_change(database, connection)
        record = find_store(connection)
    if record is None:
        return
    marker = Marker(record.identity, database.dialect.where, secrets.token_hex(16))
    database.write(lambda connection: add_generation(connection, marker.generation, now))  # durable before the marker
    write_marker(store, marker)


def _without_marker(where: str, store: ByteStore, record: StoreRecord) -> StoreUnavailable:
    return StoreUnavailable(
        f"{store.url} does not hold the packs of the database {where}: its {MARKER_KEY} is missing."
        f" The packs were last in {record.url}. If they are on a disk of its own, mount that. If they were moved,"
        " set SMSEVENTS_SEGMENTS to where they are now.",
        OUTSIDE,
    )


def _of_another(store: ByteStore, marker: Marker) -> StoreUnavailable:
    return StoreUnavailable(
        f"{store.url} belongs to the database {marker.database}. Name a place of its own for each database. If the"
        " database was moved or restored and nothing uses the other one any more, run `smsevents adopt`.",
        OUTSIDE,
    )


def _of_a_copy(store: ByteStore, where: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{store.url} was last written by another copy of the database {where}, so nothing is written or deleted"
        " there: only the other one may know some of the packs. Either a copy of this database is in use elsewhere, or"
        " this database is such a copy, or it was restored from a backup. If this is the database to keep, stop the"
        " other one and run `smsevents adopt` here. Otherwise stop this one, or name a place of its own for its packs.",
        OUTSIDE,
    )


def _holds_others(store: ByteStore) -> bool:
    """Return whether a store holds anything but records of its own, or what a killed process left of the marker."""
    return any(is_pack(one.key) and not one.key.startswith(MARKER_KEY) for one in store.objects())


def _mark(database: Database, connection: Connection, store: ByteStore) -> Marker:
    """Write a marker with a new identity and generation into a store, for a database."""
    marker = Marker(secrets.token_hex(16), database.dialect.where, secrets.token_hex(16))
    add_generation(connection, marker.generation, database.dialect.now_ms())
    write_marker(store, marker)
    return marker

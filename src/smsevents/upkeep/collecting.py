"""Collection: objects that no pack names leave the store.

These are the objects of packs that were replaced, and those that a process announced and did not finish. Their rows
are a list of them (`catalog/objects.py`). Objects without a row should not exist. They do if a write that was given up
arrives late, so the store is compared with the rows now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.catalog.attachment import is_store_needed, renew, store_to_change
from smsevents.catalog.markers import is_pack
from smsevents.catalog.milestones import RECONCILED, reach, reached
from smsevents.catalog.objects import (
    adopt_object,
    doom_abandoned,
    forget_objects,
    has_abandoned,
    has_object,
    is_pinned,
    objects_due,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.storage.base import ByteStore, StoredObject

ANNOUNCED_MAX_MS = 24 * 60 * 60 * 1000  # no write of an object takes nearly as long
# Objects without a row. This is far more than `attachment.RENEWED_EVERY_MS`: if a copy of the database wrote them, the
# copy has also renewed the marker, and the comparison is refused.
STRANGE_KEPT_MS = 2 * ANNOUNCED_MAX_MS
RECONCILED_EVERY_MS = 7 * 24 * 60 * 60 * 1000
PINNED_MAX_MS = 60 * 60 * 1000  # a backup renews its pin; after it was killed, old packs are kept for so long
PIN_BELIEVED_MAX_MS = 2 * PINNED_MAX_MS  # the clock may have been set back since the pin was renewed
OBJECTS_IN_STATEMENT_MAX = 500
LEFT_PACKS_NAMED_MAX = 3  # in a message


def collect(database: Database, now: int) -> str | None:
    """Delete objects that no pack names, at `now` (Unix ms). Return None, or why some that are due are left.

    A wrong clock makes this delete objects too early or too late. Readers notice that an object is gone, and a process
    that is still writing one notices that it was given up. Raises `StoreUnavailable`, also if a copy of the database
    has written into the store: then nothing is deleted.
    """
    with database.read() as connection:
        if not is_store_needed(connection):
            return None
        last = reached(connection).get(RECONCILED, 0)
        is_any_abandoned = has_abandoned(connection, now - ANNOUNCED_MAX_MS)
    if is_any_abandoned:
        database.write(lambda connection: doom_abandoned(connection, now - ANNOUNCED_MAX_MS, now))
    renew(database, now)
    if not last <= now < last + RECONCILED_EVERY_MS:
        reconcile(database, now)
        database.write(lambda connection: reach(connection, RECONCILED, now))
    return delete_due(database, now)


def delete_due(database: Database, now: int) -> str | None:
    """Delete the objects that are due at `now` (Unix ms). Return None, or why some are left.

    What cannot be deleted does not keep the others, and is tried again the next time.
    """
    left: list[str] = []  # the first ones by name
    left_count = 0
    while True:
        with database.read() as connection:
            keys = objects_due(connection, now, OBJECTS_IN_STATEMENT_MAX, skipped=left_count)
            if not keys:
                break
            if is_pinned(connection, now, PIN_BELIEVED_MAX_MS):
                return "A backup copies the packs. Old ones are deleted when it has ended."
            store = store_to_change(database, connection)
        gone = set(store.delete(keys))
        database.write(lambda connection, gone=gone: forget_objects(connection, gone))  # type: ignore[misc]
        left += [key for key in keys if key not in gone][: LEFT_PACKS_NAMED_MAX - len(left)]
        left_count += len(keys) - len(gone)
    if not left_count:
        return None
    return (
        f"{left_count} of the old packs could not be deleted from {store.url}: {', '.join(left)}"
        + (" and others" if left_count > len(left) else "")
        + ". Are they locked, or do they or their folders belong to another user?"
    )


def reconcile(database: Database, now: int, trackpoint: int | None = None) -> int:
    """List the store, and let objects be deleted that have no row and are older than STRANGE_KEPT_MS at `now`.

    With a shop, only its objects are listed, and their age does not matter. Nothing may be writing objects of the shop
    at the same time. Return the number of objects without a row. Raises `StoreUnavailable`.
    """
    with database.read() as connection:
        if not is_store_needed(connection):
            return 0
        store = store_to_change(database, connection)
    if trackpoint is None:
        listed = [one for one in store.objects() if one.written_ms < now - STRANGE_KEPT_MS]
    else:
        listed = list(store.objects(f"{trackpoint}/"))
    with database.read() as connection:
        strange = _unknown(connection, listed)
    for one in strange:
        _adopt(database, one, now)
    return len(strange)


def unknown_objects(connection: Connection, store: ByteStore) -> list[StoredObject]:
    """Return the objects in a store that have no row."""
    return _unknown(connection, store.objects())


def _unknown(connection: Connection, listed: Iterable[StoredObject]) -> list[StoredObject]:
    return [one for one in listed if is_pack(one.key) and not has_object(connection, one.key)]


def _adopt(database: Database, strange: StoredObject, now: int) -> None:
    trackpoint = strange.key.partition("/")[0]
    of_shop = int(trackpoint) if trackpoint.isascii() and trackpoint.isdigit() else 0
    database.write(lambda connection: adopt_object(connection, of_shop, strange.key, strange.size_bytes, now))

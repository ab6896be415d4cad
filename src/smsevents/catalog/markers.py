"""The marker of a store of packs: an object that says whose packs the store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from smsevents.errors import ObjectGone, StoreUnavailable
from smsevents.storage.base import OUTSIDE

if TYPE_CHECKING:
    from smsevents.storage.base import ByteStore

MARKER_KEY = "smsevents-store.json"
MARKER_MAX_BYTES = 64 * 1024
ERASURES_PREFIX = "erasures/"  # of the keys of records of erasures, which a store has beside its packs


class Marker(msgspec.Struct, frozen=True):
    """The marker of a store: its identity, and the location of the database whose packs it holds.

    `generation` is the name that this database wrote last. It is empty in a marker of an earlier version.
    """

    identity: str
    database: str
    generation: str = ""


def is_pack(key: str) -> bool:
    """Return whether a key in a store is neither that of the marker nor that of a record of an erasure."""
    return key != MARKER_KEY and not key.startswith(ERASURES_PREFIX)


def read_marker(store: ByteStore) -> Marker | None:
    """Return the marker of a store, or None if it has none. Raises `StoreUnavailable`."""
    try:
        found = store.read(MARKER_KEY, 0, MARKER_MAX_BYTES)
    except ObjectGone:
        return None
    try:
        return msgspec.json.decode(found, type=Marker)
    except msgspec.MsgspecError as error:
        raise StoreUnavailable(
            f"{MARKER_KEY} in {store.url} cannot be read: {error}. If the packs are those of this database, run"
            " `smsevents adopt`.",
            OUTSIDE,
        ) from error


def write_marker(store: ByteStore, marker: Marker) -> None:
    """Write a marker into a store, in place of the one that it has. Raises `StoreUnavailable` and `StoreFull`."""
    store.put(MARKER_KEY, [msgspec.json.format(msgspec.json.encode(marker)) + b"\n"])

"""Quarantine: damaged segments are set aside with their bytes, so that the rest of the log can be exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.catalog.packs import find_pack, index_of
from smsevents.catalog.quarantine import quarantine_bytes, quarantine_segment
from smsevents.errors import DamagedSegment, ObjectGone, StoreUnavailable
from smsevents.segments.pack import PackedSegment, headers_in, missing
from smsevents.upkeep.packing import write_stored
from smsevents.upkeep.verification import damage_of_packed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Segment
    from smsevents.storage.base import ByteStore
    from smsevents.upkeep.verification import Checked
    from smsevents.wire.lines import Entry

RESCUED_KEPT_MS = 7 * 24 * 60 * 60 * 1000  # a damaged pack, after it was replaced


def quarantine(database: Database, checked: Checked, now: int) -> None:
    """Move a damaged segment into quarantine at `now` (Unix ms), so that the rest can be exported.

    A pack is replaced by one of its other segments. If all of it is damaged, or it is missing, its bytes are not
    copied. The collection deletes the damaged object after RESCUED_KEPT_MS. Raises `Busy` and `StoreUnavailable`.
    """
    header = checked.header
    if header.place.kind == "row":
        database.write(lambda c: quarantine_segment(c, header.id, checked.damage or "", now))
        return
    with database.dialect.shop_step(checked.trackpoint):
        _quarantine_of_pack(database, checked, now)


def _quarantine_of_pack(database: Database, checked: Checked, now: int) -> None:
    """Set aside all damaged segments of the pack that a damaged segment belongs to."""
    with database.read() as connection:
        pack = find_pack(connection, checked.header.place.key)
        if pack is None:  # with an earlier damaged segment, or it was replaced
            return
        store = database.packs(connection).store
        index = index_of(connection, pack.id) or b""
    sound: list[Segment] = []
    damaged: list[tuple[SegmentHeader, str, bytes]] = []
    try:
        headers = headers_in(pack, index)
    except DamagedSegment as error:
        headers = []
        damaged.append((pack, str(error), b""))
    reach: Entry | None = None
    for header in headers:
        segment = PackedSegment(header, store)
        try:
            if damage := damage_of_packed(segment, checked.trackpoint, reach):
                damaged.append((header, damage, _bytes_of(store, header)))
            else:
                sound.append(segment.load())
                reach = header.last
        except ObjectGone as error:
            damaged.append((header, str(missing(error.key)), b""))

    def also(connection: Connection) -> None:
        for header, damage, data in damaged:
            quarantine_bytes(connection, checked.trackpoint, header, damage, data, now)

    read = {pack.stored_as}
    if damaged or checked.header.stored_as == pack.stored_as:
        done = write_stored(database, checked.trackpoint, sound, read, read, kept_ms=RESCUED_KEPT_MS, also=also)
        if not done:
            raise StoreUnavailable(f"Pack {pack.place.key} was replaced meanwhile. Run the same command again.")


def _bytes_of(store: ByteStore, header: SegmentHeader) -> bytes:
    """Return the bytes of a damaged segment, or none if the disk cannot read them."""
    try:
        return store.read(header.place.key, header.place.start, header.stored_bytes)
    except DamagedSegment:
        return b""

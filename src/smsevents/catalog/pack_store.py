"""The store of a database's packs, with the indexes of packs that were read lately."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from smsevents.catalog.packs import index_of, is_named
from smsevents.errors import ObjectGone
from smsevents.segments.pack import PackedSegment, headers_in, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.storage.base import ByteStore
    from smsevents.wire.lines import Entry

INDEXED_SEGMENTS_MAX = 16_384  # in the indexes that are kept: about 20 MB, and 100 packs of the usual size


def check_replaced(database: Database, error: ObjectGone) -> None:
    """Return if a pack that is gone was replaced or deleted meanwhile. Raises `DamagedSegment` if it is missing."""
    with database.read() as connection:
        if is_named(connection, error.key):
            raise missing(error.key) from error


class PackStore:
    """Reads packs. It is safe to use from many threads."""

    def __init__(self, store: ByteStore) -> None:
        """Read the packs in a store."""
        self.store = store
        self._indexes: OrderedDict[int, list[PackedSegment]] = OrderedDict()  # by the pack's id, the latest last
        self._indexed = 0  # segments in them
        self._lock = threading.Lock()

    def _indexed_in(self, connection: Connection, pack: SegmentHeader) -> list[PackedSegment]:
        """Return the segments of a pack, in order.

        Raises `ObjectGone` if the pack is gone from the catalog, and `DamagedSegment`.
        """
        with self._lock:
            if found := self._indexes.get(pack.id):
                self._indexes.move_to_end(pack.id)
                return found
        index = index_of(connection, pack.id)
        if index is None:
            raise ObjectGone(pack.place.key)
        segments = [PackedSegment(header, self.store) for header in headers_in(pack, index)]
        with self._lock:
            if pack.id not in self._indexes:
                self._indexes[pack.id] = segments
                self._indexed += len(segments)
            while self._indexed > INDEXED_SEGMENTS_MAX and len(self._indexes) > 1:
                self._indexed -= len(self._indexes.popitem(last=False)[1])
        return segments

    def segments(
        self, connection: Connection, pack: SegmentHeader, after: Entry | None = None
    ) -> Iterator[PackedSegment]:
        """Go through the segments of a pack that reach past an entry, or all of them, in order. None is loaded yet.

        Raises `ObjectGone` if the pack is gone from the catalog, and `DamagedSegment`.
        """
        found = self._indexed_in(connection, pack)
        start = 0 if after is None else bisect_right(found, after, key=lambda one: one.header.last)
        return map(found.__getitem__, range(start, len(found)))  # a generator would take longer, for each segment

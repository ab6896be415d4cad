"""A shop's segments in order with their tallies, without their bytes: what can be counted is not read.

outlines_after  all of a shop's segments in an interval, as outlines
with_packs      the same, but a pack that nothing overlaps and the interval does not cut is one outline
may_match       whether one of them may have wanted events
"""

from __future__ import annotations

import heapq
from array import array
from contextlib import closing
from functools import cached_property, partial
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from cachetools import LRUCache, cached
from sqlalchemy import bindparam, func, select

from smsevents.catalog.batches import batches
from smsevents.catalog.hot import Hot
from smsevents.catalog.in_order import InOrder, header_columns, header_of
from smsevents.catalog.packs import has_packs, packs_after
from smsevents.catalog.segments import find_segment
from smsevents.catalog.stored import OpenedPacks, first_of
from smsevents.catalog.tables import packs, segments, tallies
from smsevents.catalog.tallies import WITH_TALLIES, sum_of_pack, tallies_of_pack
from smsevents.segments.header import IN_ROW
from smsevents.segments.tally import UnreadableTally, decode_tally, raw_tally
from smsevents.segments.tally_sum import decode_sum
from smsevents.wire.lines import NotLines, end_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.pack import PackedSegment
    from smsevents.segments.segment import Segment
    from smsevents.segments.selection import Selection
    from smsevents.segments.tally_sum import AnyTally
    from smsevents.wire.lines import Entry

OUTLINES_FETCHED_MAX = 256  # together, of a database that does not send them one by one; some kB each

STORED_DIGEST_BYTES = 16
# Inflated tallies that are kept: exports of one campaign after the other look for it in the tallies of all segments.
TALLIES_KEPT_MAX_BYTES = 8 * 1024 * 1024

_HEADER = header_columns(segments)
_COLUMNS = (*_HEADER, func.length(segments.c.data), tallies.c.data)
_statements = InOrder(segments, _COLUMNS, WITH_TALLIES, OUTLINES_FETCHED_MAX)
_IDS_WITHIN = [
    Hot(
        select(table.c.id)
        .where(
            table.c.trackpoint == bindparam("trackpoint"),
            table.c.first_date <= bindparam("end"),
            table.c.last_date >= bindparam("start"),
        )
        .order_by(table.c.id)
    )
    for table in (segments, packs)
]


class Outline:
    """A stored segment with its tally, if it has one. Its bytes are read when it is loaded."""

    def __init__(self, header: SegmentHeader, encoded: bytes | None) -> None:
        """Describe a segment; `encoded` is its tally as it is stored."""
        self._header = header
        self.encoded = encoded

    @property
    def header(self) -> SegmentHeader:
        """The description of the segment."""
        return self._header

    @property
    def has_tally(self) -> bool:
        """Whether the segment has a tally."""
        return self.encoded is not None

    def tally(self) -> AnyTally | None:
        """Read the tally of the segment; return None if it has none. Raises `UnreadableTally`.

        It is not kept: as objects, it takes far more memory than as it is stored.
        """
        return None if self.encoded is None else decode_tally(self.encoded)

    def load(self) -> Segment:
        """Return the segment with its bytes, checked. Raises `DamagedSegment`, and what the place of its bytes does."""
        raise NotImplementedError


class RowOutline(Outline):
    """The outline of a segment in a row. It is loaded within the transaction in which it was read."""

    def __init__(self, header: SegmentHeader, encoded: bytes | None, connection: Connection) -> None:
        super().__init__(header, encoded)
        self._connection = connection

    def load(self) -> Segment:
        """Read the row. Raises `DamagedSegment`."""
        segment = find_segment(self._connection, self._header.id)
        if segment is None:  # all statements of a transaction see the same rows
            raise self._header.damaged("its row cannot be read again")
        return segment.check_stored()


class PackedOutline(Outline):
    """The outline of a segment of a pack. It can be loaded at any time, as long as the store has the pack."""

    def __init__(self, packed: PackedSegment, encoded: bytes | None) -> None:
        super().__init__(packed.header, encoded)
        self.packed = packed

    def load(self) -> Segment:
        """Read it from the store. Raises `DamagedSegment`, `ObjectGone` and `StoreUnavailable`."""
        return self.packed.load()


class PackOutline:
    """A pack that is one outline: its header, and the sum of its tallies. It is read in the same transaction."""

    def __init__(
        self, header: SegmentHeader, connection: Connection, segments: Callable[[], Iterator[PackedOutline]]
    ) -> None:
        """Describe a pack. `segments` goes through the outlines of its segments."""
        self.header = header
        self.segments = segments
        self._connection = connection

    @cached_property
    def encoded(self) -> bytes | None:
        """The sum as it is stored, if there is one."""
        return sum_of_pack(self._connection, self.header.id)

    def tally(self) -> AnyTally | None:
        """Read the sum; return None if there is none. Raises `UnreadableTally`."""
        return None if self.encoded is None else decode_sum(self.encoded)


AnyOutline: TypeAlias = Outline | PackOutline


def outlines_after(
    database: Database, connection: Connection, trackpoint: int, after: Entry, until_ms: int
) -> Generator[Outline, None, None]:
    """Go through the outlines of a shop's segments that hold entries after `after`, up to `until_ms` (Unix ms).

    They come in the order of their first entries. Raises what `stored_after` does.
    """
    with closing(with_packs(database, connection, trackpoint, after, until_ms)) as found:
        for one in found:
            if isinstance(one, PackOutline):
                yield from one.segments()
            else:
                yield one


def with_packs(
    database: Database, connection: Connection, trackpoint: int, after: Entry, until_ms: int
) -> Generator[AnyOutline, None, None]:
    """Do what `outlines_after` does, but return a pack as one if no other segment is within its bounds.

    All its events are after `after` and not later than `until_ms` then.
    """
    with closing(_rows_after(connection, trackpoint, after, until_ms)) as rows:
        if not has_packs(connection, trackpoint):
            yield from rows
            return
        store = database.packs(connection)

        def segments_of(pack: SegmentHeader) -> Iterator[PackedOutline]:
            found = tallies_of_pack(connection, pack.id)
            for packed in store.segments(connection, pack, after):
                yield PackedOutline(packed, found.get(packed.header.place.start))

        with closing(packs_after(connection, trackpoint, after, until_ms)) as found_packs:
            packed = (PackOutline(pack, connection, partial(segments_of, pack)) for pack in found_packs)
            ordered: Iterator[AnyOutline] = heapq.merge(rows, packed, key=first_of)
            yield from _opened_where_they_overlap(ordered, after, end_of(until_ms))


def _opened_where_they_overlap(ordered: Iterator[AnyOutline], after: Entry, until: Entry) -> Iterator[AnyOutline]:
    """Replace packs by their segments, unless all their events are in `after < event <= until` and nothing overlaps."""
    opened: OpenedPacks[Outline] = OpenedPacks()
    reach = after  # no segment so far ends after it
    head = next(ordered, None)
    while head is not None:
        header, following = head.header, next(ordered, None)
        yield from opened.before(header.first)
        overlaps = header.first <= reach or (following is not None and following.header.first <= header.last)
        if isinstance(head, PackOutline) and (overlaps or header.last > until):
            opened.add(head.segments())
        else:
            yield head
        reach = max(reach, header.last)
        head = following
    yield from opened.before(None)


def _rows_after(connection: Connection, trackpoint: int, after: Entry, until_ms: int) -> Generator[Outline, None, None]:
    ids = _statements.reaching_over(connection, trackpoint, after)
    found: dict[int, Outline] = {}
    for some in batches(ids):
        rows = connection.execute(select(*_COLUMNS).select_from(WITH_TALLIES).where(segments.c.id.in_(some)))
        found |= {row[0]: _outline_of(connection, row) for row in rows}
    yield from (found[row_id] for row_id in ids if row_id in found)
    with closing(_statements.in_order(connection, trackpoint, after, until_ms)) as in_order:
        for row in in_order:
            outline = _outline_of(connection, row)
            if outline.header.last > after:
                yield outline


def _outline_of(connection: Connection, row: Sequence[Any]) -> Outline:
    *header, stored_bytes, encoded = row
    return RowOutline(header_of(header, stored_bytes, IN_ROW), encoded, connection)


def digest_of_stored(connection: Connection, trackpoint: int, start_ms: int, end_ms: int) -> bytes:
    """Return a digest that changes whenever what is stored of a shop in a closed interval (Unix ms) changes.

    Rows and packs are never changed, and ids are never reused, so the ids say it.
    """
    digest = blake2b(digest_size=STORED_DIGEST_BYTES)
    for number, statement in enumerate(_IDS_WITHIN):
        ids = statement.all(connection, {"trackpoint": trackpoint, "start": start_ms, "end": end_ms})
        digest.update(array("q", [number, *(row_id for (row_id,) in ids)]).tobytes())
    return digest.digest()


@cached(LRUCache(TALLIES_KEPT_MAX_BYTES, len), lock=Lock())
def _raw_tally(encoded: bytes) -> bytes:
    """Return a stored tally as MessagePack. Raises `UnreadableTally`."""
    return raw_tally(encoded)


def may_match(outline: AnyOutline, selection: Selection) -> bool:
    """Return whether a segment may have wanted events. One without a tally may, or with one that cannot be read."""
    if outline.encoded is None:
        return True
    try:
        if selection.has_names and not selection.may_name(_raw_tally(outline.encoded)):
            return False
        tally = outline.tally()
        return tally is None or selection.may_match(tally)
    except (UnreadableTally, NotLines):
        return True

"""Verification: every stored segment and pack is read and checked against its header, its shop, its tally or sum."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from smsevents.catalog.attachment import is_store_needed
from smsevents.catalog.in_order import span_of
from smsevents.catalog.pack_store import check_replaced
from smsevents.catalog.packs import index_of, newest_pack_id, packs_between
from smsevents.catalog.quarantine import discard_quarantine
from smsevents.catalog.segments import newest_id, rows_between
from smsevents.catalog.tallies import key_of, sum_of_pack, tallies_of, tallies_of_pack
from smsevents.errors import DamagedSegment, ObjectGone
from smsevents.segments.pack import TRAILER_BYTES, PackedSegment, headers_in, read_pack
from smsevents.segments.segment import inflate, read_entries
from smsevents.segments.tally import UnreadableTally, decode_tally, raw_tally, tally_of
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.collecting import unknown_objects
from smsevents.upkeep.tallying import sum_of_packed
from smsevents.wire.events import NotAnEvent, NotJson, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Segment
    from smsevents.storage.base import ByteStore, StoredObject
    from smsevents.wire.lines import Entry

VERIFY_SEGMENTS_IN_READ_MAX = 32  # a long read keeps the write-ahead log from being emptied

DISCARDED_SEGMENTS_IN_STATEMENT_MAX = 100  # their pages stay in memory until the statement is done


@dataclass(frozen=True)
class Checked:
    """A checked segment, or a pack that cannot be read at all. `damage` says what is wrong with it, or is None.

    A damaged one is quarantined by its `header`. If only its tally does not say what its lines say, `has_wrong_tally`.
    If it is a pack with sound segments, `has_wrong_sum`: its sum is not that of their tallies.
    """

    header: SegmentHeader
    trackpoint: int
    damage: str | None
    has_wrong_tally: bool = False
    has_wrong_sum: bool = False

    @property
    def name(self) -> str:
        """The name of the segment: an id, or its pack and the byte where it starts."""
        return self.header.name

    @property
    def events(self) -> int:
        """How many events it should hold."""
        return self.header.events


def verify(database: Database, trackpoint: int | None) -> Iterator[Checked]:
    """Check the segments of a shop, or of all shops (None): those in the database, then those in packs.

    Only what exists when this begins is checked, and not what compaction makes of it meanwhile. Compaction checks the
    segments that it reads, and following its results could go on without end. Raises `StoreUnavailable`.
    """
    yield from _verify_rows(database, trackpoint)
    yield from _verify_packs(database, trackpoint)


def _verify_packs(database: Database, trackpoint: int | None) -> Iterator[Checked]:
    with database.read() as connection:
        newest = newest_pack_id(connection)
    after = 0
    while True:
        with database.read() as connection:
            found = packs_between(connection, after, newest, trackpoint, VERIFY_SEGMENTS_IN_READ_MAX)
        for shop, span_ms, pack in found:
            yield from _verify_pack(database, shop, span_ms, pack)
            after = pack.id
        if not found:
            return


def _verify_pack(database: Database, trackpoint: int, span_ms: int, pack: SegmentHeader) -> Iterator[Checked]:
    """Check a pack, unless it was replaced meanwhile: its object and index, and each of its segments."""
    try:
        with database.read() as connection:
            index = index_of(connection, pack.id)
            store = database.packs(connection).store
            tallies = tallies_of_pack(connection, pack.id)
            found_sum = sum_of_pack(connection, pack.id)
        if index is None:
            return
        headers = headers_in(pack, index)
        store = _at_hand(store, pack.place.key, pack.stored_bytes + len(index) + TRAILER_BYTES)
        if damage := _damage_of_pack(store, trackpoint, span_ms, pack, index):
            yield Checked(pack, trackpoint, damage)
        segments = [PackedSegment(header, store) for header in headers]
        is_damaged = False
        reach: Entry | None = None
        for segment in segments:
            header = segment.header
            damage = damage_of_packed(segment, trackpoint, reach)
            tally = None if damage else tallies.get(header.place.start)
            is_wrong = tally is not None and _is_wrong(tally, segment.load())
            if is_wrong:
                del tallies[header.place.start]
            yield Checked(header, trackpoint, damage, is_wrong)
            is_damaged = is_damaged or damage is not None
            reach = header.last
        if found_sum is not None and not is_damaged and _is_wrong_sum(found_sum, segments, tallies):
            yield Checked(pack, trackpoint, None, has_wrong_sum=True)
    except ObjectGone as gone:
        try:
            check_replaced(database, gone)
        except DamagedSegment as error:
            yield Checked(pack, trackpoint, str(error))
    except DamagedSegment as error:
        yield Checked(pack, trackpoint, str(error))


def _at_hand(store: ByteStore, key: str, size: int) -> ByteStore:
    """Return a store for the many reads of one object of `size` bytes. If each would take long, it is read at once."""
    if not store.prefers_long_reads:
        return store
    held = MemoryStore()
    held.put(key, [store.read(key, 0, size + 1)])
    return held


def _damage_of_pack(store: ByteStore, trackpoint: int, span_ms: int, pack: SegmentHeader, index: bytes) -> str | None:
    """Return what is wrong with a pack as a whole, apart from its segments, or None."""
    key = pack.place.key
    if span_ms != span_of(pack.first[0], pack.last[0]):
        return f"its span is told as {span_ms} ms, which hides it from exports that begin within it"
    size = pack.stored_bytes + len(index) + TRAILER_BYTES
    if store.read(key, size, 1):
        return "bytes follow its end"
    of_shop, found = read_pack(key, size, store.read)
    if of_shop != trackpoint:
        return f"of the shop {of_shop}"
    return None if found.index == index else "its index is not the one in the database"


def damage_of_packed(segment: PackedSegment, trackpoint: int, reach: Entry | None) -> str | None:
    """Return what is wrong with a segment of a pack that follows the entry `reach`, or None."""
    header = segment.header
    if reach is not None and header.first <= reach:
        return "it overlaps the segment before it"
    try:
        loaded = segment.load()
    except DamagedSegment as error:
        return str(error)
    return damage_of(trackpoint, span_of(header.first[0], header.last[0]), loaded)


def _verify_rows(database: Database, trackpoint: int | None) -> Iterator[Checked]:
    with database.read() as connection:
        newest = newest_id(connection)
    after = 0
    while True:
        with database.read() as connection:
            checked = None
            for shop, span_ms, segment in rows_between(
                connection, after, newest, trackpoint, VERIFY_SEGMENTS_IN_READ_MAX
            ):
                damage = damage_of(shop, span_ms, segment)
                tally = None if damage else tallies_of(connection, [segment.header]).get(key_of(segment.header))
                checked = Checked(segment.header, shop, damage, tally is not None and _is_wrong(tally, segment))
                yield checked
        if checked is None:
            return
        after = checked.header.id


def damage_of(trackpoint: int, span_ms: int, segment: Segment) -> str | None:
    """Return what is wrong with a segment: checksum, bounds, count, order, form or shop. None if nothing is."""
    try:
        held = read_entries(segment.check_stored())
    except DamagedSegment as error:
        return str(error)
    header = segment.header
    if len(held) != header.events:
        return f"it holds {len(held)} events, not {header.events}"
    if held[0] != header.first or held[-1] != header.last:
        return "its bounds are not its first and last event"
    if span_ms != span_of(header.first[0], header.last[0]):
        return f"its span is told as {span_ms} ms, which hides it from exports that begin within it"
    if any(one >= following for one, following in pairwise(held)):
        return "its events are out of order or duplicated"
    reasons = ((number, _damage_of_line(date, line, trackpoint)) for number, (date, line) in enumerate(held, 1))
    return next((f"line {number}: {reason}" for number, reason in reasons if reason), None)


def _is_wrong(tally: bytes, segment: Segment) -> bool:
    """Return whether a tally as it is stored cannot be read, or does not say what the lines of its segment say."""
    try:
        return decode_tally(tally) != tally_of(inflate(segment))
    except UnreadableTally:
        return True


def _is_wrong_sum(found: bytes, segments: Sequence[PackedSegment], tallies: Mapping[int, bytes]) -> bool:
    """Return whether the sum of a pack cannot be read, or is not that of its segments. These have sound tallies."""
    expected = sum_of_packed(segments, tallies)
    try:
        return expected is None or raw_tally(found) != raw_tally(expected)
    except UnreadableTally:
        return True


def _damage_of_line(date: int, line: bytes, trackpoint: int) -> str | None:
    try:
        event, canonical = decode(line)
    except (NotJson, NotAnEvent) as error:
        return str(error)
    if canonical != line:
        return "not in canonical form"
    if event.smsEvent.trackpoint != trackpoint:
        return f"of the shop {event.smsEvent.trackpoint}"
    return None if event.smsEvent.date == date else "of another date"


def unknown(database: Database) -> list[StoredObject]:
    """Return the objects in the store of packs that the database does not know, or no longer.

    They are not damage: the upkeep worker deletes them. Raises `StoreUnavailable`.
    """
    with database.read() as connection:
        if not is_store_needed(connection):
            return []
        return unknown_objects(connection, database.packs(connection).store)


def discard(database: Database, trackpoint: int | None) -> int:
    """Delete the segments in quarantine, of a shop or of all shops (None). Return how many were deleted."""
    discarded = 0
    while some := database.write(lambda c: discard_quarantine(c, trackpoint, DISCARDED_SEGMENTS_IN_STATEMENT_MAX)):
        discarded += some
    return discarded

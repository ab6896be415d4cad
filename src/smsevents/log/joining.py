"""Joining: small imports of a shop share segments, so that the catalog grows with their bytes and not their number.

Imports of one shop that wait for the same commit become one segment of each day (UTC). If the last segment that was
made here for that day is still small, it **grows**: it is replaced by one that has the new events too. Once it has
JOINED_MAX_BYTES of lines it stays as it is.

A segment only grows while this process may share the shop, as a step of the upkeep does. An erasure reads the segments
that exist at its start, and must not miss events that were moved from one of them into a new one.

Nothing depends on what is remembered here. A segment that is gone, because it was compacted, erased or never committed,
is simply not replaced, and neither is one whose stored bytes are others than those that are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from smsevents.catalog.appending import begin_appends
from smsevents.catalog.segments import Growth, growing_segment, store_grown
from smsevents.catalog.shops import unknown_shop
from smsevents.errors import BlockedMeanwhile, DamagedSegment
from smsevents.segments.segment import pack, read_entries
from smsevents.wire.limits import DAY_MS
from smsevents.wire.lines import split_days, unique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.appending import Appending
    from smsevents.catalog.database import Promise
    from smsevents.segments.segment import Segment
    from smsevents.wire.lines import Entry

# About 125 events. Each commit writes a growing segment again, half of this on average: about 0.1 ms of processor time.
JOINED_MAX_BYTES = 32 * 1024
SMALL_IMPORT_MAX_BYTES = JOINED_MAX_BYTES // 2  # of lines; a larger import has segments of its own
GROWING_SEGMENTS_KEPT = 10_000  # segments that are remembered, of all shops and days
# The entries of so many of them are in memory, so that they need not be read and inflated again to add others.
GROWING_KEPT_MAX_BYTES = 8 * 1024 * 1024
KEPT_ENTRY_BYTES = 160  # what an entry takes in memory besides its line


class _Import(NamedTuple):
    """The entries of one import into a shop, and the digests of the users whose events it left out."""

    trackpoint: int
    entries: Sequence[Entry]
    blocked: frozenset[bytes]


_Key = tuple[int, int]  # a shop and a day


class _Growing(NamedTuple):
    """A segment that may still grow."""

    id: int
    line_bytes: int


class _Kept(NamedTuple):
    """A growing segment whose entries are in memory, in order. `data` is what is stored of them."""

    id: int
    data: bytes
    entries: list[Entry]
    size_bytes: int  # in memory


class _Day(NamedTuple):
    """New entries of a shop and a day, in order, and the segment that may be replaced to add them."""

    key: _Key
    new: list[Entry]
    old: _Kept | None
    all: list[Entry]


class Joining:
    """Stores small imports together. Thread-safe: the database has one writer, which does all of the work."""

    def __init__(self, database: Database) -> None:
        """Remember no segment yet."""
        self._database = database
        self._growing: OrderedDict[_Key, _Growing] = OrderedDict()
        self._kept = _nothing_kept()

    def forget(self) -> None:
        """Keep no entries in memory. Called regularly, so that none stay there after they are erased."""
        self._kept = _nothing_kept()

    def append(self, trackpoint: int, entries: Sequence[Entry], blocked: frozenset[bytes]) -> Future[None]:
        """Store the entries of an import, in any order, all or none. The future is done when they are durable.

        It raises `UnknownShop` if there is no such shop, `BlockedMeanwhile` if the digests of the blocked users are no
        longer those in `blocked`, and `StoreUnavailable` if the database cannot be written.
        """
        outcome: Future[None] = Future()
        self.submit(trackpoint, entries, blocked, outcome)
        return outcome

    def submit(
        self, trackpoint: int, entries: Sequence[Entry], blocked: frozenset[bytes], outcome: Promise[None]
    ) -> None:
        """Do what `append` does, and tell the outcome."""
        self._database.submit_joined(self._store, _Import(trackpoint, entries, blocked), outcome)

    def _store(self, connection: Connection, imports: Sequence[_Import], held: ExitStack) -> list[Exception | None]:
        appending = begin_appends(connection, {one.trackpoint for one in imports}, held)
        entries: dict[int, list[Entry]] = {}
        told: list[Exception | None] = []
        for one in imports:
            blocked = appending.blocked.get(one.trackpoint)
            if blocked is None:
                told.append(unknown_shop(one.trackpoint))
            elif blocked != one.blocked:
                told.append(BlockedMeanwhile())
            else:
                entries.setdefault(one.trackpoint, []).extend(one.entries)
                told.append(None)
        self.store_entries(connection, entries, appending)
        return told

    def store_entries(
        self, connection: Connection, entries: Mapping[int, list[Entry]], appending: Appending | None
    ) -> None:
        """Store entries of shops, in any order, within a write that has begun to append to them.

        Their users are not blocked. Without `appending`, which is that of a joined write, no segment grows.
        """
        days: list[_Day] = []
        for trackpoint, of_shop in entries.items():
            for new in split_days(unique(of_shop)):
                day = self._day(connection, (trackpoint, new[0][0] // DAY_MS), list(new), appending)
                if day is not None:
                    days.append(day)
        made: dict[_Key, _Kept] = {}
        gone = self._put(connection, days, made)
        self._put(connection, [_Day(day.key, day.new, None, day.new) for day in gone], made)
        while len(self._growing) > GROWING_SEGMENTS_KEPT:
            self._growing.popitem(last=False)
        if appending is not None:
            appending.held.push(partial(self._keep, made))

    def _put(self, connection: Connection, days: Sequence[_Day], made: dict[_Key, _Kept]) -> list[_Day]:
        """Store the segments of days. Return those of which nothing is stored, because the old segment is gone."""
        gone: list[_Day] = []
        # one segment of each day, unless very many imports waited
        packed = [(day, segment) for day in days for segment in pack(day.all)]
        ids = store_grown(
            connection,
            [Growth(day.key[0], segment, day.old and day.old.id, day.old and day.old.data) for day, segment in packed],
        )
        for (day, segment), segment_id in zip(packed, ids, strict=True):
            if segment_id is None:
                gone.append(day)
                continue
            self._growing[day.key] = _Growing(segment_id, segment.header.line_bytes)
            self._growing.move_to_end(day.key)
            if segment.header.line_bytes <= JOINED_MAX_BYTES and segment.header.events == len(day.all):
                made[day.key] = _kept(segment_id, segment, day.all)
        return gone

    def _day(self, connection: Connection, key: _Key, new: list[Entry], appending: Appending | None) -> _Day | None:
        """Return what becomes of new entries of a shop and a day, or None if they are stored already."""
        growing, kept = self._growing.get(key), self._kept.pop(key, None)
        new_bytes = sum(len(line) + 1 for _, line in new)
        if (
            appending is None
            or growing is None
            or growing.line_bytes + new_bytes > JOINED_MAX_BYTES
            or not appending.may_grow(key[0])
        ):
            return _Day(key, new, None, new)
        if kept is not None and len(found := unique(kept.entries + new)) > len(kept.entries):
            return _Day(key, new, kept, found)
        # whether all of them are stored already is for the database to say: what is kept here may be gone there
        kept = _read(connection, key[0], growing.id)
        if kept is None:
            return _Day(key, new, None, new)
        found = unique(kept.entries + new)
        return _Day(key, new, kept, found) if len(found) > len(kept.entries) else None

    def _keep(self, made: Mapping[_Key, _Kept], kind: type[BaseException] | None, *_: object) -> None:
        """Keep the entries of segments once they are committed, and not if that is in doubt: ids may be used again."""
        if kind is not None:
            return
        kept = self._kept
        for key, one in made.items():
            growing = self._growing.get(key)
            # not if it was replaced within the same transaction
            if growing is not None and growing.id == one.id and one.size_bytes <= kept.maxsize:
                kept[key] = one


def _nothing_kept() -> LRUCache[_Key, _Kept]:
    return LRUCache(GROWING_KEPT_MAX_BYTES, attrgetter("size_bytes"))


def _kept(segment_id: int, segment: Segment, entries: list[Entry]) -> _Kept:
    return _Kept(
        segment_id, segment.data, entries, segment.header.line_bytes + KEPT_ENTRY_BYTES * segment.header.events
    )


def _read(connection: Connection, trackpoint: int, segment_id: int) -> _Kept | None:
    """Return a segment of a shop, or None if it is gone, damaged, or no longer small."""
    segment = growing_segment(connection, trackpoint, segment_id)
    if segment is None or segment.header.line_bytes > JOINED_MAX_BYTES:
        return None
    try:
        return _kept(segment_id, segment, read_entries(segment.check_stored()))
    except DamagedSegment:  # it stays as it is, for `verify`
        return None

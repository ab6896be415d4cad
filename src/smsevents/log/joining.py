"""Joining: small imports of a shop share segments, so that the catalog grows with their bytes and not their number.

Imports of one shop that wait for the same commit become one segment of each day (UTC). If the last segment that was
made here for that day is still small, it **grows**: it is replaced by one that has the new events too. Once it has
JOINED_MAX_BYTES of lines it stays as it is.

A segment only grows while this process may share the shop, as a step of the upkeep does. An erasure reads the segments
that exist at its start, and must not miss events that were moved from one of them into a new one.

Nothing depends on what is remembered here. A segment that is gone, because it was compacted, erased or never committed,
is simply not replaced.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from smsevents.catalog.dialects.base import Busy, dialect_of
from smsevents.catalog.segments import grow_segment, growing_segment
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.errors import BlockedMeanwhile, DamagedSegment
from smsevents.segments.segment import pack, read_entries
from smsevents.wire.limits import DAY_MS
from smsevents.wire.lines import split_days, unique

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from contextlib import ExitStack

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.wire.lines import Entry

# About 125 events. Each commit writes a growing segment again, half of this on average: about 0.1 ms of processor time.
JOINED_MAX_BYTES = 32 * 1024
SMALL_IMPORT_MAX_BYTES = JOINED_MAX_BYTES // 2  # of lines; a larger import has segments of its own
GROWING_SEGMENTS_KEPT = 10_000  # segments that are remembered, of all shops and days


class _Import(NamedTuple):
    """The entries of one import, and the digests of the users whose events it left out."""

    entries: Sequence[Entry]
    blocked: frozenset[bytes]


class _Growing(NamedTuple):
    """A segment that may still grow."""

    id: int
    line_bytes: int


class Joining:
    """Stores small imports together. Thread-safe: the database has one writer, which does all of the work."""

    def __init__(self, database: Database) -> None:
        """Remember no segment yet."""
        self._database = database
        self._growing: OrderedDict[tuple[int, int], _Growing] = OrderedDict()  # by shop and day

    def append(self, trackpoint: int, entries: Sequence[Entry], blocked: frozenset[bytes]) -> Future[None]:
        """Store the entries of an import, in any order, all or none. The future is done when they are durable.

        It raises `UnknownShop` if there is no such shop, `BlockedMeanwhile` if the digests of the blocked users are no
        longer those in `blocked`, and `StoreUnavailable` if the database cannot be written.
        """
        return self._database.submit_joined(self._store, trackpoint, _Import(entries, blocked))

    def _store(
        self, connection: Connection, trackpoint: int, imports: Sequence[_Import], held: ExitStack
    ) -> list[Exception | None]:
        dialect_of(connection).begin_append(connection, trackpoint)
        require_shop(connection, trackpoint)
        blocked = blocked_digests(connection, trackpoint)
        entries = [entry for one in imports if one.blocked == blocked for entry in one.entries]
        self.store_entries(connection, trackpoint, entries, held)
        return [None if one.blocked == blocked else BlockedMeanwhile() for one in imports]

    def store_entries(
        self, connection: Connection, trackpoint: int, entries: list[Entry], held: ExitStack | None
    ) -> None:
        """Store entries of a shop, in any order, within a write that has begun to append to the shop.

        Their users are not blocked. `held` is that of a joined write; without one, no segment grows.
        """
        may_grow = None if held is not None else False
        for day in split_days(unique(entries)):
            key = (trackpoint, day[0][0] // DAY_MS)
            if held is not None and may_grow is None and key in self._growing:
                may_grow = self._shares(connection, trackpoint, held)
            self._store_day(connection, key, list(day), may_grow=may_grow or False)

    @staticmethod
    def _shares(connection: Connection, trackpoint: int, held: ExitStack) -> bool:
        """Share the shop until the transaction has ended. Return False if an erasure has or awaits it."""
        try:
            dialect_of(connection).share_until_end(connection, trackpoint, held)
        except Busy:
            return False
        return True

    def _store_day(self, connection: Connection, key: tuple[int, int], entries: list[Entry], *, may_grow: bool) -> None:
        """Store entries of a shop and a day in the segment that grows, or in a new one."""
        trackpoint, _ = key
        old_id = None
        growing = self._growing.pop(key, None)
        new_bytes = sum(len(line) + 1 for _, line in entries)
        if may_grow and growing is not None and growing.line_bytes + new_bytes <= JOINED_MAX_BYTES:
            old = _entries_of(connection, trackpoint, growing.id)
            if old is not None:
                entries = unique(old + entries)
                if len(entries) == len(old):
                    self._growing[key] = growing
                    return
                old_id = growing.id
        for segment in pack(entries):  # one, unless very many imports waited
            segment_id, old_id = grow_segment(connection, trackpoint, old_id, segment), None
            self._growing[key] = _Growing(segment_id, segment.header.line_bytes)
        if len(self._growing) > GROWING_SEGMENTS_KEPT:
            self._growing.popitem(last=False)


def _entries_of(connection: Connection, trackpoint: int, segment_id: int) -> list[Entry] | None:
    """Return the entries of a segment, or None if it is gone, damaged, or no longer small."""
    segment = growing_segment(connection, trackpoint, segment_id)
    if segment is None or segment.header.line_bytes > JOINED_MAX_BYTES:
        return None
    try:
        return read_entries(segment.check_stored())
    except DamagedSegment:  # it stays as it is, for `verify`
        return None

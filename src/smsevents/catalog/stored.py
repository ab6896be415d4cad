"""A shop's segments in the order of their first entries, whether they are in rows or in packs."""

from __future__ import annotations

import heapq
from contextlib import closing
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from smsevents.catalog.packs import has_packs, packs_after, packs_of
from smsevents.catalog.segments import headers_of, segments_after, segments_of
from smsevents.segments.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.pack import PackedSegment
    from smsevents.segments.segment import StoredSegment
    from smsevents.wire.lines import Entry


class Described(Protocol):
    """Anything with the header of a segment."""

    @property
    def header(self) -> SegmentHeader:
        """Its description."""


S = TypeVar("S", bound=Described)


def stored_after(
    database: Database, connection: Connection, trackpoint: int, after: Entry, until_ms: int
) -> Generator[StoredSegment, None, None]:
    """Go through a shop's segments that hold entries after `after` and not later than `until_ms` (Unix ms).

    They come in the order of their first entries, and are fetched when the caller asks for them. Raises
    `DamagedSegment`, `ObjectGone` and `StoreUnavailable`.
    """
    with closing(segments_after(connection, trackpoint, after, until_ms)) as rows:
        if not has_packs(connection, trackpoint):
            yield from map(Segment.check_stored, rows)
            return
        store = database.packs(connection)
        with closing(packs_after(connection, trackpoint, after, until_ms)) as packs:
            yield from _merged(rows, opened(packs, lambda pack: store.segments(connection, pack, after)))


def stored_among(
    database: Database, connection: Connection, headers: Sequence[SegmentHeader], after: Entry
) -> Iterator[StoredSegment]:
    """Go through the segments that headers of rows and packs, in order, describe. What is gone is left out.

    Of packs, only segments that reach past an entry are returned. Raises what `stored_after` does.
    """
    rows = segments_of(connection, [header.id for header in headers if header.place.kind == "row"])
    packs = [header for header in headers if header.place.kind == "pack"]
    if not packs:
        return map(Segment.check_stored, rows)
    store = database.packs(connection)
    return _merged(rows, opened(packs, lambda pack: store.segments(connection, pack, after)))


def stored_headers(connection: Connection, trackpoint: int) -> list[SegmentHeader]:
    """Return the headers of a shop's rows and packs, in the order of their first entries."""
    return list(heapq.merge(headers_of(connection, trackpoint), packs_of(connection, trackpoint), key=_start_of))


def opened(packs: Iterable[SegmentHeader], open_pack: Callable[[SegmentHeader], Iterator[S]]) -> Iterator[S]:
    """Go through the segments of packs in the order of their first entries. A pack is opened when its turn comes."""
    waiting: OpenedPacks[S] = OpenedPacks()
    for pack, following in _with_following(packs):
        yield from waiting.before(pack.first)
        if waiting.is_empty and (following is None or pack.last < following.first):
            yield from open_pack(pack)  # mostly: nothing overlaps it, so there is nothing to compare
        else:
            waiting.add(open_pack(pack))
    yield from waiting.before(None)


def _with_following(packs: Iterable[SegmentHeader]) -> Iterator[tuple[SegmentHeader, SegmentHeader | None]]:
    """Go through packs, each with the one after it."""
    pack: SegmentHeader | None = None
    for following in packs:
        if pack is not None:
            yield pack, following
        pack = following
    if pack is not None:
        yield pack, None


class OpenedPacks(Generic[S]):
    """The segments of packs that were opened and may overlap, in the order of their first entries."""

    def __init__(self) -> None:
        """Begin without any."""
        self._waiting: list[tuple[Entry, int, S, Iterator[S]]] = []
        self._opened = 0

    @property
    def is_empty(self) -> bool:
        """Whether all segments were gone through."""
        return not self._waiting

    def add(self, segments: Iterator[S]) -> None:
        """Add the segments of a pack, in order."""
        self._opened += 1
        self._push(self._opened, segments)

    def before(self, bound: Entry | None) -> Iterator[S]:
        """Go through the segments that begin before an entry, or all of them, and remove them."""
        while self._waiting and (bound is None or self._waiting[0][0] < bound):
            _, number, segment, rest = heapq.heappop(self._waiting)
            self._push(number, rest)
            yield segment

    def _push(self, number: int, rest: Iterator[S]) -> None:
        if (segment := next(rest, None)) is not None:
            # the number decides between equal entries; a pack is in the heap once
            heapq.heappush(self._waiting, (segment.header.first, number, segment, rest))


def _merged(rows: Iterator[Segment], packed: Iterator[PackedSegment]) -> Iterator[StoredSegment]:
    """Merge rows and segments of packs by their first entries. Raises `DamagedSegment` for a row.

    One row is read ahead, perhaps much further on, so rows are checked only when their turn comes.
    """
    row = next(rows, None)
    for segment in packed:
        while row is not None and row.header.first <= segment.header.first:
            yield row.check_stored()
            row = next(rows, None)
        yield segment
    if row is not None:
        yield row.check_stored()
        yield from map(Segment.check_stored, rows)


def first_of(segment: Described) -> Entry:
    """Return the first entry of a segment, by which segments are ordered."""
    return segment.header.first


def _start_of(header: SegmentHeader) -> Entry:
    return header.first

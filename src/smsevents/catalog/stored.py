"""A shop's segments in the order of their first entries, whether they are in rows or in packs."""

from __future__ import annotations

import heapq
from contextlib import closing
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from smsevents.catalog.packs import has_packs, packs_after, packs_of
from smsevents.catalog.segments import headers_of, segments_after, segments_of
from smsevents.segments.segment import Segment, StoredSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.segments.header import SegmentHeader
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
            yield from map(_checked, rows)
            return
        store = database.packs(connection)
        with closing(packs_after(connection, trackpoint, after, until_ms)) as packs:
            packed: Iterator[StoredSegment] = opened(packs, lambda pack: store.segments(connection, pack, after))
            # a merge reads one row ahead, perhaps much further on, so rows are checked only when their turn comes
            yield from map(_checked, heapq.merge(rows, packed, key=first_of))


def stored_among(
    database: Database, connection: Connection, headers: Sequence[SegmentHeader], after: Entry
) -> Iterator[StoredSegment]:
    """Go through the segments that headers of rows and packs, in order, describe. What is gone is left out.

    Of packs, only segments that reach past an entry are returned. Raises what `stored_after` does.
    """
    rows = segments_of(connection, [header.id for header in headers if header.place.kind == "row"])
    packs = [header for header in headers if header.place.kind == "pack"]
    if not packs:
        return map(_checked, rows)
    store = database.packs(connection)
    packed: Iterator[StoredSegment] = opened(packs, lambda pack: store.segments(connection, pack, after))
    return map(_checked, heapq.merge(rows, packed, key=first_of))


def stored_headers(connection: Connection, trackpoint: int) -> list[SegmentHeader]:
    """Return the headers of a shop's rows and packs, in the order of their first entries."""
    return list(heapq.merge(headers_of(connection, trackpoint), packs_of(connection, trackpoint), key=_start_of))


def opened(packs: Iterable[SegmentHeader], open_pack: Callable[[SegmentHeader], Iterator[S]]) -> Iterator[S]:
    """Go through the segments of packs in the order of their first entries. A pack is opened when its turn comes."""
    waiting: OpenedPacks[S] = OpenedPacks()
    for pack in packs:
        yield from waiting.before(pack.first)
        waiting.add(open_pack(pack))
    yield from waiting.before(None)


class OpenedPacks(Generic[S]):
    """The segments of packs that were opened and may overlap, in the order of their first entries."""

    def __init__(self) -> None:
        """Begin without any."""
        self._waiting: list[tuple[Entry, int, S, Iterator[S]]] = []
        self._opened = 0

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


def _checked(segment: StoredSegment) -> StoredSegment:
    """Return a segment whose bytes, if it has them, match their checksum. Raises `DamagedSegment`."""
    return segment.check_stored() if isinstance(segment, Segment) else segment


def first_of(segment: Described) -> Entry:
    """Return the first entry of a segment, by which segments are ordered."""
    return segment.header.first


def _start_of(header: SegmentHeader) -> Entry:
    return header.first

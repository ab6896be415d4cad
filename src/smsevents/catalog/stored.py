"""A shop's segments in the order of their first entries, whether they are in rows or in packs."""

from __future__ import annotations

import heapq
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from smsevents.catalog.packs import has_packs, packs_after, packs_of
from smsevents.catalog.segments import headers_of, segments_after, segments_of
from smsevents.segments.segment import Segment, StoredSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.wire.lines import Entry

S = TypeVar("S", bound=StoredSegment)


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
    waiting: list[tuple[Entry, int, S, Iterator[S]]] = []
    for number, pack in enumerate(packs):
        while waiting and waiting[0][0] < pack.first:
            yield _step(waiting)
        _push(waiting, number, open_pack(pack))
    while waiting:
        yield _step(waiting)


def _step(waiting: list[tuple[Entry, int, S, Iterator[S]]]) -> S:
    _, number, segment, rest = heapq.heappop(waiting)
    _push(waiting, number, rest)
    return segment


def _push(waiting: list[tuple[Entry, int, S, Iterator[S]]], number: int, rest: Iterator[S]) -> None:
    if (segment := next(rest, None)) is not None:
        # the number decides between equal entries; a pack is in the heap once
        heapq.heappush(waiting, (segment.header.first, number, segment, rest))


def _checked(segment: StoredSegment) -> StoredSegment:
    """Return a segment whose bytes, if it has them, match their checksum. Raises `DamagedSegment`."""
    return segment.check_stored() if isinstance(segment, Segment) else segment


def first_of(segment: StoredSegment) -> Entry:
    """Return the first entry of a segment, by which segments are ordered."""
    return segment.header.first


def _start_of(header: SegmentHeader) -> Entry:
    return header.first

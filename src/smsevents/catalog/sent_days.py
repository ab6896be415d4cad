"""On which days messages were sent whose events are stored, and what of the log has events of such a day.

The events of the messages of a day may be in any rows and packs. Tallies say in which; lines say it where there is no
tally. Rows and packs are never changed and their ids never reused, so what was found once is remembered.

**The basis of a day** is the sum of the digests of all segments that have any of its events. It changes when any of
them is added, removed or replaced. It does not change when segments are copied into a pack or out of it, or into
another database, because the digest is that of the description: bounds, counts, sizes, checksums.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, func, select

from smsevents.catalog.batches import batches
from smsevents.catalog.hot import Hot
from smsevents.catalog.in_order import header_columns, header_of
from smsevents.catalog.packs import packs_of_ids
from smsevents.catalog.segments import find_segment
from smsevents.catalog.tables import packs, segments, tallies
from smsevents.catalog.tallies import WITH_TALLIES, tallies_of_pack
from smsevents.segments.header import IN_ROW
from smsevents.segments.message_day import QUARTERS_IN_DAY
from smsevents.segments.segment import inflate
from smsevents.segments.tally import UnreadableTally, decode_tally, parts_of
from smsevents.wire.limits import DAY_MS
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog.database import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import Segment
    from smsevents.segments.tally import Tally

DAYS_REMEMBERED_MAX = 200_000  # of all rows and packs together, of about 200 bytes each
BASIS_BYTES = 16
_BASIS_END = 1 << 8 * BASIS_BYTES

_COLUMNS = (*header_columns(segments), func.length(segments.c.data), tallies.c.data)
_IDS = {
    kind: Hot(select(table.c.id).where(table.c.trackpoint == bindparam("trackpoint")))
    for kind, table in (("row", segments), ("pack", packs))
}


class SentDay(NamedTuple):
    """A day of sending (since 1970, UTC) of which a row or a pack has events, and how many.

    `digest` is the sum of the digests of its segments that have any.
    """

    day: int
    digest: int
    events: int


class Holding(NamedTuple):
    """A row or a pack: the dates of its first and last event (Unix ms), and the days on which messages were sent."""

    first_ms: int
    last_ms: int
    days: Sequence[SentDay]


class Basis(NamedTuple):
    """The basis of a day, and how many stored events the day has. An event that is stored twice counts twice."""

    digest: bytes
    events: int


class SentDays:
    """What rows and packs hold, of those that were looked at last. It is safe to use from many threads."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._known: OrderedDict[tuple[str, int], Holding] = OrderedDict()
        self._days = 0
        self._lock = threading.Lock()

    def known(self, kind: str, ids: Iterable[int]) -> dict[int, Holding]:
        """Return what is known of rows or packs, by their ids."""
        with self._lock:
            return {one: found for one in ids if (found := self._known.get((kind, one))) is not None}

    def remember(self, kind: str, found: Mapping[int, Holding]) -> None:
        """Remember what rows or packs hold, and forget the earliest ones if there are too many."""
        with self._lock:
            for one, holding in found.items():
                if (kind, one) not in self._known:
                    self._known[kind, one] = holding
                    self._days += len(holding.days)
            while self._days > DAYS_REMEMBERED_MAX and len(self._known) > 1:
                self._days -= len(self._known.popitem(last=False)[1].days)


def holdings_of(
    database: Database, connection: Connection, trackpoint: int, check: Callable[[], None]
) -> list[Holding]:
    """Return what each row and each pack of a shop holds. `check` is called before each that is not known yet.

    Raises `DamagedSegment`, `ObjectGone` and `StoreUnavailable` if lines without a tally cannot be read, and what
    `check` does.
    """
    holdings: list[Holding] = []
    for kind, read in (("row", _of_rows), ("pack", _of_packs)):
        ids = [one for (one,) in _IDS[kind].all(connection, {"trackpoint": trackpoint})]
        known = database.sent_days.known(kind, ids)
        for some in batches([one for one in ids if one not in known]):
            found = dict(read(database, connection, some, check))
            database.sent_days.remember(kind, found)
            known |= found
        holdings += known.values()
    return holdings


def stored_marks(connection: Connection) -> dict[int, tuple[object, ...]]:
    """Return, for each shop with events, numbers that change when its rows and packs do: when to look at it again."""
    marks: dict[int, tuple[object, ...]] = {}
    for table in (segments, packs):
        c = table.c
        numbers = (func.count(), func.max(c.id), func.sum(c.id))
        for trackpoint, *found in connection.execute(select(c.trackpoint, *numbers).group_by(c.trackpoint)):
            marks[trackpoint] = (*marks.get(trackpoint, ()), table.name, *found)
    return marks


def bases_of(holdings: Iterable[Holding]) -> dict[int, Basis]:
    """Return the basis of each day that has events."""
    digests: Counter[int] = Counter()
    events: Counter[int] = Counter()
    for holding in holdings:
        for one in holding.days:
            digests[one.day] += one.digest
            events[one.day] += one.events
    return {
        day: Basis((digest % _BASIS_END).to_bytes(BASIS_BYTES, "big"), events[day]) for day, digest in digests.items()
    }


def _of_rows(
    _database: Database, connection: Connection, ids: Sequence[int], check: Callable[[], None]
) -> Iterator[tuple[int, Holding]]:
    statement = select(*_COLUMNS).select_from(WITH_TALLIES).where(segments.c.id.in_(ids))
    for row in connection.execute(statement).all():
        check()
        *columns, stored_bytes, encoded = row
        header = header_of(columns, stored_bytes, IN_ROW)
        days = _days_of(header, encoded, partial(_row, connection, header))
        yield header.id, Holding(header.first[0], header.last[0], days)


def _row(connection: Connection, header: SegmentHeader) -> Segment:
    segment = find_segment(connection, header.id)
    if segment is None:  # all statements of a transaction see the same rows
        raise header.damaged("its row cannot be read again")
    return segment.check_stored()


def _of_packs(
    database: Database, connection: Connection, ids: Sequence[int], check: Callable[[], None]
) -> Iterator[tuple[int, Holding]]:
    store = database.packs(connection)
    for pack in packs_of_ids(connection, ids):
        found = tallies_of_pack(connection, pack.id)
        digests: Counter[int] = Counter()
        events: Counter[int] = Counter()
        for packed in store.segments(connection, pack):
            check()
            for one in _days_of(packed.header, found.get(packed.header.place.start), packed.load):
                digests[one.day] += one.digest
                events[one.day] += one.events
        days = [SentDay(day, digest % _BASIS_END, events[day]) for day, digest in digests.items()]
        yield pack.id, Holding(pack.first[0], pack.last[0], days)


def _days_of(header: SegmentHeader, encoded: bytes | None, load: Callable[[], Segment]) -> list[SentDay]:
    """Return the days of a segment. It is loaded if its tally does not say them."""
    try:
        events = None if encoded is None else _days_in_tally(decode_tally(encoded))
    except UnreadableTally:
        events = None
    if events is None:
        try:
            events = Counter(int(sent) // DAY_MS for _, _, _, sent in parts_of(inflate(load())))
        except NotLines as error:
            raise header.damaged(str(error)) from error
    digest = _digest_of(header)
    return [SentDay(day, digest, count) for day, count in events.items()]


def _days_in_tally(tally: Tally) -> Counter[int]:
    events: Counter[int] = Counter()
    for cells in tally.cells:
        for date, lag, count in zip(cells.dates, cells.lags, cells.counts, strict=True):
            events[(tally.first + date - lag) // QUARTERS_IN_DAY] += count
    return events


def _digest_of(header: SegmentHeader) -> int:
    what = (header.first, header.last, header.events, header.line_bytes, header.line_crc)
    stored = (header.stored_bytes, header.stored_crc)
    return int.from_bytes(blake2b(repr((what, stored)).encode(), digest_size=BASIS_BYTES).digest(), "big")

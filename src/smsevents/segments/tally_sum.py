"""Sums of tallies: how many events of which kind many segments hold together, such as all of a pack.

A sum says less than its tallies do. It has the events of each source and status by the quarter of `date`, and apart
from that by the quarter of `sendDate`, but not by both. So it is only some times as large as one tally. No question
needs both.

The encoded form is that of a tally (`segments.tally`). SUM_VERSION is stored beside it.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from smsevents.segments.tally import (
    TALLY_RAW_MAX_BYTES,
    Along,
    Deliveries,
    Tally,
    UnreadableTally,
    deflated_tally,
    raw_tally,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsevents.segments.tally import Cells

SUM_VERSION = 1


class SumCells(msgspec.Struct, array_like=True, gc=False):
    """The counts of one source and status: parallel lists, by `date`, and encoded in `sent` those by `sendDate`.

    Both are an `Along`. Mostly, a question needs one of them.
    """

    source: int  # its position in the sum's sources
    status: str
    dates: list[int]
    counts: list[int]
    sent: msgspec.Raw

    def by_date(self) -> Along:
        """Return the events along the axis of `date`."""
        return Along(self.dates, self.counts, self.dates)

    def sent_quarters(self) -> Iterable[int]:
        """Go through the quarters of `sendDate`, since that of the sum. Raises `UnreadableTally`."""
        return self.by_sent().quarters

    def by_sent(self) -> Along:
        """Return the events along the axis of `sendDate`. Raises `UnreadableTally`."""
        try:
            return Along(*_along_decoder.decode(self.sent))
        except msgspec.MsgspecError as error:
            raise UnreadableTally(str(error)) from error


class TallySum(msgspec.Struct, array_like=True):
    """The counts of several segments. `first` is the first quarter of `date`, in quarters since 1970 (UTC)."""

    first: int
    sources: list[bytes]
    cells: list[SumCells]
    deliveries: list[Deliveries]


AnyTally: TypeAlias = Tally | TallySum

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TallySum)
_along_decoder = msgspec.msgpack.Decoder(tuple[list[int], list[int], list[int]])


class _Cells:
    """The counts of one source and status, while they are added."""

    def __init__(self) -> None:
        self.dates: dict[int, int] = {}
        self.sent: dict[int, tuple[int, int]] = {}  # the events, and the last quarter of their dates

    def add(self, first: int, cells: Cells) -> None:
        """Add the counts of a tally that begins with a quarter."""
        for date_of_tally, lag, count in zip(cells.dates, cells.lags, cells.counts, strict=True):
            date = date_of_tally + first
            self.dates[date] = self.dates.get(date, 0) + count
            events, last = self.sent.get(date - lag, (0, date))
            self.sent[date - lag] = (events + count, max(last, date))

    def encodable(self, first: int, source: int, status: str) -> SumCells:
        """Return them as they are encoded, in a sum that begins with a quarter."""
        dates, sent = sorted(self.dates), sorted(self.sent)
        along = Along(
            [one - first for one in sent],
            [self.sent[one][0] for one in sent],
            [self.sent[one][1] - first for one in sent],
        )
        counts = [self.dates[one] for one in dates]
        return SumCells(source, status, [one - first for one in dates], counts, msgspec.Raw(_encoder.encode(along)))


class _Adding:
    """The counts of several tallies, while they are added."""

    def __init__(self) -> None:
        self._cells: dict[tuple[bytes, str], _Cells] = {}
        self._deliveries: dict[bytes, dict[int, int]] = {}

    def add(self, tally: Tally) -> None:
        """Add a tally."""
        for cells in tally.cells:
            self._cells.setdefault((tally.sources[cells.source], cells.status), _Cells()).add(tally.first, cells)
        for took in tally.deliveries:
            counts = self._deliveries.setdefault(tally.sources[took.source], {})
            for bucket, count in zip(took.buckets, took.counts, strict=True):
                counts[bucket] = counts.get(bucket, 0) + count

    def size_min_bytes(self) -> int:
        """Return how many bytes the encoded sum has at least, before it is deflated."""
        texts = sum(map(len, {source for source, _ in self._cells}))
        return texts + sum(2 * len(cells.dates) + 3 * len(cells.sent) for cells in self._cells.values())

    def sum(self) -> TallySum:
        """Return the sum."""
        first = min(min(cells.dates) for cells in self._cells.values())
        names = sorted({source for source, _ in self._cells})
        numbers = {source: number for number, source in enumerate(names)}
        return TallySum(
            first,
            names,
            [
                cells.encodable(first, numbers[source], status)
                for (source, status), cells in sorted(self._cells.items(), key=itemgetter(0))
            ],
            [
                Deliveries(numbers[source], sorted(counts), [counts[bucket] for bucket in sorted(counts)])
                for source, counts in sorted(self._deliveries.items(), key=itemgetter(0))
            ],
        )


def sum_of(tallies: Iterable[Tally]) -> TallySum | None:
    """Add tallies, of which there is at least one. Return None if the sum is too large to be stored."""
    adding = _Adding()
    for one in tallies:
        adding.add(one)
        if adding.size_min_bytes() > TALLY_RAW_MAX_BYTES:
            return None
    return adding.sum()


def encoded_sum_of(tallies: Iterable[Tally]) -> bytes | None:
    """Return the stored form of the sum of tallies, of which there is at least one, or None if it is too large."""
    found = sum_of(tallies)
    return None if found is None else deflated_tally(_encoder.encode(found))


def decode_sum(data: bytes) -> TallySum:
    """Return a sum from its stored form. Raises `UnreadableTally`."""
    try:
        return _decoder.decode(raw_tally(data))
    except msgspec.MsgspecError as error:
        raise UnreadableTally(str(error)) from error

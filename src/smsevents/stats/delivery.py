"""How long the delivery took: from `sendDate` to `date` of the DELIVERED events, as a histogram.

Percentiles are those of the nearest rank, interpolated within its bucket. A bucket is at most a fifth wider than its
start, so a percentile is as exact as that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from math import ceil
from operator import sub
from typing import TYPE_CHECKING, cast

import msgspec

from smsevents.segments.tally import DELIVERED, DELIVERY_BOUNDS_MS, Tally, bucket_of, parts_of
from smsevents.stats.grouping import Groups
from smsevents.stats.parts import Use, count_parts, go_on

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.segments.tally import Cells
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question

_DELIVERED = DELIVERED.encode()


class DeliveryBucket(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How many deliveries took from `from_ms` to `to_ms`, both included. The last possible bucket has no end."""

    from_ms: int
    to_ms: int | None
    deliveries: int


class Deliveries:
    """The deliveries of a question, by the bucket of the time that they took."""

    def __init__(self, question: Question) -> None:
        """Count nothing yet."""
        self._question = question
        self._buckets = question.buckets
        self._selection = question.selection
        self._groups = Groups(question)
        self._counts: Counter[int] = Counter()

    def plan(self, tally: Tally) -> list[tuple[int, int]] | Use:
        """Return the buckets of a tally and their counts, or how its segment is used instead. Raises `NotLines`."""
        if not self._selection.takes_status(DELIVERED):
            return Use.NOTHING
        sources: set[int] = set()
        for cells in tally.cells:
            if cells.status != DELIVERED or self._groups.of(tally.sources[cells.source]) is None:
                continue
            inside = self._is_inside(tally, cells)
            if inside is None:
                return Use.LINES
            if inside:
                sources.add(cells.source)
        found = [
            pair
            for one in tally.deliveries
            if one.source in sources
            for pair in zip(one.buckets, one.counts, strict=True)
        ]
        return found or Use.NOTHING

    def _is_inside(self, tally: Tally, cells: Cells) -> bool | None:
        """Return whether all events of cells lie in the interval, or none of them does. None: only some, or perhaps."""
        quarters = set(cells.dates if self._question.at == "event" else map(sub, cells.dates, cells.lags))
        found = {self._buckets.of_quarter(tally.first + quarter) for quarter in quarters}
        inside = {None if one is None else one >= 0 for one in found}
        return cast("bool", inside.pop()) if len(inside) == 1 else None

    def add(self, taken: list[tuple[int, int]]) -> None:
        """Add what a tally said."""
        for bucket, count in taken:
            self._counts[bucket] += count

    def add_lines(self, lines: bytes) -> None:
        """Count lines. Raises `NotLines`."""
        is_by_event = self._question.at == "event"
        for status, date_text, source, sent_text in parts_of(lines):
            if status != _DELIVERED or not self._selection.takes_status(DELIVERED):
                continue
            date, sent = int(date_text), int(sent_text)
            if self._buckets.of(date if is_by_event else sent) >= 0 and self._groups.of(source) is not None:
                self._counts[bucket_of(date - sent)] += 1

    @property
    def deliveries(self) -> int:
        """How many deliveries were counted."""
        return self._counts.total()

    def within(self, at_most_ms: int) -> int:
        """Return how many deliveries took at most so long: exact for each of WITHIN_MS."""
        last = bisect_right(DELIVERY_BOUNDS_MS, at_most_ms) - 1
        return sum(count for bucket, count in self._counts.items() if bucket <= last)

    def percentile(self, percent: int) -> int | None:
        """Return how long so many percent of the deliveries took at most, in milliseconds, or None without any."""
        rank = ceil(self.deliveries * percent / 100)
        before = 0
        for one in self.histogram():
            if one.deliveries and before + one.deliveries >= rank:
                end = one.from_ms if one.to_ms is None else one.to_ms
                return round(one.from_ms + (end - one.from_ms) * (rank - before) / one.deliveries)
            before += one.deliveries
        return None

    def histogram(self) -> list[DeliveryBucket]:
        """Return the buckets from the shortest time that occurs to the longest, in order, without gaps."""
        if not self._counts:
            return []
        ends = [bound - 1 for bound in DELIVERY_BOUNDS_MS[1:]]
        return [
            DeliveryBucket(
                DELIVERY_BOUNDS_MS[bucket], ends[bucket] if bucket < len(ends) else None, self._counts[bucket]
            )
            for bucket in range(min(self._counts), max(self._counts) + 1)
        ]


def count_deliveries(database: Database, trackpoint: int, question: Question, check: Check = go_on) -> Deliveries:
    """Count the deliveries of a shop. Raises what `count_parts` does."""
    found = Deliveries(question)
    count_parts(database, trackpoint, question.log_window, found, check)
    return found

"""How long the delivery took: from `sendDate` to `date` of the DELIVERED events, as a histogram.

Percentiles are those of the nearest rank, interpolated within its bucket. A bucket is at most a fifth wider than its
start, so a percentile is as exact as that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from math import ceil
from sys import getsizeof
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from smsevents.segments.tally import DELIVERED, DELIVERY_BOUNDS_MS, bucket_of, parts_of
from smsevents.stats.grouping import Groups
from smsevents.stats.parts import Use, count_parts, go_on

if TYPE_CHECKING:
    from collections.abc import Hashable

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.tally_sum import AnyTally
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question

_DELIVERED = DELIVERED.encode()


class DeliveryBucket(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How many deliveries took from `from_ms` to `to_ms`, both included. The last possible bucket has no end."""

    from_ms: int
    to_ms: int | None
    deliveries: int


class Took(NamedTuple):
    """How many deliveries took how long, by bucket."""

    counts: Counter[int]

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, about."""
        return getsizeof(self.counts)


class Deliveries:
    """The deliveries of a question, by the bucket of the time that they took."""

    def __init__(self, question: Question) -> None:
        """Count nothing yet."""
        self._question = question
        self._buckets = question.buckets
        self._selection = question.selection
        self._groups = Groups(question)
        self._counts: Counter[int] = Counter()

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on, besides its tally."""
        scope = self._question.scope(header)
        return None if scope is None else ("deliveries", self._question.at, self._question.wanted, scope)

    def plan(self, tally: AnyTally) -> Took | Use:
        """Return the buckets of a tally and their counts, or how its segment is used instead.

        Raises `NotLines` and `UnreadableTally`.
        """
        if not self._selection.takes_status(DELIVERED):
            return Use.NOTHING
        sources: set[int] = set()
        for cells in tally.cells:
            if cells.status != DELIVERED or self._groups.of(tally.sources[cells.source]) is None:
                continue
            along = cells.by_date() if self._question.at == "event" else cells.by_sent()
            inside = {
                None if bucket is None else bucket >= 0
                for bucket, _, _ in self._buckets.runs(tally.first, along.quarters)
            }
            if inside not in ({True}, {False}):
                return Use.LINES  # only some are in the interval, or perhaps
            if True in inside:
                sources.add(cells.source)
        found: Counter[int] = Counter()
        for one in tally.deliveries:
            if one.source in sources:
                found.update(dict(zip(one.buckets, one.counts, strict=True)))
        return Took(found) if found else Use.NOTHING

    def add(self, taken: Took) -> None:
        """Add what a tally said."""
        self._counts.update(taken.counts)

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

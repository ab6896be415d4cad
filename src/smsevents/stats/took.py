"""How long deliveries took, counted by the buckets of DELIVERY_BOUNDS_MS, and what these counts say.

Percentiles are those of the nearest rank, interpolated within its bucket. A bucket is at most a fifth wider than its
start, so a percentile is as exact as that.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, field

from smsevents.segments.tally import DELIVERY_BOUNDS_MS, QUARTER_MS, WITHIN_MS, Cells, bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smsevents.segments.tally_sum import SumCells

LAG_QUARTERS_KEPT_MAX = 16_384  # lags whose possible times are remembered: those of half a year
_ENDS_MS = [bound - 1 for bound in DELIVERY_BOUNDS_MS[1:]]
_MEDIAN, _P90, _P95 = 50, 90, 95


class DeliveryBucket(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How many deliveries took from `from_ms` to `to_ms`, both included. The last possible bucket has no end."""

    from_ms: int
    to_ms: int | None
    deliveries: int


class DeliveryFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many deliveries there are, and how long they took, in milliseconds."""

    deliveries: Annotated[int, Meta(description="The DELIVERED events.")]
    within_10s: Annotated[int, Meta(description="Those that took at most 10 seconds.")] = field(name="within10s")
    within_1m: Annotated[int, Meta(description="Those that took at most a minute.")] = field(name="within1m")
    within_1h: Annotated[int, Meta(description="Those that took at most an hour.")] = field(name="within1h")
    median_ms: Annotated[int | None, Meta(description="The median; null without deliveries.")] = field(name="medianMs")
    p90_ms: Annotated[int | None, Meta(description="The 90th percentile.")] = field(name="p90Ms")
    p95_ms: Annotated[int | None, Meta(description="The 95th percentile.")] = field(name="p95Ms")


class Times:
    """Counts of deliveries by the bucket of the time that they took."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        """Count nothing yet."""
        self.counts: dict[int, int] = {}

    def add(self, counts: Mapping[int, int]) -> int:
        """Add counts by bucket. Return how many buckets are new."""
        known = self.counts
        before = len(known)
        for bucket, count in counts.items():
            known[bucket] = known.get(bucket, 0) + count
        return len(known) - before

    @property
    def deliveries(self) -> int:
        """How many deliveries were counted."""
        return sum(self.counts.values())

    def within(self, at_most_ms: int) -> int:
        """Return how many deliveries took at most so long: exact for each of WITHIN_MS."""
        last = bisect_right(DELIVERY_BOUNDS_MS, at_most_ms) - 1
        return sum(count for bucket, count in self.counts.items() if bucket <= last)

    def percentiles(self, *percents: int) -> list[int | None]:
        """Return how long so many percent of the deliveries took at most, in milliseconds, or None without any.

        The percents are in ascending order.
        """
        found: list[int | None] = []
        total = self.deliveries
        in_order = iter(sorted(self.counts.items()))
        bucket = before = count = 0
        for percent in percents if total else ():
            rank = ceil(total * percent / 100)
            while before + count < rank:
                before += count
                bucket, count = next(in_order)
            start = DELIVERY_BOUNDS_MS[bucket]
            end = _ENDS_MS[bucket] if bucket < len(_ENDS_MS) else start
            found.append(round(start + (end - start) * (rank - before) / count))
        return found or [None] * len(percents)

    def figures(self) -> DeliveryFigures:
        """Return what the counts say."""
        ten_seconds, minute, hour = WITHIN_MS
        median, p90, p95 = self.percentiles(_MEDIAN, _P90, _P95)
        return DeliveryFigures(
            deliveries=self.deliveries,
            within_10s=self.within(ten_seconds),
            within_1m=self.within(minute),
            within_1h=self.within(hour),
            median_ms=median,
            p90_ms=p90,
            p95_ms=p95,
        )

    def histogram(self) -> list[DeliveryBucket]:
        """Return the buckets from the shortest time that occurs to the longest, in order, without gaps."""
        if not self.counts:
            return []
        return [
            DeliveryBucket(
                DELIVERY_BOUNDS_MS[bucket],
                _ENDS_MS[bucket] if bucket < len(_ENDS_MS) else None,
                self.counts.get(bucket, 0),
            )
            for bucket in range(min(self.counts), max(self.counts) + 1)
        ]


@lru_cache(LAG_QUARTERS_KEPT_MAX)
def _times_of_lag(lag: int) -> range:
    """Return the buckets of all times that a delivery may take with so many quarters between sending and delivery."""
    return range(bucket_of((lag - 1) * QUARTER_MS + 1), bucket_of((lag + 1) * QUARTER_MS - 1) + 1)


def divided(
    cells: Cells | SumCells, counts: Mapping[int, int], parts: Iterable[int]
) -> dict[int, dict[int, int]] | None:
    """Divide the times of deliveries, counted for a source as a whole, into parts. Return None if that is not certain.

    `cells` are the deliveries of the source, and `parts` the part of each of them, in the same order. How many quarters
    lie between sending and delivery says which times are possible. If each time that occurs is possible in a single
    part, all deliveries with that time are of this part. So messages that were sent on the day before are told from
    those of today, which cannot have taken as long.
    """
    if not isinstance(cells, Cells):
        return None  # a sum does not have both quarters of an event
    part_of: dict[int, int] = {}
    is_shared: set[int] = set()
    for part, lag in set(zip(parts, cells.lags, strict=True)):
        for time in _times_of_lag(lag):
            if part_of.setdefault(time, part) != part:
                is_shared.add(time)
    found: dict[int, dict[int, int]] = {}
    for time, count in counts.items():
        if time in is_shared or time not in part_of:
            return None
        found.setdefault(part_of[time], {})[time] = count
    return found

"""How long the delivery took: from `sendDate` to `date` of the DELIVERED events, by bucket and source.

A tally has these times for each source of its segment as a whole. So a segment has to be opened if deliveries of one
source lie in several buckets, unless the times themselves tell in which one they are (`took.divided`).
"""

from __future__ import annotations

from collections import Counter
from sys import getsizeof
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import UNSET, UnsetType

from smsevents.errors import InvalidRequest
from smsevents.segments.tally import DELIVERED, QUARTER_MS, bucket_of, parts_of
from smsevents.stats.grouping import (
    GROUP_BYTES,
    OTHER,
    Group,
    Groups,
    Named,
    Names,
    Type,
    check_rows,
    largest,
    members_of,
    names_of,
    order_of,
    shown_group,
)
from smsevents.stats.parts import Use, count_parts, go_on
from smsevents.stats.took import DeliveryFigures, Times, divided

if TYPE_CHECKING:
    from collections.abc import Hashable

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.tally import Cells
    from smsevents.segments.tally_sum import AnyTally, SumCells
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question

DELIVERIES_LINES_MAX = 5_000_000  # looked at to tell the deliveries of buckets apart: up to 20 seconds of a processor
TIMES_BYTES = 500  # the times of a bucket and group, without their numbers: measured
TIME_BYTES = 60  # the number of deliveries that took one of these times: measured
_DELIVERED = DELIVERED.encode()

BucketAndGroup: TypeAlias = tuple[int, Group]


class DeliveryRow(DeliveryFigures, frozen=True, kw_only=True, gc=False):
    """The deliveries of a bucket and group. It has the members that the question groups by."""

    bucket: Annotated[int, msgspec.Meta(description="Its position in `buckets`.")]
    type: Type | UnsetType = UNSET
    campaign: Named | UnsetType = UNSET
    node: Named | UnsetType | None = UNSET
    other: Annotated[bool | UnsetType, msgspec.Meta(description=OTHER)] = UNSET


class Took(NamedTuple):
    """What a tally says to a question: the deliveries of each bucket and group, and the names of the groups.

    A bucket is known by one of its quarters on the axis of the question. The deliveries are by the bucket of the time
    that they took.
    """

    found: list[tuple[int, Group, dict[int, int]]]
    names: dict[Group, Names]

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, about."""
        groups = {group for _, group, _ in self.found}
        texts = [text for group in groups for text in (group.campaign, group.node)]
        texts += [text for names in self.names.values() for text in (names.campaign, names.node)]
        counts_bytes = sum(TIMES_BYTES + len(counts) * TIME_BYTES for _, _, counts in self.found)
        return counts_bytes + len(groups) * GROUP_BYTES + sum(getsizeof(one) for one in texts if one)


class _Placed(NamedTuple):
    """The deliveries of one source of a tally: counts of times by bucket, with a quarter and the last date of each."""

    counts: dict[int, dict[int, int]]
    quarters: dict[int, int]
    last: int


class Deliveries:
    """The deliveries of a question, by bucket, group, and the time that they took."""

    def __init__(self, question: Question) -> None:
        """Count nothing yet."""
        self._question = question
        self._buckets = question.buckets
        self._selection = question.selection
        self._is_by_event = question.at == "event"
        self._groups = Groups(question)
        self._times: dict[BucketAndGroup, Times] = {}
        self._numbers = 0  # how many numbers of deliveries there are in these
        self._lines = 0

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on, besides its tally."""
        scope = self._question.scope(header)
        asked = (self._question.at, self._question.by, self._question.wanted)
        return None if scope is None else ("deliveries", *asked, scope)

    def plan(self, tally: AnyTally) -> Took | Use:
        """Return the deliveries of a tally, or how its segment is used instead.

        Raises `NotLines` and `UnreadableTally`.
        """
        if not self._selection.takes_status(DELIVERED):
            return Use.NOTHING
        times = {one.source: dict(zip(one.buckets, one.counts, strict=True)) for one in tally.deliveries}
        found: dict[BucketAndGroup, tuple[int, Times]] = {}
        names: dict[Group, Names] = {}
        for cells in tally.cells:
            text = tally.sources[cells.source]
            if cells.status != DELIVERED or (group := self._groups.of(text)) is None:
                continue
            placed = self._placed(tally.first, cells, times.get(cells.source, {}))
            if placed is None:
                return Use.LINES
            for bucket, counts in placed.counts.items():
                _, known = found.setdefault((bucket, group), (placed.quarters[bucket], Times()))
                known.add(counts)
            if placed.counts and self._groups.is_named:
                named = names_of(text, tally.first + placed.last)
                names[group] = max(names.get(group, named), named)
        if not found:
            return Use.NOTHING
        return Took([(quarter, group, one.counts) for (_, group), (quarter, one) in found.items()], names)

    def _placed(self, first: int, cells: Cells | SumCells, counts: dict[int, int]) -> _Placed | None:
        """Return the deliveries of a source in their buckets, or None if its tally does not tell in which they are."""
        quarters, _, lasts = cells.by_date() if self._is_by_event else cells.by_sent()
        runs = list(self._buckets.runs(first, quarters))
        buckets = {bucket for bucket, _, _ in runs}
        if None in buckets:
            return None  # only some are in the interval, or in a bucket, or perhaps
        inside = [(bucket, start, end) for bucket, start, end in runs if bucket is not None and bucket >= 0]
        if not inside:
            return _Placed({}, {}, 0)
        if len(buckets) == 1:
            in_buckets: dict[int, dict[int, int]] | None = {inside[0][0]: counts}
        else:
            of_cells = cells.by_date().quarters if self._is_by_event else cells.sent_quarters()
            in_buckets = divided(
                cells, counts, [cast("int", self._buckets.of_quarter(first + one)) for one in of_cells]
            )
        if in_buckets is None:
            return None
        return _Placed(
            {bucket: some for bucket, some in in_buckets.items() if bucket >= 0},
            {bucket: first + quarters[start] for bucket, start, _ in inside},
            max(max(lasts[start:end]) for _, start, end in inside),
        )

    def add(self, taken: Took) -> None:
        """Add what a tally said. Raises `InvalidRequest` if there is too much."""
        for quarter, group, counts in taken.found:
            bucket = cast("int", self._buckets.of_quarter(quarter))  # equal scopes divide quarters alike
            self._numbers += self._in(bucket, group).add(counts)
        for group, names in taken.names.items():
            self._groups.note(group, names)
        self._check()

    def add_lines(self, lines: bytes) -> None:
        """Count lines. Raises `NotLines`, and `InvalidRequest` if there is too much."""
        found: dict[BucketAndGroup, Counter[int]] = {}
        parts = parts_of(lines)
        for status, date_text, source, sent_text in parts if self._selection.takes_status(DELIVERED) else ():
            if status != _DELIVERED or (group := self._groups.of(source)) is None:
                continue
            date, sent = int(date_text), int(sent_text)
            bucket = self._buckets.of(date if self._is_by_event else sent)
            if bucket >= 0:
                key = (bucket, group)
                if key not in found:
                    found[key] = Counter()
                found[key][bucket_of(date - sent)] += 1
                self._groups.name(group, source, date // QUARTER_MS)
        for (bucket, group), counts in found.items():
            self._numbers += self._in(bucket, group).add(counts)
        self._lines += len(parts)
        self._check()

    def _in(self, bucket: int, group: Group) -> Times:
        found = self._times.get((bucket, group))
        if found is None:
            found = self._times[bucket, self._groups.keep(group)] = Times()
        return found

    def _check(self) -> None:
        self._groups.check(len(self._times) * TIMES_BYTES + self._numbers * TIME_BYTES)
        if self._question.step != "all" and self._lines > DELIVERIES_LINES_MAX:
            on_other_axis = "" if self._is_by_event else " `at=event` takes less, too."
            raise InvalidRequest(
                f"To divide these deliveries by `step`, more than {DELIVERIES_LINES_MAX} events would have to be looked"
                f" at. Send a longer step, a shorter interval, or a `campaign` or `node`.{on_other_axis}"
            )

    def total(self) -> Times:
        """Return all deliveries together."""
        total = Times()
        for one in self._times.values():
            total.add(one.counts)
        return total

    def rows(self) -> list[DeliveryRow]:
        """Return the rows, in order. Raises `InvalidRequest` if there are too many."""
        sizes: Counter[Group] = Counter()
        for (_, group), times in self._times.items():
            sizes[group] += times.deliveries
        kept = largest(sizes, self._question.top)
        shown: dict[BucketAndGroup, Times] = {}
        for (bucket, group), times in self._times.items():
            shown.setdefault((bucket, shown_group(group, kept)), Times()).add(times.counts)
        check_rows(Counter(group for _, group in shown), self._groups.names)
        in_order = sorted(shown.items(), key=lambda one: (one[0][0], order_of(one[0][1])))
        return [
            DeliveryRow(
                bucket=bucket,
                **members_of(group, self._question.by, self._groups.names),
                **msgspec.structs.asdict(times.figures()),
            )
            for (bucket, group), times in in_order
        ]


def count_deliveries(database: Database, trackpoint: int, question: Question, check: Check = go_on) -> Deliveries:
    """Count the deliveries of a shop.

    Raises what `count_parts` does, and `InvalidRequest` if there are too many different counts, or more than
    DELIVERIES_LINES_MAX lines have to be read to divide them by `step`.
    """
    found = Deliveries(question)
    count_parts(database, trackpoint, question.log_window, found, check)
    return found

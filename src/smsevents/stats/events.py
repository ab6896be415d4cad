"""How many events there are, by bucket, status and source."""

from __future__ import annotations

from collections import Counter
from operator import sub
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import msgspec
from msgspec import UNSET, UnsetType

from smsevents.segments.tally import QUARTER_MS, parts_of, quarters_of
from smsevents.stats.grouping import (
    OTHER,
    Group,
    Groups,
    Named,
    Type,
    check_rows,
    largest,
    members_of,
    order_of,
    shown_group,
    status_order,
    total,
)
from smsevents.stats.parts import Use, count_parts, go_on
from smsevents.wire.events import Status

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.segments.tally import Cells, Tally
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question


COUNT_BYTES = 200  # a number of events with its bucket, status and group: measured


class Count(NamedTuple):
    """So many events of one source, status and bucket. `quarter` is the last quarter of an hour of their dates."""

    bucket: int
    status: str
    source: bytes
    events: int
    quarter: int


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a bucket and group. It has the members that the question groups by."""

    bucket: Annotated[int, msgspec.Meta(description="Its position in `buckets`.")]
    status: Status | UnsetType = UNSET
    type: Type | UnsetType = UNSET
    campaign: Named | UnsetType = UNSET
    node: Named | UnsetType | None = UNSET
    other: Annotated[bool | UnsetType, msgspec.Meta(description=OTHER)] = UNSET
    events: int


class EventCounts:
    """The counts of a question, and the rows that they make."""

    def __init__(self, question: Question) -> None:
        """Count nothing yet."""
        self._question = question
        self._buckets = question.buckets
        self._by_status = "status" in question.by
        self._selection = question.selection
        self._groups = Groups(question)
        self.counts: Counter[tuple[int, str, Group]] = Counter()

    @property
    def events(self) -> int:
        """How many events were counted."""
        return self.counts.total()

    def plan(self, tally: Tally) -> list[Count] | Use:
        """Return the counts of a tally, or how its segment is used instead. Raises `NotLines`."""
        found: list[Count] = []
        for cells in tally.cells:
            source = tally.sources[cells.source]
            if self._groups.of(source) is None or not self._selection.takes_status(cells.status):
                continue
            counted = self._counted(tally, cells)
            if counted is None:
                return Use.LINES
            found += [Count(bucket, cells.status, source, *one) for bucket, one in counted.items()]
        return found or Use.NOTHING

    def _counted(self, tally: Tally, cells: Cells) -> dict[int, tuple[int, int]] | None:
        """Return for each bucket the events and their last quarter, or None if a quarter is not in one bucket."""
        of_quarter = self._buckets.of_quarter
        offsets = cells.dates if self._question.at == "event" else list(map(sub, cells.dates, cells.lags))
        first = of_quarter(tally.first + min(offsets))
        if first is not None and first >= 0 and first == of_quarter(tally.first + max(offsets)):
            return {first: (sum(cells.counts), tally.first + max(cells.dates))}  # buckets have no gaps
        found: dict[int, tuple[int, int]] = {}
        is_by_event = self._question.at == "event"
        for date, sent, count in quarters_of(tally, cells):
            bucket = of_quarter(date if is_by_event else sent)
            if bucket is None:
                return None
            if bucket >= 0:
                events, last = found.get(bucket, (0, date))
                found[bucket] = (events + count, max(last, date))
        return found

    def add(self, counts: list[Count]) -> None:
        """Add the counts of a tally. Raises `InvalidRequest` if there are too many."""
        for bucket, status, source, events, quarter in counts:
            group = self._groups.of(source)
            if group is not None:
                self.counts[bucket, status if self._by_status else "", group] += events
                self._groups.name(group, source, quarter)
        self._groups.check(len(self.counts) * COUNT_BYTES)

    def add_lines(self, lines: bytes) -> None:
        """Count lines. Raises `NotLines`, and `InvalidRequest` if there are too many counts."""
        is_by_event = self._question.at == "event"
        for status_text, date_text, source, sent_text in parts_of(lines):
            group = self._groups.of(source)
            status = status_text.decode()
            if group is None or not self._selection.takes_status(status):
                continue
            date = int(date_text)
            bucket = self._buckets.of(date if is_by_event else int(sent_text))
            if bucket >= 0:
                self.counts[bucket, status if self._by_status else "", group] += 1
                self._groups.name(group, source, date // QUARTER_MS)
        self._groups.check(len(self.counts) * COUNT_BYTES)

    def rows(self) -> list[EventRow]:
        """Return the rows, in order. Raises `InvalidRequest` if there are too many."""
        kept = largest(total(self.counts), self._question.top)
        shown: Counter[tuple[int, str, Group]] = Counter()
        for (bucket, status, group), events in self.counts.items():
            shown[bucket, status, shown_group(group, kept)] += events
        check_rows([group for _, _, group in shown], self._groups.names)
        in_order = sorted(shown.items(), key=lambda one: (one[0][0], status_order(one[0][1]), order_of(one[0][2])))
        return [
            EventRow(
                bucket=bucket,
                status=cast("Status", status) if self._by_status else UNSET,
                events=events,
                **members_of(group, self._question.by, self._groups.names),
            )
            for (bucket, status, group), events in in_order
        ]


def count_events(database: Database, trackpoint: int, question: Question, check: Check = go_on) -> EventCounts:
    """Count the events of a shop: they equal those of an export.

    Raises what `count_parts` does, and `InvalidRequest` if there are too many different counts.
    """
    found = EventCounts(question)
    count_parts(database, trackpoint, question.log_window, found, check)
    return found

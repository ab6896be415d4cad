"""How many events there are, by bucket, status and source."""

from __future__ import annotations

from collections import Counter
from sys import getsizeof
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import msgspec
from msgspec import UNSET, UnsetType

from smsevents.segments.tally import QUARTER_MS, parts_of
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
    status_order,
    total,
)
from smsevents.stats.parts import Use, count_parts, go_on
from smsevents.wire.events import Status

if TYPE_CHECKING:
    from collections.abc import Hashable

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.tally_sum import AnyTally
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question


COUNT_BYTES = 200  # a number of events with its bucket, status and group: measured


class Count(NamedTuple):
    """So many events of one status and group, and one of their quarters on the axis of the question.

    All of them are in the bucket of that quarter. The status is empty unless the question groups by it.
    """

    quarter: int
    status: str
    group: Group
    events: int


class Counts(NamedTuple):
    """What a tally says to a question: counts, and the names of the groups in it."""

    counts: list[Count]
    names: dict[Group, Names]

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, about."""
        groups = {one.group for one in self.counts}
        texts = [text for group in groups for text in (group.campaign, group.node)]
        texts += [text for names in self.names.values() for text in (names.campaign, names.node)]
        return len(self.counts) * COUNT_BYTES + len(groups) * GROUP_BYTES + sum(getsizeof(one) for one in texts if one)


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

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on, besides its tally."""
        scope = self._question.scope(header)
        return None if scope is None else ("events", self._question.at, self._question.by, self._question.wanted, scope)

    def plan(self, tally: AnyTally) -> Counts | Use:
        """Return the counts of a tally, or how its segment is used instead. Raises `NotLines` and `UnreadableTally`."""
        found: dict[tuple[int, str, Group], Count] = {}
        names: dict[Group, Names] = {}
        for cells in tally.cells:
            text = tally.sources[cells.source]
            group = self._groups.of(text)
            if group is None or not self._selection.takes_status(cells.status):
                continue
            status = cells.status if self._by_status else ""
            quarters, counts, lasts = cells.by_date() if self._question.at == "event" else cells.by_sent()
            last = None
            for bucket, start, end in self._buckets.runs(tally.first, quarters):
                if bucket is None:
                    return Use.LINES
                if bucket >= 0:
                    key = bucket, status, group
                    events = sum(counts[start:end]) + (found[key].events if key in found else 0)
                    found[key] = Count(tally.first + quarters[start], status, group, events)
                    newest = max(lasts[start:end])
                    last = newest if last is None else max(last, newest)
            if last is not None and self._groups.is_named:
                named = names_of(text, tally.first + last)
                names[group] = max(names.get(group, named), named)
        return Counts(list(found.values()), names) if found else Use.NOTHING

    def add(self, taken: Counts) -> None:
        """Add the counts of a tally. Raises `InvalidRequest` if there are too many."""
        for quarter, status, group, events in taken.counts:
            bucket = cast("int", self._buckets.of_quarter(quarter))  # equal scopes divide quarters alike
            self.counts[bucket, status, self._groups.keep(group)] += events
        for group, names in taken.names.items():
            self._groups.note(group, names)
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

"""How many events there are, by bucket, status and source."""

from __future__ import annotations

from collections import Counter
from sys import getsizeof
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

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

StatusAndGroup: TypeAlias = tuple[str, Group]  # the status is empty unless the question groups by it
EventsOf: TypeAlias = dict[int, int]  # by the position of a status and group


class Counts(NamedTuple):
    """What a tally says to a question: the events of each bucket that has any, and the names of the groups.

    A bucket is known by one of its quarters on the axis of the question.
    """

    keys: list[StatusAndGroup]
    buckets: list[tuple[int, EventsOf]]
    names: dict[Group, Names]

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, about."""
        groups = {group for _, group in self.keys}
        texts = [text for group in groups for text in (group.campaign, group.node)]
        texts += [text for names in self.names.values() for text in (names.campaign, names.node)]
        counts_bytes = sum(len(counts) for _, counts in self.buckets) * COUNT_BYTES
        return counts_bytes + len(groups) * GROUP_BYTES + sum(getsizeof(one) for one in texts if one)


class EventRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
        self._places: dict[StatusAndGroup, int] = {}
        self._counts: dict[int, EventsOf] = {}  # by bucket
        self._size = 0  # how many numbers of events there are in these
        # the latest keys of a tally, and their places: mostly, those of the next one are the same
        self._latest: tuple[list[StatusAndGroup], list[int]] = ([], [])

    @property
    def events(self) -> int:
        """How many events were counted."""
        return sum(sum(counts.values()) for counts in self._counts.values())

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on, besides its tally."""
        scope = self._question.scope(header)
        return None if scope is None else ("events", self._question.at, self._question.by, self._question.wanted, scope)

    def plan(self, tally: AnyTally) -> Counts | Use:
        """Return the counts of a tally, or how its segment is used instead. Raises `NotLines` and `UnreadableTally`."""
        places: dict[StatusAndGroup, int] = {}
        found: dict[int, tuple[int, EventsOf]] = {}
        names: dict[Group, Names] = {}
        for cells in tally.cells:
            text = tally.sources[cells.source]
            group = self._groups.of(text)
            if group is None or not self._selection.takes_status(cells.status):
                continue
            key = (cells.status if self._by_status else "", group)
            place = places.get(key, len(places))
            quarters, counts, lasts = cells.by_date() if self._question.at == "event" else cells.by_sent()
            last = None
            for bucket, start, end in self._buckets.runs(tally.first, quarters):
                if bucket is None:
                    return Use.LINES
                if bucket >= 0:
                    _, in_bucket = found.setdefault(bucket, (tally.first + quarters[start], {}))
                    in_bucket[place] = in_bucket.get(place, 0) + sum(counts[start:end])
                    places[key] = place
                    newest = max(lasts[start:end])
                    last = newest if last is None else max(last, newest)
            if last is not None and self._groups.is_named:
                named = names_of(text, tally.first + last)
                names[group] = max(names.get(group, named), named)
        return Counts(list(places), list(found.values()), names) if found else Use.NOTHING

    def add(self, taken: Counts) -> None:
        """Add the counts of a tally. Raises `InvalidRequest` if there are too many."""
        places = self._places_of(taken.keys)
        for quarter, counts in taken.buckets:
            bucket = self._buckets.of_undivided(quarter)  # equal scopes divide quarters alike
            known = self._counts.get(bucket)
            if known is None:  # mostly: the sum of a pack has all of a day
                self._counts[bucket] = {places[place]: events for place, events in counts.items()}
                self._size += len(counts)
                continue
            before = len(known)
            for place_of_taken, events in counts.items():
                place = places[place_of_taken]
                known[place] = known.get(place, 0) + events
            self._size += len(known) - before
        for group, names in taken.names.items():
            self._groups.note(group, names)
        self._groups.check(self._size * COUNT_BYTES)

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
                known = self._in_bucket(bucket)
                place = self._place_of(status if self._by_status else "", group)
                self._size += place not in known
                known[place] = known.get(place, 0) + 1
                self._groups.name(group, source, date // QUARTER_MS)
        self._groups.check(self._size * COUNT_BYTES)

    def _places_of(self, keys: list[StatusAndGroup]) -> list[int]:
        known, places = self._latest
        if known != keys:
            places = [self._place_of(status, group) for status, group in keys]
            self._latest = keys, places
        return places

    def _place_of(self, status: str, group: Group) -> int:
        place = self._places.get((status, group))
        if place is None:
            place = self._places[status, self._groups.keep(group)] = len(self._places)
        return place

    def _in_bucket(self, bucket: int) -> EventsOf:
        found = self._counts.get(bucket)
        if found is None:
            found = self._counts[bucket] = {}
        return found

    def rows(self) -> list[EventRow]:
        """Return the rows, in order. Raises `InvalidRequest` if there are too many."""
        keys, shown = self._shown()
        check_rows(self._rows_of_groups(keys, shown), self._groups.names)
        in_order = sorted(range(len(keys)), key=lambda place: (status_order(keys[place][0]), order_of(keys[place][1])))
        rank_of = {place: rank for rank, place in enumerate(in_order)}
        members = [self._members(status, group) for status, group in keys]
        rows_found: list[EventRow] = []
        for bucket in sorted(shown):
            counts = shown[bucket]
            # a bucket that has nearly all of them needs no sorting
            is_full = len(in_order) <= 2 * len(counts)
            places = in_order if is_full else sorted(counts, key=rank_of.__getitem__)
            rows_found += [
                EventRow(bucket=bucket, events=counts[place], **members[place]) for place in places if place in counts
            ]
        return rows_found

    def _rows_of_groups(self, keys: list[StatusAndGroup], shown: dict[int, EventsOf]) -> Counter[Group]:
        """Return how many rows each group has."""
        if len({group for _, group in keys}) == 1:
            return Counter({keys[0][1]: sum(map(len, shown.values()))})
        rows_of: Counter[int] = Counter()
        for counts in shown.values():
            rows_of.update(counts.keys())
        found: Counter[Group] = Counter()
        for place, rows in rows_of.items():
            found[keys[place][1]] += rows
        return found

    def _members(self, status: str, group: Group) -> dict[str, Any]:
        """Return what the rows of a status and group have in common."""
        members = members_of(group, self._question.by, self._groups.names)
        return {"status": status, **members} if self._by_status else members

    def _shown(self) -> tuple[list[StatusAndGroup], dict[int, EventsOf]]:
        """Return the counts by bucket, with those of the groups beyond the largest added up."""
        keys = list(self._places)
        if self._question.top is None:
            return keys, self._counts
        total: Counter[Group] = Counter()
        for counts in self._counts.values():
            for place, events in counts.items():
                total[keys[place][1]] += events
        kept = largest(total, self._question.top)
        shown: dict[StatusAndGroup, int] = {}
        places = [shown.setdefault((status, shown_group(group, kept)), len(shown)) for status, group in keys]
        added: dict[int, EventsOf] = {}
        for bucket, counts in self._counts.items():
            in_bucket = added[bucket] = {}
            for place, events in counts.items():
                in_bucket[places[place]] = in_bucket.get(places[place], 0) + events
        return list(shown), added


def count_events(database: Database, trackpoint: int, question: Question, check: Check = go_on) -> EventCounts:
    """Count the events of a shop: they equal those of an export.

    Raises what `count_parts` does, and `InvalidRequest` if there are too many different counts.
    """
    found = EventCounts(question)
    count_parts(database, trackpoint, question.log_window, found, check)
    return found

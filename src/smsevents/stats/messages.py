"""How many messages there are, by the state that each of them is in (docs/api.md, "The state of a message").

A message is a user and a complete source, send date included. Its events may be in any segments, so messages cannot be
added up from tallies. Those of settled days are kept (`kept_messages.py`). For the others, the segments with events
that are asked for are opened. Tallies tell which these are, and how many events and lines there will be, before any is
opened. So no line is read more than twice: once to count it if its segment has no tally that says enough, and once for
its message.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import compress
from sys import getsizeof
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from smsevents.errors import InvalidRequest
from smsevents.segments.message_day import QUARTERS_IN_DAY
from smsevents.segments.tally import QUARTER_MS, parts_of
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
)
from smsevents.stats.kept_messages import take_kept
from smsevents.stats.message_lines import digest_of_message, events_in
from smsevents.stats.message_states import message_states, state_of
from smsevents.stats.parts import Use, count_parts, go_on
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import HOUR_MS
from smsevents.wire.times import EPOCH, MILLISECOND
from smsevents.wire.window import Window

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.message_day import InState, MessageDay
    from smsevents.segments.tally_sum import AnyTally
    from smsevents.stats.kept_messages import Left, Stretch
    from smsevents.stats.message_states import Message, MessageStates
    from smsevents.stats.parts import Check, Taken
    from smsevents.stats.question import Question

MESSAGES_EVENTS_MAX = 5_000_000  # up to half a minute of one processor
MESSAGES_LINES_MAX = 20_000_000  # looked at for them, the other events of their segments included
MESSAGES_CHECKED_EVERY = 10_000  # messages: whether the client is still there, and whether there is memory
NO_RECEIPT_AFTER_MS = 72 * HOUR_MS  # the usual validity period of an SMS
STATES_BYTES = 700  # the numbers of a bucket and group: measured


class States(msgspec.Struct, rename="camel"):
    """How many messages are in which state. `events` is how many events they have together.

    `no_receipt` is the part of `pending` that was sent more than NO_RECEIPT_AFTER_MS ago.
    """

    sent: int = 0
    attempted: int = 0
    delivered: int = 0
    pending: int = 0
    no_receipt: int = 0
    skipped: int = 0
    expired: int = 0
    undeliverable: int = 0
    rejected: int = 0
    deleted: int = 0
    events: int = 0

    def count(self, status: str, messages: int, events: int) -> None:
        """Add messages in a state, but for `no_receipt`, and the events that they have together."""
        self.sent += messages
        self.events += events
        self.attempted += messages if status != "SKIPPED" else 0
        name = "pending" if status == "ACCEPTED" else status.lower()
        setattr(self, name, getattr(self, name) + messages)

    def add(self, other: States) -> None:
        """Add the numbers of others."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class MessageRow(States, kw_only=True, rename="camel"):
    """The messages of a bucket and group. It has the members that the question groups by."""

    bucket: Annotated[int, msgspec.Meta(description="Its position in `buckets`.")]
    type: Type | UnsetType = UNSET
    campaign: Named | UnsetType = UNSET
    node: Named | UnsetType | None = UNSET
    other: Annotated[bool | UnsetType, msgspec.Meta(description=OTHER)] = UNSET


class _Extent(NamedTuple):
    """How much there is to be read: events that are asked for, all lines, and quarters between which all dates are."""

    events: int
    lines: int
    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, about."""
        return getsizeof(self)


def _scope_of(question: Question, left: Left, header: SegmentHeader) -> Hashable | None:
    """Return on what the plan of a segment depends, besides its tally and what is wanted; None if it is not to be kept.

    It is not if some messages are kept: what is left then changes with each late event, and a plan for other messages
    would leave out some, or count them twice.
    """
    return None if left.quarters else question.scope(header)


class _Expected:
    """Counts the events whose messages are left to be counted, and the lines that have to be read for them."""

    def __init__(self, question: Question, left: Left) -> None:
        self._question = question
        self._left = left
        self._groups = Groups(replace(question, by=()))
        self._is_by_event = question.at == "event"
        self._buckets = question.buckets
        self.events = self._lines = 0
        self._first, self._last = INT64_MAX // QUARTER_MS, -INT64_MAX // QUARTER_MS

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on, besides its tally."""
        scope = _scope_of(self._question, self._left, header)
        return None if scope is None else ("expected", self._question.at, self._question.wanted, scope)

    def plan(self, tally: AnyTally) -> _Extent | Use:
        """Return what a tally says. Raises `NotLines` and `UnreadableTally`."""
        lines = found = 0
        first, last = INT64_MAX, -INT64_MAX
        for cells in tally.cells:
            lines += sum(cells.counts)
            if self._groups.of(tally.sources[cells.source]) is None:
                continue
            quarters, counts, lasts = cells.by_date() if self._is_by_event else cells.by_sent()
            for bucket, start, end in self._buckets.runs(tally.first, quarters):
                some, ends = counts[start:end], lasts[start:end]
                if self._left.quarters:
                    is_left = [self._left.has_quarter(tally.first + one) for one in quarters[start:end]]
                    some, ends = list(compress(some, is_left)), list(compress(ends, is_left))
                if bucket != -1 and some:
                    found += sum(some)
                    first = min(first, quarters[start] if self._is_by_event else cells.dates[0])
                    last = max(last, *ends)
        return _Extent(found, lines, tally.first + first, tally.first + last) if found else Use.NOTHING

    def add(self, taken: _Extent) -> None:
        """Count what a tally said. Raises `InvalidRequest` if there is too much."""
        self.events += taken.events
        self._lines += taken.lines
        self._first, self._last = min(self._first, taken.first), max(self._last, taken.last)
        self._check()

    def add_lines(self, lines: bytes) -> None:
        """Count lines. Raises `NotLines`, and `InvalidRequest` if there is too much."""
        dates: list[int] = []
        for _, date, source, sent in parts_of(lines):
            if self._groups.of(source) is not None and (self._is_by_event or self._is_left(int(sent))):
                dates.append(int(date))
        read = lines.count(b"\n")
        if dates:
            self.add(_Extent(len(dates), read, min(dates) // QUARTER_MS, max(dates) // QUARTER_MS))
        else:
            self._lines += read
            self._check()

    def _is_left(self, sent: int) -> bool:
        return self._buckets.of(sent) >= 0 and self._left.has(sent)

    def _check(self) -> None:
        if self.events > MESSAGES_EVENTS_MAX:
            raise InvalidRequest(
                f"The messages that are asked for have more than {MESSAGES_EVENTS_MAX} events. Send a shorter interval,"
                f" or a `campaign` or `node`.{self._kept_until()}"
            )
        if self._lines > MESSAGES_LINES_MAX:
            raise InvalidRequest(
                f"To count these messages, more than {MESSAGES_LINES_MAX} events would have to be looked at. Send a"
                " shorter interval; a `campaign` or `node` helps if its events are not all over it."
                f"{self._kept_until()}"
            )

    def _kept_until(self) -> str:
        """Return which interval takes less, for the end of a message, or nothing."""
        if not self._left.quarters:
            return ""
        until = EPOCH + (max(self._left.quarters) + 1) * QUARTER_MS * MILLISECOND
        return f" Most messages sent before {until:%Y-%m-%dT%H:%MZ} are counted already: end the interval there."

    def windows(self) -> Iterator[Window]:
        """Go through intervals with the dates of the events."""
        first, last = self._first * QUARTER_MS, self._last * QUARTER_MS + QUARTER_MS - 1
        return (Window(max(start, first), min(end, last)) for start, end in self._left.windows)


class _Lines:
    """Reads the events whose messages are left to be counted."""

    def __init__(self, question: Question, left: Left, groups: Groups, states: MessageStates) -> None:
        self._question = question
        self._left = left
        self._selection = replace(question.selection, statuses=frozenset())
        self._sent = Window(-INT64_MAX - 1, INT64_MAX) if question.at == "event" else question.window
        self._groups = groups
        self._states = states
        self._numbers: dict[Group, int] = {}
        self.groups: list[Group] = []  # by their numbers

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on, besides its tally."""
        scope = _scope_of(self._question, self._left, header)
        return None if scope is None else ("lines", self._selection, scope)

    def plan(self, tally: AnyTally) -> Use:
        """Return whether a segment has to be opened. Raises `NotLines` and `UnreadableTally`."""
        return Use.LINES if self._selection.may_match(tally) and self._may_be_left(tally) else Use.NOTHING

    def _may_be_left(self, tally: AnyTally) -> bool:
        if not self._left.quarters:
            return True
        first, last = (time // QUARTER_MS for time in self._sent)
        return any(
            first <= tally.first + sent <= last and self._left.has_quarter(tally.first + sent)
            for cells in tally.cells
            for sent in cells.sent_quarters()
        )

    def add(self, taken: Taken) -> None:
        """Do nothing: no tally says enough."""

    def add_lines(self, lines: bytes) -> None:
        """Add the events of lines. Raises `NotLines`, and what adding an event or a group does."""
        start, end = self._sent
        newest: dict[bytes, int] = {}
        add = self._states.add
        for user, status, date_text, source, sent_text in events_in(lines):
            group = self._groups.of(source)
            sent = int(sent_text)
            if group is None or not start <= sent <= end or not self._left.has(sent):
                continue
            number = self._numbers.get(group)
            if number is None:
                number = self._numbers[group] = len(self.groups)
                self.groups.append(group)
            date = int(date_text)
            if date > newest.get(source, -INT64_MAX):
                newest[source] = date
            add(digest_of_message(user, source, sent_text), state_of(status, date, sent, number))
        for source, date in newest.items():
            group = self._groups.of(source)
            if group is not None:
                self._groups.name(group, source, date // QUARTER_MS)


class MessageCounts:
    """The messages of a question, and the rows that they make."""

    def __init__(self, question: Question) -> None:
        """Count nothing yet."""
        self._question = question
        self._groups = Groups(question)
        self._by = question.by
        # in steps of a quarter, so that the same question has the same result for a while
        self._no_receipt_before = question.now // QUARTER_MS * QUARTER_MS - NO_RECEIPT_AFTER_MS
        self._counts: dict[tuple[int, Group], States] = {}

    def add_kept(self, day: int, kept: MessageDay, stretches: list[Stretch]) -> None:
        """Add what is kept of a day (since 1970, UTC), where it counts. Raises `InvalidRequest`."""
        start = day * QUARTERS_IN_DAY
        # the quarters of the day before which messages without a receipt count as such
        old = self._no_receipt_before // QUARTER_MS - start
        for sent in kept.sent:
            source = kept.sources[sent.source]
            group = self._groups.of(source)
            if group is None:
                continue
            for bucket, *quarters in stretches:
                first, end = (min(max(one - sent.first, 0), len(sent.newest)) for one in quarters)
                if any(any(state.messages[first:end]) for state in sent.states):
                    self._groups.name(group, source, start + max(sent.newest[first:end]))
                    self._add_states(bucket, group, sent.states, range(first, end), old - sent.first)
        self._check_memory()

    def _add_states(self, bucket: int, group: Group, kept: list[InState], quarters: range, old: int) -> None:
        """Add messages of some quarters, of which those before `old` were sent long ago."""
        first, end = quarters.start, quarters.stop
        for state in kept:
            messages = sum(state.messages[first:end])
            if not messages or not self._question.wanted.takes_status(state.status):
                continue
            states = self._states_of(bucket, group)
            states.count(state.status, messages, sum(state.events[first:end]))
            if state.status == "ACCEPTED":
                states.no_receipt += sum(state.messages[first : max(first, min(end, old))])

    def add(self, database: Database, trackpoint: int, expected: _Expected, left: Left, check: Check) -> None:
        """Count the messages of a shop that are left. Raises what `count_messages` does."""
        with message_states(expected.events) as states:
            lines = _Lines(self._question, left, self._groups, states)
            for window in expected.windows():
                count_parts(database, trackpoint, window, lines, check)
            for number, message in enumerate(states.messages()):
                if number % MESSAGES_CHECKED_EVERY == 0:
                    check()
                    self._check_memory()
                self._add(message, lines.groups[message.group])
        self._check_memory()

    def _check_memory(self) -> None:
        self._groups.check(len(self._counts) * STATES_BYTES)

    def _add(self, message: Message, group: Group) -> None:
        bucket = self._question.buckets.of(message.date if self._question.at == "event" else message.sent)
        status = message.status
        if bucket < 0 or not self._question.wanted.takes_status(status):
            return
        states = self._states_of(bucket, group)
        states.count(status, 1, message.events)
        states.no_receipt += status == "ACCEPTED" and message.sent < self._no_receipt_before

    def _states_of(self, bucket: int, group: Group) -> States:
        states = self._counts.get((bucket, group))
        if states is None:
            states = self._counts[bucket, group] = States()
        return states

    def total(self) -> States:
        """Return the numbers of all messages."""
        total = States()
        for states in self._counts.values():
            total.add(states)
        return total

    def rows(self) -> list[MessageRow]:
        """Return the rows, in order. Raises `InvalidRequest` if there are too many."""
        messages: Counter[Group] = Counter()
        for (_, group), states in self._counts.items():
            messages[group] += states.sent
        kept = largest(messages, self._question.top)
        shown: dict[tuple[int, Group], States] = {}
        for (bucket, group), states in self._counts.items():
            shown.setdefault((bucket, shown_group(group, kept)), States()).add(states)
        check_rows(Counter(group for _, group in shown), self._groups.names)
        in_order = sorted(shown.items(), key=lambda one: (one[0][0], order_of(one[0][1])))
        return [
            MessageRow(
                bucket=bucket, **members_of(group, self._by, self._groups.names), **msgspec.structs.asdict(states)
            )
            for (bucket, group), states in in_order
        ]


def count_messages(database: Database, trackpoint: int, question: Question, check: Check = go_on) -> MessageCounts:
    """Count the messages of a shop. Raises what `count_parts` does.

    With the axis `send`, the messages that were sent in the interval count, in the bucket of that time. With `event`,
    those that have an event in it count, by these events alone, in the bucket of the event that is their state. A
    status that is wanted is that of the state.

    Raises `InvalidRequest` if those that are not kept have more than MESSAGES_EVENTS_MAX events, or more than
    MESSAGES_LINES_MAX lines would have to be read for them, `StoreFull` and `StoreUnavailable` if there is no room for
    a temporary file.
    """
    found = MessageCounts(question)
    left = take_kept(database, trackpoint, question, found.add_kept, check)
    expected = _Expected(question, left)
    for window in left.windows:
        count_parts(database, trackpoint, window, expected, check)
    if expected.events:
        found.add(database, trackpoint, expected, left, check)
    return found

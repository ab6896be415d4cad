"""How many messages there are, by the state that each of them is in (docs/api.md, "The state of a message").

A message is a user and a complete source, send date included. Its events may be in any segments, so messages cannot be
added up from tallies: the segments with events that are asked for are opened. Tallies tell which these are, and how
many events there will be, before any is opened.

All events of a message have the same send date. So memory stays bounded by going through the time of sending in
**shares** of about MESSAGES_SHARE_EVENTS, one after the other. A burst of more events in one quarter of an hour is
divided by a hash of the message.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from smsevents.errors import InvalidRequest
from smsevents.segments.tally import QUARTER_MS, parts_of, quarters_of
from smsevents.stats.grouping import (
    OTHER,
    Group,
    Groups,
    Named,
    Type,
    check_cells,
    check_rows,
    largest,
    members_of,
    order_of,
    shown_group,
)
from smsevents.stats.parts import Use, count_parts
from smsevents.wire.events import INT64_MAX, STATUSES
from smsevents.wire.limits import HOUR_MS
from smsevents.wire.lines import NotLines
from smsevents.wire.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.segments.tally import Tally
    from smsevents.stats.question import Question

MESSAGES_EVENTS_MAX = 5_000_000  # up to half a minute of one processor
MESSAGES_SHARE_EVENTS = 1_000_000  # held at a time, of about 100 bytes each; more shares open more segments again
NO_RECEIPT_AFTER_MS = 72 * HOUR_MS  # the usual validity period of an SMS

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_line = re.compile(
    rb'"userId":(%b),"status":"([A-Z]+)","date":(-?[0-9]+)\},"source":(\{[^\n]*),"sendDate":(-?[0-9]+)\}\}\n' % _TEXT
)

# A state is one number, so that the greatest is the one that counts, with the number of events in the lowest bits:
# whether it is final, the date, whether it is DELIVERED, the status in the order of bytes.
_BY_BYTES = sorted(STATUSES)
_COUNT_BITS = 32
_ORDER_BITS = 4
_DATE_BITS = 64
_COUNT_MASK, _ORDER_MASK, _DATE_MASK = (1 << _COUNT_BITS) - 1, (1 << _ORDER_BITS) - 1, (1 << _DATE_BITS) - 1
_ORDERS = {
    status.encode(): (status != "ACCEPTED") << (_DATE_BITS + _ORDER_BITS) | (status == "DELIVERED") << 3 | number
    for number, status in enumerate(_BY_BYTES)
}


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


class _Share(NamedTuple):
    """A part of the messages: those sent in a closed interval, whose events have dates in another one.

    Of `divided` such shares, this has the messages with the hash `number`.
    """

    sent: Window
    dates: Window
    divided: int = 1
    number: int = 0


class _Sent:
    """Counts events by the quarter of an hour of their send date, and notes the dates that they have."""

    def __init__(self, question: Question) -> None:
        self._groups = Groups(question)
        self._is_by_event = question.at == "event"
        self._buckets = question.buckets
        self.quarters: dict[int, tuple[int, int, int]] = {}  # events, first and last quarter of their dates

    def plan(self, tally: Tally) -> list[tuple[int, int, int]] | Use:
        """Return what a tally says: dates, send dates and counts. Raises `NotLines`."""
        of_quarter = self._buckets.of_quarter
        found = [
            one
            for cells in tally.cells
            if self._groups.of(tally.sources[cells.source]) is not None
            for one in quarters_of(tally, cells)
            if of_quarter(one[0] if self._is_by_event else one[1]) != -1
        ]
        return found or Use.NOTHING

    def add(self, taken: list[tuple[int, int, int]]) -> None:
        """Count what a tally said."""
        for date, sent, count in taken:
            events, first, last = self.quarters.get(sent, (0, date, date))
            self.quarters[sent] = (events + count, min(first, date), max(last, date))

    def add_lines(self, lines: bytes) -> None:
        """Count lines. Raises `NotLines`."""
        found: Counter[tuple[int, int]] = Counter()
        for _, date, source, sent_text in parts_of(lines):
            sent = int(sent_text)
            if self._groups.of(source) is not None and (self._is_by_event or self._buckets.of(sent) >= 0):
                found[int(date) // QUARTER_MS, sent // QUARTER_MS] += 1
        self.add([(date, sent, count) for (date, sent), count in found.items()])

    def shares(self, question: Question) -> Iterator[_Share]:
        """Divide the time of sending into shares. Together they have all of it."""
        held = 0
        first_sent = question.window.start if question.at == "send" else -INT64_MAX
        first_date, last_date = INT64_MAX, -INT64_MAX
        quarters = sorted(self.quarters)
        for number, quarter in enumerate(quarters):
            events, first, last = self.quarters[quarter]
            held += events
            first_date, last_date = min(first_date, first), max(last_date, last)
            following = quarters[number + 1] if number + 1 < len(quarters) else None
            if following is not None and held + self.quarters[following][0] <= MESSAGES_SHARE_EVENTS:
                continue
            end = question.window.end if question.at == "send" else INT64_MAX
            last_sent = end if following is None else following * QUARTER_MS - 1
            log = question.log_window
            dates = Window(
                max(log.start, first_date * QUARTER_MS), min(log.end, last_date * QUARTER_MS + QUARTER_MS - 1)
            )
            divided = -(-held // MESSAGES_SHARE_EVENTS)
            for one in range(divided):
                yield _Share(Window(first_sent, last_sent), dates, divided, one)
            first_sent, held = last_sent + 1, 0
            first_date, last_date = INT64_MAX, -INT64_MAX


@dataclass
class _OfSource:
    """The states of messages of a source, by user and send date. The group is None if the source is not wanted."""

    group: Group | None
    states: dict[bytes, int] = field(default_factory=dict)
    newest_ms: int = -INT64_MAX


class _Messages:
    """The messages of a share, with their states."""

    def __init__(self, question: Question, groups: Groups, share: _Share) -> None:
        self._question = question
        self._share = share
        self._groups = groups
        self._selection = replace(
            question.wanted, statuses=frozenset(), sent_from=share.sent.start, sent_to=share.sent.end
        )
        self._sources: dict[bytes, _OfSource] = {}

    def plan(self, tally: Tally) -> Use:
        """Return whether a segment has to be opened. Raises `NotLines`."""
        return Use.LINES if self._selection.may_match(tally) else Use.NOTHING

    def add(self, taken: object) -> None:
        """Do nothing: no tally says enough."""

    def add_lines(self, lines: bytes) -> None:
        """Note the events of lines. Raises `NotLines`."""
        found = _line.findall(lines)
        if len(found) != lines.count(b"\n"):
            raise NotLines
        start, end = self._share.sent
        divided, number = self._share.divided, self._share.number
        sources = self._sources
        for user, status, date_text, source, sent in found:
            of_source = sources.get(source)
            if of_source is None:
                of_source = sources[source] = _OfSource(self._groups.of(source))
            if of_source.group is None or not start <= int(sent) <= end:
                continue
            key = user + sent  # the JSON of a text ends with a quote
            if divided > 1 and zlib.crc32(key) % divided != number:
                continue
            date = int(date_text)
            try:
                order = _ORDERS[status]
            except KeyError as error:
                raise NotLines from error
            state = (order + ((date & _DATE_MASK ^ 1 << _DATE_BITS - 1) << _ORDER_BITS)) << _COUNT_BITS
            known = of_source.states.get(key, 0)
            of_source.states[key] = known + 1 if known > state else state + (known & _COUNT_MASK) + 1
            if date > of_source.newest_ms:  # noqa: PLR1730 -- a call of `max` for each event takes longer
                of_source.newest_ms = date

    def counted(self) -> Iterator[tuple[int, Group, str, int, int]]:
        """Go through the messages: bucket, group, status, time of sending (Unix ms), number of events."""
        buckets = self._question.buckets
        is_by_event = self._question.at == "event"
        for source, of_source in self._sources.items():
            group = of_source.group
            if group is None or not of_source.states:
                continue
            self._groups.name(group, source, of_source.newest_ms // QUARTER_MS)
            for key, state in of_source.states.items():
                sent = int(key[key.rindex(b'"') + 1 :])
                order = state >> _COUNT_BITS
                status = _BY_BYTES[order & 0b111]
                date = (order >> _ORDER_BITS & _DATE_MASK) - (1 << _DATE_BITS - 1)
                yield buckets.of(date if is_by_event else sent), group, status, sent, state & _COUNT_MASK


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

    def add(self, database: Database, trackpoint: int, share: _Share) -> None:
        """Count the messages of a share. Raises what `count_parts` does."""
        messages = _Messages(self._question, self._groups, share)
        count_parts(database, trackpoint, share.dates, messages)
        for bucket, group, status, sent, events in messages.counted():
            if bucket < 0 or not self._question.wanted.takes_status(status):
                continue
            key = (bucket, group)
            states = self._counts.get(key)
            if states is None:
                states = self._counts[key] = States()
                check_cells(len(self._counts))
            states.sent += 1
            states.events += events
            states.attempted += status != "SKIPPED"
            name = "pending" if status == "ACCEPTED" else status.lower()
            setattr(states, name, getattr(states, name) + 1)
            states.no_receipt += status == "ACCEPTED" and sent < self._no_receipt_before

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
        check_rows(len(shown))
        in_order = sorted(shown.items(), key=lambda one: (one[0][0], order_of(one[0][1])))
        return [
            MessageRow(
                bucket=bucket, **members_of(group, self._by, self._groups.names), **msgspec.structs.asdict(states)
            )
            for (bucket, group), states in in_order
        ]


def count_messages(database: Database, trackpoint: int, question: Question) -> MessageCounts:
    """Count the messages of a shop. Raises what `count_parts` does.

    With the axis `send`, the messages that were sent in the interval count, in the bucket of that time. With `event`,
    those that have an event in it count, by these events alone, in the bucket of the event that is their state. A
    status that is wanted is that of the state.

    Raises `InvalidRequest` if they have more than MESSAGES_EVENTS_MAX events.
    """
    sent = _Sent(question)
    count_parts(database, trackpoint, question.log_window, sent)
    events = sum(count for count, *_ in sent.quarters.values())
    if events > MESSAGES_EVENTS_MAX:
        raise InvalidRequest(
            f"The messages that are asked for have about {events} events. Messages are counted of up to"
            f" {MESSAGES_EVENTS_MAX} events: send a shorter interval, or a `campaign` or `node`."
        )
    found = MessageCounts(question)
    for share in sent.shares(question):
        found.add(database, trackpoint, share)
    return found

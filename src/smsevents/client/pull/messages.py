"""Events as records that sort by message, and sorted records as messages.

A record is an entry `(time, text)`, so that a `Sorter` takes it. The time is that of sending, or 0 if it is impossible.
The text is the JSON of the source and the user, which identify the message, then that time, the status and the date:

    {"type":"one-off","campaign":{"id":"b2c8","name":"Sale"},"sendDate":5},"userId":"1","date":0}DELIVERED 1795431600310

Times are Unix milliseconds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from smsevents.client.messages import ACCEPTED, DELIVERED
from smsevents.wire.lines import Entry, join_lines
from smsevents.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ACCEPTED, _DELIVERED = ACCEPTED.encode(), DELIVERED.encode()
_TEXT = rb'"(?:[^"\\]|\\.)*"'
# the parts of canonical lines; within a string, the quotes of `,"sendDate":` would be escaped
_line = re.compile(
    rb'^\{"smsEvent":\{"trackpoint":[0-9]+,"userId":(%b),"status":"([A-Z]+)","date":(-?[0-9]+)\},'
    rb'"source":(\{.*),"sendDate":(-?[0-9]+)\}\}$' % _TEXT,
    re.MULTILINE,
)
_key = re.compile(rb'(\{.*),"sendDate":(-?[0-9]+)\},"userId":(%b),"date":[0-9]+\Z' % _TEXT)


class Message(NamedTuple):
    """A message. `source` is the canonical JSON of its source up to the send date, `user` that of its user."""

    source: bytes
    sent_ms: int
    user: bytes
    state: bytes
    state_ms: int
    events: int
    first_ms: int
    accepted_ms: int | None
    delivered_ms: int | None


def sent_of(time_ms: int) -> int:
    """Return the time by which a message is sorted: when it was sent, or 0 if that time is impossible."""
    return time_ms if is_time(time_ms) else 0


def records_of(entries: list[Entry]) -> list[Entry]:
    """Return the record of each event."""
    records = []
    for user, status, date, source, sent in _line.findall(join_lines(entries)):
        at = sent_of(int(sent))
        records.append((at, b'%b,"sendDate":%b},"userId":%b,"date":%d}%b %b' % (source, sent, user, at, status, date)))
    return records


class _Events:
    """The events of a message that have come so far."""

    def __init__(self) -> None:
        self.count = 0
        self._first_ms: int | None = None
        self._accepted_ms: int | None = None
        self._delivered_ms: int | None = None
        self._state = (False, 0, False, b"")

    def add(self, status: bytes, date_ms: int) -> None:
        is_accepted, is_delivered = status == _ACCEPTED, status == _DELIVERED
        # of the events of a message, those with the same date differ only in the status; so it orders their lines
        state = (not is_accepted, date_ms, is_delivered, status)
        if not self.count or state > self._state:
            self._state = state
        self._first_ms = _earlier(self._first_ms, date_ms)
        if is_accepted:
            self._accepted_ms = _earlier(self._accepted_ms, date_ms)
        if is_delivered:
            self._delivered_ms = _earlier(self._delivered_ms, date_ms)
        self.count += 1

    def message(self, key: bytes) -> Message:
        found = _key.match(key)
        if found is None or self._first_ms is None:
            raise ValueError(f"{key!r} is not the key of a message")
        _, state_ms, is_delivered, state = self._state
        delivered_ms = self._delivered_ms if is_delivered else None
        source, sent, user = found.groups()
        return Message(
            source, int(sent), user, state, state_ms, self.count, self._first_ms, self._accepted_ms, delivered_ms
        )


def _earlier(known: int | None, date_ms: int) -> int:
    return date_ms if known is None or date_ms < known else known


def messages_of(records: Iterable[list[Entry]]) -> Iterator[list[Message]]:
    """Return the messages of sorted batches of distinct records, sorted, in batches."""
    key, events = b"", _Events()
    for batch in records:
        done = []
        for _, record in batch:
            found, _, rest = record.rpartition(b"}")
            if found != key:
                if events.count:
                    done.append(events.message(key))
                key, events = found, _Events()
            status, _, date = rest.partition(b" ")
            events.add(status, int(date))
        if done:
            yield done
    if events.count:
        yield [events.message(key)]

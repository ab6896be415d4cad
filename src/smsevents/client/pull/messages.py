"""Events as records that sort by message, and sorted records as messages.

A record is an entry `(time, text)`, so that a `Sorter` takes it. The time is that of sending, or 0 if it is impossible.
The text has parts with a zero byte after each, which JSON texts never contain: the JSON of the source up to the send
date, the send date, and the JSON of the user, which identify the message. Then come that time, for the sorter, the
status and the date:

    {"type":"one-off","campaign":{"id":"b2c8","name":"Sale"}␀5␀"1"␀"date":0}DELIVERED 1795431600310

Times are Unix milliseconds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from smsevents.client.messages import ACCEPTED, DELIVERED
from smsevents.wire.lines import NotLines
from smsevents.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.wire.lines import Entry

_ACCEPTED, _DELIVERED = ACCEPTED.encode(), DELIVERED.encode()
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
# the parts of canonical lines; within a string, the quotes of `,"sendDate":` would be escaped
_line = re.compile(
    rb'^\{"smsEvent":\{"trackpoint":[0-9]+,"userId":(%b),"status":"([A-Z]+)","date":(-?[0-9]+)\},'
    rb'"source":(\{.*),"sendDate":(-?[0-9]+)\}\}$' % _TEXT,
    re.MULTILINE,
)


RECORD = b'%b\0%d\0%b\0"date":%d}%b %d'  # the text of a record
_NEVER = 2**63  # later than any time


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


def records_of(lines: bytes) -> list[Entry]:
    r"""Return the record of each event in canonical lines, each ended by `\n`. Raises `NotLines` for others."""
    found = _line.findall(lines)
    if len(found) != lines.count(b"\n"):
        raise NotLines
    records = []
    for user, status, date, source, sent in found:
        at = sent_of(int(sent))
        records.append((at, RECORD % (source, int(sent), user, at, status, int(date))))
    return records


def messages_of(records: Iterable[list[Entry]]) -> Iterator[list[Message]]:
    """Return the messages of sorted batches of distinct records, sorted, in batches."""
    key = b""
    count = first = accepted = delivered = 0
    state = (False, 0, False, b"")
    for batch in records:
        done: list[Message] = []
        for _, record in batch:
            found, _, rest = record.rpartition(b"}")
            status, _, date = rest.partition(b" ")
            at = int(date)
            # of the events of a message, those with the same date differ only in the status; so it orders their lines
            this = (status != _ACCEPTED, at, status == _DELIVERED, status)
            if found == key:
                count += 1
                state = max(state, this)
                if at < first:  # noqa: PLR1730 -- a call of `min` for each event takes longer
                    first = at
            else:
                if count:
                    done.append(_message(key, state, count, first, accepted, delivered))
                key, count, first, state = found, 1, at, this
                accepted = delivered = _NEVER
            if status == _ACCEPTED:
                accepted = min(at, accepted)
            elif status == _DELIVERED:
                delivered = min(at, delivered)
        if done:
            yield done
    if count:
        yield [_message(key, state, count, first, accepted, delivered)]


def _message(  # noqa: PLR0913, PLR0917 -- what is known of a message
    key: bytes, state: tuple[bool, int, bool, bytes], count: int, first: int, accepted: int, delivered: int
) -> Message:
    source, sent, user, _ = key.split(b"\0")
    return Message(
        source,
        int(sent),
        user,
        state[3],
        state[1],
        count,
        first,
        None if accepted == _NEVER else accepted,
        delivered if state[2] else None,
    )

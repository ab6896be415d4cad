r"""Reads many canonical lines at once, into columns instead of objects: one compiled pattern for all lines of a block.

A line has few parts that vary: the user, the status, two times, and the source without its send date. A shop has far
fewer sources than events, so each distinct source is decoded only once. What is accepted here is exactly canonical, by
the rules of `events.py`. What is not accepted may still be a valid line, and is read by `events.decode`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from smsevents.wire.events import STATUSES, Event, Flow, NotAnEvent, NotJson, OneOff, SmsEvent, decode, encode
from smsevents.wire.limits import TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Source: TypeAlias = Flow | OneOff

# More than any shop has at a time. Known sources are forgotten when there are more, so that memory stays bounded.
KNOWN_SOURCES_MAX = 1024

_NUMBER = rb"(0|-?[1-9][0-9]{0,17})"  # as JSON writes integers; those of 19 digits may exceed 64 bits
_line_after_shop = (
    # a text of so many bytes has at most as many characters; escapes are left to `events.decode`
    rb'"userId":"([^"\\\x00-\x1f]{1,%d})","status":"(%b)","date":%b\},"source":(\{.*),"sendDate":%b\}\}\n'
    % (TEXT_MAX_CHARACTERS, "|".join(STATUSES).encode(), _NUMBER, _NUMBER)
)
_PARTS = 6
_EVENT_START, _SEND_DATE = (
    b'{"smsEvent":{"trackpoint":1,"userId":"1","status":"DELIVERED","date":0},"source":',
    b',"sendDate":',
)
_EVENT_END = _SEND_DATE + b"0}}"
_SEPARATORS = ("\x85", "\u2028", "\u2029")  # canonical lines escape them


class EventColumns(NamedTuple):
    """Events of one shop, as one sequence for each varying part; all have the same length and order.

    `users` and `statuses` are UTF-8, `dates` and `sent` are decimal numbers (Unix milliseconds). `sources` holds keys
    of `known`: the canonical JSON of a source up to its send date. The send dates within `known` are meaningless.
    """

    trackpoint: int
    users: Sequence[bytes]
    statuses: Sequence[bytes]
    dates: Sequence[bytes]
    sources: Sequence[bytes]
    sent: Sequence[bytes]
    known: Mapping[bytes, Source]


class CanonicalReader:
    """Reads blocks of canonical lines of one shop, and remembers their sources. Not thread-safe."""

    def __init__(self, trackpoint: int) -> None:
        self._trackpoint = trackpoint
        self._line = re.compile(rb'^\{"smsEvent":\{"trackpoint":%d,%b' % (trackpoint, _line_after_shop), re.MULTILINE)
        self._sources = KnownSources()

    def read(self, block: bytes) -> EventColumns | None:
        r"""Return the columns of complete lines, each ended by `\n`.

        Return None if `events.decode` must read each line: at least one of them is blank, bad, of another shop, not
        canonical, or unusual.
        """
        # one list, of the parts of each line and of what stands between the lines: nothing, if all lines are canonical
        parts = self._line.split(block)
        between, users, statuses, dates, sources, sent = (parts[at::_PARTS] for at in range(_PARTS))
        if not users or any(between) or not _are_canonical_texts(users) or not self._sources.know(set(sources)):
            return None
        return EventColumns(self._trackpoint, users, statuses, dates, sources, sent, self._sources.by_key)


class KnownSources:
    """The sources of a shop that were read, so that each is decoded only once. Not thread-safe."""

    def __init__(self) -> None:
        self.by_key: dict[bytes, Source] = {}  # by their canonical JSON up to the send date
        self.decoded = 0  # how many were decoded, with those that were forgotten

    def know(self, keys: set[bytes]) -> bool:
        """Return whether all keys are those of canonical sources, and remember them."""
        new = keys - self.by_key.keys()
        if not new:
            return True
        # a new dictionary, because earlier columns refer to the old one, and another thread may be reading it
        by_key = dict(self.by_key)
        if len(by_key) + len(new) > KNOWN_SOURCES_MAX:
            by_key, new = {}, keys
        self.decoded += len(new)
        for key in new:
            line = _EVENT_START + key + _EVENT_END
            try:
                event, canonical = decode(line)
            except (NotJson, NotAnEvent):
                return False
            if canonical != line:
                return False
            by_key[key] = event.source
        self.by_key = by_key
        return True


def _are_canonical_texts(texts: Sequence[bytes]) -> bool:
    """Return whether texts without escapes and control characters stand like that in canonical lines."""
    joined = b'"'.join(texts)  # a quote, so that texts that are no UTF-8 stay so
    if joined.isascii():
        return True
    try:
        text = joined.decode()
    except UnicodeDecodeError:
        return False
    return are_without_separators(text)


def are_without_separators(text: str) -> bool:
    """Return whether a text has none of the characters that only canonical lines escape."""
    return not any(separator in text for separator in _SEPARATORS)


def columns_of(events: Sequence[Event]) -> EventColumns:
    """Return the columns of checked events, which all belong to one shop."""
    keys = [_key_of(event.source) for event in events]
    return EventColumns(
        events[0].smsEvent.trackpoint if events else 0,
        [event.smsEvent.userId.encode() for event in events],
        [event.smsEvent.status.encode() for event in events],
        [b"%d" % event.smsEvent.date for event in events],
        keys,
        [b"%d" % event.source.sendDate for event in events],
        {key: event.source for key, event in zip(keys, events, strict=True)},
    )


def _key_of(source: Source) -> bytes:
    line = encode(Event(SmsEvent(1, "1", "DELIVERED", 0), source))
    return line[len(_EVENT_START) : line.rindex(_SEND_DATE)]

r"""A filter on many canonical lines at once, as fast as a search. Pure functions on bytes.

A line is not decoded. The filter searches all lines at once for a text that each wanted line contains, such as
`"campaign":{"id":"cd43",`. Wanted lines often follow one another, so it then searches for the next line without it.
In a canonical line, a quote within a string is escaped, so a name of a field with its quotes and its colon occurs only
as that field. A source is decoded once and remembered: a shop has far fewer sources than events.
"""

from __future__ import annotations

import re
from itertools import chain, takewhile
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from smsevents.wire.events import Flow, OneOff, encode_text
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from smsevents.wire.event_filter import EventFilter

KNOWN_SOURCES_MAX = 1024  # as many as `CanonicalReader` remembers
NEEDLES_MAX = 8  # each is searched for by itself; with more of them, looking at every line is faster

_USER, _STATUS, _DATE = b'"userId":', b',"status":', b',"date":'
_SOURCE, _SENT = b'"source":', b',"sendDate":'

_decoder = msgspec.json.Decoder(Flow | OneOff)


class LineFilter:
    """Keeps the lines of the events that match a filter. Not thread-safe."""

    def __init__(self, wanted: EventFilter) -> None:
        """Keep what `wanted` describes."""
        self._wanted = wanted
        self._statuses = frozenset(map(encode_text, wanted.status))
        self._users = frozenset(map(encode_text, wanted.userId))
        self._sources: dict[bytes, bool] = {}
        self._search = _search_of(wanted)
        self._tests = dict(self._all_tests())
        if self._search is not None:
            self._tests.pop(self._search.decides, None)

    def keep(self, lines: bytes) -> bytes:
        r"""Return the lines that match, in their order. Each line ends with `\n`. Raises `NotLines`."""
        if self._search is None and not self._tests:
            return lines
        try:
            found = [lines] if self._search is None else self._search.runs(lines, self._has_source)
            if not self._tests:
                return b"".join(found)
            kept: Iterable[bytes] = chain.from_iterable(map(_split, found))
            for test in self._tests.values():
                kept = filter(test, kept)
            return b"".join(kept)
        except (ValueError, msgspec.MsgspecError) as error:
            raise NotLines from error

    def _all_tests(self) -> Iterator[tuple[str, Callable[[bytes], bool]]]:
        """Go through the tests of a line that the filter needs, by what they decide."""
        wanted = self._wanted
        if wanted.status:
            yield "status", self._has_status
        if wanted.userId:
            yield "userId", self._has_user
        if wanted.campaign or wanted.node or wanted.type:
            yield "source", self._has_source
        if wanted.sentFrom is not None or wanted.sentTo is not None:
            yield "sent", self._was_sent

    def _has_status(self, line: bytes) -> bool:
        return line[line.index(_STATUS) + len(_STATUS) : line.index(_DATE)] in self._statuses

    def _has_user(self, line: bytes) -> bool:
        return line[line.index(_USER) + len(_USER) : line.index(_STATUS)] in self._users

    def _was_sent(self, line: bytes) -> bool:
        return self._wanted.matches_sent(int(line[line.rindex(_SENT) + len(_SENT) : -3]))

    def _has_source(self, line: bytes) -> bool:
        key = line[line.index(_SOURCE) + len(_SOURCE) : line.rindex(_SENT)]
        known = self._sources.get(key)
        if known is None:
            if len(self._sources) >= KNOWN_SOURCES_MAX:
                self._sources.clear()
            known = self._sources[key] = self._wanted.matches_source(_decoder.decode(key + _SENT + b"0}"))
        return known


class _Text(NamedTuple):
    """A text that occurs in wanted lines. A line with `exact`, in which the text begins at `at`, is wanted."""

    text: bytes
    exact: bytes
    at: int


class _Field(NamedTuple):
    r"""Where a line has a value: between two texts.

    `pattern` matches the end of `before`, from a letter that is rare in lines on: `re` searches for that. If not every
    line has the field, `absent` matches in those without.
    """

    before: bytes
    after: bytes
    pattern: bytes
    absent: bytes = b""
    is_named: bool = False  # a line may also be wanted by a name that equals the value

    def text(self, value: bytes) -> _Text:
        """Return the text to search for."""
        exact = self.before + value + self.after
        return _Text(value, exact, len(self.before)) if self.is_named else _Text(exact, exact, 0)

    def other_than(self, values: Iterable[bytes]) -> re.Pattern[bytes]:
        """Return the pattern of the field with any other value, or without it."""
        other = b"%b(?!%b)" % (self.pattern, b"|".join(re.escape(value + self.after) for value in values))
        return re.compile(b"|".join(filter(None, (other, self.absent))))


_USER_ID = _Field(b'"userId":', b',"status":', rb'Id":')
_STATUS_TEXT = _Field(b'"status":', b',"date":', rb'tus":')
_TYPE = _Field(b'"source":{"type":', b",", rb'ype":')
_CAMPAIGN_ID = _Field(b'"campaign":{"id":', b",", rb'gn":\{"id":', is_named=True)
_NODE_ID = _Field(b'"node":{"id":', b",", rb'de":\{"id":', rb'ype":"one-off"', is_named=True)
_SENT_DATE = _Field(_SENT, b"", rb'dDate":')


class _Search(NamedTuple):
    """Searches for the lines that have what one member of a filter wants.

    Each wanted line has one of `texts`. `other` occurs in each line without any exact one, and in no line with one.
    The test named `decides` is then done; it is empty if the lines found have to pass all tests.
    """

    texts: list[_Text]
    other: re.Pattern[bytes]
    decides: str

    def runs(self, lines: bytes, takes: Callable[[bytes], bool]) -> Iterator[memoryview]:
        """Go through the lines found, in order, one or several at a time, with their line feeds, not copied.

        `takes` decides about a line that has a text elsewhere: a campaign is also wanted by its name. Raises
        `ValueError` if they are not lines.
        """
        find, rfind, view = lines.find, lines.rfind, memoryview(lines)
        places = [(at, one) for one in self.texts if (at := find(one.text)) >= 0]
        if places and not lines.endswith(b"\n"):
            raise ValueError("the last line has no end")
        while places:
            at, (_, exact, shift) = min(places)
            start = rfind(b"\n", 0, at) + 1
            if at - shift >= start and lines.startswith(exact, at - shift):
                other = self.other.search(lines, at)
                end = len(lines) if other is None else rfind(b"\n", at, other.start()) + 1
                if not end:
                    raise ValueError("a line is not an event")
                yield view[start:end]
            else:
                end = lines.index(b"\n", at) + 1
                if takes(lines[start:end]):
                    yield view[start:end]
            places = [(at if at >= end else find(one.text, end), one) for at, one in places]
            places = [place for place in places if place[0] >= 0]


def _search_of(wanted: EventFilter) -> _Search | None:
    """Return the search for the member that probably leaves the fewest lines, or None if every line is looked at."""
    users, nodes, campaigns, types, statuses = (
        sorted(map(encode_text, texts))
        for texts in (wanted.userId, wanted.node, wanted.campaign, wanted.type, wanted.status)
    )
    parts_of_source = sum(map(bool, (nodes, campaigns, types)))
    source = "source" if parts_of_source == 1 else ""
    choices = [
        (_USER_ID, users, "userId"),
        (_NODE_ID, nodes, source),
        (_CAMPAIGN_ID, campaigns, source),
        (_TYPE, types, source),
        (_STATUS_TEXT, statuses, "status"),
        (_SENT_DATE, _sent_texts(wanted), ""),
    ]
    for field, values, decides in choices:
        if 0 < len(values) <= NEEDLES_MAX:
            return _Search([field.text(one) for one in values], field.other_than(values), decides)
    return None


def _sent_texts(wanted: EventFilter) -> list[bytes]:
    """Return what the send dates of an interval have in common: their first digits, if both ends have as many."""
    if wanted.sentFrom is None or wanted.sentTo is None:
        return []
    start, end = b"%d" % wanted.sentFrom, b"%d" % wanted.sentTo
    if len(start) != len(end):
        return []
    shared = takewhile(lambda digits: digits[0] == digits[1], zip(start, end, strict=True))
    return [bytes(digit for digit, _ in shared)]


def _split(lines: bytes | memoryview) -> Iterator[bytes]:
    """Go through all lines, each with its line feed."""
    return (line + b"\n" for line in bytes(lines).split(b"\n")[:-1])

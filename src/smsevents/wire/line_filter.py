r"""A filter on many canonical lines at once, as fast as a search. Pure functions on bytes.

A line is not decoded. The filter searches all lines at once for a text that each wanted line contains, such as
`"campaign":{"id":"cd43",`, and looks at the lines that have it. In a canonical line, a quote within a string is
escaped, so a name of a field with its quotes and its colon occurs only as that field. A source is decoded once and
remembered: a shop has far fewer sources than events.
"""

from __future__ import annotations

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

# A run of lines that have the needle is followed line by line at first, then in steps that grow.
RUN_SINGLE_LINES = 8
RUN_STEP_MIN_BYTES, RUN_STEP_FIRST_BYTES, RUN_STEP_MAX_BYTES = 256, 4 * 1024, 128 * 1024

_BEGIN = b'{"smsEvent":{"trackpoint":'  # each line has it once
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
        self._needles = _needles_of(wanted)
        self._tests = dict(self._all_tests())

    def keep(self, lines: bytes) -> bytes:
        r"""Return the lines that match, in their order. Each line ends with `\n`. Raises `NotLines`."""
        needles, tests = self._needles.exact, self._tests
        if not tests:
            return lines
        if any(needle in lines for needle in self._needles.loose):
            needles = needles + self._needles.loose
        elif needles:
            tests = {name: test for name, test in tests.items() if name != self._needles.decide}
        try:
            found: Iterable[bytes] = _lines_with(lines, needles) if needles else [lines]
            if tests:
                found = chain.from_iterable(map(_split, found))
            for test in tests.values():
                found = filter(test, found)
            return b"".join(found)
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


class _Needles(NamedTuple):
    """Texts of which each wanted line has one.

    If a line has an exact one, the test named `decide` holds. A loose one, the name of a campaign or node, may also be
    that of the other.
    """

    exact: list[bytes]
    loose: list[bytes]
    decide: str = ""


def _needles_of(wanted: EventFilter) -> _Needles:
    """Return the texts of the member that probably leaves the fewest lines."""
    users, nodes, campaigns, types, statuses = (
        sorted(map(encode_text, texts))
        for texts in (wanted.userId, wanted.node, wanted.campaign, wanted.type, wanted.status)
    )
    parts_of_source = sum(map(bool, (nodes, campaigns, types)))
    source = "source" if parts_of_source == 1 else ""
    named = b'"name":%b},"'  # of a campaign or of a node
    choices = [
        _Needles([b'"userId":%b,"status":' % user for user in users], [], "userId"),
        _Needles([b'"node":{"id":%b,' % node for node in nodes], [named % node for node in nodes], source),
        _Needles([b'"campaign":{"id":%b,' % one for one in campaigns], [named % one for one in campaigns], source),
        _Needles([b'"source":{"type":%b,' % one for one in types], [], source),
        _Needles([b'"status":%b,"date":' % status for status in statuses], [], "status"),
        _Needles(_sent_needles(wanted), []),
    ]
    for needles in choices:
        if 0 < len(needles.exact) + len(needles.loose) <= NEEDLES_MAX:
            return needles
    return _Needles([], [])


def _sent_needles(wanted: EventFilter) -> list[bytes]:
    """Return what the send dates of an interval have in common: their first digits, if both ends have as many."""
    if wanted.sentFrom is None or wanted.sentTo is None:
        return []
    start, end = b"%d" % wanted.sentFrom, b"%d" % wanted.sentTo
    if len(start) != len(end):
        return []
    shared = takewhile(lambda digits: digits[0] == digits[1], zip(start, end, strict=True))
    return [_SENT + bytes(digit for digit, _ in shared)]


def _lines_with(lines: bytes, needles: list[bytes]) -> Iterator[bytes]:
    """Go through the lines that contain one of the needles, in order, one or several at a time, with their line feeds.

    Raises `ValueError` if they are not lines.
    """
    found = [needle for needle in needles if needle in lines]
    return _lines_with_one(lines, found[0]) if len(found) == 1 else _lines_with_any(lines, found)


def _lines_with_one(lines: bytes, needle: bytes) -> Iterator[bytes]:
    find, rfind = lines.find, lines.rfind
    at = find(needle)
    start = rfind(b"\n", 0, at) + 1
    while at >= 0:
        end = lines.index(b"\n", at) + 1
        at = find(needle, end)
        if at >= 0 and find(b"\n", end, at) < 0:  # the next line has it, too
            end = _end_of_run(lines, needle, lines.index(b"\n", at) + 1)
            at = find(needle, end)
        yield lines[start:end]
        start = rfind(b"\n", end, at) + 1 or end


def _end_of_run(lines: bytes, needle: bytes, start: int) -> int:
    """Return up to where all lines have the needle, or most of them, from the line that starts at `start`.

    After some lines, many are looked at together: they have as many needles as there are lines. For many lines, this is
    most of the work of a filter.
    """
    find, size = lines.find, len(lines)
    for _ in range(RUN_SINGLE_LINES):
        end = find(b"\n", start) + 1
        if not end or find(needle, start, end) < 0:
            return start
        start = end
    step_bytes, ends_within = RUN_STEP_FIRST_BYTES, False  # the run ends within twice the step
    while start < size and step_bytes >= RUN_STEP_MIN_BYTES:
        end = find(b"\n", start + step_bytes - 1) + 1 or size
        if lines.count(needle, start, end) == lines.count(_BEGIN, start, end):
            start = end
        else:
            ends_within = True
        step_bytes = step_bytes // 2 if ends_within else min(2 * step_bytes, RUN_STEP_MAX_BYTES)
    return start


def _lines_with_any(lines: bytes, needles: list[bytes]) -> Iterator[bytes]:
    places = [(lines.find(needle), needle) for needle in needles]
    while places:
        at = min(places)[0]
        end = lines.index(b"\n", at) + 1
        yield lines[lines.rfind(b"\n", 0, at) + 1 : end]
        places = [(lines.find(needle, end) if place < end else place, needle) for place, needle in places]
        places = [place for place in places if place[0] >= 0]


def _split(lines: bytes) -> Iterator[bytes]:
    """Go through all lines, each with its line feed."""
    return (line + b"\n" for line in lines.split(b"\n")[:-1])

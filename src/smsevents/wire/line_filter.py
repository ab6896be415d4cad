r"""A filter on many canonical lines at once, as fast as a search. Pure functions on bytes.

A line is not decoded. The filter searches all lines at once for a text that each wanted line contains, such as
`"campaign":{"id":"cd43",`, and looks at the lines that have it. In a canonical line, a quote within a string is
escaped, so a name of a field with its quotes and its colon occurs only as that field. A source is decoded once and
remembered: a shop has far fewer sources than events.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

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
        self._needles, by_needle = _needles_of(wanted)
        self._tests = [test for name, test in self._all_tests() if name != by_needle]

    def keep(self, lines: bytes) -> bytes:
        r"""Return the lines that match, in their order. Each line ends with `\n`. Raises `NotLines`."""
        if not self._needles and not self._tests:
            return lines
        found = _lines_with(lines, self._needles) if self._needles else _split(lines)
        try:
            for test in self._tests:
                found = filter(test, found)
            return b"".join(found)
        except (ValueError, msgspec.MsgspecError) as error:
            raise NotLines from error

    def _all_tests(self) -> Iterator[tuple[str, Callable[[bytes], bool]]]:
        """Go through the tests of a line that the filter needs, each with the member that it decides."""
        wanted = self._wanted
        if wanted.status:
            yield "status", self._has_status
        if wanted.userId:
            yield "userId", self._has_user
        if wanted.campaign or wanted.node or wanted.type:
            # one search finds all lines of a type; an id may also be a name, so that is always tested
            yield ("type" if not wanted.campaign and not wanted.node else "source"), self._has_source
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


def _needles_of(wanted: EventFilter) -> tuple[list[bytes], str]:
    """Return texts of which each wanted line has one, and the member that they decide alone, if they do.

    They are those of the member that probably leaves the fewest lines.
    """
    users, nodes, campaigns, types, statuses = (
        sorted(map(encode_text, texts))
        for texts in (wanted.userId, wanted.node, wanted.campaign, wanted.type, wanted.status)
    )
    named = b'"name":%b},"'  # of a campaign or of a node
    choices = [
        ("userId", [b'"userId":%b,"status":' % user for user in users]),
        ("", [one % node for node in nodes for one in (b'"node":{"id":%b,', named)]),
        ("", [one % campaign for campaign in campaigns for one in (b'"campaign":{"id":%b,', named)]),
        ("type", [b'"source":{"type":%b,' % one for one in types]),
        ("status", [b'"status":%b,"date":' % status for status in statuses]),
        ("", _sent_needles(wanted)),
    ]
    for member, needles in choices:
        if 0 < len(needles) <= NEEDLES_MAX:
            return needles, member
    return [], ""


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
    """Go through the lines that contain one of the needles, in order, each with its line feed."""
    places = _places((lines.find(needle), needle) for needle in needles)
    while len(places) > 1:
        at = min(places)[0]
        end = lines.find(b"\n", at) + 1
        if not end:
            raise NotLines
        yield lines[lines.rfind(b"\n", 0, at) + 1 : end]
        places = _places((lines.find(needle, end) if at < end else at, needle) for at, needle in places)
    for at, needle in places:
        yield from _lines_with_one(lines, needle, at)


def _places(found: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [place for place in found if place[0] >= 0]


def _lines_with_one(lines: bytes, needle: bytes, at: int) -> Iterator[bytes]:
    """Go through the lines that contain a needle, which occurs at `at` for the first time."""
    find, rfind = lines.find, lines.rfind  # this loop is most of the work of a filter that keeps many lines
    while at >= 0:
        end = find(b"\n", at) + 1
        if not end:
            raise NotLines
        yield lines[rfind(b"\n", 0, at) + 1 : end]
        at = find(needle, end)


def _split(lines: bytes) -> Iterator[bytes]:
    """Go through all lines, each with its line feed."""
    return (line + b"\n" for line in lines.split(b"\n")[:-1])

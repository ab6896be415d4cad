r"""Ready lines: blocks of lines that can be stored as they are, recognized without decoding them.

Nearly all imports consist of lines as an export writes them. One compiled pattern reads a block of them, in less than
half of the time that decoding takes. What it accepts is surely canonical and possible, by the rules of `wire/events.py`
and `plausible.py`. It leaves out what is rare: times before 2001 or after 2096, and user ids that are not ASCII or do
not begin with a visible character. A block with such a line, like one with a bad line, is decoded. So is all that
follows if nearly each line has a source of its own.
"""

from __future__ import annotations

import re

from smsevents.wire.canonical import KNOWN_SOURCES_MAX, KnownSources
from smsevents.wire.events import STATUSES
from smsevents.wire.limits import TEXT_MAX_CHARACTERS

READY_BLOCK_MIN_BYTES = 16 * 1024  # the sources of fewer lines take longer to decode than the lines
NEW_SOURCES_MAX_RATIO = 8  # with more than one new source in so many lines, decoding the lines takes less time
# After so many lines of an import, a pattern for its shop alone is worth compiling: that takes as long as searching so
# many lines for the shop once more.
SHOP_PATTERN_MIN_LINES = 3000

_TIME = rb"[1-3][0-9]{12}"  # between `TIME_MIN_MS` and `TIME_MAX_MS`
_after_shop = (
    rb'"userId":"[!#-\[\]-~][ !#-\[\]-~]{0,%d}","status":"(?:%b)","date":(%b)\},"source":(\{.*),"sendDate":%b\}\}\n'
    % (TEXT_MAX_CHARACTERS - 1, "|".join(STATUSES).encode(), _TIME, _TIME)
)
_PARTS = 3


def _line_of(trackpoint: bytes) -> re.Pattern[bytes]:
    """Compile the pattern of a ready line of the shops whose trackpoint matches a pattern."""
    return re.compile(rb'^\{"smsEvent":\{"trackpoint":%b,%b' % (trackpoint, _after_shop), re.MULTILINE)


_line_of_any_shop = _line_of(rb"[0-9]+")


class ReadyLines:
    """Recognizes ready lines of one shop, and remembers their sources. Not thread-safe."""

    def __init__(self, trackpoint: int) -> None:
        self._trackpoint = b"%d" % trackpoint
        self._start = b'{"smsEvent":{"trackpoint":%b,' % self._trackpoint
        self._line_of_shop: re.Pattern[bytes] | None = None
        self._sources = KnownSources()
        self._lines = 0  # of the blocks whose sources were read

    def dates_of(self, block: bytes) -> list[bytes] | None:
        r"""Return the date of each line of a block, in 13 digits, if all are ready, each ended by `\n`.

        Return None if they must be decoded.
        """
        if len(block) < READY_BLOCK_MIN_BYTES or not block.startswith(self._start) or self._sources_vary:
            return None
        line = self._line_of_shop or _line_of_any_shop
        # one list, of the parts of each line and of what stands between the lines: nothing, if all lines are ready
        parts = line.split(block)
        between, dates, sources = (parts[at::_PARTS] for at in range(_PARTS))
        if any(between):
            return None
        self._lines += len(dates)
        if not self._sources.know(set(sources)):
            return None
        if line is self._line_of_shop:
            return dates
        if self._lines >= SHOP_PATTERN_MIN_LINES:
            self._line_of_shop = _line_of(self._trackpoint)
        # in a line that was accepted so far, this cannot stand anywhere else: its texts have no quotes
        return dates if block.count(self._start) == len(dates) else None

    @property
    def _sources_vary(self) -> bool:
        decoded = self._sources.decoded
        return decoded > KNOWN_SOURCES_MAX and decoded * NEW_SOURCES_MAX_RATIO > self._lines

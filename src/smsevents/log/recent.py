"""Events that were exported often and recently, kept for clients that export a few of them again and again.

Such an export needs no read of the database, which takes longer than all the rest of it. What
is kept counts only until anything is committed to the database, by whichever process. `Dialect.commit_mark` tells that.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from smsevents.errors import SmsEventsError
from smsevents.log.reader import Reader
from smsevents.segments.splice import lines_of
from smsevents.wire.events import INT64_MAX
from smsevents.wire.lines import bisect_lines, end_of, last_entry
from smsevents.wire.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.catalog import Database
    from smsevents.catalog.dialects.base import CommitMark

RECENT_EXPORT_MAX_BYTES = 16 * 1024  # of lines: to compress them takes about 0.05 ms, in which nothing else is served
RECENT_OF_SHOP_MAX_BYTES = 256 * 1024
RECENT_KEPT_MAX_BYTES = 16 * 1024 * 1024  # of all shops
RECENT_ENTRY_BYTES = 512  # what is kept of a shop takes that much besides the lines
# After so many exports of a shop between two commits, its events are read once more, to be kept. So where much is
# committed, this takes an eighth more at most. Later reads are for exports of another time.
READ_AFTER_MISSES = frozenset({8, 64, 512})


class _Stretch(NamedTuple):
    """All lines of a shop in a closed interval (Unix ms)."""

    start_ms: int
    end_ms: int
    lines: bytes

    def has(self, window: Window) -> bool:
        """Return whether all events of a window are here."""
        return self.start_ms <= window.start and window.end <= self.end_ms

    def within(self, window: Window) -> bytes | None:
        """Return the lines of a window that is here, or None if they are many."""
        lines = self.lines
        start = bisect_lines(lines, (window.start, b"")) if self.start_ms < window.start else 0
        end = bisect_lines(lines, end_of(window.end), from_start=start)
        return lines[start:end] if end - start <= RECENT_EXPORT_MAX_BYTES else None


class RecentEvents:
    """Exports of few events that are known already. Thread-safe."""

    def __init__(self, database: Database, submit: Callable[[int, Callable[[], None]], object]) -> None:
        """Use a database. `submit` runs work of a shop in a thread soon."""
        self._database = database
        self._submit = submit
        self._lock = Lock()
        self._mark: CommitMark | None = None  # of the commits that all below includes
        self._misses: Counter[int] = Counter()
        self._kept: LRUCache[int, _Stretch] = LRUCache(RECENT_KEPT_MAX_BYTES, _size_of)

    def lines(self, trackpoint: int, window: Window, mark: CommitMark | None) -> bytes | None:
        """Return the lines of a shop in a window, or None if they must be read from the database.

        `mark` is that of the commits, asked for after the lines were. This waits for nothing.
        """
        if mark is None:
            return None
        with self._lock:
            if mark != self._mark:
                self._forget(mark)
            kept = self._kept.get(trackpoint)
            if kept is not None and kept.has(window):
                return kept.within(window)
            self._misses[trackpoint] += 1
            is_asked_often = self._misses[trackpoint] in READ_AFTER_MISSES
        if is_asked_often:
            self._submit(trackpoint, partial(self._learn, mark, trackpoint, window.start))
        return None

    def forget(self) -> None:
        """Keep nothing any more. Called regularly, so that events do not stay in memory after they are erased."""
        with self._lock:
            self._forget(None)

    def _forget(self, mark: CommitMark | None) -> None:
        self._mark = mark
        self._misses.clear()
        self._kept.clear()

    def _learn(self, mark: CommitMark, trackpoint: int, start_ms: int) -> None:
        """Read the events of a shop from a time on, as many as may be kept."""
        try:
            stretch = _read(Reader(self._database, trackpoint, Window(start_ms, INT64_MAX)), start_ms)
        except SmsEventsError:
            return  # an export that reads them reports it
        with self._lock:
            # what was committed after the mark may be in the lines or not, so they count only if that was nothing
            if mark == self._mark:
                self._kept[trackpoint] = stretch


def _size_of(stretch: _Stretch) -> int:
    return len(stretch.lines) + RECENT_ENTRY_BYTES


def _read(reader: Reader, start_ms: int) -> _Stretch:
    """Read lines from a time on, to the end of the log or until they are about RECENT_OF_SHOP_MAX_BYTES."""
    found: list[bytes] = []
    room_bytes = RECENT_OF_SHOP_MAX_BYTES
    while pieces := reader.next_page():
        for lines in lines_of(pieces):
            found.append(lines)
            room_bytes -= len(lines)
            if room_bytes < 0:
                return _cut(b"".join(found), start_ms)
    return _Stretch(start_ms, INT64_MAX, b"".join(found))


def _cut(lines: bytes, start_ms: int) -> _Stretch:
    """Return the first of many lines, up to a millisecond of which all lines are there."""
    lines = lines[: lines.rfind(b"\n", 0, RECENT_OF_SHOP_MAX_BYTES) + 1]
    (date, _) = last_entry(lines)
    return _Stretch(start_ms, date - 1, lines[: bisect_lines(lines, (date, b""))])

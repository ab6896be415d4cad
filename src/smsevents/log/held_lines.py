r"""Held lines: the good lines of an import until they are packed, sorted and each once.

Lines mostly arrive in order. So they are held as **runs**: blocks of lines, each ended by `\n`, which are in order and
follow one another. Joined, they need no sorting. Other lines are held as entries and sorted in the end.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress, islice
from operator import eq, le
from typing import TYPE_CHECKING

from smsevents.wire.lines import entry_at, join_lines, last_entry, parse_entries, unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.wire.lines import Entry

TIED_DATES_MAX_RATIO = 16  # with more than one of so many dates in several lines, sorting all lines takes less time
LOOKED_NEAR_BYTES = 4096  # how far lines of varying length mostly are from where they would be with equal lengths


class HeldLines:
    """Takes lines in any order. `take` returns them in order, each once."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.size_bytes = 0  # of the lines, with their line feeds
        self._runs: list[bytes] = []
        self._reach: Entry | None = None  # the last entry of the runs
        self._entries: list[Entry] = []  # all other lines

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """Hold entries in any order."""
        self._entries += entries
        self.size_bytes += sum(len(line) + 1 for _, line in entries)

    def add_block(self, block: bytes, dates: Sequence[bytes], *, ascending: bool) -> None:
        """Hold a block of lines in any order. Their dates are decimal numbers with the same number of digits.

        `ascending` tells what `are_ascending` returns for them.
        """
        self.size_bytes += len(block)
        in_order = _in_order(block, dates) if ascending else None
        if in_order is None or not self._follow(in_order):
            self._entries += zip(map(int, dates), block[:-1].split(b"\n"), strict=True)

    def add_run(self, lines: bytes) -> None:
        """Hold lines that are in order, each once."""
        self.size_bytes += len(lines)
        if not self._follow(lines):
            self._entries += parse_entries(lines)

    def take(self) -> bytes:
        """Return all lines, in order and each once, and stop holding them."""
        if self._entries:
            return join_lines(unique(self.take_entries()))
        lines = b"".join(self._runs)
        self._drop()
        return lines

    def take_entries(self) -> list[Entry]:
        """Return all lines as entries, in any order, and stop holding them."""
        entries = self._entries
        entries += parse_entries(b"".join(self._runs))
        self._drop()
        return entries

    def _drop(self) -> None:
        self.size_bytes, self._runs, self._reach, self._entries = 0, [], None, []

    def _follow(self, lines: bytes) -> bool:
        """Hold lines as a run if they are after all other runs. Return whether they are."""
        if self._reach is not None and entry_at(lines, 0)[0] <= self._reach:
            return False
        self._runs.append(lines)
        self._reach = last_entry(lines)
        return True


def are_ascending(dates: Sequence[bytes]) -> bool:
    """Return whether no date is before the one that precedes it."""
    return all(map(le, dates, islice(dates, 1, None)))


def _in_order(block: bytes, dates: Sequence[bytes]) -> bytes | None:
    """Return the lines of a block with ascending dates in order, each once, if few of the dates are equal.

    Return None otherwise.
    """
    tied = Counter(compress(dates, map(eq, dates, islice(dates, 1, None))))
    if len(tied) * TIED_DATES_MAX_RATIO > len(dates):
        return None
    parts: list[bytes] = []
    end = place = 0
    for date, more in tied.items():
        place = dates.index(date, place)
        start = _first_line_of(block, date, end, near=len(block) * place // len(dates))
        parts.append(block[end:start])
        end = start
        for _ in range(1 + more):
            end = block.index(b"\n", end) + 1
        parts += [line + b"\n" for line in sorted(set(block[start : end - 1].split(b"\n")))]
    return b"".join([*parts, block[end:]]) if parts else block


def _first_line_of(block: bytes, date: bytes, start: int, *, near: int) -> int:
    """Return where the first line with a date starts, at or after `start`. The lines are in the order of their dates.

    It is probably near a place. Searching there takes less time than a binary search, which reads dates as numbers.
    """
    text = b'"date":%b}' % date
    look_from = max(start, near - LOOKED_NEAR_BYTES)
    found = block.find(text, look_from, near + LOOKED_NEAR_BYTES)
    first = _start_of(block, block.index(text, start) if found < 0 else found, start)
    while first > start and text in block[(before := _start_of(block, first - 1, start)) : first]:
        first = before
    return first


def _start_of(block: bytes, place: int, start: int) -> int:
    """Return where the line starts that a place is in; lines before `start` do not count."""
    return block.rfind(b"\n", start, place) + 1 or start

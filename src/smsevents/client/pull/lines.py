r"""Blocks of lines → entries, each line checked. What every event passes that a pull writes or reads.

An **entry** is `(date, line)`: the date in Unix milliseconds and the canonical line without its `\n`.
Entries sort by date, then by the bytes of the line; equal entries are one event.
"""

from __future__ import annotations

import re
from itertools import pairwise
from operator import lt
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from smsevents.client.pull.errors import BadEvent
from smsevents.events import Event, NotAnEvent, NotJson, decode, encode_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Entry: TypeAlias = tuple[int, bytes]

SHOWN_MAX_CHARACTERS = 200
_CUT_MARK = "…"
_decoder = msgspec.json.Decoder(Event)

# In a canonical line `"date":` stands once: within a string its quotes would be escaped.
_date = re.compile(rb'"date":(-?[0-9]+)\}')


class Checker:
    """Check the lines of one stream or file: events of a shop, dated within a closed interval.

    It counts the lines, so that a bad one is named by its number.
    """

    def __init__(self, trackpoint: int, start_ms: int, end_ms: int) -> None:
        self._trackpoint = trackpoint
        self._shop_prefix = b'{"smsEvent":{"trackpoint":%d,' % trackpoint
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._lines_before = 0

    def entries(self, block: bytes, events: list[Event] | None = None) -> list[Entry]:
        r"""Give the entries of a block of whole lines, in its order; blank lines and `\r\n` are fine.

        `events` are those of the block, where it was decoded already.

        Raises `BadEvent` with the number and the text of the first line that is bad.
        """
        found = self._canonical(block, events)
        if found is None:
            return self._one_by_one(block)
        self._lines_before += len(found)
        return found

    def _canonical(self, block: bytes, events: list[Event] | None) -> list[Entry] | None:
        """Give the entries of a block whose lines are all good and canonical; that is checked in bulk.

        It is some times as fast as going line by line, and it is what smsevents sends.
        """
        if events is None:
            try:
                events = _decoder.decode_lines(block)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
        dates = [event.smsEvent.date for event in events]
        if (
            not dates
            or encode_lines(events) != block
            or block.count(self._shop_prefix) != len(dates)
            or min(dates) < self._start_ms
            or max(dates) > self._end_ms
        ):
            return None
        lines = block.split(b"\n")
        lines.pop()
        return list(zip(dates, lines, strict=True))

    def _one_by_one(self, block: bytes) -> list[Entry]:
        entries = []
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            self._lines_before += 1
            if line.strip():
                entries.append(self._entry(line.removesuffix(b"\r")))
        return entries

    def _entry(self, line: bytes) -> Entry:
        try:
            event, canonical = decode(line)
        except (NotJson, NotAnEvent) as error:
            raise self._bad(line, str(error)) from error
        sms = event.smsEvent
        if sms.trackpoint != self._trackpoint:
            raise self._bad(line, f"an event of shop {sms.trackpoint}, not of {self._trackpoint}")
        if not self._start_ms <= sms.date <= self._end_ms:
            raise self._bad(line, f"its date {sms.date} is not in [{self._start_ms}, {self._end_ms}]")
        return sms.date, canonical

    def _bad(self, line: bytes, reason: str) -> BadEvent:
        text = line.decode(errors="backslashreplace")
        if len(text) > SHOWN_MAX_CHARACTERS:
            text = text[:SHOWN_MAX_CHARACTERS] + _CUT_MARK
        return BadEvent(f"line {self._lines_before}: {reason}: {text!r}")


def trusted_entries(block: bytes) -> list[Entry]:
    r"""Give the entries of canonical lines that were checked before, each ended by `\n`."""
    return list(zip(map(int, _date.findall(block)), block[:-1].split(b"\n"), strict=True))


def plain(entries: Iterable[Entry]) -> bytes:
    r"""Give the lines of entries, each ended by `\n`."""
    lines = [line for _, line in entries]
    lines.append(b"")
    return b"\n".join(lines)


def ascending(entries: list[Entry]) -> bool:
    """Tell whether entries are in order and each there once."""
    return all(map(lt, entries, entries[1:]))


def unique(entries: list[Entry]) -> list[Entry]:
    """Sort entries and keep each once."""
    if ascending(entries):
        return entries
    entries.sort()
    return [*entries[:1], *(entry for before, entry in pairwise(entries) if entry != before)]


def batches_of(entries: list[Entry], at_most: int) -> Iterator[list[Entry]]:
    """Cut entries into batches of at most so many."""
    for start in range(0, len(entries), at_most):
        yield entries[start : start + at_most]

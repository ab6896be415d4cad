r"""Blocks of lines → entries, each line checked. What every event passes that a pull writes or reads.

An **entry** is `(date, line)`: the date in Unix milliseconds and the canonical line without its `\n`.
Entries sort by date, then by the bytes of the line; equal entries are one event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from smsevents.client.lines import Batch, printable, shortened
from smsevents.client.pull.errors import BadEvent
from smsevents.wire.events import Event, NotAnEvent, NotJson, decode, encode_lines
from smsevents.wire.lines import Entry, join_lines
from smsevents.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Iterator

_decoder = msgspec.json.Decoder(Event)

# The last member of a canonical line; within a string its quotes would be escaped, too.
_send_date = re.compile(rb'"sendDate":(-?[0-9]+)\}\}\Z')

# a part of the possible ones that is quick to tell, and nearly all of them
_possible_send_date = re.compile(rb'"sendDate":(?:9[5-9]\d{10}|[1-3]\d{12}|40\d{11})\}\}\n')


class EntryChecker:
    """Check the lines of one stream or file: events of a shop, dated within a closed interval.

    It counts the lines, so that a bad one is named by its number.
    """

    def __init__(self, trackpoint: int, start_ms: int, end_ms: int, *, has_columns: bool = False) -> None:
        """Check for a shop and an interval; `has_columns` if the entries are to be rows (`settled`)."""
        self._trackpoint = trackpoint
        self._has_columns = has_columns
        self._shop_prefix = b'{"smsEvent":{"trackpoint":%d,' % trackpoint
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._lines_before = 0
        self.newest_ms = 0  # the latest date of what was checked
        self.has_unsettled = False  # whether a file has send dates that many readers cannot read

    def received(self, batch: Batch) -> list[Entry]:
        """Give the entries of a batch of the client, in its order.

        Raises `BadEvent` with the number and the text of the first line that is bad.
        """
        entries = self._bulk(batch) or self._one_by_one(batch.lines)
        return settled(entries) if self._has_columns else entries

    def entries(self, block: bytes) -> list[Entry]:
        r"""Give the entries of a block of whole lines, in its order; blank lines and `\r\n` are fine.

        Raises `BadEvent` as `received` does.
        """
        if not block:
            return []
        lines = block.removesuffix(b"\n").split(b"\n")
        try:
            events = _decoder.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._one_by_one(lines)
        return self._bulk(Batch(block, lines, events)) or self._one_by_one(lines)

    def _bulk(self, batch: Batch) -> list[Entry] | None:
        """Give the entries of a batch whose lines are all good and canonical, else nothing.

        That is what smsevents sends, and it is much faster than going line by line.
        """
        dates = [event.smsEvent.date for event in batch.events]
        if (
            not dates
            or encode_lines(batch.events) != batch.block
            or batch.block.count(self._shop_prefix) != len(dates)
            or min(dates) < self._start_ms
            or (newest_ms := max(dates)) > self._end_ms
        ):
            return None
        self.newest_ms = max(self.newest_ms, newest_ms)
        self._lines_before += len(dates)
        return list(zip(dates, batch.lines, strict=True))

    def _one_by_one(self, lines: list[bytes]) -> list[Entry]:
        entries = []
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
        self.newest_ms = max(self.newest_ms, sms.date)
        return sms.date, canonical

    def _bad(self, line: bytes, reason: str) -> BadEvent:
        # the reason may quote the line, so it too comes from the other side
        return BadEvent(f"Line {self._lines_before:,}: {printable(reason)}. It reads: {shortened(line)}")


def settled(entries: list[Entry]) -> list[Entry]:
    """Give entries as formats with columns keep them: a send date that cannot be a time is none, written as 0.

    In a column it is NULL, so what it was cannot be read back; an event must be the same before and after.
    """
    lines = join_lines(entries)
    if len(_possible_send_date.findall(lines)) == len(entries):
        return entries
    return [(date, _settled_line(line)) for date, line in entries]


def _settled_line(line: bytes) -> bytes:
    found = _send_date.search(line)
    if found is None or is_time(int(found[1])):
        return line
    return line[: found.start(1)] + b"0" + line[found.end(1) :]


def batches_of(entries: list[Entry], at_most: int) -> Iterator[list[Entry]]:
    """Cut entries into batches of at most so many."""
    for start in range(0, len(entries), at_most):
        yield entries[start : start + at_most]

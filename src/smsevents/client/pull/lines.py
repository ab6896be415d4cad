r"""Turns blocks of lines into checked lines. Every event that a pull writes or reads passes these checks.

An **entry** is `(date, line)`: the date in Unix milliseconds and the canonical line without its `\n`.
Entries sort by date, then by the bytes of the line. Equal entries are the same event.
"""

from __future__ import annotations

import re
from itertools import islice
from operator import eq, le, lt
from typing import TYPE_CHECKING, Self

import msgspec

from smsevents.client.lines import Batch, printable, shortened
from smsevents.client.pull.errors import BadEvent
from smsevents.wire.canonical import columns_of
from smsevents.wire.events import Event, NotAnEvent, NotJson, decode, encode_lines
from smsevents.wire.lines import Entry, is_ascending, join_lines, parse_entries
from smsevents.wire.times import TIME_MAX_MS, is_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smsevents.client.arrow_lines import ArrowLines
    from smsevents.wire.canonical import EventColumns

_decoder = msgspec.json.Decoder(Event)

# The last member of a canonical line. Within a string, its quotes would be escaped.
_send_date = re.compile(rb'"sendDate":(-?[0-9]+)\}\}\Z')

_TIME_DIGITS = 13  # of times from 2001 on
_TIME_MAX = b"%d" % TIME_MAX_MS

# a quick test that nearly all valid send dates pass
_possible_send_date = re.compile(rb'"sendDate":(?:9[5-9]\d{10}|[1-3]\d{12}|40\d{11})\}\}\n')


class Lines:
    """Consecutive checked lines in canonical form: as text, as entries, and as columns, each made when it is used."""

    def __init__(
        self,
        text: bytes,
        *,
        entries: list[Entry] | None = None,
        columns: EventColumns | None = None,
        arrow: ArrowLines | None = None,
    ) -> None:
        r"""Take canonical lines, each ended by `\n`, and either their entries or their columns, of bytes or of Arrow.

        The dates in `columns` must be times (`are_times`), so that they sort as numbers do.
        """
        self.text = text
        self.arrow = arrow
        self._entries = entries
        self._columns = columns
        self._dates = columns.dates if columns else None

    @classmethod
    def of(cls, entries: list[Entry]) -> Self:
        """Take entries."""
        return cls(join_lines(entries), entries=entries)

    def __len__(self) -> int:
        """Return the number of lines."""
        if self.arrow is not None:
            return len(self.arrow)
        return len(self.entries if self._dates is None else self._dates)

    @property
    def entries(self) -> list[Entry]:
        """The lines as entries."""
        if self._entries is None:
            self._entries = parse_entries(self.text)
        return self._entries

    @property
    def columns(self) -> EventColumns:
        """The events by their parts."""
        if self._columns is None:
            self._columns = columns_of(_decoder.decode_lines(self.text))
        return self._columns

    @property
    def is_ascending(self) -> bool:
        """Whether the lines are sorted and without duplicates."""
        if self.arrow is not None:
            return self.arrow.is_ascending
        dates, columns = self._dates, self._columns
        if dates is None or columns is None:
            return is_ascending(self.entries)
        if all(map(lt, dates, islice(dates, 1, None))):
            return True
        if not all(map(le, dates, islice(dates, 1, None))):
            return False
        ties = (at for at, tie in enumerate(map(eq, dates, islice(dates, 1, None))) if tie)
        return all(_rest_of_line(columns, at) < _rest_of_line(columns, at + 1) for at in ties)

    @property
    def first(self) -> Entry:
        """The first entry."""
        if self.arrow is not None:
            return self.arrow.entry(0)
        if self._dates is None:
            return self.entries[0]
        return int(self._dates[0]), self.text[: self.text.index(b"\n")]

    @property
    def last(self) -> Entry:
        """The last entry."""
        if self.arrow is not None:
            return self.arrow.entry(-1)
        if self._dates is None:
            return self.entries[-1]
        return int(self._dates[-1]), self.text[self.text.rfind(b"\n", 0, -1) + 1 : -1]


def _rest_of_line(columns: EventColumns, at: int) -> bytes:
    """Return what distinguishes a line from others of the same shop and date, as it orders them."""
    parts = (columns.users[at], columns.statuses[at], columns.sources[at], columns.sent[at])
    return b'%b","status":"%b",%b,"sendDate":%b}}' % parts


class EntryChecker:
    """Checks that the lines of a stream or file are events of one shop, dated within a closed interval.

    It counts the lines, so that an error can name the number of a bad line.
    """

    def __init__(self, trackpoint: int, start_ms: int, end_ms: int, *, has_columns: bool = False) -> None:
        """Check for a shop and an interval. `has_columns` is true if the entries become rows (see `settled`)."""
        self._trackpoint = trackpoint
        self._has_columns = has_columns
        self._shop_prefix = b'{"smsEvent":{"trackpoint":%d,' % trackpoint
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._lines_before = 0
        self.newest_ms = 0  # the latest date of the checked events
        self.has_unsettled = False  # whether a file has send dates that many programs cannot read

    def received(self, batch: Batch) -> Lines:
        """Return the lines of a batch from the client, in the same order.

        Raises `BadEvent` with the number and the text of the first bad line.
        """
        if batch.arrow is not None:
            if self._are_good_in_arrow(batch.arrow):
                return Lines(batch.block, arrow=batch.arrow)
        elif batch.is_canonical and self._are_good(batch.columns):
            return Lines(batch.block, columns=batch.columns)
        entries = self._bulk(batch) or self._one_by_one(batch.lines)
        return Lines.of(settled(entries) if self._has_columns else entries)

    def entries(self, block: bytes) -> list[Entry]:
        r"""Return the entries of a block of complete lines, in the same order. Blank lines and `\r\n` are accepted.

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

    def _are_good(self, columns: EventColumns) -> bool:
        """Return whether canonical lines pass all checks and are stored as they are. If not, check each of them."""
        dates = columns.dates
        if columns.trackpoint != self._trackpoint or not are_times(dates):
            return False
        if self._has_columns and not are_times(columns.sent):
            return False
        return self._are_within(int(min(dates)), int(max(dates)), len(dates))

    def _are_good_in_arrow(self, lines: ArrowLines) -> bool:
        """Do the same for lines that were read as columns of Arrow."""
        events = lines.events
        if events.trackpoint != self._trackpoint or (self._has_columns and int(events.sent.max()) > TIME_MAX_MS):
            return False
        newest_ms = int(events.dates.max())
        return newest_ms <= TIME_MAX_MS and self._are_within(int(events.dates.min()), newest_ms, len(lines))

    def _are_within(self, oldest_ms: int, newest_ms: int, lines: int) -> bool:
        """Return whether all dates are in the interval, and note the lines if they are."""
        if oldest_ms < self._start_ms or newest_ms > self._end_ms:
            return False
        self.newest_ms = max(self.newest_ms, newest_ms)
        self._lines_before += lines
        return True

    def _bulk(self, batch: Batch) -> list[Entry] | None:
        """Return the entries of a batch if all of its lines are good and canonical, otherwise None.

        smsevents sends such batches, and checking them together is much faster than checking line by line.
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
            raise self._bad(line, f"it is an event of shop {sms.trackpoint}, not {self._trackpoint}")
        if not self._start_ms <= sms.date <= self._end_ms:
            raise self._bad(line, f"its date {sms.date} is not in [{self._start_ms}, {self._end_ms}]")
        self.newest_ms = max(self.newest_ms, sms.date)
        return sms.date, canonical

    def _bad(self, line: bytes, reason: str) -> BadEvent:
        # the reason may quote the line, so it is not trusted either
        return BadEvent(f"Line {self._lines_before:,}: {printable(reason)}. It reads: {shortened(line)}")


def are_times(numbers: Sequence[bytes]) -> bool:
    """Return whether all numbers have 13 digits and can be times. Such numbers sort by their digits."""
    return set(map(len, numbers)) == {_TIME_DIGITS} and min(numbers) >= b"1" and max(numbers) <= _TIME_MAX


def settled(entries: list[Entry]) -> list[Entry]:
    """Return entries as formats with columns store them: an impossible send date becomes 0.

    In a column, such a date is NULL and the original value is lost. The event must be the same before and after.
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
    """Split entries into batches of at most `at_most` entries."""
    for start in range(0, len(entries), at_most):
        yield entries[start : start + at_most]

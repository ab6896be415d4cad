r"""Turns the chunks of a body into complete lines, and lines into checked events. Does no I/O.

Only `\n` ends a line: `splitlines` would also split at U+0085 and U+2028, which may occur within a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from smsevents.client.errors import BadLine
from smsevents.wire.canonical import CanonicalReader, columns_of
from smsevents.wire.events import Event, NotAnEvent, NotJson, decode
from smsevents.wire.limits import LINE_MAX_BYTES

if TYPE_CHECKING:
    from smsevents.client.arrow_lines import ArrowLines, ArrowReader
    from smsevents.wire.canonical import EventColumns

TEXT_SHOWN_CHARACTERS = 120
REASON_SHOWN_CHARACTERS = 300
# Blank lines cost time and carry no data: more than this, and than this many times the events, is an error.
BLANK_MAX_BYTES = 1024 * 1024
BLANK_MAX_RATIO = 16
# each block that is read as columns of Arrow costs about 0.2 ms besides its lines: a smaller one takes less time by the
# pattern
ARROW_BLOCK_MIN_BYTES = 64 * 1024

_RECORD_SEPARATOR = b"\x1e"
_BLANK = b"\n\r\t "
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decoder = msgspec.json.Decoder(Event)


class Batch:
    r"""Consecutive complete lines of an export, and their events.

    `block` holds the lines as received, each ending with `\n`, without blank lines and record separators
    (RFC 7464). `lines` holds the same lines separately, without `\n`, and `events` the decoded events; both have
    the same order and length. `columns` holds the events by their parts, and `arrow` as columns of Arrow, if they were
    read as these. What was not needed to check the lines is made when it is first used.
    """

    def __init__(
        self,
        block: bytes,
        lines: list[bytes] | None = None,
        events: list[Event] | None = None,
        *,
        columns: EventColumns | None = None,
        arrow: ArrowLines | None = None,
    ) -> None:
        """Take checked lines. `columns` or `arrow` is given if and only if they were read as canonical lines."""
        self.block = block
        self.is_canonical = columns is not None or arrow is not None
        self.arrow: ArrowLines | None = arrow
        self._lines = lines
        self._events = events
        self._columns = columns

    def __len__(self) -> int:
        """Return the number of lines."""
        if self.arrow is not None:
            return len(self.arrow)
        return len(self.lines if self._columns is None else self._columns.dates)

    @property
    def lines(self) -> list[bytes]:
        r"""The lines as received, without `\n`."""
        if self._lines is None:
            self._lines = self.block[:-1].split(b"\n") if self.block else []
        return self._lines

    @property
    def events(self) -> list[Event]:
        """The decoded events."""
        if self._events is None:
            self._events = list(map(_decoder.decode, self.lines))
        return self._events

    @property
    def columns(self) -> EventColumns:
        """The events by their parts."""
        if self._columns is None:
            self._columns = columns_of(self.events)
        return self._columns


class Splitter:
    r"""Joins chunks with arbitrary boundaries into blocks that end with `\n`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # the start of a line whose end has not arrived yet
        self._held = 0

    def feed(self, chunk: bytes) -> bytes:
        """Add a chunk. Return all lines that are now complete as one block, which may be empty."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._hold(chunk)
            return b""
        block = b"".join([*self._parts, memoryview(chunk)[:end]])  # copied once
        self._parts, self._held = [], 0
        self._hold(chunk[end:])
        return block

    def _hold(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._held += len(part)

    @property
    def rest(self) -> bytes:
        """The line that has begun but not ended."""
        return b"".join(self._parts)

    @property
    def is_too_long(self) -> bool:
        """Whether the unfinished line is longer than any event can be."""
        return self._held > LINE_MAX_BYTES


class BatchChecker:
    """Turns blocks into batches, counts lines, and finds the first line that is not an event."""

    def __init__(self, trackpoint: int, arrow: ArrowReader | None = None) -> None:
        """Check the lines of a shop. With `arrow`, read those as columns of Arrow that can be."""
        self._trackpoint = trackpoint
        self._arrow = arrow
        self._reader = CanonicalReader(trackpoint)
        self._events_bytes = 0
        self._blank_bytes = 0
        self.lines = 0  # lines checked, including blank ones

    def check(self, block: bytes) -> tuple[Batch, BadLine | None]:
        """Check a block of complete lines.

        Return the lines before the first bad one, and that line as an error, or None if all are good.
        """
        if not block:
            return Batch(b"", [], []), None
        canonical = self._canonical(block)
        if canonical is not None:
            self.lines += len(canonical)
            self._events_bytes += len(block)
            return canonical, None
        if not block.strip(_BLANK) and not _has_long_line(block):
            self.lines += block.count(b"\n")
            return Batch(b"", [], []), self._blank(len(block))
        lines = block.removesuffix(b"\n").split(b"\n")
        try:
            events = list(map(_decoder.decode, lines))
        except _UNREADABLE:
            return self._check_each(lines)
        if _has_long_line(block) or any(event.smsEvent.trackpoint != self._trackpoint for event in events):
            return self._check_each(lines)
        self.lines += len(lines)
        self._events_bytes += len(block)
        return Batch(block, lines, events), None

    def _canonical(self, block: bytes) -> Batch | None:
        """Return the lines of a block if all of them are canonical."""
        arrow = self._arrow.read(block) if self._arrow and len(block) >= ARROW_BLOCK_MIN_BYTES else None
        if arrow is not None:
            return Batch(block, arrow=arrow)
        columns = self._reader.read(block)
        return None if columns is None else Batch(block, columns=columns)

    def check_tail(self, tail: bytes) -> BadLine | None:
        r"""Return an error if the text after the last `\n` is not the start of an event, such as an error text."""
        if len(tail) <= LINE_MAX_BYTES:
            try:
                decode(_without_separator(tail))
            except NotJson:
                if _without_separator(tail).lstrip().startswith(b"{"):
                    return None
            except NotAnEvent:
                pass
            else:
                return None
        return self._check_each([tail])[1]

    def _check_each(self, lines: list[bytes]) -> tuple[Batch, BadLine | None]:
        good: list[bytes] = []
        events: list[Event] = []
        bad: BadLine | None = None
        blank_bytes = 0
        for received in lines:
            self.lines += 1
            line = _without_separator(received)
            if (not line or line.isspace()) and len(line) <= LINE_MAX_BYTES:
                blank_bytes += len(received) + 1
                continue
            event = self._event(line)
            if isinstance(event, BadLine):
                bad = event
                break
            good.append(line)
            events.append(event)
        block = b"".join(line + b"\n" for line in good)
        self._events_bytes += len(block)
        return Batch(block, good, events), bad or self._blank(blank_bytes)

    def _blank(self, size_bytes: int) -> BadLine | None:
        """Count blank lines. Return an error if little else arrives; a few of them may keep a connection alive."""
        self._blank_bytes += size_bytes
        if self._blank_bytes <= BLANK_MAX_BYTES + BLANK_MAX_RATIO * self._events_bytes:
            return None
        return self._bad(b"", f"{self._blank_bytes:,} bytes of blank lines arrived with almost no events")

    def _event(self, line: bytes) -> Event | BadLine:
        try:
            if len(line) > LINE_MAX_BYTES:
                return self._bad(line, f"it is longer than {LINE_MAX_BYTES} bytes")
            event = _decoder.decode(line)
        except _UNREADABLE:
            return self._bad(line, _reason(line))
        if event.smsEvent.trackpoint != self._trackpoint:
            return self._bad(line, f"its trackpoint is {event.smsEvent.trackpoint}, not {self._trackpoint}")
        return event

    def _bad(self, line: bytes, reason: str) -> BadLine:
        # the reason may quote the line, so it is not trusted either
        return BadLine(line=self.lines, reason=printable(reason), text=shortened(line))


def _has_long_line(block: bytes) -> bool:
    start = 0
    while len(block) - start > LINE_MAX_BYTES:
        # all lines that end in this range are short enough
        end = block.rfind(b"\n", start, start + LINE_MAX_BYTES + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _without_separator(line: bytes) -> bytes:
    return line.removeprefix(_RECORD_SEPARATOR)


def _reason(line: bytes) -> str:
    try:
        decode(line)
    except (NotJson, NotAnEvent) as error:
        return str(error)
    return "it cannot be read"


def shortened(text: bytes, characters: int = TEXT_SHOWN_CHARACTERS) -> str:
    """Return the beginning of untrusted bytes as one printable line, without control characters."""
    return printable(text[: 4 * characters].decode("utf-8", "replace"), characters)


def printable(shown: str, characters: int = REASON_SHOWN_CHARACTERS) -> str:
    """Return the beginning of an untrusted text as one printable line, without control characters."""
    shown = shown[: 4 * characters]
    shown = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    return shown if len(shown) <= characters else shown[: characters - 1] + "…"

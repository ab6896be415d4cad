"""Checked lines: which lines are stored, which are dropped, and which are refused, with their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.errors import RefusedLine, TimeInDoubt
from smsevents.log import refusals
from smsevents.log.held_lines import HeldLines, are_ascending
from smsevents.log.plausible import decode_possible, why_impossible
from smsevents.log.ready_lines import ReadyLines
from smsevents.log.refusals import BODY
from smsevents.wire.blank_lines import place_of, without_blank_lines
from smsevents.wire.events import NotAnEvent, NotJson, decode, digest_of
from smsevents.wire.limits import FUTURE_MAX_MS
from smsevents.wire.results import ImportResult
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from smsevents.clock.trusted import Judgement
    from smsevents.errors import InvalidLines
    from smsevents.log.refusals import Origin
    from smsevents.wire.events import Event

BAD_LINES_MAX = 20


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules for lines. Times are Unix milliseconds.

    Lines older than `oldest_ms` are dropped as expired. Lines of users whose digest is in `blocked` are dropped too. A
    line later than `newest_ms` is refused. If the clock is in doubt (not `is_certain`), it raises `TimeInDoubt`
    instead, because only that clock speaks against the line. Lines that cannot be true are refused, or dropped with
    `skip_impossible`.
    """

    trackpoint: int
    oldest_ms: int
    newest_ms: int
    is_certain: bool = True
    blocked: frozenset[bytes] = frozenset()
    skip_impossible: bool = False
    origin: Origin = BODY

    @classmethod
    def judged(
        cls,
        trackpoint: int,
        judgement: Judgement,
        *,
        blocked: frozenset[bytes] = frozenset(),
        skip_impossible: bool = False,
        origin: Origin = BODY,
    ) -> Rules:
        """Return the rules at the judged time. A clock in doubt drops no line, and refuses none permanently."""
        return cls(
            trackpoint=trackpoint,
            oldest_ms=history_start(judgement.old_by_ms),
            newest_ms=judgement.clock_ms + FUTURE_MAX_MS,
            is_certain=judgement.is_certain,
            blocked=blocked,
            skip_impossible=skip_impossible,
            origin=origin,
        )


class CheckedLines:
    """Takes blocks of lines, and holds those that are to be stored until the caller takes them."""

    def __init__(self, rules: Rules, *, inflated: bool) -> None:
        """Check lines against rules. `inflated` tells whether they were sent as gzip, for error messages."""
        self._rules = rules
        self._inflated = inflated
        self._ready = ReadyLines(rules.trackpoint)
        self.start = b""  # of all lines: shows what was sent if these are not lines of events
        self.held = HeldLines()
        self.newest_ms: int | None = None  # the newest date of a good line, even if it is far ahead
        self._line = 0  # the number of lines, including blank ones, before the present block
        self._received = self._expired = self._blocked = self._impossible = 0
        self._bad: list[RefusedLine] = []
        self._doubted: RefusedLine | None = None
        self._malformed = self._any_impossible = False

    def finish(self) -> ImportResult:
        """Return how many lines were received and dropped. Raises `InvalidLines` or `TimeInDoubt`."""
        if self._bad:
            raise self._invalid(more=False)
        if self._doubted:
            raise TimeInDoubt(
                f"Nothing was stored. Line {self._doubted.line}: {self._doubted.reason}. But that clock may be wrong"
                f" itself. {self._rules.origin.for_doubt}"
            )
        return ImportResult(self._received, self._expired, self._blocked, self._impossible)

    def take_block(self, block: bytes) -> None:
        """Take complete lines, each with its line feed: all at once if all are good, else one by one.

        Lines that are ready to be stored are not even decoded. One by one, each bad line is found with its number.
        Blank lines are removed only if not all lines are good, and then all at once too.
        """
        if self._take_ready(block):
            return
        lines = block
        decoded = None if block.isspace() else decode_possible(block)
        if decoded is None:
            lines = without_blank_lines(block)
            if lines and len(lines) < len(block):
                decoded = decode_possible(lines)
        if decoded is not None and self._take_events(*decoded):
            # counting line feeds is slow, because it looks at each byte by itself
            self._line += len(decoded[1]) if lines is block else block.count(b"\n")
            return
        if lines:
            for which, line in enumerate(lines[:-1].split(b"\n")):
                self._take_line(line, block, which)
        self._line += block.count(b"\n")

    def _take_ready(self, block: bytes) -> bool:
        """Take lines as they are if all of them are ready and may be stored. Return whether they were taken."""
        dates = None if self._rules.blocked else self._ready.dates_of(block)
        if not dates:
            return False
        ascending = are_ascending(dates)
        if int(dates[0] if ascending else min(dates)) < self._rules.oldest_ms:
            return False
        newest = int(dates[-1] if ascending else max(dates))
        if newest > self._rules.newest_ms:
            return False
        self._received += len(dates)
        self._line += len(dates)
        self._see(newest)
        self.held.add_block(block, dates, ascending=ascending)
        return True

    def _take_events(self, events: list[Event], lines: list[bytes]) -> bool:
        """Take events and their canonical lines if all of them may be stored. Return whether they were taken."""
        dates = [event.smsEvent.date for event in events]
        newest = max(dates)
        if {event.smsEvent.trackpoint for event in events} != {
            self._rules.trackpoint
        } or newest > self._rules.newest_ms:
            return False
        self._received += len(lines)
        self._see(newest)
        if self._rules.blocked or min(dates) < self._rules.oldest_ms:
            for event, line in zip(events, lines, strict=True):
                self._keep(event, line)
        else:
            self.held.add_entries(list(zip(dates, lines, strict=True)))
        return True

    def _take_line(self, line: bytes, block: bytes, which: int) -> None:
        """Take one line. It has the number `which`, from 0, among the lines of the block that are not blank."""
        self._received += 1
        try:
            event, canonical = decode(line)
            if event.smsEvent.trackpoint != self._rules.trackpoint:
                raise NotAnEvent(
                    f"`trackpoint` is {event.smsEvent.trackpoint}, but the import is for {self._rules.trackpoint}"
                )
            impossible = why_impossible(event)
            if impossible and self._rules.skip_impossible:
                self._impossible += 1
                return
            if impossible:
                self._any_impossible = True
                raise NotAnEvent(impossible)
            date = event.smsEvent.date
            self._see(date)
            if date > self._rules.newest_ms:
                ahead = f"`date` {date} is more than 24 hours ahead of {self._rules.origin.clock}"
                if not self._rules.is_certain:
                    if self._doubted is None:
                        self._doubted = RefusedLine(self._line + 1 + place_of(block, which), ahead)
                    return
                raise NotAnEvent(f"{ahead}; send Unix milliseconds, UTC")
        except (NotJson, NotAnEvent) as error:
            number = self._line + 1 + place_of(block, which)
            self._refuse(number, str(error), malformed=isinstance(error, NotJson))
            return
        self._keep(event, canonical)

    def _see(self, date: int) -> None:
        if self.newest_ms is None or date > self.newest_ms:
            self.newest_ms = date

    def _keep(self, event: Event, canonical: bytes) -> None:
        """Hold a good event, unless it is to be dropped."""
        date = event.smsEvent.date
        if date < self._rules.oldest_ms:
            self._expired += 1
        elif self._rules.blocked and digest_of(self._rules.trackpoint, event.smsEvent.userId) in self._rules.blocked:
            self._blocked += 1
        else:
            self.held.add_entries([(date, canonical)])

    def refuse_endless(self, line: bytes) -> InvalidLines:
        """Take the start of a line that is longer than any event, and return the error that it causes."""
        self._take_line(line, line, 0)
        return self._invalid(more=True)

    def take_last(self, line: bytes) -> None:
        """Take the last line, which has no line feed."""
        self._take_line(line, line, 0)

    def _refuse(self, number: int, reason: str, *, malformed: bool) -> None:
        if self._received == 1:
            foreign = refusals.foreign(self._rules.origin, self.start, inflated=self._inflated)
            if foreign:
                raise foreign
        self._bad.append(RefusedLine(number, reason))
        self._malformed = self._malformed or malformed
        if len(self._bad) == BAD_LINES_MAX:
            raise self._invalid(more=True)

    def _invalid(self, *, more: bool) -> InvalidLines:
        return refusals.bad_lines(
            self._rules.origin, self._bad, malformed=self._malformed, impossible=self._any_impossible, more=more
        )

"""The messages of days of sending (UTC), counted from their lines, as they are kept (`segments.message_day`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.segments.message_day import QUARTERS_IN_DAY, InState, MessageDay, Sent
from smsevents.segments.tally import QUARTER_MS
from smsevents.stats.message_lines import digest_of_message, events_in
from smsevents.stats.message_states import message_states, state_of
from smsevents.stats.parts import Use, count_parts, go_on
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from smsevents.catalog import Database
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.tally_sum import AnyTally
    from smsevents.stats.message_states import MessageStates
    from smsevents.stats.parts import Check, Taken
    from smsevents.wire.window import Window

DAYS_HELD_MAX_BYTES = 64 * 1024 * 1024  # of sources and numbers while they are counted
SOURCE_BYTES = 300  # a source of a day, without its text: measured
CELL_BYTES = 1000  # the numbers of a source and a quarter of an hour, for a few states: measured
DAYS_CHECKED_EVERY_MESSAGES = 10_000

Cells = dict[int, list[int]]  # by quarters since 1970: how many messages, and their events


class _Day:
    """What is known of a day while it is counted."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self.first_date: int | None = None
        self.newest: dict[int, dict[int, int]] = {}  # by source and quarter of `sendDate`: the newest quarter of `date`
        self.states: dict[tuple[int, str], Cells] = {}  # by source and status

    def note(self, source: int, size_bytes: int, quarter: int, date: int) -> int:
        """Note an event. Return how many bytes more are held for the day."""
        held_before = self.held_bytes
        if self.first_date is None or date < self.first_date:
            self.first_date = date
        newest = self.newest.get(source)
        if newest is None:
            newest = self.newest[source] = {}
            self.held_bytes += size_bytes + SOURCE_BYTES
        date_quarter = date // QUARTER_MS
        known = newest.get(quarter)
        if known is None:
            self.held_bytes += CELL_BYTES
        if known is None or known < date_quarter:
            newest[quarter] = date_quarter
        return self.held_bytes - held_before

    def add(self, source: int, status: str, quarter: int, events: int) -> None:
        """Add a message that was sent in a quarter."""
        cell = self.states.setdefault((source, status), {}).setdefault(quarter, [0, 0])
        cell[0] += 1
        cell[1] += events

    def counted(self, number: int, sources: list[bytes]) -> MessageDay:
        """Return the day with this number as it is kept."""
        used = sorted(self.newest, key=sources.__getitem__)
        start = number * QUARTERS_IN_DAY
        by_source: dict[int, list[tuple[str, Cells]]] = {}
        for (source, status), cells in sorted(self.states.items()):
            by_source.setdefault(source, []).append((status, cells))
        sent: list[Sent] = []
        for position, source in enumerate(used):
            newest = self.newest[source]
            quarters = range(min(newest), max(newest) + 1)
            least = min(newest.values())
            sent.append(
                Sent(
                    position,
                    quarters.start - start,
                    [newest.get(quarter, least) - start for quarter in quarters],
                    [
                        InState(
                            status, *([cells.get(quarter, (0, 0))[which] for quarter in quarters] for which in (0, 1))
                        )
                        for status, cells in by_source.get(source, ())
                    ],
                )
            )
        return MessageDay(self.first_date or 0, [sources[source] for source in used], sent)


class _Days:
    """Counts the messages of days from the lines of their events."""

    def __init__(self, days: Collection[int], states: MessageStates) -> None:
        self._states = states
        self._days = {day: _Day() for day in days}
        self._numbers: dict[bytes, int] = {}
        self._sources: list[bytes] = []  # by their numbers
        self._held_bytes = 0
        self._left_out: set[int] = set()  # because more would be held

    def scope(self, header: SegmentHeader) -> Hashable | None:  # noqa: ARG002 -- of `Counting`
        """Return None: days are counted once."""
        return None

    def plan(self, tally: AnyTally) -> Use:
        """Return whether a segment has to be opened. Raises `UnreadableTally`."""
        for cells in tally.cells:
            if any((tally.first + sent) // QUARTERS_IN_DAY in self._days for sent in cells.sent_quarters()):
                return Use.LINES
        return Use.NOTHING

    def add(self, taken: Taken) -> None:
        """Do nothing: no tally says enough."""

    def add_lines(self, lines: bytes) -> None:
        """Add the events of lines. Raises `NotLines`, and what adding an event does."""
        add = self._states.add
        for user, status, date_text, source, sent_text in events_in(lines):
            sent = int(sent_text)
            day = self._days.get(sent // DAY_MS)
            if day is None:
                continue
            number = self._numbers.get(source)
            if number is None:
                number = self._numbers[source] = len(self._sources)
                self._sources.append(source)
            date = int(date_text)
            self._held_bytes += day.note(number, len(source), sent // QUARTER_MS, date)
            add(digest_of_message(user, source, sent_text), state_of(status, date, sent, number))
            if self._held_bytes > DAYS_HELD_MAX_BYTES:
                del self._days[sent // DAY_MS]
                self._left_out.add(sent // DAY_MS)
                self._held_bytes -= day.held_bytes

    def counted(self, check: Check) -> dict[int, MessageDay | None]:
        """Return the days once all lines were added; None for those that are left out."""
        for number, message in enumerate(self._states.messages()):
            if number % DAYS_CHECKED_EVERY_MESSAGES == 0:
                check()
            day = self._days.get(message.sent // DAY_MS)
            if day is not None:
                day.add(message.group, message.status, message.sent // QUARTER_MS, message.events)
        kept = {number: day.counted(number, self._sources) for number, day in self._days.items()}
        return kept | dict.fromkeys(self._left_out)


def count_days(  # noqa: PLR0913, PLR0917 -- what is counted, and where it is
    database: Database,
    trackpoint: int,
    days: Collection[int],
    windows: Iterable[Window],
    events: int,
    check: Check = go_on,
) -> dict[int, MessageDay | None]:
    """Count the messages of a shop that were sent on days (since 1970, UTC), by all of their events that are stored.

    `windows` are apart and have the dates of these events, `events` is about how many they are. A day is None if its
    numbers and those of the others take too much memory. Raises what `count_parts` does, and `StoreFull` if there is
    too little space for a temporary file.
    """
    with message_states(events) as states:
        counting = _Days(days, states)
        for window in windows:
            count_parts(database, trackpoint, window, counting, check)
        return counting.counted(check)

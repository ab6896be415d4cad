"""What the upkeep has kept of the messages that a question asks for, and what is left to be counted.

The messages of a day of sending are kept in quarters of an hour. A quarter counts if

- the day has the basis that it was counted from, so no event was added, removed or moved since;
- no event of the day is older than the history: a count leaves such events out, and they are in what is kept;
- it is in one bucket, so its messages need not be told apart.

All other messages are counted from their lines.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import structlog

from smsevents.catalog.message_days import data_of_day, kept_days
from smsevents.catalog.sent_days import bases_of, holdings_of
from smsevents.errors import DamagedSegment, ObjectGone
from smsevents.segments.message_day import QUARTERS_IN_DAY, UnreadableMessageDay, decode_message_day
from smsevents.segments.tally import QUARTER_MS
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from smsevents.catalog import Database
    from smsevents.catalog.sent_days import Holding
    from smsevents.segments.message_day import MessageDay
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question

logger = structlog.get_logger()

READ_TOGETHER_MS = HOUR_MS  # dates no further apart are read as one interval: each takes some statements


class Stretch(NamedTuple):
    """Consecutive quarters of a day, numbered from its first one: `start` is included, `end` is not."""

    bucket: int
    start: int
    end: int


Take: TypeAlias = "Callable[[int, MessageDay, list[Stretch]], None]"


class Left(NamedTuple):
    """What is left to be counted: the messages sent in other quarters than these.

    The dates of their events are in `windows`, which are in order and apart. `quarters` are counted from 1970, and
    empty with the axis `event`.
    """

    windows: Sequence[Window]
    quarters: frozenset[int] = frozenset()

    def has_quarter(self, quarter: int) -> bool:
        """Return whether messages that were sent in a quarter are left to be counted, if they are asked for."""
        return quarter not in self.quarters

    def has(self, sent_ms: int) -> bool:
        """Return whether a message that was sent at a time (Unix ms) is left to be counted, if it is asked for."""
        return sent_ms // QUARTER_MS not in self.quarters


def take_kept(database: Database, trackpoint: int, question: Question, take: Take, check: Check) -> Left:
    """Pass what is kept of the messages of a question to `take`, and return what is left to be counted.

    `take` gets the number of a day, its messages, and the stretches of it that count. Raises `StoreUnavailable`, and
    what `take` and `check` do.
    """
    everything = Left([question.log_window])
    if question.at != "send" or question.window.is_empty:
        return everything
    first, last = question.window.start // DAY_MS, question.window.end // DAY_MS
    with database.read() as connection:
        kept = kept_days(connection, trackpoint, first, last)
        if not any(one.is_worth for one in kept.values()):
            return everything
        try:
            holdings = holdings_of(database, connection, trackpoint, check)
        except (DamagedSegment, ObjectGone):  # if its events are asked for, they are counted now, and that says it
            return everything
        bases = bases_of(holdings)
        quarters: set[int] = set()
        complete: set[int] = set()
        for day, one in sorted(kept.items()):
            check()
            if not one.is_worth or day not in bases or not one.is_of(bases[day].digest):
                continue
            found = _decoded(trackpoint, day, data_of_day(connection, trackpoint, day))
            if found is None or found.first_date < question.log_window.start:
                continue
            stretches, is_complete = _stretches(question, day)
            take(day, found, stretches)
            start = day * QUARTERS_IN_DAY
            quarters.update(start + number for one in stretches for number in range(one.start, one.end))
            complete |= {day} if is_complete else set()
    left = {day for day in bases if first <= day <= last} - complete
    return Left(list(dates_of(holdings, left, question.log_window)), frozenset(quarters))


def _decoded(trackpoint: int, day: int, data: bytes | None) -> MessageDay | None:
    try:
        return None if data is None else decode_message_day(data)
    except UnreadableMessageDay as error:
        # the lines say the same, only more slowly
        logger.warning("messages damaged", trackpoint=trackpoint, day=day, error=str(error))
        return None


def _stretches(question: Question, day: int) -> tuple[list[Stretch], bool]:
    """Return the stretches of a day that are each in one bucket, and whether nothing else of the day is asked for."""
    start = day * QUARTERS_IN_DAY
    buckets = [question.buckets.of_quarter(start + number) for number in range(QUARTERS_IN_DAY)]
    found: list[Stretch] = []
    for bucket, numbers in groupby(range(QUARTERS_IN_DAY), buckets.__getitem__):
        some = list(numbers)
        if bucket is not None and bucket >= 0:
            found.append(Stretch(bucket, some[0], some[-1] + 1))
    return found, None not in buckets


def dates_of(holdings: Iterable[Holding], days: Collection[int], within: Window) -> Iterator[Window]:
    """Go through intervals, in order and apart, with the dates of the events of messages sent on some days."""
    holding = sorted((one.first_ms, one.last_ms) for one in holdings if any(sent.day in days for sent in one.days))
    start = end = None
    for first, last in holding:
        if start is None or end is None:
            start, end = first, last
        elif first - end > READ_TOGETHER_MS:
            yield Window(max(start, within.start), min(end, within.end))
            start, end = first, last
        else:
            end = max(end, last)
    if start is not None and end is not None:
        yield Window(max(start, within.start), min(end, within.end))

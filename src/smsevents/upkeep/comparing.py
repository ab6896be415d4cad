"""Comparing two logs, event by event, such as a restored backup with the log that it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from smsevents.catalog.shops import all_shops
from smsevents.errors import DamagedSegment
from smsevents.log.reader import Reader
from smsevents.segments.splice import unpack
from smsevents.wire.lines import NotLines, parse_entries
from smsevents.wire.times import TIME_MAX_MS
from smsevents.wire.window import Window, history_start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.wire.lines import Entry


class Compared(msgspec.Struct):
    """How many events of a shop are in both of two databases, or only in one. Times are Unix ms, None without events.

    `only_there_oldest_ms` and `only_there_newest_ms` are the dates of the first and the last event that is only there.
    """

    trackpoint: int
    both: int = 0
    only_here: int = 0
    only_there: int = 0
    only_there_oldest_ms: int | None = None
    only_there_newest_ms: int | None = None


def compare(here: Database, there: Database, now: int) -> Iterator[Compared]:
    """Compare the events that two databases export from 90 days before `now` (Unix ms) on, shop after shop.

    A shop that one of them does not have has no events there. Memory does not grow with the logs. Raises what `Reader`
    raises.
    """
    window = Window(history_start(now), TIME_MAX_MS)
    for trackpoint in sorted(_shops_of(here) | _shops_of(there)):
        yield _compare(Compared(trackpoint), _entries(here, trackpoint, window), _entries(there, trackpoint, window))


def _shops_of(database: Database) -> set[int]:
    with database.read() as connection:
        return {shop.trackpoint for shop in all_shops(connection)}


def _entries(database: Database, trackpoint: int, window: Window) -> Iterator[Entry]:
    try:
        for lines in unpack(Reader(database, trackpoint, window)):
            yield from parse_entries(lines)
    except NotLines as error:
        raise DamagedSegment(
            f"The log of shop {trackpoint} in {database.dialect.where} has lines that are not events."
            " Run `smsevents verify` there."
        ) from error


def _compare(found: Compared, here: Iterator[Entry], there: Iterator[Entry]) -> Compared:
    """Count while both are gone through in order."""
    ours, theirs = next(here, None), next(there, None)
    while ours is not None or theirs is not None:
        if ours == theirs:
            found.both += 1
            ours, theirs = next(here, None), next(there, None)
        elif theirs is None or (ours is not None and ours < theirs):
            found.only_here += 1
            ours = next(here, None)
        else:
            found.only_there += 1
            found.only_there_newest_ms = theirs[0]
            if found.only_there_oldest_ms is None:
                found.only_there_oldest_ms = theirs[0]
            theirs = next(there, None)
    return found

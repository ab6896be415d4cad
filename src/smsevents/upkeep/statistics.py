"""Statistics: the contents of a shop's log in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from smsevents.catalog.quarantine import quarantined
from smsevents.catalog.stored import stored_headers

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.wire.lines import Entry


class Statistics(msgspec.Struct):
    """The statistics of one shop. Sizes are in bytes, times in Unix milliseconds, or None if there is no event.

    `segments` are those in the database, `packs` those in the store. `events` counts an event twice if it is in two
    segments. `overlapping` is the number of segments and packs that begin before an earlier one ends, and that
    compaction would have to merge.
    """

    trackpoint: int
    events: int = 0
    segments: int = 0
    packs: int = 0
    line_bytes: int = 0
    stored_bytes: int = 0
    stored_bytes_per_event: float | None = None
    oldest_ms: int | None = None
    newest_ms: int | None = None
    overlapping: int = 0
    quarantined: int = 0


def statistics(database: Database, trackpoint: int) -> Statistics:
    """Return the statistics of a shop, from the headers of its segments."""
    sums = Statistics(trackpoint)
    reach: Entry | None = None
    with database.read() as connection:
        for one in stored_headers(connection, trackpoint):
            sums.events += one.events
            sums.segments += one.place.kind == "row"
            sums.packs += one.place.kind == "pack"
            sums.line_bytes += one.line_bytes
            sums.stored_bytes += one.stored_bytes
            sums.oldest_ms = one.first[0] if sums.oldest_ms is None else sums.oldest_ms
            sums.overlapping += reach is not None and one.first <= reach
            reach = one.last if reach is None else max(reach, one.last)
        sums.quarantined = quarantined(connection, trackpoint)
    if reach is not None:
        sums.newest_ms = reach[0]
        sums.stored_bytes_per_event = round(sums.stored_bytes / sums.events, 2)
    return sums

"""Statistics as CSV: comma, UTF-8, a head line. Times are local with their offset, and beside it Unix milliseconds.

A text that a spreadsheet would run as a formula gets an apostrophe in front, as in `event_tables`.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from smsevents.stats.calendar import local_of, zone_of
from smsevents.stats.messages import States
from smsevents.stats.took import DeliveryFigures
from smsevents.web.event_tables import no_formula
from smsevents.web.stats_bodies import Asked, DeliveryTimes, EventStatistics, MessageStatistics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

    from smsevents.stats.calendar import Bucket
    from smsevents.stats.delivery import DeliveryRow
    from smsevents.stats.events import EventRow
    from smsevents.stats.messages import MessageRow
    from smsevents.web.stats_bodies import Body

_BUCKET = ("from", "to", "from_ms", "to_ms", "complete")
_PARTS = {
    "status": ("status",),
    "type": ("type",),
    "campaign": ("campaign_id", "campaign_name"),
    "node": ("node_id", "node_name"),
}
_STEP_WORDS = {"15m": "quarter-hour", "1h": "hour", "1d": "day", "1w": "week", "1M": "month"}
_NUMBERS: dict[type[Asked], tuple[str, ...]] = {
    EventStatistics: ("events",),
    DeliveryTimes: DeliveryFigures.__struct_fields__,
    MessageStatistics: States.__struct_fields__,
}
OTHER_ID = "(other)"  # in place of the ids of what is beyond `top`


def csv_of(body: Body) -> bytes:
    """Return a body as CSV: its rows, or the histogram of delivery times that are not divided."""
    if isinstance(body, DeliveryTimes) and not _is_divided(body):
        return _written(
            ("from_ms", "to_ms", "deliveries"),
            ((one.from_ms, one.to_ms, one.deliveries) for one in body.histogram),
        )
    numbers = _NUMBERS[type(body)]
    parts = [column for part in body.by for column in _PARTS[part]]
    zone = zone_of(body.time_zone)
    return _written(
        (*_BUCKET, *parts, *numbers),
        (
            (
                *_bucket(body.buckets[row.bucket], zone),
                *(value for part in body.by for value in _part(row, part)),
                *(getattr(row, number) for number in numbers),
            )
            for row in body.rows
        ),
    )


def name_of(kind: str, trackpoint: int, body: Body) -> str:
    """Return the name of a file for a body: what it is, by what it is grouped, the shop, the local days, the zone."""
    zone = zone_of(body.time_zone)
    start, end = (local_of(time, zone).date().isoformat() for time in (body.start, body.end))
    return f"{kind}{_grouping_of(body)}-{trackpoint}-{start}-{end}-{body.time_zone.replace('/', '-')}.csv"


def _is_divided(body: Body) -> bool:
    return body.step != "all" or bool(body.by)


def _grouping_of(body: Body) -> str:
    """Return what the rows are, like `-by-day-status`; a campaign has one type, so the type is not named beside it."""
    parts = [part for part in body.by if not (part == "type" and "campaign" in body.by)]
    words = [*([] if body.step == "all" else [_STEP_WORDS[body.step]]), *parts]
    return f"-by-{'-'.join(words)}" if words else ""


def _bucket(bucket: Bucket, zone: ZoneInfo) -> tuple[object, ...]:
    start, end = (local_of(time, zone).isoformat(timespec="milliseconds") for time in (bucket.start, bucket.end))
    return start, end, bucket.start, bucket.end, "true" if bucket.complete else "false"


def _part(row: EventRow | DeliveryRow | MessageRow, part: str) -> tuple[object, ...]:
    found: Any = getattr(row, part)
    if part in {"campaign", "node"}:
        if found is msgspec.UNSET:
            return OTHER_ID, ""
        return ("", "") if found is None else (no_formula(found.id), no_formula(found.name))
    return (found,)


def _written(head: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()

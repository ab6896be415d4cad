"""The OpenAPI operations of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from smsevents.errors import InvalidRequest
from smsevents.stats.calendar import BUCKETS_MAX, STEPS, Bucket
from smsevents.stats.delivery import DELIVERIES_LINES_MAX, DeliveryRow
from smsevents.stats.events import EventRow
from smsevents.stats.grouping import ROWS_MAX, TYPES, Named
from smsevents.stats.messages import MESSAGES_EVENTS_MAX, MessageRow, States
from smsevents.stats.question import AXES, PARTS
from smsevents.stats.took import DeliveryBucket, DeliveryFigures
from smsevents.web import negotiate
from smsevents.web.describe import ALWAYS, TRACKPOINT, json_response, problem, problems
from smsevents.web.problems import STATUSES as OUTCOMES
from smsevents.web.stats_bodies import DeliveryTimes, EventStatistics, MessageStatistics
from smsevents.web.stats_csv import csv_of
from smsevents.web.stats_query import FORMATS, NO_STATUS, TOP_GROUPS_MAX
from smsevents.wire.events import STATUSES
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.web.stats_bodies import Body

_BAD = "`step` '2h' is unknown. Send one of 15m, 1h, 1d, 1w, 1M, all."


def _parameter(name: str, description: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
        "examples": {"example": {"value": example}},
    }


def _choice(name: str, description: str, known: Sequence[str], default: str) -> dict[str, Any]:
    return _parameter(name, description, {"type": "string", "enum": [*known], "default": default}, default)


def _several(
    name: str, description: str, items: dict[str, Any], example: str, *, explode: bool = True
) -> dict[str, Any]:
    found = _parameter(name, description, {"type": "array", "items": items}, [example])
    return found | {"style": "form", "explode": explode}


def _parameters(now: int, axis: str, groups: Sequence[str]) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found = [
        TRACKPOINT,
        _parameter(
            "from",
            "The start: a local day, a time (ISO 8601), Unix milliseconds, `today`, `yesterday`, or how long ago, such"
            " as `7d` or `12h`. The default is 29 days before the day of the end.",
            text,
            str(now - 7 * DAY_MS),
        ),
        _parameter("to", "The end, included, spelled like `from`. The default is now.", text, str(now)),
        _parameter(
            "tz", "The time zone of days and buckets, by its IANA name. The default is UTC.", text, "Europe/Prague"
        ),
        _choice("at", "Whether the interval is one of `date` (event) or of `sendDate` (send).", AXES, axis),
        _several("status", "Only these statuses; repeatable.", {"type": "string", "enum": [*STATUSES]}, "DELIVERED"),
        _several("type", "Only this type; repeatable.", {"type": "string", "enum": [*TYPES]}, "flow"),
        _several("campaign", "Only campaigns with this id or name; repeatable.", text, "cd43"),
        _several("node", "Only nodes with this id or name; repeatable.", text, "3241"),
        _parameter("format", "Instead of `Accept`.", {"type": "string", "enum": [*FORMATS]}, "json"),
        _choice("step", "How long a bucket is, by the local calendar.", STEPS, "all"),
        _several("by", "What rows are grouped by.", {"type": "string", "enum": [*groups]}, groups[0], explode=False),
        _parameter(
            "top",
            "How many campaigns or nodes are named; the rest is together in rows with `other`.",
            {"type": "integer", "minimum": 1, "maximum": TOP_GROUPS_MAX},
            10,
        ),
    ]
    # `top` needs `by`, so an example of it alone would be refused
    found[-1].pop("examples")
    return found


def _operation(  # noqa: PLR0913, PLR0917 -- what an operation consists of
    operation_id: str,
    summary: str,
    description: str,
    parameters: list[dict[str, Any]],
    struct: type[msgspec.Struct],
    example: Body,
) -> dict[str, Any]:
    response = json_response("The numbers.", struct, example)
    response["content"][negotiate.CSV] = {
        "schema": {"type": "string"},
        "examples": {"counts": {"value": csv_of(example).decode()}},
    }
    response["headers"] = {
        "ETag": {"schema": {"type": "string"}, "description": "Changes when what is stored in the interval changes."}
    }
    return {
        "operationId": operation_id,
        "tags": ["Statistics"],
        "summary": summary,
        "description": f"{description} The key needs the scope `stats` or `export`.",
        "parameters": parameters,
        "responses": {
            "200": response,
            "304": {"description": "Nothing has changed since the response with the ETag in `If-None-Match`."},
            **problems("stats", ALWAYS),
            "400": problem(OUTCOMES[InvalidRequest], detail=_BAD),
        },
    }


def _asked(now: int, at: str) -> dict[str, Any]:
    return {"start": now - DAY_MS, "end": now - 1, "time_zone": "UTC", "at": at, "as_of": now}


def events_operation(now: int) -> dict[str, Any]:
    """Describe the counts of events, with an example of the day of `now` (Unix ms)."""
    campaign = Named("b2c8", "Black Friday")
    example = EventStatistics(
        **_asked(now, "event"),
        step="1d",
        by=["status", "campaign"],
        events=3,
        buckets=[Bucket(now - DAY_MS, now - 1, complete=True)],
        rows=[
            EventRow(bucket=0, status="DELIVERED", campaign=campaign, events=2),
            EventRow(bucket=0, status="EXPIRED", campaign=campaign, events=1),
        ],
    )
    return _operation(
        "countSmsEvents",
        "Count the events of a shop",
        f"The counts equal those of an export of the same interval. At most {BUCKETS_MAX} buckets and {ROWS_MAX} rows.",
        _parameters(now, "event", PARTS),
        EventStatistics,
        example,
    )


def delivery_operation(now: int) -> dict[str, Any]:
    """Describe the delivery times, with an example of the day of `now` (Unix ms)."""
    figures = DeliveryFigures(
        deliveries=2, within_10s=2, within_1m=2, within_1h=2, median_ms=3770, p90_ms=4095, p95_ms=4095
    )
    example = DeliveryTimes(
        **_asked(now, "event"),
        step="1d",
        by=[],
        **msgspec.structs.asdict(figures),
        histogram=[DeliveryBucket(3444, 4095, 2)],
        buckets=[Bucket(now - DAY_MS, now - 1, complete=True)],
        rows=[DeliveryRow(bucket=0, **msgspec.structs.asdict(figures))],
    )
    return _operation(
        "measureDeliveryTime",
        "How long the delivery took",
        "From `sendDate` to `date` of the DELIVERED events, together and by `step` and `by`. `within…` is exact;"
        f" percentiles are interpolated within the buckets of the histogram. At most {BUCKETS_MAX} buckets and"
        f" {ROWS_MAX} rows, and {DELIVERIES_LINES_MAX} events that have to be looked at. As CSV, there are the rows, or"
        " the histogram without `step` and `by`.",
        _parameters(now, "event", NO_STATUS),
        DeliveryTimes,
        example,
    )


def messages_operation(now: int) -> dict[str, Any]:
    """Describe the counts of messages, with an example of the day of `now` (Unix ms)."""
    states = States(sent=3, attempted=3, delivered=2, expired=1, events=6)
    example = MessageStatistics(
        **_asked(now, "send"),
        step="all",
        by=["type"],
        events=6,
        total=states,
        buckets=[Bucket(now - DAY_MS, now - 1, complete=True)],
        rows=[MessageRow(bucket=0, type="one-off", **msgspec.structs.asdict(states))],
    )
    return _operation(
        "countSmsMessages",
        "Count the messages of a shop by their state",
        "A message is a user and a complete source, `sendDate` included. Messages are counted of up to"
        f" {MESSAGES_EVENTS_MAX} events.",
        _parameters(now, "send", NO_STATUS),
        MessageStatistics,
        example,
    )

"""The bodies of statistics. All times are Unix milliseconds, all intervals are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, field

from smsevents.stats.calendar import Bucket, Step
from smsevents.stats.delivery import DeliveryRow
from smsevents.stats.events import EventRow
from smsevents.stats.messages import MessageRow, States
from smsevents.stats.question import Axis, Part
from smsevents.stats.took import DeliveryBucket

if TYPE_CHECKING:
    from smsevents.stats.delivery import Deliveries
    from smsevents.stats.events import EventCounts
    from smsevents.stats.messages import MessageCounts
    from smsevents.stats.question import Question

_BUCKETS = "All buckets of the interval, in order; `complete` is false if the interval or the present cuts one."
_STEP = "How long a bucket is."
_BY = "What rows are grouped by."


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What every body repeats of the question."""

    start: Annotated[int, Meta(description="The start of the effective interval.")] = field(name="from")
    end: Annotated[int, Meta(description="The end of the effective interval.")] = field(name="to")
    time_zone: Annotated[str, Meta(description="The time zone of the buckets.")] = field(name="timeZone")
    at: Annotated[Axis, Meta(description="Whether the interval is one of `date` or of `sendDate`.")]
    as_of: Annotated[int, Meta(description="When it was counted.")] = field(name="asOf")


class EventStatistics(Asked, frozen=True, kw_only=True):
    """How many events there are."""

    step: Annotated[Step, Meta(description=_STEP)]
    by: Annotated[list[Part], Meta(description=_BY)]
    events: Annotated[int, Meta(description="All events that were asked for.")]
    buckets: Annotated[list[Bucket], Meta(description=_BUCKETS)]
    rows: Annotated[list[EventRow], Meta(description="The events of each bucket and group that has any.")]


class DeliveryTimes(Asked, frozen=True, kw_only=True):
    """How long the delivery took."""

    step: Annotated[Step, Meta(description=_STEP)]
    by: Annotated[list[Part], Meta(description=_BY)]
    deliveries: Annotated[int, Meta(description="The DELIVERED events.")]
    within_10s: Annotated[int, Meta(description="Those that took at most 10 seconds.")] = field(name="within10s")
    within_1m: Annotated[int, Meta(description="Those that took at most a minute.")] = field(name="within1m")
    within_1h: Annotated[int, Meta(description="Those that took at most an hour.")] = field(name="within1h")
    median_ms: Annotated[int | None, Meta(description="The median; null without deliveries.")] = field(name="medianMs")
    p90_ms: Annotated[int | None, Meta(description="The 90th percentile.")] = field(name="p90Ms")
    p95_ms: Annotated[int | None, Meta(description="The 95th percentile.")] = field(name="p95Ms")
    histogram: Annotated[list[DeliveryBucket], Meta(description="From the shortest time to the longest.")]
    buckets: Annotated[list[Bucket], Meta(description=_BUCKETS)]
    rows: Annotated[list[DeliveryRow], Meta(description="The deliveries of each bucket and group that has any.")]


class MessageStatistics(Asked, frozen=True, kw_only=True):
    """How many messages there are."""

    step: Annotated[Step, Meta(description=_STEP)]
    by: Annotated[list[Part], Meta(description=_BY)]
    events: Annotated[int, Meta(description="The events that the messages come from.")]
    total: Annotated[States, Meta(description="All messages that were asked for.")]
    buckets: Annotated[list[Bucket], Meta(description=_BUCKETS)]
    rows: Annotated[list[MessageRow], Meta(description="The messages of each bucket and group that has any.")]


Body: TypeAlias = EventStatistics | DeliveryTimes | MessageStatistics


def event_statistics(question: Question, counts: EventCounts) -> EventStatistics:
    """Build the body of `sms-stats`. Raises `InvalidRequest` if it has too many rows."""
    return EventStatistics(
        **_asked(question),
        step=question.step,
        by=list(question.by),
        events=counts.events,
        buckets=question.buckets.all,
        rows=counts.rows(),
    )


def delivery_times(question: Question, found: Deliveries) -> DeliveryTimes:
    """Build the body of `sms-stats/delivery-time`. Raises `InvalidRequest` if it has too many rows."""
    total = found.total()
    return DeliveryTimes(
        **_asked(question),
        step=question.step,
        by=list(question.by),
        **msgspec.structs.asdict(total.figures()),
        histogram=total.histogram(),
        buckets=question.buckets.all,
        rows=found.rows(),
    )


def message_statistics(question: Question, counts: MessageCounts) -> MessageStatistics:
    """Build the body of `sms-stats/messages`. Raises `InvalidRequest` if it has too many rows."""
    total = counts.total()
    return MessageStatistics(
        **_asked(question),
        step=question.step,
        by=list(question.by),
        events=total.events,
        total=total,
        buckets=question.buckets.all,
        rows=counts.rows(),
    )


def _asked(question: Question) -> dict[str, Any]:
    return {
        "start": question.window.start,
        "end": question.window.end,
        "time_zone": question.zone.key,
        "at": question.at,
        "as_of": question.now,
    }

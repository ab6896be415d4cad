"""Converts events to flat rows, for the formats with columns, and rows back to events.

A row has all fields of its event, so the canonical line, which identifies the event, can be restored. `node_id` and
`node_name` are None if and only if `source_type` is `one-off`. An impossible send date is NULL in a column, and 0 in
the restored event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from smsevents.wire.events import Campaign, Event, Flow, Node, OneOff, SmsEvent, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (
    "trackpoint",
    "user_id",
    "status",
    "date",
    "source_type",
    "campaign_id",
    "campaign_name",
    "node_id",
    "node_name",
    "send_date",
)
FLOW, ONE_OFF = "flow", "one-off"


Row: TypeAlias = tuple[int, str, str, int, str, str, str, str | None, str | None, int]
"""The values of COLUMNS; `date` and `send_date` are Unix milliseconds."""


def row_of(event: Event) -> Row:
    """Return the row of an event."""
    sms, source = event.smsEvent, event.source
    node = source.node if isinstance(source, Flow) else None
    return (
        sms.trackpoint,
        sms.userId,
        sms.status,
        sms.date,
        FLOW if node else ONE_OFF,
        source.campaign.id,
        source.campaign.name,
        node.id if node else None,
        node.name if node else None,
        source.sendDate,
    )


def event_of(row: Sequence[object]) -> Event:
    """Return the event of a row without checking it; the reader of a file checks the line of the event.

    Raises `ValueError` if the source type and the node do not match.
    """
    trackpoint, user_id, status, date, source_type, campaign_id, campaign_name, node_id, node_name, send_date = row
    campaign = Campaign(cast("str", campaign_id), cast("str", campaign_name))
    sent = 0 if send_date is None else cast("int", send_date)
    source: Flow | OneOff
    if source_type == FLOW:
        source = Flow(campaign, Node(cast("str", node_id), cast("str", node_name)), sent)
    elif source_type == ONE_OFF and not node_id and not node_name:
        source = OneOff(campaign, sent)
    else:
        raise ValueError(f"the source type {source_type!r} does not match the node {node_id!r}, {node_name!r}")
    sms = SmsEvent(cast("int", trackpoint), cast("str", user_id), cast("Status", status), cast("int", date))
    return Event(sms, source)

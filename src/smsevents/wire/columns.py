"""Events as flat rows, for files and tables that have columns, and rows as events again.

All fields of an event are in its row, so the canonical line, which is its identity, can be made again.
`node_id` and `node_name` are None where `source_type` is `one-off`, and only there. A send date that cannot be a
time is NULL in a column, and 0 in the event that is made from its row.
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
    """Return the event of a row. Nothing is checked: the reader of a file checks the line of the event.

    Raises `ValueError` where the type of the source and the node do not fit together.
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
        raise ValueError(f"no event has the source type {source_type!r} and the node {node_id!r}, {node_name!r}")
    sms = SmsEvent(cast("int", trackpoint), cast("str", user_id), cast("Status", status), cast("int", date))
    return Event(sms, source)

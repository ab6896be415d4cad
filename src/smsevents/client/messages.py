"""The messages of a shop: the columns of their tables and files, and the rule for the state of a message.

The events of a message share the user and the complete source. One of them is its state; docs/api.md has the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.client.errors import ConfigurationError

if TYPE_CHECKING:
    from smsevents.client.filters import Filter

MESSAGE_COLUMNS = (
    "trackpoint",
    "user_id",
    "source_type",
    "campaign_id",
    "campaign_name",
    "node_id",
    "node_name",
    "send_date",
    "state",
    "state_date",
    "event_count",
    "first_date",
    "accepted_date",
    "delivered_date",
)
"""`accepted_date` is that of the first ACCEPTED, `delivered_date` that of the first DELIVERED if that is the state."""

ACCEPTED, DELIVERED = "ACCEPTED", "DELIVERED"


def check_messages(where: Filter | None) -> None:
    """Raise `ConfigurationError` if a filter leaves out some events of a message, so that its state would be wrong.

    All other members of a filter match all events of a message or none, because its events share them.
    """
    if where and where.status:
        raise ConfigurationError(
            "The state of a message depends on all of its events, and a filter by status leaves some of them out."
            " Omit --messages; or omit --status, and select the messages by their column `state`."
        )

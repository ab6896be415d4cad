"""smsgate.sk: it calls the callback address of the account with GET. Its receipts have no time.

Source: "Callback URL" in the documentation of the JSON API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class Smsgate:
    """smsgate.sk."""

    name = "smsgate"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "QUEUED": "ACCEPTED",
        "SENT": "ACCEPTED",
        "IN_GROUP": "ACCEPTED",
        "ERROR": "ACCEPTED",  # the gateway tries again
        "DELIVERED": "DELIVERED",
        "EXPIRED": "EXPIRED",
        "DELETED": "DELETED",
        "UNDELIVERABLE": "UNDELIVERABLE",
        "DENIED": "REJECTED",
        "BLACKLISTED": "SKIPPED",
        "UNKNOWN": None,
        "SCHEDULED": None,
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:  # noqa: ARG002 -- there are no times
        """Read the receipt of a call."""
        value = required(fields, "status")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "message_id"),
        )

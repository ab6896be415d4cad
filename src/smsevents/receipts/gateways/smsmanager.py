"""SMSManager: it posts an array of receipts to the callback address of a message, or to that of the account.

Source: "Webhooks" in the reference of the JSON API v2. It names `sent`, `delivered` and `rejected`; the other values
are those that its gateways use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class SmsManager:
    """SMSManager's JSON API v2."""

    name = "smsmanager"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "sent": "ACCEPTED",
        "delivered": "DELIVERED",
        "seen": "DELIVERED",
        "read": "DELIVERED",
        "expired": "EXPIRED",
        "undelivered": "UNDELIVERABLE",
        "failed": "UNDELIVERABLE",
        "rejected": "REJECTED",  # without credit, or a number that does not exist
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:  # noqa: ARG002 -- its times are Unix seconds
        """Read the receipt of a call."""
        value = required(fields, "result")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "message_id"),
            time=times.unix(text_of(fields, "timestamp") or "", times.SECOND_MS),
        )

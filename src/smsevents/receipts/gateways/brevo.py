"""Brevo: it posts a JSON object to the webhook of the account. `id` is that of the webhook, `messageId` of the SMS.

Source: "Transactional SMS webhooks" in the documentation of Brevo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class Brevo:
    """Brevo's transactional SMS."""

    name = "brevo"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "sent": "ACCEPTED",
        "accepted": "ACCEPTED",
        "delivered": "DELIVERED",
        "soft_bounce": "UNDELIVERABLE",
        "hard_bounce": "UNDELIVERABLE",
        "rejected": "REJECTED",
        "blocked": "SKIPPED",
        "unsubscribed": "SKIPPED",
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        value = required(fields, "msg_status")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "messageId"),
            time=times.unix(text_of(fields, "ts_event") or "", times.SECOND_MS)
            or times.iso(text_of(fields, "date") or "", zone),
        )

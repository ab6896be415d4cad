"""viamobile: it posts a JSON object to the address of the account.

Source: "deliveryJSONpush" in the help of the API v2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class Viamobile:
    """viamobile, API v2."""

    name = "viamobile"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "waiting": "ACCEPTED",
        "delivered": "DELIVERED",
        "undeliverable": "UNDELIVERABLE",
        "expired": "EXPIRED",
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        value = required(fields, "status")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "id"),
            time=times.iso(text_of(fields, "received") or "", zone),
        )

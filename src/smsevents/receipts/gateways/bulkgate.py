"""BulkGate: it posts an array of receipts to the address in the settings of the application.

`date` has two local times to the minute, when the message was sent and when it was received. Incoming messages come to
the same address, with the status 10.

Source: "Bulk delivery confirmations and incoming SMS" in the help of BulkGate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class BulkGate:
    """BulkGate's HTTP API."""

    name = "bulkgate"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "0": None,  # unknown
        "1": "DELIVERED",
        "2": "ACCEPTED",  # buffered
        "3": "UNDELIVERABLE",
        "10": None,  # an incoming message
        "13": "DELIVERED",  # seen
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        value = required(fields, "status")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "smsID"),
            time=times.digits((text_of(fields, "date") or "").rpartition(";")[2].strip(), zone),
        )

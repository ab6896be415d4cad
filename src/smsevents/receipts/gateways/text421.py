"""text421: it calls the address of the account with GET, and again for 24 hours unless the response is `OK`.

Its field `time` is not documented well enough to be read.

Source: "deliveryGetPush" in the help of the API v6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class Text421:
    """text421, API v6."""

    name = "text421"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "2": "DELIVERED",
        "3": "EXPIRED",
        "5": "UNDELIVERABLE",
        "8": "REJECTED",
        "127": "UNDELIVERABLE",
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:  # noqa: ARG002 -- there are no times
        """Read the receipt of a call."""
        value = required(fields, "status")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "id"),
        )

"""Infobip: it posts `{"results": […]}` to the `notifyUrl` of a message, or to that of a subscription.

The id of a status decides, and then its group: id 2, DELIVERED_TO_OPERATOR, is in the group DELIVERED, but is not a
delivery. `callbackData` comes back as it was sent, and may hold the reference.

Source: "Message status codes" in Infobip's documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.receipt import OTHER, DeliveryReceipt, NotAReceipt, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status


class Infobip:
    """Infobip's SMS API."""

    name = "infobip"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "id 2": "ACCEPTED",  # delivered to the operator
        "id 4": "REJECTED",  # by the operator
        "id 5": "DELIVERED",  # to the handset
        "id 15": "EXPIRED",
        "id 29": "EXPIRED",
        "id 31": "SKIPPED",  # not sent
        "id 87": "REJECTED",  # blocked as fraud
        "group 1": "ACCEPTED",  # pending
        "group 2": "UNDELIVERABLE",
        "group 5": "REJECTED",
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt | NotAReceipt]:
        """Read the receipts of a call."""
        results = fields.get("results")
        if not isinstance(results, list):
            raise NotAReceipt("the array `results` is missing")
        for result in results:
            status = result.get("status") if isinstance(result, dict) else None
            if not isinstance(status, dict):
                yield NotAReceipt("a result has no `status`")
                continue
            number = text_of(status, "id") or OTHER
            group = f"group {text_of(status, 'groupId')}"
            value = next((one for one in (f"id {number}", group) if one in self.statuses), number)
            yield DeliveryReceipt(
                value=value,
                status=self.statuses.get(value),
                message_id=text_of(result, "messageId"),
                time=times.iso(text_of(result, "doneAt") or "", zone),
                reference=text_of(result, "callbackData"),
            )

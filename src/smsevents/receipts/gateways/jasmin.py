"""Jasmin: it calls the `dlr-url` of a message with GET or POST, as `dlr-method` says.

A receipt of level 1 is the response of the SMSC to the message, and has no time. A receipt of level 2 is the SMSC's
own, with the local time `donedate` to the minute. With `dlr-level=3` both come. Jasmin repeats a call unless the
response is `ACK/Jasmin`.

Source: Jasmin's documentation "HTTP API", `jasmin/managers/content.py`, and a run of Jasmin 0.11.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import smpp, times
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status

_REFUSED = "ESME_*"
_ACCEPTED = "ESME_ROK"


class Jasmin:
    """Jasmin 0.9 to 0.11."""

    name = "jasmin"
    done = b"ACK/Jasmin"
    statuses: Mapping[str, Status | None] = {
        _ACCEPTED: "ACCEPTED",
        _REFUSED: "REJECTED",  # any other response of the SMSC to the message
        **smpp.STATES,
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        value = required(fields, "message_status")
        value = value.upper()
        known = _REFUSED if value.startswith("ESME_") and value != _ACCEPTED else value
        yield DeliveryReceipt(
            value=known,
            status=self.statuses.get(known),
            message_id=text_of(fields, "id"),
            time=times.digits(text_of(fields, "donedate") or "", zone),
        )

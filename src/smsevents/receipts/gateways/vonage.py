"""Vonage's SMS API: it calls the address of the account, or the `callback` of a message, with a query, a form or JSON.

With signed webhooks, `sig` is a digest of the other fields, sorted and written as `&name=value`: an HMAC, or MD5 of
that text and the secret, whichever the account chose. `scts` is a local time to the minute, `message-timestamp` is UTC.

Source: "Delivery Receipts" and "Signing Messages" in Vonage's documentation.
"""

from __future__ import annotations

import hmac
from datetime import UTC
from hashlib import md5
from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.call import is_json, read_call
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.receipts.signatures import SignedCall
    from smsevents.wire.events import Status

_DIGESTS = ("md5", "sha1", "sha256", "sha512")


class Vonage:
    """Vonage's SMS API, formerly Nexmo."""

    name = "vonage"
    done = b"OK"
    signs_query = True
    statuses: Mapping[str, Status | None] = {
        "accepted": "ACCEPTED",
        "buffered": "ACCEPTED",
        "delivered": "DELIVERED",
        "expired": "EXPIRED",
        "failed": "UNDELIVERABLE",
        "rejected": "REJECTED",
        "deleted": "DELETED",
        "unknown": None,
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        value = required(fields, "status")
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "messageId"),
            time=times.digits(text_of(fields, "scts") or "", zone)
            or times.iso(text_of(fields, "message-timestamp") or "", UTC),
            reference=text_of(fields, "client-ref"),
        )

    def verify(self, call: SignedCall, secret: bytes) -> bool:
        """Return whether the call was signed with the signature secret, by any of Vonage's methods."""
        try:
            [fields] = map(dict, read_call(call.query, call.body, call.content_type))
        except ValueError:  # several objects, or none that can be read
            return False
        signature = str(fields.pop("sig", "")).lower().encode(errors="replace")
        text = "".join(f"&{_escaped(name)}={_escaped(value)}" for name, value in sorted(fields.items()))
        # Vonage signs UTF-8; queries and forms were read as Latin-1, byte by byte
        signed = text.encode("utf-8" if is_json(call.body) else "latin-1", "replace")
        found = [
            hmac.compare_digest(hmac.new(secret, signed, digest).hexdigest().encode(), signature) for digest in _DIGESTS
        ]
        plain = md5(signed + secret, usedforsecurity=False).hexdigest()  # Vonage's default
        return any([*found, hmac.compare_digest(plain.encode(), signature)])


def _escaped(value: object) -> str:
    return str(value).replace("&", "_").replace("=", "_")

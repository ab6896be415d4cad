"""Vonage's Messages API: it posts JSON to the status address of the application, signed with a JSON Web Token.

The token is in `Authorization`, signed with HS256, and its claim `payload_hash` is the SHA-256 of the body. So only
fields of the body are read. When the token was made (`iat`) is not checked: Vonage repeats a call for 24 hours, the
server's clock may be wrong, and a call that is sent again changes nothing.

Source: "Messages API: status webhook" and "Signed Webhooks" in Vonage's documentation.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from smsevents.receipts import times
from smsevents.receipts.receipt import DeliveryReceipt, required, text_of
from smsevents.receipts.signatures import jwt_claims

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.receipts.signatures import SignedCall
    from smsevents.wire.events import Status

_CODE = re.compile(r"[0-9]{3,5}\Z")


class VonageMessages:
    """Vonage's Messages API."""

    name = "vonage-messages"
    done = b"OK"
    signs_query = False
    statuses: Mapping[str, Status | None] = {
        "submitted": "ACCEPTED",
        "delivered": "DELIVERED",
        "read": "DELIVERED",
        "undeliverable": "UNDELIVERABLE",
        "rejected": "REJECTED",
        "rejected 1330": "UNDELIVERABLE",
        "rejected 1360": "EXPIRED",
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        value = required(fields, "status")
        with_code = f"{value} {_code_of(fields.get('error'))}"
        known = with_code if with_code in self.statuses else value
        yield DeliveryReceipt(
            value=known,
            status=self.statuses.get(known),
            message_id=text_of(fields, "message_uuid"),
            time=times.iso(text_of(fields, "timestamp") or "", zone),
            reference=text_of(fields, "client_ref"),
        )

    def verify(self, call: SignedCall, secret: bytes) -> bool:
        """Return whether the call was signed with the signature secret."""
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        claims = jwt_claims(token.strip(), secret) if kind.lower() == "bearer" else None
        if claims is None:
            return False
        expected = sha256(call.body).hexdigest().encode()
        return hmac.compare_digest(expected, str(claims.get("payload_hash", "")).lower().encode())


def _code_of(error: object) -> str | None:
    """Return the number of an error: its title, or the end of the address that describes it."""
    if not isinstance(error, dict):
        return None
    for name in ("title", "type"):
        found = _CODE.search(text_of(error, name) or "")
        if found:
            return found[0]
    return None

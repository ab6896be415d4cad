"""Twilio: it calls the `StatusCallback` of a message with a form, signed with the Auth Token or a shared key.

The signature is an HMAC of the complete public address and the sorted fields of the form, in the header
`X-Twilio-Signature`. It is SHA-1, or what `X-Twilio-Webhooks-Signature-Settings` names. The address may have been
signed with or without its port. A body that is not a form is signed by its SHA-256, `bodySHA256` in the query.

Receipts have no time of their own. Many have `RawDlrDoneDate`, but it is the local time of some carrier, whose zone
nobody knows, so it is not read.

Source: "Outbound Message Status in Status Callbacks" and "Webhooks Security" in Twilio's documentation.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from smsevents.receipts.receipt import DeliveryReceipt, NotAReceipt, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo

    from smsevents.receipts.signatures import SignedCall
    from smsevents.wire.events import Status

_DIGESTS = {"HMAC_SHA1": sha1, "HMAC_SHA256": sha256}
_PORTS = {"https": 443, "http": 80}


class Twilio:
    """Twilio's Programmable Messaging."""

    name = "twilio"
    done = b"OK"
    signs_query = True
    statuses: Mapping[str, Status | None] = {
        "accepted": "ACCEPTED",
        "queued": "ACCEPTED",
        "sending": "ACCEPTED",
        "sent": "ACCEPTED",
        "scheduled": None,
        "delivered": "DELIVERED",
        "read": "DELIVERED",
        "undelivered": "UNDELIVERABLE",
        "undelivered 30004": "REJECTED",  # blocked
        "undelivered 30007": "REJECTED",  # filtered
        "undelivered 30036": "EXPIRED",  # the validity period is over
        "failed": "REJECTED",
        "failed 21610": "SKIPPED",  # the recipient has unsubscribed
        "canceled": "DELETED",
        "partially_delivered": None,
        "receiving": None,  # incoming messages
        "received": None,
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:  # noqa: ARG002 -- there are no times
        """Read the receipt of a call."""
        value = text_of(fields, "MessageStatus") or text_of(fields, "SmsStatus")
        if value is None:
            raise NotAReceipt("the field `MessageStatus` is missing")
        with_code = f"{value} {text_of(fields, 'ErrorCode')}"
        known = with_code if with_code in self.statuses else value
        yield DeliveryReceipt(
            value=known,
            status=self.statuses.get(known),
            message_id=text_of(fields, "MessageSid") or text_of(fields, "SmsSid"),
        )

    def verify(self, call: SignedCall, secret: bytes) -> bool:
        """Return whether the call was signed with the Auth Token or the shared key."""
        digest = _DIGESTS.get(_algorithm(call.headers.get("x-twilio-webhooks-signature-settings", "")))
        signature = call.headers.get("x-twilio-signature", "").encode("latin-1")
        body_sha256 = parse_qs(call.query.decode("latin-1")).get("bodySHA256")
        if digest is None or not signature:
            return False
        if body_sha256 is None:
            pairs = sorted(set(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True)))
            fields = "".join(name + value for name, value in pairs)
        else:
            fields = ""
            if not hmac.compare_digest(sha256(call.body).hexdigest().encode(), body_sha256[0].encode("latin-1")):
                return False
        found = [
            hmac.compare_digest(b64encode(hmac.digest(secret, (url + fields).encode(), digest)), signature)
            for one in call.urls
            for url in _with_and_without_port(one)
        ]
        return any(found)


def _algorithm(settings: str) -> str:
    named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    return named.get("algorithm", "").strip().upper() or "HMAC_SHA1"


def _with_and_without_port(url: str) -> Iterator[str]:
    yield url
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        other = f"{host}:{_PORTS.get(parts.scheme, 80)}" if parts.port is None else host
    except ValueError:  # the port, which may be the Host header's, is none
        return
    yield url.replace(f"://{parts.netloc}", f"://{other}", 1)

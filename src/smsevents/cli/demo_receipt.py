"""The delivery receipt of `smsevents demo`: sent with curl, as a gateway would, and exported."""

from __future__ import annotations

from contextlib import closing

from smsevents.catalog import open_catalog
from smsevents.receipts.receivers import Receivers
from smsevents.wire.events import Campaign, OneOff
from smsevents.wire.reference import encode_reference

MINUTE_MS = 60_000


def receipt_call(url: str, base: str, trackpoint: int, now: int) -> list[str]:
    """Create a receiver of Kannel in a database, and return the call of a receipt at the time `now` (Unix ms).

    `base` is the address of the server.
    """
    with closing(open_catalog(url)) as database:
        token = Receivers(database).create(trackpoint, "kannel")
    source = OneOff(Campaign("demo", "Receipts"), now - MINUTE_MS)
    reference = encode_reference("demo-user", source)
    return ["curl", f"{base}/receipts/{token}/{reference}?d=1&A=stat:DELIVRD&F=1a2b3c00&T={now // 1000}"]

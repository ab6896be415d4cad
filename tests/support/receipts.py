"""Receivers of delivery receipts without a server, by a clock that the test sets."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from smsevents.catalog.receivers import find_receiver
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.log.joining import Joining
from smsevents.receipts.call import read_call, read_receipts
from smsevents.receipts.gateways import gateway_of
from smsevents.receipts.receivers import Receivers
from smsevents.receipts.recording import ReceiptRecorder, prepare
from smsevents.receipts.register import Register
from smsevents.receipts.times import zone_of
from smsevents.segments.splice import unpack
from smsevents.wire.events import Campaign, Event, OneOff, SmsEvent, encode
from smsevents.wire.limits import DAY_MS
from smsevents.wire.window import Window
from tests.support.ingests import certain
from tests.support.logs import log_at

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.catalog.receivers import Receiver
    from smsevents.receipts.recording import Arrival
    from smsevents.wire.events import Flow, Status
    from smsevents.wire.results import SentResult

START_MS = 1_790_000_000_000


def one_off(send_date_ms: int = START_MS, name: str = "Black Friday") -> OneOff:
    """Return the source of a one-off campaign."""
    return OneOff(Campaign("b2c8", name), send_date_ms)


def line_of(trackpoint: int, user_id: str, status: Status, date_ms: int, source: OneOff | Flow) -> bytes:
    """Return the line of an event."""
    return encode(Event(SmsEvent(trackpoint, user_id, status, date_ms), source))


def sent_line(scope: dict[str, str], message_id: str, user_id: str, source: OneOff | Flow, **more: Any) -> bytes:
    """Return a line of the register. `scope` names the receiver or the gateway."""
    named = {"messageId": message_id, "userId": user_id, "source": source}
    return msgspec.json.encode({**scope, **named, **more}) + b"\n"


class ReceiptSite:
    """A shop, as one process of its database sees it."""

    def __init__(self, database: Database, trackpoint: int = 7, *, exists: bool = False) -> None:
        """Add the shop, unless it exists."""
        self.database = database
        self.trackpoint = trackpoint
        self.now_ms = START_MS
        if not exists:
            database.write(lambda c: insert_shop(c, Shop(trackpoint, "", 1)))
        joining = Joining(database)
        self.recorder = ReceiptRecorder(database, joining)
        self.register = Register(database, joining)

    def receiver(self, gateway: str = "kannel", zone: str = "UTC", mapping: bytes | None = None) -> Receiver:
        """Create a receiver."""
        token = Receivers(self.database, lambda: self.now_ms).create(
            self.trackpoint, gateway, zone=zone, mapping=mapping
        )
        with self.database.read() as connection:
            found = find_receiver(connection, token.split("_")[0])
        assert found is not None
        return found

    def receive(self, receiver: Receiver, fields: dict[str, Any], reference: str | None = None) -> list[str]:
        """Receive a call with fields in its query. Return what became of its receipts."""
        gateway = gateway_of(receiver.gateway, receiver.mapping)
        zone = zone_of(receiver.zone)
        query = urlencode(fields).encode()
        receipts, _ = read_receipts(gateway, read_call(query, b"", ""), zone)
        arrival = prepare(receiver, receipts, reference, certain(self.now_ms))
        if arrival.items:
            self.record(arrival).result()
        return [outcome.value for outcome in arrival.all_outcomes]

    def record(self, arrival: Arrival) -> Future[None]:
        """Hand in the receipts of a call."""
        outcome: Future[None] = Future()
        self.recorder.record(self.trackpoint, arrival, outcome)
        return outcome

    def sent(self, *lines: bytes) -> SentResult:
        """Register messages."""
        return self.register.add(self.trackpoint, b"".join(lines), certain(self.now_ms))

    def lines(self) -> list[bytes]:
        """Return the lines of all events of the shop, in order."""
        window = Window(START_MS - 200 * DAY_MS, START_MS + 200 * DAY_MS)
        return b"".join(unpack(log_at(self.database, lambda: self.now_ms).read(self.trackpoint, window))).splitlines()

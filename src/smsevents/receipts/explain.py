"""What a call would become, in words for the operator, without storing anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smsevents.catalog.periods import days_of, periods_kept
from smsevents.catalog.shops import blocked_digests
from smsevents.receipts.call import read_call, read_receipts
from smsevents.receipts.gateways import gateway_of
from smsevents.receipts.receipt import NotAReceipt
from smsevents.receipts.recording import Outcome, event_of, prepare, refusal_of
from smsevents.receipts.resolving import Item, Times, find_messages
from smsevents.receipts.signatures import readable_query
from smsevents.receipts.times import zone_of
from smsevents.wire.events import digest_of, encode

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.receivers import Receiver
    from smsevents.clock.trusted import Judgement

_PATH = re.compile(r"/receipts/[^/?]*(?:/([^/?]+))?/?$")

_REASONS = {
    Outcome.WAITING: "would wait up to 72 hours for its message: it is not in the register (sent-sms), or was not yet",
    Outcome.BLOCKED: "would be dropped: the user is blocked",
    Outcome.EXPIRED: "would be dropped: it is older than 90 days",
    Outcome.IMPOSSIBLE: "would be dropped: no event can have these values; check the reference, above all `sendDate`",
    Outcome.NOT_RECORDED: "would be counted, and is not an event: the status does not say what happened to the message",
    Outcome.BAD_REFERENCE: "would be dropped: the reference cannot be read; docs/receipts.md shows how to make one",
    Outcome.NO_MESSAGE: "would be dropped: there is neither a reference in the address nor an id of the message",
}


@dataclass(frozen=True)
class Sample:
    """A call as a gateway would make it. `url` is its address, or only the query; `body` is empty for GET."""

    url: str
    body: bytes = b""
    content_type: str = ""

    @property
    def reference(self) -> str | None:
        """The reference in the address, or None."""
        found = _PATH.search(urlsplit(self.url).path)
        return found[1] if found else None

    @property
    def query(self) -> bytes:
        """The query. A text that is not an address is one as a whole."""
        is_address = "/receipts/" in self.url or "?" in self.url
        text = self.url.partition("?")[2] if is_address else self.url
        return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Explained:
    """What becomes of one receipt: a sentence, and the line of the event if there is one."""

    text: str
    line: bytes | None = None


def explain(database: Database, receiver: Receiver, sample: Sample, judgement: Judgement) -> list[Explained]:
    """Return what each receipt of a call would become now. Raises `TimeInDoubt` or `StoreUnavailable`."""
    gateway = gateway_of(receiver.gateway, receiver.mapping)
    try:
        calls = read_call(readable_query(gateway, sample.query), sample.body, sample.content_type)
        receipts, refused = read_receipts(gateway, calls, zone_of(receiver.zone))
    except NotAReceipt as error:
        receipts, refused = [], [error]
    found = [Explained(f"The call would be counted as unreadable: {error}.") for error in refused]
    with database.read() as connection:
        for number, receipt in enumerate(receipts, 1):
            arrival = prepare(receiver, [receipt], sample.reference, judgement)
            status = f"Receipt {number}: the status {receipt.value!r}"
            if receipt.status is None and receipt.value not in gateway.statuses:
                status += ", which the gateway does not document,"
            if arrival.items:
                found.append(_item(connection, arrival.items[0], judgement, status))
            else:
                found.append(Explained(f"{status} {_REASONS[arrival.outcomes[0]]}."))
    return found


def _item(connection: Connection, item: Item, judgement: Judgement, status: str) -> Explained:
    trackpoint = item.receiver.trackpoint
    periods = periods_kept(connection)
    message = find_messages(connection, periods, trackpoint, [item]).get(item.digest)
    if message is None:
        return Explained(f"{status} {_REASONS[Outcome.WAITING]}.")
    if digest_of(trackpoint, message.user_id) in blocked_digests(connection, trackpoint):
        return Explained(f"{status} {_REASONS[Outcome.BLOCKED]}.")
    times = Times(connection, days_of(periods), trackpoint, [item])
    times.decide(item, judgement, message)
    time, is_arrival = times.of(item)
    status_of_event: Any = item.receipt.status
    event = event_of(trackpoint, message, status_of_event, time.resolved(message.source.sendDate))
    refused = refusal_of(event, judgement)
    if refused is not None:
        return Explained(f"{status} {_REASONS[refused]}.")
    first = "the time of its first arrival, because the gateway's is missing or cannot be true"
    when = first if is_arrival else "its own time"
    return Explained(f"{status} would become {item.receipt.status}, with {when}.", encode(event))

"""Receipts → events, in one write with the other receipts of the shop that wait for the same commit.

All that is decided about a receipt is decided within that write: whether its user is blocked, which message it belongs
to, and when it happened. So nothing can come in between, and after a kill all of it is stored, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.periods import days_kept
from smsevents.catalog.sent import WaitingRow, wait
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.errors import TimeInDoubt
from smsevents.log.plausible import why_impossible
from smsevents.receipts.resolving import Item, Times, find_messages
from smsevents.wire.events import Event, SmsEvent, digest_of, encode
from smsevents.wire.reference import NotAReference, decode_reference
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from contextlib import ExitStack

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.receivers import Receiver
    from smsevents.clock.trusted import Judgement
    from smsevents.log.joining import Joining
    from smsevents.receipts.receipt import DeliveryReceipt
    from smsevents.wire.events import Status
    from smsevents.wire.lines import Entry
    from smsevents.wire.reference import Reference


class Outcome(StrEnum):
    """What became of a receipt."""

    RECORDED = "recorded"  # an event of the log, perhaps since an earlier call
    WAITING = "waiting"  # its message is not in the register yet
    BLOCKED = "blocked"  # its user is blocked
    EXPIRED = "expired"  # it is older than the history
    IMPOSSIBLE = "impossible"  # no event can have these values
    NOT_RECORDED = "not_recorded"  # its status must not become an event
    BAD_REFERENCE = "bad_reference"
    NO_MESSAGE = "no_message"  # it has neither a reference nor an id
    BAD_SIGNATURE = "bad_signature"
    UNREADABLE = "unreadable"  # the call is not one of the gateway


@dataclass
class Arrival:
    """The receipts of one call. `outcomes` has one for each, once the call is recorded."""

    items: list[Item]
    judgement: Judgement
    outcomes: list[Outcome]
    stored: list[Outcome] = field(default_factory=list)

    @property
    def all_outcomes(self) -> list[Outcome]:
        """What became of all receipts of the call."""
        return self.outcomes + self.stored


def prepare(
    receiver: Receiver, receipts: Iterable[DeliveryReceipt], reference: str | None, judgement: Judgement
) -> Arrival:
    """Return the receipts of a call as they can be recorded. `reference` is that of the address, or None."""
    arrival = Arrival([], judgement, [])
    for receipt in receipts:
        if receipt.status is None:
            arrival.outcomes.append(Outcome.NOT_RECORDED)
            continue
        text = reference or receipt.reference
        try:
            named = decode_reference(text) if text else None
        except NotAReference:
            if reference or not receipt.message_id:
                arrival.outcomes.append(Outcome.BAD_REFERENCE)
                continue
            named = None  # the field may have another use, and the register still has the message
        if named is None and not receipt.message_id:
            arrival.outcomes.append(Outcome.NO_MESSAGE)
            continue
        arrival.items.append(Item(receipt, receiver, named))
    return arrival


class ReceiptRecorder:
    """Records receipts. Thread-safe: the database has one writer, which does all of the work."""

    def __init__(self, database: Database, joining: Joining) -> None:
        """Store events together with those of small imports."""
        self._database = database
        self._joining = joining

    def record(self, trackpoint: int, arrival: Arrival) -> Future[None]:
        """Record the receipts of a call to a shop. The future is done when they are durable.

        It raises `UnknownShop`, `TimeInDoubt` or `StoreUnavailable`. Nothing of the call is stored then.
        """
        return self._database.submit_joined(self._store, trackpoint, arrival)

    def _store(
        self, connection: Connection, trackpoint: int, arrivals: Sequence[Arrival], held: ExitStack
    ) -> list[Exception | None]:
        dialect_of(connection).begin_append(connection, trackpoint)
        require_shop(connection, trackpoint)
        writing = _Writing(connection, trackpoint, arrivals)
        told: list[Exception | None] = [writing.take(one) for one in arrivals]
        self._joining.store_entries(connection, trackpoint, writing.entries, held)
        if writing.waiting:
            wait(connection, trackpoint, writing.waiting)
        return told


class _Writing:
    """One write of receipts of a shop: the events that they become, and those that wait."""

    def __init__(self, connection: Connection, trackpoint: int, arrivals: Sequence[Arrival]) -> None:
        self.entries: list[Entry] = []
        self.waiting: list[WaitingRow] = []
        self._trackpoint = trackpoint
        self._blocked = blocked_digests(connection, trackpoint)
        items = [item for one in arrivals for item in one.items]
        days = days_kept(connection)
        self._messages = find_messages(connection, trackpoint, items)
        self._times = Times(connection, days, trackpoint, items)
        self._doubted: dict[int, TimeInDoubt] = {}  # by the identity of the arrival
        for one in arrivals:
            self._decide(one)
        self._times.settle()

    def _decide(self, arrival: Arrival) -> None:
        try:
            for item in arrival.items:
                if self._user_of(item) not in self._blocked:
                    self._times.decide(item, arrival.judgement, self._messages.get(item.digest))
        except TimeInDoubt as doubt:
            self._doubted[id(arrival)] = doubt

    def take(self, arrival: Arrival) -> TimeInDoubt | None:
        """Decide what becomes of the receipts of a call. Return why none of them can be stored now, or None."""
        doubt = self._doubted.get(id(arrival))
        arrival.stored = [] if doubt else [self._take(item, arrival.judgement) for item in arrival.items]
        return doubt

    def _take(self, item: Item, judgement: Judgement) -> Outcome:
        if self._user_of(item) in self._blocked:
            return Outcome.BLOCKED
        message = self._messages.get(item.digest)
        time, _ = self._times.of(item)
        status = item.receipt.status
        assert status is not None  # noqa: S101 -- `prepare` left the others out
        if message is None:
            self.waiting.append(
                WaitingRow(item.messages[0], item.receiver.id, status, *time, judgement.clock_ms, item.digest)
            )
            return Outcome.WAITING
        event = event_of(self._trackpoint, message, status, time.resolved(message.source.sendDate))
        refused = refusal_of(event, judgement)
        if refused is None:
            self.entries.append((event.smsEvent.date, encode(event)))
        return refused or Outcome.RECORDED

    def _user_of(self, item: Item) -> bytes | None:
        message = self._messages.get(item.digest)
        return None if message is None else digest_of(self._trackpoint, message.user_id)


def event_of(trackpoint: int, message: Reference, status: Status, date_ms: int) -> Event:
    """Return the event about a message."""
    return Event(SmsEvent(trackpoint, message.user_id, status, date_ms), message.source)


def refusal_of(event: Event, judgement: Judgement) -> Outcome | None:
    """Return why an event is not stored, or None if it is."""
    if why_impossible(event):
        return Outcome.IMPOSSIBLE
    return Outcome.EXPIRED if event.smsEvent.date < history_start(judgement.old_by_ms) else None

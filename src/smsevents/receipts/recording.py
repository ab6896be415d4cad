"""Receipts → events, in one write with the other receipts of the shop that wait for the same commit.

All that is decided about a receipt is decided within that write: whether its user is blocked, which message it belongs
to, and when it happened. So nothing can come in between, and after a kill all of it is stored, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from smsevents.catalog.appending import begin_appends
from smsevents.catalog.periods import PERIODS_SQL, days_of, periods_of
from smsevents.catalog.sent import WaitingRow, wait
from smsevents.catalog.shops import unknown_shop
from smsevents.errors import TimeInDoubt
from smsevents.log.plausible import why_impossible
from smsevents.receipts.resolving import Item, Times, find_messages
from smsevents.wire.events import Event, SmsEvent, digest_of, encode
from smsevents.wire.reference import NotAReference, decode_reference
from smsevents.wire.window import history_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.database import Promise
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

    def record(self, trackpoint: int, arrival: Arrival, outcome: Promise[None]) -> None:
        """Record the receipts of a call to a shop. The outcome is told once they are durable.

        It gets `UnknownShop`, `TimeInDoubt` or `StoreUnavailable`. Nothing of the call is stored then.
        """
        self._database.submit_joined(self._store, _Call(trackpoint, arrival), outcome)

    def _store(self, connection: Connection, calls: Sequence[_Call], held: ExitStack) -> list[Exception | None]:
        arrivals: dict[int, list[Arrival]] = {}
        for call in calls:
            arrivals.setdefault(call.trackpoint, []).append(call.arrival)
        appending = begin_appends(connection, arrivals, held, [PERIODS_SQL])
        periods = periods_of(appending.rows[0])
        writings = {
            trackpoint: _Writing(connection, trackpoint, of_shop, appending.blocked[trackpoint], periods)
            for trackpoint, of_shop in arrivals.items()
            if trackpoint in appending.blocked
        }
        told: list[Exception | None] = [
            writings[call.trackpoint].take(call.arrival)
            if call.trackpoint in writings
            else unknown_shop(call.trackpoint)
            for call in calls
        ]
        self._joining.store_entries(
            connection, {trackpoint: one.entries for trackpoint, one in writings.items()}, appending
        )
        for trackpoint, writing in writings.items():
            if writing.waiting:
                wait(connection, trackpoint, writing.waiting)
        return told


class _Call(NamedTuple):
    """The receipts of a call, and the shop that they are for."""

    trackpoint: int
    arrival: Arrival


class _Writing:
    """One write of receipts of a shop: the events that they become, and those that wait."""

    def __init__(
        self,
        connection: Connection,
        trackpoint: int,
        arrivals: Sequence[Arrival],
        blocked: frozenset[bytes],
        periods: Sequence[int],
    ) -> None:
        self.entries: list[Entry] = []
        self.waiting: list[WaitingRow] = []
        self._trackpoint = trackpoint
        self._blocked = blocked
        items = [item for one in arrivals for item in one.items]
        self._messages = find_messages(connection, periods, trackpoint, items)
        self._times = Times(connection, days_of(periods), trackpoint, items)
        self._doubted: dict[int, TimeInDoubt] = {}  # by the identity of the arrival
        for one in arrivals:
            self._decide(one)
        self._times.settle()

    def _decide(self, arrival: Arrival) -> None:
        try:
            for item in arrival.items:
                if not self._is_blocked(item):
                    self._times.decide(item, arrival.judgement, self._messages.get(item.digest))
        except TimeInDoubt as doubt:
            self._doubted[id(arrival)] = doubt

    def take(self, arrival: Arrival) -> TimeInDoubt | None:
        """Decide what becomes of the receipts of a call. Return why none of them can be stored now, or None."""
        doubt = self._doubted.get(id(arrival))
        arrival.stored = [] if doubt else [self._take(item, arrival.judgement) for item in arrival.items]
        return doubt

    def _take(self, item: Item, judgement: Judgement) -> Outcome:
        if self._is_blocked(item):
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

    def _is_blocked(self, item: Item) -> bool:
        message = self._messages.get(item.digest) if self._blocked else None
        return message is not None and digest_of(self._trackpoint, message.user_id) in self._blocked


def event_of(trackpoint: int, message: Reference, status: Status, date_ms: int) -> Event:
    """Return the event about a message."""
    return Event(SmsEvent(trackpoint, message.user_id, status, date_ms), message.source)


def refusal_of(event: Event, judgement: Judgement) -> Outcome | None:
    """Return why an event is not stored, or None if it is."""
    if why_impossible(event):
        return Outcome.IMPOSSIBLE
    return Outcome.EXPIRED if event.smsEvent.date < history_start(judgement.old_by_ms) else None

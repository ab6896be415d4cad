"""Which message a receipt belongs to, and when what it reports happened.

**The message.** The address of a receipt has the reference of the message, or the receipt has an id that is in the
register of sent messages. A receipt with the exact id is preferred to one with another spelling of it. If other
spellings lead to several messages, the receipt waits for the exact one.

**The time.** It is what the gateway reports. A time more than AHEAD_MAX_MS ahead, or before the message was sent,
cannot be true, and some gateways report none. Then it is the time of the first arrival, which is remembered, because a
repeat must become the same event.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.sent import FirstArrival, find_arrivals, find_sent, name_users, remember_arrivals
from smsevents.errors import TimeInDoubt
from smsevents.receipts.message_ids import digests_of, normalized
from smsevents.receipts.times import Reported
from smsevents.wire.events import digest_of
from smsevents.wire.limits import DAY_MS
from smsevents.wire.reference import Reference, decode_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog.receivers import Receiver
    from smsevents.catalog.sent import SentRow
    from smsevents.clock.trusted import Judgement
    from smsevents.receipts.receipt import DeliveryReceipt

AHEAD_MAX_MS = 5 * 60 * 1000
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Item:
    """A receipt that may become an event. `named` is what its reference says, or None without one."""

    receipt: DeliveryReceipt
    receiver: Receiver
    named: Reference | None
    messages: list[bytes] = field(init=False)  # digests of the id and of its other spellings
    digest: bytes = field(init=False)  # of what makes two receipts the same

    def __post_init__(self) -> None:
        message_id = self.receipt.message_id
        object.__setattr__(self, "messages", digests_of(message_id) if message_id and not self.named else [])
        same = (
            self.receiver.id,
            self.receipt.value,
            normalized(message_id) if message_id else None,
            self.named,
            self.receipt.time,
        )
        digest = hashlib.sha256(msgspec.json.encode(same)).digest()[:_DIGEST_BYTES]
        object.__setattr__(self, "digest", digest)


def find_messages(
    connection: Connection, periods: Sequence[int], trackpoint: int, items: Sequence[Item]
) -> dict[bytes, Reference]:
    """Return the message of each item of a shop that has one, by the item's digest. `periods` are those kept."""
    found = {item.digest: item.named for item in items if item.named is not None}
    searched = [item for item in items if item.named is None]
    # a look-up of a spelling in all periods takes longer than all else, and seldom has to be the second one
    for messages_of in (_own_message, _other_messages):
        missing = [item for item in searched if item.digest not in found]
        wanted = {message for item in missing for message in messages_of(item)}
        rows: dict[bytes, list[SentRow]] = {}
        for sms in find_sent(connection, periods, trackpoint, wanted) if wanted and periods else ():
            rows.setdefault(sms.message, []).append(sms)
        for item in missing:
            some = [row for message in messages_of(item) if (row := _row_of(item, rows.get(message, ()))) is not None]
            if len(some) == 1:
                found[item.digest] = Reference(some[0].user_id, decode_source(some[0].source))
    return found


def _own_message(item: Item) -> list[bytes]:
    return item.messages[:1]


def _other_messages(item: Item) -> list[bytes]:
    return item.messages[1:]


def _row_of(item: Item, rows: Sequence[SentRow]) -> SentRow | None:
    """Return the latest row that is the receiver's, or else that of its gateway."""
    scopes = (item.receiver.id, item.receiver.gateway)
    return next((row for scope in scopes for row in rows if row.scope == scope), None)


class Times:
    """When what receipts of a shop report happened. First `decide` for all of them, then `settle`, then ask."""

    def __init__(self, connection: Connection, days: Sequence[int], trackpoint: int, items: Iterable[Item]) -> None:
        """Look up the first arrivals of items. `days` are those that are remembered."""
        self._connection = connection
        self._days = days
        self._trackpoint = trackpoint
        self._arrived = find_arrivals(connection, days, trackpoint, {item.digest for item in items}) if days else {}
        self._users: dict[bytes, bytes] = {}  # of arrivals that were remembered without their user
        self._new: dict[int, dict[bytes, tuple[int, bytes | None]]] = {}  # by day

    def decide(self, item: Item, judgement: Judgement, message: Reference | None) -> None:
        """Decide whether the time of an item that arrives now is the gateway's, or the one of its first arrival.

        `message` is None if it is not known yet. Raises `TimeInDoubt` if only a clock in doubt speaks against the
        gateway's time.
        """
        if (arrived := self._arrived.get(item.digest)) is not None:
            if message is not None and not arrived.is_named:
                self._users[item.digest] = digest_of(self._trackpoint, message.user_id)
            return
        time = item.receipt.time
        if (
            time is not None
            and not is_ahead(time, judgement)
            and (message is None or not time.is_before_sending(message.source.sendDate))
        ):
            return
        now = judgement.clock_ms
        user = None if message is None else digest_of(self._trackpoint, message.user_id)
        self._arrived[item.digest] = FirstArrival(now, is_named=user is not None)
        self._new.setdefault(now // DAY_MS, {})[item.digest] = (now, user)

    def settle(self) -> None:
        """Remember the arrivals that are new, and the users of others. Another process may have been first."""
        if self._users:
            name_users(self._connection, self._days, self._trackpoint, self._users)
        for day, arrivals in self._new.items():
            remember_arrivals(self._connection, day, self._trackpoint, arrivals)
            if not dialect_of(self._connection).has_one_writer:
                self._arrived |= find_arrivals(self._connection, [day], self._trackpoint, arrivals)

    def of(self, item: Item) -> tuple[Reported, bool]:
        """Return the time of an item, and whether it is that of its first arrival."""
        arrived = self._arrived.get(item.digest)
        if arrived is not None:
            return Reported(arrived.arrived_ms), True
        assert item.receipt.time is not None  # noqa: S101 -- `decide` remembered an arrival otherwise
        return item.receipt.time, False


def is_ahead(time: Reported, judgement: Judgement) -> bool:
    """Return whether a time is so far ahead that it cannot be true. Raises `TimeInDoubt`."""
    ahead_ms = time.first_ms - judgement.clock_ms
    if ahead_ms > AHEAD_MAX_MS and judgement.doubt is not None:
        raise TimeInDoubt(
            "Nothing was stored. The receipt's time is more than 5 minutes ahead of the server's clock, which may be"
            " wrong itself. Send it again later."
        )
    return ahead_ms > AHEAD_MAX_MS

"""The statements on receivers: where gateways send delivery receipts to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, update

from smsevents.catalog.tables import receivers, waiting_receipts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection

_NOTE_CALL = (
    update(receivers).where(receivers.c.id == bindparam("receiver_id")).values(last_call_ms=bindparam("call_ms"))
)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A row of `receivers`: all but the token itself. Times are Unix milliseconds.

    `zone` is the name of a time zone. `mapping` is JSON, or None for gateways that need none. `secret` is that of the
    gateway's signatures, or None for gateways that do not sign. `unmatched` counts
    receipts that waited in vain for their message to be named.
    """

    id: str
    trackpoint: int
    gateway: str
    digest: bytes
    zone: str
    mapping: bytes | None
    secret: bytes | None = field(default=None, repr=False)
    created_ms: int
    revoked_ms: int | None = None
    last_call_ms: int | None = None
    unmatched: int = 0


def insert_receiver(connection: Connection, receiver: Receiver) -> None:
    """Store a new receiver."""
    connection.execute(insert(receivers).values(vars(receiver)))


def find_receiver(connection: Connection, receiver_id: str) -> Receiver | None:
    """Return the receiver with an id, or None."""
    found = _receivers(connection, receivers.c.id == receiver_id)
    return found[0] if found else None


def receivers_of(connection: Connection, trackpoint: int) -> list[Receiver]:
    """Return the receivers of a shop, the oldest first."""
    return _receivers(connection, receivers.c.trackpoint == trackpoint)


def revoke_receiver(connection: Connection, receiver_id: str, now: int) -> bool | None:
    """Revoke a receiver. Return True, False if it was revoked before (its time stays), or None if there is none."""
    statement = (
        update(receivers).where(receivers.c.id == receiver_id, receivers.c.revoked_ms.is_(None)).values(revoked_ms=now)
    )
    if connection.execute(statement).rowcount:
        return True
    return None if find_receiver(connection, receiver_id) is None else False


def note_calls(connection: Connection, calls: Mapping[str, int]) -> None:
    """Record when receivers were last called: Unix milliseconds by the receiver's id."""
    for receiver_id, call_ms in calls.items():
        connection.execute(_NOTE_CALL, {"receiver_id": receiver_id, "call_ms": call_ms})


def add_unmatched(connection: Connection, counts: Mapping[str, int]) -> None:
    """Count receipts that were dropped because their message was never named, by the receiver's id."""
    for receiver_id, count in counts.items():
        statement = update(receivers).where(receivers.c.id == receiver_id)
        connection.execute(statement.values(unmatched=receivers.c.unmatched + count))


def count_receipts(connection: Connection) -> tuple[int, int]:
    """Return how many receipts wait now, and how many of all receivers were dropped as unmatched."""
    waiting = connection.execute(select(func.count()).select_from(waiting_receipts)).scalar_one()
    unmatched = connection.execute(select(func.coalesce(func.sum(receivers.c.unmatched), 0))).scalar_one()
    return int(waiting), int(unmatched)


def _receivers(connection: Connection, condition: ColumnElement[bool]) -> list[Receiver]:
    rows = connection.execute(select(receivers).where(condition).order_by(receivers.c.created_ms, receivers.c.id))
    return [Receiver(**row._mapping) for row in rows]  # noqa: SLF001 -- its public name in SQLAlchemy

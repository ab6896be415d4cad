"""The statements on the register of sent messages, on receipts that wait for it, and on first arrivals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, select, text, tuple_, update

from smsevents.catalog.hot import Hot, HotInsert
from smsevents.catalog.periods import day_of, keep_period, periods_kept
from smsevents.catalog.tables import first_arrivals, receipt_days, sent, waiting_receipts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

# Values in one statement: SQLite takes 32,766, PostgreSQL 65,535.
_VALUES_IN_STATEMENT_MAX = 10_000
_WAITING_IN_STATEMENT_MAX = 1000
_OLD_ROWS_IN_STATEMENT_MAX = 10_000
_USERS_READ_AHEAD = 1000

_KEY = "(day, trackpoint, message, scope)"
_REGISTER = HotInsert(sent, f"ON CONFLICT {_KEY} DO NOTHING")
_REPLACE = HotInsert(sent, f"ON CONFLICT {_KEY} DO UPDATE SET user_id = excluded.user_id, source = excluded.source")
_WAIT = text("""
    INSERT INTO waiting_receipts
        (trackpoint, message, receiver_id, status, first_ms, resolution_ms, second_ms, arrived_ms, receipt)
    VALUES (:trackpoint, :message, :receiver_id, :status, :first_ms, :resolution_ms, :second_ms, :arrived_ms, :receipt)
    ON CONFLICT DO NOTHING
""")
_REMEMBER = text("""
    INSERT INTO first_arrivals (day, trackpoint, receipt, arrived_ms, user_digest)
    VALUES (:day, :trackpoint, :receipt, :arrived_ms, :user_digest)
    ON CONFLICT DO NOTHING
""")
_NAME_USER = (
    update(first_arrivals)
    .where(
        first_arrivals.c.day == bindparam("on_day"),
        first_arrivals.c.trackpoint == bindparam("of_shop"),
        first_arrivals.c.receipt == bindparam("of_receipt"),
    )
    .values(user_digest=bindparam("digest"))
)
_ANY_WAITING = Hot(text("SELECT 1 FROM waiting_receipts WHERE trackpoint = :trackpoint LIMIT 1"))


@dataclass(frozen=True)
class SentRow:
    """A message in the register of a shop. `source` is encoded, as in `wire.reference`."""

    message: bytes
    scope: str
    user_id: str
    source: bytes


class FirstArrival(NamedTuple):
    """When a receipt arrived first (Unix ms), and whether its user is known."""

    arrived_ms: int
    is_named: bool


class WaitingRow(NamedTuple):
    """A receipt of a message that is not in the register yet. Times are Unix milliseconds.

    `receipt` is its digest, by which first arrivals are remembered.
    """

    message: bytes
    receiver_id: str
    status: str
    first_ms: int
    resolution_ms: int
    second_ms: int | None
    arrived_ms: int
    receipt: bytes


def register(connection: Connection, period: int, trackpoint: int, rows: Sequence[SentRow]) -> bool:
    """Store sent messages of a shop in a period. One that was stored in that period before is replaced.

    Return whether one was replaced that named another user.
    """
    latest = {(row.message, row.scope): row for row in rows}  # so that the files never hold the others
    in_order = [latest[key] for key in sorted(latest)]  # so that each page is changed once
    values = [(period, trackpoint, row.message, row.scope, row.user_id.encode(), row.source) for row in in_order]
    keep_period(connection, period)
    if _REGISTER.run(connection, values) == len(values):
        return False
    stored = find_sent(connection, [period], trackpoint, {row.message for row in in_order})
    _REPLACE.run(connection, values)
    return any(latest.get((row.message, row.scope), row).user_id != row.user_id for row in stored)


def find_sent(
    connection: Connection, periods: Sequence[int], trackpoint: int, messages: Collection[bytes]
) -> list[SentRow]:
    """Return the messages of a shop in some periods with these digests, in the order of the periods."""
    found: list[Any] = []
    for some in _parts(messages, len(periods)):
        statement = select(sent).where(
            sent.c.day.in_(periods), sent.c.trackpoint == trackpoint, sent.c.message.in_(some)
        )
        found += connection.execute(statement).all()
    places = {period: place for place, period in enumerate(periods)}
    found.sort(key=lambda row: places[row.day])
    return [SentRow(row.message, row.scope, row.user_id.decode(), row.source) for row in found]


def wait(connection: Connection, trackpoint: int, rows: Sequence[WaitingRow]) -> None:
    """Store receipts until their messages are registered. One that waits already stays as it is."""
    connection.execute(_WAIT, [row._asdict() | {"trackpoint": trackpoint} for row in rows])


def any_waiting(connection: Connection, trackpoint: int) -> bool:
    """Return whether receipts of a shop wait for their messages."""
    return bool(_ANY_WAITING.all(connection, {"trackpoint": trackpoint}))


def take_waiting(
    connection: Connection, trackpoint: int, messages: Collection[bytes], receiver_ids: Collection[str]
) -> list[WaitingRow]:
    """Return the receipts of a shop that wait for messages with these digests, of some receivers."""
    w = waiting_receipts.c
    found = []
    for some in _parts(messages, 1):
        conditions = (w.trackpoint == trackpoint, w.message.in_(some), w.receiver_id.in_(receiver_ids))
        rows = connection.execute(select(*(w[name] for name in WaitingRow._fields)).where(*conditions))
        found += [WaitingRow(*row) for row in rows]
    return found


def stop_waiting(connection: Connection, trackpoint: int, rows: Collection[WaitingRow]) -> None:
    """Delete receipts that have waited."""
    for row in rows:
        connection.execute(delete(waiting_receipts).where(*_same(trackpoint, row)))


def _same(trackpoint: int, row: WaitingRow) -> list[ColumnElement[bool]]:
    key = [column for column in waiting_receipts.primary_key if column.name != "trackpoint"]
    values = row._asdict()
    return [waiting_receipts.c.trackpoint == trackpoint, *(column == values[column.name] for column in key)]


def find_arrivals(
    connection: Connection, days: Sequence[int], trackpoint: int, receipts: Collection[bytes]
) -> dict[bytes, FirstArrival]:
    """Return when receipts with these digests arrived first, where that was remembered."""
    f = first_arrivals.c
    found: dict[bytes, FirstArrival] = {}
    for some in _parts(receipts, len(days)):
        conditions = (f.day.in_(days), f.trackpoint == trackpoint, f.receipt.in_(some))
        statement = select(f.receipt, f.arrived_ms, f.user_digest).where(*conditions)
        for receipt, arrived_ms, user_digest in connection.execute(statement):
            one = FirstArrival(arrived_ms, user_digest is not None)
            found[receipt] = min(one, found.get(receipt, one))
    return found


def remember_arrivals(
    connection: Connection, day: int, trackpoint: int, arrivals: dict[bytes, tuple[int, bytes | None]]
) -> None:
    """Remember when receipts arrived first, unless that is known, with the digest of the user or None."""
    keep_period(connection, day)
    connection.execute(
        _REMEMBER,
        [
            {
                "day": day,
                "trackpoint": trackpoint,
                "receipt": receipt,
                "arrived_ms": arrived_ms,
                "user_digest": digest,
            }
            for receipt, (arrived_ms, digest) in arrivals.items()
        ],
    )


def name_users(connection: Connection, days: Sequence[int], trackpoint: int, users: dict[bytes, bytes]) -> None:
    """Note the digest of the user at first arrivals, which are named by the digest of the receipt."""
    values = [
        {"on_day": day, "of_shop": trackpoint, "of_receipt": receipt, "digest": digest}
        for receipt, digest in users.items()
        for day in days
    ]
    if values:
        connection.execute(_NAME_USER, values)


def users_sent_to(connection: Connection, period: int, trackpoint: int) -> Iterator[str]:
    """Go through the users to whom messages of a shop were sent in a period, by the register.

    They are looked up once somebody asks for the first one: an erasure that has the ids does not.
    """
    s = sent.c
    statement = select(s.user_id).where(s.day == period, s.trackpoint == trackpoint).distinct()
    with connection.execute(statement.execution_options(yield_per=_USERS_READ_AHEAD)) as rows:
        for user_id in rows.scalars():
            yield user_id.decode()


def forget_users(
    connection: Connection, period: int, trackpoint: int, user_ids: Collection[str], digests: Collection[bytes]
) -> int:
    """Delete the sent messages and first arrivals of users, of one period. Return how many rows there were."""
    s, f = sent.c, first_arrivals.c
    in_sent = delete(sent).where(s.day == period, s.trackpoint == trackpoint)
    arrived = delete(first_arrivals).where(f.day == period, f.trackpoint == trackpoint)
    statements = [
        *(in_sent.where(s.user_id.in_(some)) for some in _parts([user_id.encode() for user_id in user_ids], 1)),
        *(arrived.where(f.user_digest.in_(some)) for some in _parts(digests, 1)),
    ]
    return sum(connection.execute(statement).rowcount for statement in statements)


def delete_rows_of_days(connection: Connection, before: int) -> int:
    """Delete some sent messages and first arrivals of days (since 1970) before one, and the days that have no more.

    Return how many rows were deleted, 0 once there are none left.
    """
    old = [period for period in periods_kept(connection) if day_of(period) < before]
    for table in (sent, first_arrivals) if old else ():
        key = list(table.primary_key)
        some = select(*key).where(table.c.day.in_(old)).limit(_OLD_ROWS_IN_STATEMENT_MAX)
        if deleted := connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount:
            return deleted
    connection.execute(delete(receipt_days).where(receipt_days.c.day.in_(old)))
    return 0


def delete_waiting(connection: Connection, before_ms: int) -> tuple[int, Counter[str]]:
    """Delete receipts that arrived before a time (Unix ms), some of them at once.

    Return how many they were, and how many of each receiver.
    """
    key = tuple_(*waiting_receipts.primary_key)
    old = connection.execute(
        select(*waiting_receipts.primary_key)
        .where(waiting_receipts.c.arrived_ms < before_ms)
        .limit(_WAITING_IN_STATEMENT_MAX)
    ).all()
    if old:
        connection.execute(delete(waiting_receipts).where(key.in_([tuple(row) for row in old])))
    return len(old), Counter(row.receiver_id for row in old)


def _parts(values: Collection[bytes], times: int) -> Iterator[list[bytes]]:
    """Go through values in parts that a statement can take, which has as many probes as values times `times`."""
    listed = list(values)
    size = max(1, _VALUES_IN_STATEMENT_MAX // max(1, times))
    for start in range(0, len(listed), size):
        yield listed[start : start + size]

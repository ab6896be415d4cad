"""The periods of the register: the messages of a day are in parts, so that a write changes few pages.

The key of a message is a digest, so a write changes a page of the table for each message, once the table is much larger
than the write. The key begins with a **period**: new messages go into one of PERIOD_MESSAGES_MAX, and then into the
next one. A look-up has to search all periods. So those of a day that is over are moved into one, which is the day
itself (`settle_some`).

The number of a period is `day * DAY_PERIODS_MAX` and the number within the day. Days are counted since 1970, and much
lower than the numbers of periods.

What goes through the periods one by one must not miss a message that moves meanwhile. Receipts of a shop wait for a
step that moves its messages. An erasure goes through the periods in the order of `erased_in`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, literal_column, select, text

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.hot import Hot
from smsevents.catalog.pending_scrubs import mark_rows_left
from smsevents.catalog.tables import receipt_days, sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

DAY_PERIODS_MAX = 1000
PERIOD_MESSAGES_MAX = 65_536  # about 10 MB, of which a write of 4,000 messages changes most pages
MOVED_MESSAGES_MAX = 4000  # by one write

PERIODS_SQL = "SELECT day FROM receipt_days"
_DAYS = Hot(text(PERIODS_SQL))
_ADD = text("INSERT INTO receipt_days (day) VALUES (:day) ON CONFLICT DO NOTHING")
_COUNT = Hot(select(func.count()).select_from(sent).where(sent.c.day == bindparam("period")))
_FIRST_SHOP = Hot(select(func.min(sent.c.trackpoint)).where(sent.c.day == bindparam("period")))
# the key after so many messages of a shop, if there are more
_AFTER = Hot(
    select(sent.c.message)
    .where(sent.c.day == bindparam("period"), sent.c.trackpoint == bindparam("trackpoint"))
    .order_by(sent.c.message, sent.c.scope)
    .limit(literal_column("1"))
    .offset(bindparam("messages"))
)


def day_of(period: int) -> int:
    """Return the day of a period."""
    return period if period < DAY_PERIODS_MAX**2 else period // DAY_PERIODS_MAX


def _age(period: int) -> int:
    """Return a number by which periods are in the order of their messages. The day itself has the oldest."""
    return period if period >= DAY_PERIODS_MAX**2 else period * DAY_PERIODS_MAX - 1


def periods_kept(connection: Connection) -> list[int]:
    """Return the periods of which there are sent messages, the latest first."""
    return periods_of(_DAYS.all(connection, {}))


def periods_of(rows: Iterable[Sequence[int]]) -> list[int]:
    """Return the periods in the rows of `PERIODS_SQL`, the latest first."""
    return sorted((period for (period,) in rows), key=_age, reverse=True)


def days_kept(connection: Connection) -> list[int]:
    """Return the days of which there are first arrivals, the latest first."""
    return days_of(periods_kept(connection))


def days_of(periods: Iterable[int]) -> list[int]:
    """Return those of some periods that are days."""
    return [period for period in periods if period == day_of(period)]


def erased_in(periods: Iterable[int]) -> list[int]:
    """Return periods in an order in which no message is missed: it moves only from an earlier one to a later one."""
    return sorted(periods, reverse=True)


def keep_period(connection: Connection, period: int) -> None:
    """Note that there are rows of a period, or of a day."""
    connection.execute(_ADD, {"day": period})


class Filling:
    """Which period takes new messages. One thread uses it.

    Nothing depends on what is remembered. If several processes fill a period, or a write is rolled back, it only gets
    more messages, or fewer.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._period = 0
        self._messages = 0

    def period(self, connection: Connection, day: int, messages: int) -> int:
        """Return the period of a day that so many new messages go into."""
        first = day * DAY_PERIODS_MAX
        latest = max((one for one in periods_kept(connection) if day_of(one) == day and one >= first), default=first)
        if latest != self._period:
            self._period, self._messages = latest, _COUNT.all(connection, {"period": latest})[0][0]
        if self._messages >= PERIOD_MESSAGES_MAX and latest < first + DAY_PERIODS_MAX - 1:
            self._period, self._messages = latest + 1, 0
        self._messages += messages
        return self._period


def settle_some(connection: Connection, before: int, now: int) -> bool:
    """Move some messages of a shop from the periods of a day before `before` into that day. `now` is in Unix ms.

    Return whether there may be more of them.
    """
    periods = [one for one in periods_kept(connection) if one != day_of(one) and day_of(one) < before]
    if not periods:
        return False
    day = day_of(periods[-1])
    periods = [one for one in periods if day_of(one) == day]
    first = {one: _FIRST_SHOP.all(connection, {"period": one})[0][0] for one in periods}
    shops = [trackpoint for trackpoint in first.values() if trackpoint is not None]
    if shops:
        dialect_of(connection).begin_block(connection, min(shops))
        _move(connection, day, min(shops), [one for one in periods if first[one] is not None])
        mark_rows_left(connection, now)
    else:
        connection.execute(delete(receipt_days).where(receipt_days.c.day.in_(periods)))
    return True


def _move(connection: Connection, day: int, trackpoint: int, periods: list[int]) -> None:
    """Move the messages of a shop with the lowest digests. Of several with one id, the latest stays."""
    values = {"trackpoint": trackpoint, "messages": max(1, MOVED_MESSAGES_MAX // len(periods))}
    ends = [row[0] for one in periods for row in _AFTER.all(connection, values | {"period": one})]
    numbers = ", ".join(map(str, periods))
    some = f"day IN ({numbers}) AND trackpoint = :trackpoint" + (" AND message <= :end" if ends else "")
    of_shop = {"trackpoint": trackpoint} | ({"end": min(ends)} if ends else {})
    keep_period(connection, day)
    connection.execute(
        text(f"""
            INSERT INTO sent (day, trackpoint, message, scope, user_id, source)
            SELECT :day, trackpoint, message, scope, user_id, source FROM (
                SELECT trackpoint, message, scope, user_id, source,
                    row_number() OVER (PARTITION BY message, scope ORDER BY day DESC) AS place
                FROM sent WHERE {some}
            ) AS found WHERE place = 1
            ON CONFLICT (day, trackpoint, message, scope) DO UPDATE
            SET user_id = excluded.user_id, source = excluded.source
        """),  # noqa: S608 -- numbers
        of_shop | {"day": day},
    )
    connection.execute(text(f"DELETE FROM sent WHERE {some}"), of_shop)  # noqa: S608 -- numbers

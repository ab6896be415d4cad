"""What is kept for delivery receipts leaves the disk: sent messages, first arrivals, and receipts that wait.

Trusted time decides what is old, as for events. While time is in doubt, all of it stays.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from smsevents.catalog.pending_scrubs import add_pending, mark_rows_left
from smsevents.catalog.periods import erased_in, periods_kept, settle_some
from smsevents.catalog.receivers import add_unmatched
from smsevents.catalog.sent import delete_rows_of_days, delete_waiting, forget_users, users_sent_to
from smsevents.wire.limits import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.upkeep.erasure_users import Users

WAITING_MAX_MS = 72 * HOUR_MS
SENT_KEPT_DAYS = 7
SETTLING_WRITES_MAX = 50  # in a round of the upkeep, so that its other work does not wait for long


def expire_receipts(database: Database, old_by_ms: int, kept_days: int = SENT_KEPT_DAYS) -> int:
    """Delete what is older than `kept_days`, and receipts that waited longer than WAITING_MAX_MS, in short writes.

    Return how many receipts were dropped, which their receivers count as unmatched.
    """
    before_day = old_by_ms // DAY_MS - kept_days
    while database.write(lambda c: _delete_rows(c, before_day, old_by_ms)):
        pass
    unmatched = 0
    while some := database.write(lambda c: _drop_waiting(c, old_by_ms)):
        unmatched += some
    return unmatched


def settle_register(database: Database, now: int) -> None:
    """Move messages of past days into one period for each day, by SETTLING_WRITES_MAX short writes.

    `now` is in Unix ms.
    """
    for _ in range(SETTLING_WRITES_MAX):
        if not database.write(lambda c: settle_some(c, now // DAY_MS, now)):
            return


def _delete_rows(connection: Connection, before_day: int, old_by_ms: int) -> int:
    deleted = delete_rows_of_days(connection, before_day)
    if deleted:
        mark_rows_left(connection, old_by_ms)
    return deleted


def _drop_waiting(connection: Connection, old_by_ms: int) -> int:
    some, counts = delete_waiting(connection, old_by_ms - WAITING_MAX_MS)
    add_unmatched(connection, counts)
    if some:
        mark_rows_left(connection, old_by_ms)
    return some


def erase_receipts(database: Database, trackpoint: int, users: Users, now: int) -> None:
    """Delete users' sent messages and first arrivals of a shop. Receipts that wait name no user."""

    def forget(connection: Connection, period: int, user_ids: Collection[str]) -> None:
        if forget_users(connection, period, trackpoint, user_ids, users.digests):
            add_pending(connection, database.dialect.scrub_steps[0], secrets.token_hex(8), now)

    done: set[int] = set()
    while True:
        with database.read() as connection:  # messages may move into a period that did not exist
            left = erased_in({*periods_kept(connection)} - done)
            if not left:
                return
            user_ids = users.ids_among(users_sent_to(connection, left[0], trackpoint))
        database.write(partial(forget, period=left[0], user_ids=user_ids))
        done.add(left[0])

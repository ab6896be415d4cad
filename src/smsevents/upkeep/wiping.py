"""Wiping: no copy of erased events stays in the files of the database, or in the store of packs.

The file of the database is rewritten, the write-ahead log is emptied, and old packs are deleted.

**What is pending.** Each transaction that rewrites a segment makes a scrub pending, with a new token. A wipe marks
only the token done that was there before it began (`catalog/pending_scrubs.py`). So at every moment, even after a
kill, a scrub is pending if and only if something was erased since the last wipe began. The files may also hold rows of
a user that expired or were replaced. Those leave a mark, which an erasure turns into a pending scrub, and which the
rewrite of the files removes in the same way.

**What it costs.** All imports wait while the file is rewritten. So one wipe serves all erasures that are done when it
begins. After the wipe of a large file, the next one that a shop requests waits WIPE_PAUSE_RATIO times as long as the
last one took.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from smsevents.catalog.attachment import is_store_needed
from smsevents.catalog.pending_scrubs import ROWS_LEFT, add_pending, drop_pending, mark_done, pending, pending_since
from smsevents.errors import StoreUnavailable
from smsevents.upkeep.collecting import delete_due

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database

DELETE_PACKS = "delete packs"  # a chore: old packs that hold erased events may still be in the store
PAUSE = "pause after a wipe"  # not a chore: the duration of the last wipe of a large file, in milliseconds, and its end

WIPE_PATIENCE_SECONDS = 30
WIPE_PAUSE_RATIO = 100  # imports wait at most a hundredth of the time, however much shops erase


def wipe(database: Database, now: int, monotonic: Callable[[], float] = time.monotonic) -> str | None:
    """Do the pending scrubs. Return None if none is left, else why some are. These stay pending.

    `now` is in Unix milliseconds. `monotonic` is a clock in seconds.
    """
    steps = database.dialect.scrub_steps
    try:
        not_deleted = _delete_packs(database, now)
        if not _pending(database).keys() & set(steps):
            return not_deleted
        with database.dialect.scrub_alone(WIPE_PATIENCE_SECONDS):
            for number, step in enumerate(steps):
                # looked up only now: an earlier wipe may have served this erasure, too
                waiting = _pending(database)
                if token := waiting.get(step):
                    began = monotonic()
                    scrubbed = database.dialect.scrub(step)
                    took_ms = None if scrubbed.is_brief else int((monotonic() - began) * 1000)
                    if scrubbed.done:
                        tokens = (token, waiting.get(ROWS_LEFT) if step == steps[0] else None)
                        database.write(
                            partial(_step_done, steps=steps[number:], tokens=tokens, now=now, took_ms=took_ms)
                        )
            left = _pending(database).keys() & set(steps)
    except StoreUnavailable as error:
        return str(error)
    return "Somebody reads the database, or erases from it, at the same time." if left else not_deleted


def _delete_packs(database: Database, now: int) -> str | None:
    """Delete old packs that hold erased events. Return None if none is left, else why some are."""
    if (token := _pending(database).get(DELETE_PACKS)) is None:
        return None
    try:
        why = delete_due(database, now) or _not_really_deleted(database)
    except StoreUnavailable as error:  # the files of the database can be wiped all the same
        why = str(error)
    if why:
        return why
    database.write(lambda connection: mark_done(connection, DELETE_PACKS, token))
    return None


def _not_really_deleted(database: Database) -> str | None:
    """Return why what was deleted from the store may still be in it, or None. This may have changed since the start."""
    with database.read() as connection:
        if not is_store_needed(connection):
            return None
        store = database.packs(connection).store
    return store.unsafe()


def _step_done(
    connection: Connection, steps: Sequence[str], tokens: tuple[str, str | None], now: int, took_ms: int | None
) -> None:
    """Record that the first of the remaining steps is done, and make the next one pending.

    `tokens` are those of the step and of the mark of rows that left, from before the step began. The first one removes
    the mark.
    """
    token, left = tokens
    mark_done(connection, steps[0], token)
    if left:
        mark_done(connection, ROWS_LEFT, left)
    if len(steps) == 1:
        return
    add_pending(connection, steps[1], token, now)
    if took_ms is None:
        drop_pending(connection, PAUSE)
    else:
        add_pending(connection, PAUSE, str(took_ms), now + took_ms)


def wipe_what_left(database: Database, now: int) -> None:
    """Make a scrub pending if the files may hold rows that left without an erasure."""
    if ROWS_LEFT in _pending(database):
        step = database.dialect.scrub_steps[0]
        database.write(lambda connection: add_pending(connection, step, secrets.token_hex(8), now))


def seconds_to_wipe(database: Database, now: int) -> float:
    """Return how long a pending wipe has to wait, so that wipes block imports for a small part of the time only.

    A clock that was set back ends the wait, so the wait is never longer than the full pause.
    """
    with database.read() as connection:
        found = pending_since(connection)
    if database.dialect.scrub_steps[0] not in found or PAUSE not in found:
        return 0
    took_ms, ended = found[PAUSE]
    passed = now - ended
    return 0 if passed < 0 else max(0, int(took_ms) * WIPE_PAUSE_RATIO - passed) / 1000


def _pending(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return pending(connection)

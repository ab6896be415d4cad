"""Space: what deleted and merged segments took is returned to the file system."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.catalog import Database

# Between two steps, writers get their turn. SQLite lets one that waits try again every 0.1 seconds.
PAUSE_MIN_SECONDS = 0.1
PAUSE_BY_STEP_RATIO = 4  # a pause takes so many times as long as the step before
GIVE_BACK_MAX_SECONDS = 5.0  # in one round of the upkeep, which has other work, too
REWRITE_PATIENCE_SECONDS = 30.0


def give_back_room(
    database: Database,
    may_continue: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Return unused space to the file system, step by step, for GIVE_BACK_MAX_SECONDS or while `may_continue`.

    `sleep` waits for seconds, and `monotonic` is a clock in seconds. Raises `StoreUnavailable`.
    """
    until = monotonic() + GIVE_BACK_MAX_SECONDS
    while (began := monotonic()) < until:
        if not database.dialect.give_back_room() or not may_continue():
            return
        sleep(max(PAUSE_MIN_SECONDS, PAUSE_BY_STEP_RATIO * (monotonic() - began)))


def rewrite(database: Database) -> None:
    """Rewrite the files of the database without unused space. Writers wait meanwhile.

    A file that an early version created cannot give back space step by step. It can from then on. Raises `Busy` while
    an erasure does the same, and `StoreUnavailable`.
    """
    with database.dialect.scrub_alone(REWRITE_PATIENCE_SECONDS):
        done = [database.dialect.scrub(step).done for step in database.dialect.scrub_steps]
    if not all(done):
        raise StoreUnavailable(
            "The database was rewritten, but somebody is reading it, so its files have not shrunk yet. They will once"
            " the reading ends and the upkeep worker is idle, or run the same command again."
        )

"""Space: what deleted and merged segments took is returned to the file system."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.catalog import Database

PAUSE_SECONDS = 0.02  # between two steps, for the writers that wait
REWRITE_PATIENCE_SECONDS = 30.0


def give_back_room(
    database: Database, may_continue: Callable[[], bool], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return unused space to the file system, step by step, for as long as `may_continue`. `sleep` waits for seconds.

    Raises `StoreUnavailable`.
    """
    while database.dialect.give_back_room() and may_continue():
        sleep(PAUSE_SECONDS)


def rewrite(database: Database) -> None:
    """Rewrite the files of the database without unused space. Writers wait meanwhile.

    A file that was created by an early version cannot give back space step by step. It can from then on. Raises
    `Busy` while an erasure does the same, and `StoreUnavailable`.
    """
    with database.dialect.scrub_alone(REWRITE_PATIENCE_SECONDS):
        for step in database.dialect.scrub_steps:
            database.dialect.scrub(step)

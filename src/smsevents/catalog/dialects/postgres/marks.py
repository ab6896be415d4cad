"""Whether anything was committed to a PostgreSQL server, by whichever process, in one short message.

A **snapshot** says which transactions have ended: the lowest number of one that has not, the next number to be given
out, and the numbers in between of those that have not (https://www.postgresql.org/docs/current/functions-info.html,
`pg_current_snapshot`). A commit ends a transaction with a number, so two equal snapshots of one server have nothing
between them. A server that took the place of another one gives out the same numbers again. It was started at another
time. A server that recovers after a crash of one of its processes keeps its start time, but makes a checkpoint.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from smsevents.catalog.dialects.postgres.connections import is_open, run_all

if TYPE_CHECKING:
    from collections.abc import Callable

MARK_SQL = """
    SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), redo_lsn, pg_current_snapshot())
    FROM pg_control_checkpoint()
"""


class Commits:
    """Asks for the commits of a server through a connection of its own. Thread-safe."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        """Open connections by a function. Nothing is opened yet."""
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def mark(self) -> str | None:
        """Return a text that differs after each commit, or None if the server does not tell.

        The server is asked after the call began. So the mark is another one than each mark before a commit that was
        acknowledged before the call.
        """
        with self._lock:
            try:
                if self._connection is None or not is_open(self._connection):
                    self._close()
                    self._connection = self._connect()
                ((mark,),) = run_all(self._connection, MARK_SQL)
            except psycopg.Error:  # whoever reads the database meets the error
                self._close()
                return None
        return str(mark)

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

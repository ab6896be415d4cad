"""Locks that several transactions need: which process rewrites a shop, which one scrubs the tables.

Each is an advisory lock in a transaction of its own, on a connection of its own, for as long as it is held. So it ends
with its process, however that ends, and also works through pgbouncer.

Such a transaction has neither a snapshot nor a transaction id, so it keeps no deleted rows. That is why its statements
use the simple protocol: in the extended one, the last statement would keep its snapshot.

PostgreSQL grants locks in the order in which they are asked for, and refuses a share while somebody waits to be alone.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.dialects.postgres.connections import GONE_CLIENT, is_open, run_all
from smsevents.catalog.dialects.postgres.failures import ours
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_CONNECTIONS_KEPT = 2
_LOCK_NOT_AVAILABLE = "55P03"
_HAS_TRANSACTION_TIMEOUT = 170_000

Place = tuple[int, int]


class Locks:
    """Takes locks, and knows which ones this process holds. Thread-safe."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], where: str) -> None:
        """Use connections to the database at `where`."""
        self._connect = connect
        self._where = where
        self._idle: deque[psycopg.Connection[Any]] = deque()
        self._held: dict[Place, list[int]] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def shared(self, place: Place, who: str) -> Iterator[None]:
        """Share a lock for the block. Raises `Busy` if a process has it alone or waits for that; `who` says which."""
        with self._transaction(None) as connection:
            if run_all(connection, f"SELECT pg_try_advisory_xact_lock_shared{place}") != [(True,)]:
                raise _busy(who)
            with self._noted(place, connection):
                yield

    @contextmanager
    def only(self, place: Place, who: str) -> Iterator[None]:
        """Have a lock for the block that nobody shares or waits for. Raises `Busy` if a process has it."""
        with self._transaction(None) as connection:
            if run_all(connection, f"SELECT pg_try_advisory_xact_lock{place}") != [(True,)]:
                raise _busy(who)
            yield

    @contextmanager
    def alone(self, place: Place, patience_seconds: float, who: str) -> Iterator[None]:
        """Have a lock alone for the block. Raises `Busy` after `patience_seconds`.

        Raises `StoreUnavailable` at the end of the block if the lock was lost meanwhile, as when a server was replaced.
        """
        with self._transaction(patience_seconds) as connection:
            try:
                run_all(connection, f"SELECT pg_advisory_xact_lock{place}")
            except psycopg.Error as error:
                if error.sqlstate == _LOCK_NOT_AVAILABLE:
                    raise _busy(who) from error
                raise
            with self._noted(place, connection):
                yield
            try:
                run_all(connection, "SELECT 1")
            except psycopg.Error as error:
                raise StoreUnavailable(
                    "The connection to the database that held the lock was lost, so another process may have worked"
                    " on the same. Try again.",
                ) from error

    def holders(self, place: Place) -> list[int]:
        """Return the server processes that hold a lock for this process."""
        with self._mutex:
            return list(self._held.get(place, ()))

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _transaction(self, patience_seconds: float | None) -> Iterator[psycopg.Connection[Any]]:
        try:
            connection = self._opened()
            run_all(connection, self._begin(connection, patience_seconds))
        except psycopg.Error as error:
            raise ours("written", self._where, error) from error
        try:
            yield connection
        except psycopg.Error as error:
            raise ours("written", self._where, error) from error
        finally:
            with suppress(psycopg.Error):
                connection.rollback()
            if connection.closed or len(self._idle) >= LOCK_CONNECTIONS_KEPT:
                connection.close()
            else:
                self._idle.append(connection)

    def _opened(self) -> psycopg.Connection[Any]:
        while self._idle:
            with suppress(IndexError):  # another thread took it
                connection = self._idle.pop()
                if is_open(connection):
                    return connection
                connection.close()
        return self._connect()

    @staticmethod
    def _begin(connection: psycopg.Connection[Any], patience_seconds: float | None) -> str:
        statements = ["BEGIN", GONE_CLIENT, "SET LOCAL idle_in_transaction_session_timeout = 0"]
        if connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
            statements.append("SET LOCAL transaction_timeout = 0")
        if patience_seconds is not None:
            statements.append(f"SET LOCAL lock_timeout = {max(1, int(patience_seconds * 1000))}")
        return "; ".join(statements)

    @contextmanager
    def _noted(self, place: Place, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Note that a connection holds a lock. Behind pgbouncer, the server process is known only now."""
        pid = int(run_all(connection, "SELECT pg_backend_pid()")[0][0])
        with self._mutex:
            self._held.setdefault(place, []).append(pid)
        try:
            yield
        finally:
            with self._mutex:
                self._held[place].remove(pid)
                if not self._held[place]:
                    del self._held[place]


def _busy(who: str) -> Busy:
    return Busy(f"Another process {who}. Try again in a moment.")

"""Commits that do not end: PostgreSQL waits for its synchronous standby without limit, so its client needs one.

What was written is in doubt then, and the caller learns that it is unavailable. It cannot be taken back: the server
process has written the commit to its own disk. If it is told to stop waiting, it reports success, although no standby
has the data (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION). So nobody tells it.

It keeps its locks and its connection. If every try left one more of these, the server would run out of connections.
So the connection stays open here, and until it hears of the end of its commit, this process begins no other write.
"""

from __future__ import annotations

import select
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.pq import ConnStatus

if TYPE_CHECKING:
    from collections.abc import Generator

COMMIT_WAIT_MAX_SECONDS = 20  # a healthy server takes milliseconds, a busy disk some seconds
_PAUSE_SECONDS = 0.1  # between two looks at the clock

T = TypeVar("T")


class CommitStalled(psycopg.OperationalError):
    """A commit has not ended in time. Whether it will is not known."""

    def __init__(self) -> None:
        super().__init__(
            f"a commit was not confirmed within {COMMIT_WAIT_MAX_SECONDS} seconds, perhaps because the synchronous"
            " standby cannot be reached"
        )


class StalledCommits:
    """The connections of a process whose commits have not ended. Thread-safe."""

    def __init__(self) -> None:
        """Know of none."""
        self._connections: list[CommittingConnection] = []
        self._lock = threading.Lock()

    def add(self, connection: CommittingConnection) -> None:
        """Keep a connection until its commit has ended."""
        with self._lock:
            self._connections.append(connection)

    def check(self) -> None:
        """Raise `CommitStalled` if a commit has not ended yet. This waits for nothing."""
        if not self._connections:
            return
        with self._lock:
            for connection in list(self._connections):
                if _has_ended(connection):
                    connection.pgconn.finish()
                    self._connections.remove(connection)
            if self._connections:
                raise CommitStalled

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            while self._connections:
                self._connections.pop().pgconn.finish()


class CommittingConnection(psycopg.Connection[Any]):
    """A connection that waits for its commits for a limited time. One that stalls counts as closed."""

    stalls: StalledCommits | None = None  # who keeps it then; without, commits have no limit
    _gives_up_at: float | None = None
    _has_stalled = False

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self._has_stalled or super().closed

    def commit(self) -> None:
        """Commit. Raises `CommitStalled` after COMMIT_WAIT_MAX_SECONDS."""
        if self.stalls is None:
            super().commit()
            return
        self._gives_up_at = time.monotonic() + COMMIT_WAIT_MAX_SECONDS
        try:
            super().commit()
        except CommitStalled:
            self._has_stalled = True
            self.stalls.add(self)
            raise
        finally:
            self._gives_up_at = None

    def wait(self, gen: Generator[Any, Any, T], interval: float = _PAUSE_SECONDS, timeout: float | None = None) -> T:
        """Wait as psycopg does, but within a commit only until it is given up."""
        if self._gives_up_at is not None:
            gen = _until(gen, self._gives_up_at)
        return super().wait(gen, interval, timeout)


def _until(steps: Generator[Any, Any, T], gives_up_at: float) -> Generator[Any, Any, T]:
    """Go through steps that wait for the server, until a time of the monotonic clock (seconds)."""
    try:
        waits_for = next(steps)
        while True:
            ready = yield waits_for
            if not ready and time.monotonic() >= gives_up_at:
                raise CommitStalled
            waits_for = steps.send(ready)
    except StopIteration as done:
        result: T = done.value
        return result


def _has_ended(connection: CommittingConnection) -> bool:
    """Return whether the server has responded to a commit, or the connection was lost."""
    pgconn = connection.pgconn
    if pgconn.status != ConnStatus.OK:
        return True
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)
    if not waiting.poll(0):
        return False
    try:
        pgconn.consume_input()
        return not pgconn.is_busy()
    except psycopg.Error:
        return True

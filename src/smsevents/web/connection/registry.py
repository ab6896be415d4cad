"""Limits on all connections of a process together: their number, and the bytes that wait in them.

A connection that is not being served may be closed at any time to make room for a new one, the longest idle first.
So a client that sends a request at once is always served, however many idle connections are open.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger()

CONNECTIONS_MAX = 2048
# Of the files that a process may open, these are reserved for the database, for temporary files of exports and imports,
# and for the libraries.
FILES_KEPT_BACK = 320
# How many more connections are accepted when the limit is reached and all are being served, only for health checks.
CONNECTIONS_FOR_HEALTH = 64
HELD_MAX_BYTES = 64 * 1024 * 1024
WARNING_PAUSE_SECONDS = 60


class Closable(Protocol):
    """The part of a connection that the registry uses."""

    def evict(self) -> None:
        """Close at once, to make room for other connections."""
        ...


def file_limit_raised(soft: int, hard: int) -> int:
    """Return the limit on open files that a process sets for itself, given its current soft and hard limits."""
    wanted = CONNECTIONS_MAX + CONNECTIONS_FOR_HEALTH + FILES_KEPT_BACK
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    return max(soft, wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))


def raise_file_limit() -> None:
    """Raise the limit on open files of this process and its children, as far as is useful and needs no privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit_raised(soft, hard), hard))


def connections_max() -> int:
    """Return how many connections a process may have, given how many files it may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    free = soft - FILES_KEPT_BACK - CONNECTIONS_FOR_HEALTH
    return max(1, min(CONNECTIONS_MAX, max(free, soft // 4)))


class Registry:
    """The connections of a process, the idle ones in the order in which they became idle."""

    def __init__(self, connections_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `connections_max` connections. The clock returns seconds."""
        self._max = connections_max
        self._clock = clock
        self._count = 0
        self._idle: dict[Closable, int] = {}  # connection → bytes that it holds; a dict keeps the order of insertion
        self._held_bytes = 0
        self._closed_for_room = 0
        self._warned: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether there are more connections than the limit, all of them being served."""
        return self._count > self._max

    @property
    def waiting_bytes(self) -> int:
        """The number of bytes that wait in idle connections."""
        return self._held_bytes

    def add(self, connection: Closable) -> bool:
        """Add a new connection as an idle one. Return False if there is no room for it."""
        if self._count >= self._max:
            self._close_idle(1)
            self._warn()
        if self._count >= self._max + CONNECTIONS_FOR_HEALTH:
            return False
        self._count += 1
        self._idle[connection] = 0
        return True

    def idle(self, connection: Closable, held_bytes: int = 0) -> None:
        """Mark a connection as idle: it may be closed to make room."""
        self.busy(connection)
        self._idle[connection] = 0
        if held_bytes:
            self.hold(connection, held_bytes)

    def busy(self, connection: Closable) -> None:
        """Mark a connection as being served: it is not closed to make room."""
        self._held_bytes -= self._idle.pop(connection, 0)

    def hold(self, connection: Closable, held_bytes: int) -> None:
        """Note how many bytes wait in an idle connection, either from the client or for it."""
        before = self._idle.get(connection)
        if before is None:
            return
        self._idle[connection] = held_bytes
        self._held_bytes += held_bytes - before
        while self._held_bytes > HELD_MAX_BYTES and self._close_idle(1, holding=True):
            self._warn()

    def remove(self, connection: Closable) -> None:
        """Remove a connection that was closed."""
        self.busy(connection)
        self._count -= 1

    def _close_idle(self, count: int, *, holding: bool = False) -> int:
        """Close the longest idle connections; with `holding`, only ones that hold bytes. Return how many closed."""
        chosen: list[Closable] = []
        for connection, held_bytes in self._idle.items():
            if held_bytes or not holding:
                chosen.append(connection)
                if len(chosen) == count:
                    break
        for connection in chosen:
            connection.evict()  # this removes it here
        self._closed_for_room += len(chosen)
        return len(chosen)

    def _warn(self) -> None:
        now = self._clock()
        if self._warned is not None and now - self._warned < WARNING_PAUSE_SECONDS:
            return
        self._warned = now
        logger.warning(
            "connection limit reached",
            connections=self._count,
            connections_max=self._max,
            waiting_bytes=self._held_bytes,
            waiting_max_bytes=HELD_MAX_BYTES,
            idle_closed=self._closed_for_room,
        )
        self._closed_for_room = 0

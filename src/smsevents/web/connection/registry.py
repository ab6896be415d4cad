"""What the connections of a process may cost together: their number, and the bytes that wait in them.

A connection that is not being served may be closed at any time for the sake of a new one, the longest idle first.
So a client that sends a request at once is always served, however many connections are held open.
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
# Of the files that a process may open, these are for the database, for what exports and imports put aside, and for
# the libraries.
FILES_KEPT_BACK = 320
# Beyond the limit, where every connection is being served: so many more are let in, for health checks alone.
CONNECTIONS_FOR_HEALTH = 64
HELD_MAX_BYTES = 64 * 1024 * 1024
WARNING_PAUSE_SECONDS = 60


class Closable(Protocol):
    """A connection, as far as the registry knows it."""

    def evict(self) -> None:
        """Close at once: others need the room."""
        ...


def file_limit_raised(soft: int, hard: int) -> int:
    """Tell to which number of open files a process raises its limit, given what the system says of it now."""
    wanted = CONNECTIONS_MAX + CONNECTIONS_FOR_HEALTH + FILES_KEPT_BACK
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    return max(soft, wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))


def raise_file_limit() -> None:
    """Let this process and those it starts open as many files as the system allows it without further rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit_raised(soft, hard), hard))


def connections_max() -> int:
    """Tell how many connections a process may have, by the number of files that it may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    free = soft - FILES_KEPT_BACK - CONNECTIONS_FOR_HEALTH
    return max(1, min(CONNECTIONS_MAX, max(free, soft // 4)))


class Registry:
    """Knows the connections of a process, the idle ones in the order in which they became so."""

    def __init__(self, connections_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Have room for so many connections; the clock tells seconds."""
        self._max = connections_max
        self._clock = clock
        self._count = 0
        self._idle: dict[Closable, int] = {}  # and the bytes that each holds; a dict keeps the order of insertion
        self._held_bytes = 0
        self._closed_for_room = 0
        self._warned: float | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether there are more connections than the limit, all of them being served."""
        return self._count > self._max

    @property
    def waiting_bytes(self) -> int:
        """Tell how many bytes wait in idle connections."""
        return self._held_bytes

    def add(self, connection: Closable) -> bool:
        """Take a new connection in, an idle one; tell whether there is room for it at all."""
        if self._count >= self._max:
            self._close_idle(1)
            self._warn()
        if self._count >= self._max + CONNECTIONS_FOR_HEALTH:
            return False
        self._count += 1
        self._idle[connection] = 0
        return True

    def idle(self, connection: Closable, held_bytes: int = 0) -> None:
        """Note that a connection is not being served any more."""
        self.busy(connection)
        self._idle[connection] = 0
        if held_bytes:
            self.hold(connection, held_bytes)

    def busy(self, connection: Closable) -> None:
        """Note that a connection is being served: it is not closed for the sake of others."""
        self._held_bytes -= self._idle.pop(connection, 0)

    def hold(self, connection: Closable, held_bytes: int) -> None:
        """Note how many bytes wait in an idle connection, to be read as a head or to be taken by the client."""
        before = self._idle.get(connection)
        if before is None:
            return
        self._idle[connection] = held_bytes
        self._held_bytes += held_bytes - before
        while self._held_bytes > HELD_MAX_BYTES and self._close_idle(1, holding=True):
            self._warn()

    def remove(self, connection: Closable) -> None:
        """Forget a connection that was closed."""
        self.busy(connection)
        self._count -= 1

    def _close_idle(self, count: int, *, holding: bool = False) -> int:
        """Close the longest idle connections, or the longest idle of those that hold bytes; tell how many."""
        chosen: list[Closable] = []
        for connection, held_bytes in self._idle.items():
            if held_bytes or not holding:
                chosen.append(connection)
                if len(chosen) == count:
                    break
        for connection in chosen:
            connection.evict()  # which removes it here
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

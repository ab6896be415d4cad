"""Outcomes of writes on their way from the database's writer to the event loop.

The writer tells the outcomes of all writes that shared a commit, one after the other. The first of them wakes the event
loop, which then finds all of them. A `Future` for each write would wake the loop each time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


class LoopOutcome:
    """The outcome of a write. Await it in the event loop; the writer tells it."""

    __slots__ = ("_error", "_future", "_outcomes")

    def __init__(self, outcomes: Outcomes, future: asyncio.Future[None]) -> None:
        """Wait for the writer. `Outcomes.new` creates it."""
        self._outcomes = outcomes
        self._future = future
        self._error: BaseException | None = None

    def set_running_or_notify_cancel(self) -> bool:
        """Return whether somebody still waits for the write."""
        return not self._future.cancelled()

    def set_result(self, _: None, /) -> None:
        """Take that the write is durable."""
        self._outcomes.put(self)

    def set_exception(self, exception: BaseException | None, /) -> None:
        """Take why nothing of the write was stored."""
        self._error = exception
        self._outcomes.put(self)

    def finish(self) -> None:
        """Wake the coroutine that waits. Call it in the event loop."""
        if self._future.done():  # cancelled while the write ran
            return
        if self._error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(self._error)

    def __await__(self) -> Generator[None, None, None]:
        return self._future.__await__()


class Outcomes:
    """Passes outcomes on to one event loop."""

    def __init__(self) -> None:
        """Nothing is told yet. The loop is that in which the first outcome is created."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: deque[LoopOutcome] = deque()
        self._is_woken = False

    def new(self) -> LoopOutcome:
        """Create an outcome. Call it in the event loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return LoopOutcome(self, self._loop.create_future())

    def put(self, outcome: LoopOutcome) -> None:
        """Pass an outcome on. Any thread may call this."""
        self._told.append(outcome)
        # read after the append, so that `_take` finds the outcome if it has not begun yet
        if self._is_woken or self._loop is None:
            return
        self._is_woken = True
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._is_woken = False  # before the outcomes are taken: later ones wake the loop again
        while self._told:
            self._told.popleft().finish()

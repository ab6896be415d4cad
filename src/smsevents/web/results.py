"""Results on their way from threads to the event loop.

Each time a thread wakes the event loop, the two compete for the interpreter's lock. So a thread that has more work to
do keeps the result of a short one, and passes on several together. A result does not wait for slow work: a thread
passes on what it keeps RESULT_KEPT_MAX_SECONDS after the first of it, or, if its next work takes longer, the loop
fetches it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WAKE_UP_RESULTS_MAX = 16
RESULT_KEPT_MAX_SECONDS = 0.0005
RESULT_LOOK_SECONDS = 0.001  # how often the loop looks for results while it expects several


class LoopWork:
    """A call that a coroutine waits for. Its future is the event loop's own: two joined ones would take longer."""

    __slots__ = ("_error", "_result", "_results", "_run", "outcome", "since")

    def __init__(self, run: Callable[[], object], results: Results) -> None:
        """Wait for a thread. Create it in the event loop."""
        self._run = run
        self._results = results
        self.outcome: asyncio.Future[object] = results.loop.create_future()
        self.since = time.monotonic()
        self._result: object = None
        self._error: BaseException | None = None

    def do(self) -> None:
        """Run the call, unless it was cancelled, and keep its result."""
        if self.outcome.cancelled():
            return
        try:
            self._result = self._run()
        except BaseException as raised:  # noqa: BLE001 -- passed on to the caller, who raises it
            self._error = raised

    def pass_on(self, *, more: bool) -> None:
        """Pass the result on to the event loop, together with the next ones if there is more work."""
        self._results.put(self, more=more)

    def drop(self) -> None:
        """Cancel the call, which has not begun."""
        self._error = asyncio.CancelledError()
        self._results.put(self, more=False)

    def finish(self) -> None:
        """Set the result. Call it in the event loop."""
        if self.outcome.done():  # cancelled while it ran
            return
        if isinstance(self._error, asyncio.CancelledError):
            self.outcome.cancel()
        elif self._error is not None:
            self.outcome.set_exception(self._error)
        else:
            self.outcome.set_result(self._result)


class Results:
    """Results of threads for one event loop. `put` is for the threads; all else belongs to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        """Expect nothing yet. `clock` returns seconds."""
        self.loop = loop
        self._clock = clock
        self._done: deque[LoopWork] = deque()
        self._oldest = 0.0  # when the first of them was put there
        self._expected = 0
        self._is_woken = False
        self._timer: asyncio.TimerHandle | None = None

    def expect(self) -> None:
        """Note that one more result will come."""
        self._expected += 1
        self._look_later()

    def put(self, work: LoopWork, *, more: bool) -> None:
        """Pass a result on, or keep it if there is `more` work whose result may come with it."""
        now = self._clock()
        if not self._done:
            self._oldest = now
        self._done.append(work)
        # These are read after the append, so `_take` and the timer find the result if they have not run yet.
        if self._is_woken:
            return
        has_timer = self._expected > 1
        is_young = now < self._oldest + RESULT_KEPT_MAX_SECONDS
        if more and has_timer and is_young and len(self._done) < WAKE_UP_RESULTS_MAX:
            return
        self._is_woken = True
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self.loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._is_woken = False  # before the results are taken: later ones wake the loop again
        while self._done:
            self._expected -= 1
            self._done.popleft().finish()

    def _look_later(self) -> None:
        if self._timer is None and self._expected > 1:
            self._timer = self.loop.call_later(RESULT_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._take()
        self._look_later()

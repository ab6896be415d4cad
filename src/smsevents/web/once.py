"""One call for all callers that want the same result at the same time. It protects paths that need no key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.web.fair import FairThreads

T = TypeVar("T")


class Once(Generic[T]):
    """Calls a function in a worker thread, one call after the other, each for all callers that asked before it began.

    So a thousand callers at the same time cost two calls. A caller never gets the result of a call that began before
    the caller asked, because the result may be older than what the caller did last.
    """

    def __init__(self, workers: FairThreads, tenant: str) -> None:
        """Use the threads of `workers`, as `tenant`."""
        self._workers = workers
        self._tenant = tenant
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None  # the call that has not begun yet

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of the next call, of this `work` or another caller's. Raises what the call raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._call(work))
            self._next.add_done_callback(_look_at)
        return await asyncio.shield(self._next)

    async def _call(self, work: Callable[[], T]) -> T:
        async with self._lock:
            self._next = None
            return await self._workers.run(self._tenant, work)


def _look_at(done: asyncio.Task[T]) -> None:
    """Retrieve the exception, because every caller may have been cancelled and asyncio would log it."""
    if not done.cancelled():
        done.exception()

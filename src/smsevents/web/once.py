"""One call for all who ask for the same at the same time: anybody may ask for it, without a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from smsevents.web.fair import FairThreads

T = TypeVar("T")


class Once(Generic[T]):
    """Calls a function in a worker thread, one call after the other, each for all who asked before it began.

    So a thousand who ask at a time cost two calls. Nobody gets the result of a call that had begun before they asked,
    as it may tell of the state before what they did last.
    """

    def __init__(self, workers: FairThreads, tenant: str) -> None:
        """Use the threads of `workers`, as `tenant`."""
        self._workers = workers
        self._tenant = tenant
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None  # the call that has not begun

    async def run(self, work: Callable[[], T]) -> T:
        """Give the result of the next call, of this `work` or of that of another who asked. Raises what it raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._call(work))
            self._next.add_done_callback(_look_at)
        return await asyncio.shield(self._next)

    async def _call(self, work: Callable[[], T]) -> T:
        async with self._lock:
            self._next = None
            return await self._workers.run(self._tenant, work)


def _look_at(done: asyncio.Task[T]) -> None:
    """Look at an error, which nobody may have waited for to the end."""
    if not done.cancelled():
        done.exception()

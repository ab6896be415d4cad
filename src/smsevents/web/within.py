"""A time limit that costs nothing unless there is something to wait for.

asyncio sets a timer for each limit, which takes as long as most of what a small request waits for: nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await work for a limited number of seconds. Raises `TimeoutError`, and what `work` raises."""
    try:
        first = work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    async with asyncio.timeout(seconds):
        return await _Rest(work, first)


class _Rest(Generic[T]):
    """The rest of a coroutine that has begun, and first waits for what it yielded already."""

    def __init__(self, work: Coroutine[Any, Any, T], first: object) -> None:
        self._work = work
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._first
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001 -- a coroutine receives what its task is to raise
                    awaited = self._work.throw(error)
                else:
                    awaited = self._work.send(sent)
        except StopIteration as done:
            value: T = done.value
            return value

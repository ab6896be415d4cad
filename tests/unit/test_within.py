"""A time limit that sets no timer unless there is something to wait for."""

from __future__ import annotations

import asyncio

import pytest

from smsevents.web.within import within


def test_what_does_not_wait_needs_no_timer() -> None:
    """Work that ends at once returns its value, even without any time."""

    async def work() -> int:
        """Return at once."""
        return 7

    assert asyncio.run(within(0, work())) == 7


def test_what_raises_at_once_raises() -> None:
    """An error before the first wait is passed on."""

    async def work() -> int:
        """Raise at once."""
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(within(1, work()))


def test_what_waits_returns_its_value() -> None:
    """Work that waits several times gets what it waits for, in order."""

    async def work() -> list[int]:
        """Wait for futures that others set."""
        loop = asyncio.get_running_loop()
        got = []
        for number in range(3):
            future: asyncio.Future[int] = loop.create_future()
            loop.call_soon(future.set_result, number)
            got.append(await future)
            await asyncio.sleep(0)
        return got

    assert asyncio.run(within(60, work())) == [0, 1, 2]


def test_what_waits_too_long_is_ended() -> None:
    """After the time is up the work is cancelled, and the caller gets a timeout."""
    ended = []

    async def work() -> None:
        """Wait for what never comes."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(True)
            raise

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, work()))
    assert ended == [True]


def test_an_error_after_a_wait_is_passed_on() -> None:
    """An error of what is waited for reaches the work, and what the work makes of it the caller."""

    async def work() -> None:
        """Wait for a future that fails."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_soon(future.set_exception, KeyError("lost"))
        try:
            await future
        except KeyError as error:
            raise ValueError("made of it") from error

    with pytest.raises(ValueError, match="made of it"):
        asyncio.run(within(60, work()))


def test_a_cancelled_caller_cancels_the_work() -> None:
    """Cancelling the task that waits cancels the work in it."""
    ended = []

    async def work() -> None:
        """Wait for what never comes."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def cancelled() -> None:
        """Cancel a task once it waits."""
        task = asyncio.ensure_future(within(60, work()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert ended == [True]

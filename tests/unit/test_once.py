"""One call for all who ask at the same time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from smsevents.errors import StoreUnavailable
from smsevents.web.fair import FairThreads
from smsevents.web.once import Once

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKING = 50


class Counted:
    """A call that counts how often it was made, and waits for permission to continue."""

    def __init__(self) -> None:
        self.calls = 0
        self.began = threading.Semaphore(0)
        self.goes_on = threading.Semaphore(0)

    def __call__(self) -> int:
        """Return the number of the call."""
        self.calls += 1
        number = self.calls
        self.began.release()
        self.goes_on.acquire()
        return number


@pytest.fixture
def workers() -> Iterator[FairThreads]:
    """Yield threads to call in."""
    workers = FairThreads("test", 2, tenant_threads_max=1)
    yield workers
    workers.close()


def test_all_who_ask_during_a_call_share_the_next_one(workers: FairThreads) -> None:
    """All callers that ask while a call runs share one further call, and none gets the older result."""
    call = Counted()

    async def run() -> tuple[int, list[int]]:
        """Ask, on a loop."""
        once: Once[int] = Once(workers, "numbers")
        first = asyncio.create_task(once.run(call))
        await asyncio.to_thread(call.began.acquire)
        late = [asyncio.create_task(once.run(call)) for _ in range(ASKING)]
        await asyncio.sleep(0)
        call.goes_on.release(2)
        return await first, await asyncio.gather(*late)

    assert asyncio.run(run()) == (1, [2] * ASKING)
    assert call.calls == 2


def test_who_asks_after_a_call_gets_a_new_one(workers: FairThreads) -> None:
    """A result is not kept, because it may be outdated."""
    call = Counted()
    call.goes_on.release(3)

    async def run() -> list[int]:
        """Ask, on a loop."""
        once: Once[int] = Once(workers, "numbers")
        return [await once.run(call) for _ in range(3)]

    assert asyncio.run(run()) == [1, 2, 3]


def test_an_error_is_everybody_s_and_not_for_long(workers: FairThreads) -> None:
    """A call that fails fails for all who share it, and the next one is made regardless."""

    def fail() -> int:
        raise StoreUnavailable("no")

    async def run() -> tuple[list[int | BaseException], int]:
        """Ask, on a loop."""
        once: Once[int] = Once(workers, "numbers")
        failed = await asyncio.gather(*(once.run(fail) for _ in range(ASKING)), return_exceptions=True)
        return failed, await once.run(lambda: 7)

    failed, after = asyncio.run(run())
    assert [type(one) for one in failed] == [StoreUnavailable] * ASKING
    assert after == 7


def test_who_goes_away_takes_the_call_from_nobody(workers: FairThreads) -> None:
    """When one of those who wait is cancelled, the others still get their result."""
    call = Counted()

    async def run() -> int:
        """Ask, on a loop."""
        once: Once[int] = Once(workers, "numbers")
        impatient = asyncio.create_task(once.run(call))
        patient = asyncio.create_task(once.run(call))
        await asyncio.to_thread(call.began.acquire)
        impatient.cancel()
        call.goes_on.release()
        return await patient

    assert asyncio.run(run()) == 1
    assert call.calls == 1


def test_a_long_call_of_one_kind_keeps_no_other_waiting(workers: FairThreads) -> None:
    """While a call for numbers takes long, a call for readiness completes."""
    call = Counted()

    async def run() -> int:
        """Ask, on a loop."""
        numbers: Once[int] = Once(workers, "numbers")
        readiness: Once[int] = Once(workers, "readiness")
        slow = [asyncio.create_task(numbers.run(call)) for _ in range(ASKING)]
        await asyncio.to_thread(call.began.acquire)
        told = await asyncio.wait_for(readiness.run(lambda: 5), 30)
        call.goes_on.release(2)
        await asyncio.gather(*slow)
        return told

    assert asyncio.run(run()) == 5

"""Results of threads reach the event loop: several together, and none waits for slow work."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.web.fair import FairThreads
from smsevents.web.results import RESULT_KEPT_MAX_SECONDS, WAKE_UP_RESULTS_MAX, LoopWork, Results

WAIT_MAX_SECONDS = 30


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts how often other threads wake it."""

    wakes = 0

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]  # any call
        """Count it."""
        self.wakes += 1
        return super().call_soon_threadsafe(*args, **options)


def finished(results: Results, value: object) -> LoopWork:
    """Return work that a thread has done, and that the loop expects."""
    results.expect()
    work = LoopWork(lambda: value, results)
    work.do()
    return work


@pytest.mark.parametrize("count", [1, WAKE_UP_RESULTS_MAX, WAKE_UP_RESULTS_MAX * 2 + 1])
def test_results_of_short_work_wake_the_loop_together(count: int) -> None:
    """While more work waits and no time passes, the loop is woken once: for a number of results, or the last."""
    loop = CountingLoop()

    async def work() -> list[object]:
        """Run in the event loop."""
        results = Results(loop, clock=lambda: 0.0)
        done = [finished(results, number) for number in range(count)]
        before = loop.wakes
        for number, one in enumerate(done, 1):
            one.pass_on(more=number < count)
            assert loop.wakes - before == (number >= min(count, WAKE_UP_RESULTS_MAX))
        return await asyncio.gather(*(one.outcome for one in done))

    with closing(loop):
        assert loop.run_until_complete(asyncio.wait_for(work(), WAIT_MAX_SECONDS)) == list(range(count))


def test_a_result_is_not_kept_for_long() -> None:
    """A thread whose kept result has become old passes it on with the next one, although more work waits."""
    loop = CountingLoop()
    now = 0.0

    async def work() -> None:
        """Run in the event loop."""
        nonlocal now
        results = Results(loop, clock=lambda: now)
        first, second, _waiting = (finished(results, number) for number in range(3))
        before = loop.wakes
        first.pass_on(more=True)
        assert loop.wakes == before
        now += RESULT_KEPT_MAX_SECONDS
        second.pass_on(more=True)
        assert loop.wakes == before + 1

    with closing(loop):
        loop.run_until_complete(work())


def test_a_result_does_not_wait_for_the_slow_work_after_it() -> None:
    """The result of short work arrives while the same thread still does the next work, for however long that takes."""
    began, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        began.set()
        assert go_on.wait(WAIT_MAX_SECONDS)
        return "slow"

    async def work() -> None:
        """Run in the event loop."""
        threads = FairThreads("test", 1)
        with closing(threads):
            short = asyncio.ensure_future(threads.run("a", lambda: "short"))
            following = asyncio.ensure_future(threads.run("a", slow))
            try:
                assert await asyncio.wait_for(short, WAIT_MAX_SECONDS) == "short"
                assert not following.done()
            finally:
                go_on.set()
            assert await asyncio.wait_for(following, WAIT_MAX_SECONDS) == "slow"

    asyncio.run(work())
    assert began.is_set()


def test_a_result_does_not_wait_for_work_that_no_coroutine_waits_for() -> None:
    """The result of a coroutine's work arrives while the thread does other work, for which the loop does not look."""
    go_on = threading.Event()

    async def work() -> None:
        """Run in the event loop."""
        threads = FairThreads("test", 1)
        with closing(threads):
            gate = threading.Event()
            threads.submit("a", lambda: gate.wait(WAIT_MAX_SECONDS))
            short = asyncio.ensure_future(threads.run("a", lambda: "short"))
            await asyncio.sleep(0)
            other = threads.submit("a", lambda: go_on.wait(WAIT_MAX_SECONDS))
            gate.set()
            try:
                assert await asyncio.wait_for(short, WAIT_MAX_SECONDS) == "short"
            finally:
                go_on.set()
            assert other.result(WAIT_MAX_SECONDS)

    asyncio.run(work())


@given(
    works=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["return", "raise", "cancel"])), max_size=60),
    threads=st.integers(1, 3),
)
def test_every_coroutine_receives_its_own_outcome(works: list[tuple[str, str]], threads: int) -> None:
    """Whatever else is returned, raised or cancelled meanwhile, each caller receives the outcome of its own work."""

    async def one(pool: FairThreads, number: int, tenant: str, how: str) -> object:
        """Return the outcome of one call."""

        def run() -> int:
            """Return the number, or raise it."""
            if how == "raise":
                raise ValueError(number)
            return number

        task = asyncio.ensure_future(pool.run(tenant, run))
        if how == "cancel":
            await asyncio.sleep(0)
            task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    async def work() -> None:
        """Run in the event loop."""
        with closing(FairThreads("test", threads)) as pool:
            calls = (one(pool, number, *names) for number, names in enumerate(works))
            outcomes = await asyncio.wait_for(asyncio.gather(*calls), WAIT_MAX_SECONDS)
        for number, ((_, how), outcome) in enumerate(zip(works, outcomes, strict=True)):
            if how == "return":
                assert outcome == number
            elif how == "raise":
                assert isinstance(outcome, ValueError)
                assert outcome.args == (number,)
            else:
                assert isinstance(outcome, asyncio.CancelledError) or outcome == number

    asyncio.run(work())


def test_closing_cancels_the_coroutines_that_wait() -> None:
    """Closing cancels what has not begun, also for coroutines, and what runs returns to its caller."""
    began, go_on = threading.Event(), threading.Event()

    def first() -> str:
        began.set()
        assert go_on.wait(WAIT_MAX_SECONDS)
        return "done"

    async def work() -> None:
        """Run in the event loop."""
        pool = FairThreads("test", 1)
        running = asyncio.ensure_future(pool.run("a", first))
        await asyncio.get_running_loop().run_in_executor(None, began.wait, WAIT_MAX_SECONDS)
        waiting = [asyncio.ensure_future(pool.run("a", lambda: "never")) for _ in range(5)]
        await asyncio.sleep(0)
        closer = threading.Thread(target=pool.close)
        closer.start()
        for one in waiting:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(one, WAIT_MAX_SECONDS)
        assert not running.done()
        go_on.set()
        assert await asyncio.wait_for(running, WAIT_MAX_SECONDS) == "done"
        closer.join(WAIT_MAX_SECONDS)
        assert not closer.is_alive()

    asyncio.run(work())

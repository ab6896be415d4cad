"""Outcomes of writes reach the event loop together."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from smsevents.errors import StoreUnavailable, TimeInDoubt
from smsevents.web.outcomes import LoopOutcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

MANY = 50


def in_thread(work: Callable[[], None]) -> None:
    """Run work in another thread, while the event loop stands still."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_the_outcomes_of_one_commit_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread tells before the loop runs again reaches all coroutines that wait, by one call of the loop."""

    async def run() -> tuple[list[object], int]:
        """Wait for many outcomes, on a loop."""
        outcomes, calls = Outcomes(), []
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(*words: Any) -> Any:
            calls.append(words)
            return wake(*words)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        waiting = [outcomes.new() for _ in range(MANY)]

        def tell() -> None:
            for number, one in enumerate(waiting):
                assert one.set_running_or_notify_cancel()
                if number % 2:
                    one.set_exception(StoreUnavailable(str(number)))
                else:
                    one.set_result(None)

        in_thread(tell)
        found = await asyncio.gather(*map(awaited, waiting), return_exceptions=True)
        return [str(one) if isinstance(one, StoreUnavailable) else one for one in found], len(calls)

    assert asyncio.run(run()) == ([str(number) if number % 2 else None for number in range(MANY)], 1)


async def awaited(outcome: LoopOutcome) -> None:
    """Wait for an outcome."""
    await outcome


def test_later_outcomes_wake_the_loop_again() -> None:
    """An outcome that is told after the loop has taken earlier ones is not left waiting."""

    async def run() -> None:
        """Wait for one outcome after the other, on a loop."""
        outcomes = Outcomes()
        for _ in range(3):
            one = outcomes.new()
            in_thread(lambda one=one: one.set_result(None))  # type: ignore[misc]
            await asyncio.wait_for(awaited(one), 60)

    asyncio.run(run())


def test_a_write_that_nobody_waits_for_is_not_begun() -> None:
    """If the coroutine is cancelled first, the writer is told so; if it is cancelled later, the outcome is dropped."""

    async def run() -> tuple[bool, bool]:
        """Cancel two waits, on a loop."""
        outcomes = Outcomes()
        early, late, other = outcomes.new(), outcomes.new(), outcomes.new()
        tasks = [asyncio.create_task(awaited(one)) for one in (early, late, other)]
        await asyncio.sleep(0)
        begun = late.set_running_or_notify_cancel()
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait(tasks[:2])
        late.set_exception(TimeInDoubt("late"))
        other.set_result(None)
        await tasks[2]
        return begun, early.set_running_or_notify_cancel()

    assert asyncio.run(run()) == (True, False)

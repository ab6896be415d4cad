"""What an import does in threads: whatever becomes of its request, nothing is closed under a thread."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from smsevents.web.fair import FairThreads
from smsevents.web.imports import Feeding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.log.recorder import Recorder

SHOP = 7
WAIT_SECONDS = 60


class Paused:
    """A recorder whose first step lasts until a test lets it go on."""

    def __init__(self) -> None:
        """Be fed nothing yet."""
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.steps_taken = 0
        self.finished = False

    def steps(self, data: bytes) -> Iterator[int]:
        """Take a step for each byte, far more than one turn may."""
        for _ in data:
            self.begun.set()
            assert self.go_on.wait(WAIT_SECONDS)
            self.steps_taken += 1
            yield 2**30

    def finish(self) -> tuple[None, None]:
        """Take the end."""
        self.finished = True
        return None, None


@pytest.fixture
def threads() -> Iterator[FairThreads]:
    """Return one worker thread."""
    workers = FairThreads("importer", 1)
    yield workers
    workers.close()


@pytest.mark.parametrize("cancellations", [1, 3])
@pytest.mark.parametrize("call", ["feed", "finish"])
def test_a_cancelled_import_ends_after_its_thread(threads: FairThreads, call: str, cancellations: int) -> None:
    """A request that is cancelled, even repeatedly, while a thread works for it goes on only after that step."""
    recorder = Paused()
    feeding = Feeding(threads, SHOP, cast("Recorder", recorder))

    async def cancelled() -> None:
        """Cancel the call while its thread works."""
        task = asyncio.ensure_future(cast("Any", getattr(feeding, call)(b"abc")))
        await asyncio.to_thread(recorder.begun.wait, WAIT_SECONDS)
        try:
            for _ in range(cancellations):
                task.cancel()
                done, _running = await asyncio.wait([task], timeout=0.05)
                assert not done
        finally:
            recorder.go_on.set()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert recorder.steps_taken == 1

    asyncio.run(cancelled())
    assert not recorder.finished

"""Sharing what a process has between shops: places for requests, and turns of worker threads.

    Gate      so many requests inside at a time; a tenant with many inside leaves the rest to the others
    Turns     work that waits, given out in turn by shop
    Workers   threads that take their work from `Turns`

A **tenant** is one of those who share: a shop's trackpoint, or a client's address where no shop is known yet.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from smsevents.errors import StoreUnavailable, TooManyAtOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

T = TypeVar("T")

# A shop may have so many times as many places as are free. So one alone can have four fifths of them, two can have
# four ninths each, and however many there are, some places are left for the next one.
GATE_FREE_RATIO = 4


class ConcurrencyLimit:
    """Lets so many requests of a kind in at a time, and refuses the next ones rather than let them pile up."""

    def __init__(self, kind: str, at_once_max: int, setting: str = "") -> None:
        """Let `at_once_max` requests of a kind in; the setting, if it is one, is named to those who are refused."""
        self._kind = kind
        self._at_once_max = at_once_max
        self._setting = setting
        self._inside: Counter[Hashable] = Counter()
        self._all_inside = 0

    @contextmanager
    def enter(self, tenant: Hashable) -> Iterator[None]:
        """Be inside for as long as the block runs. Raises `TooManyAtOnce`.

        The last place is only for a tenant that has none, unless there is just the one.
        """
        free = self._at_once_max - self._all_inside
        has = self._inside[tenant]
        if free <= 0:
            raise TooManyAtOnce(
                f"The server is busy with {self._at_once_max} {self._kind} already. Try again in a moment."
                + (f" The operator of the server can raise {self._setting}." if self._setting else "")
            )
        if has and (has >= free * GATE_FREE_RATIO or free == 1):
            raise TooManyAtOnce(
                f"The server is busy with {has} {self._kind} of this shop already, and keeps places free for others."
                " Try again when one of them has ended."
            )
        self._inside[tenant] += 1
        self._all_inside += 1
        try:
            yield
        finally:
            self._all_inside -= 1
            self._inside[tenant] -= 1
            if not self._inside[tenant]:
                del self._inside[tenant]

    @property
    def inside(self) -> int:
        """How many are inside now."""
        return self._all_inside


class Turns(Generic[T]):
    """Work that waits: each tenant's in the order in which it came, the tenants in turn. Not thread-safe."""

    def __init__(self, at_once_max: int | None = None) -> None:
        """Have nothing waiting; give out at most `at_once_max` works of a tenant before one of them is done."""
        self._at_once_max = at_once_max
        self._running: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[T]] = {}
        self._order: deque[Hashable] = deque()  # the tenants that have work waiting, the next one first
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, tenant: Hashable, work: T) -> None:
        """Have work of a tenant wait after its other work; a tenant that had none comes after all others."""
        if tenant not in self._waiting:
            self._waiting[tenant] = deque()
            self._order.append(tenant)
        self._waiting[tenant].append(work)
        self._size += 1

    def take(self) -> tuple[Hashable, T] | None:
        """Give the tenant whose turn it is, and the first work of it; None where nothing may be given out now."""
        place = next((place for place, tenant in enumerate(self._order) if self._may_run(tenant)), None)
        if place is None:
            return None
        tenant = self._order[place]
        del self._order[place]
        self._running[tenant] += 1
        waiting = self._waiting[tenant]
        work = waiting.popleft()
        self._size -= 1
        if waiting:
            self._order.append(tenant)
        else:
            del self._waiting[tenant]
        return tenant, work

    def done(self, tenant: Hashable) -> None:
        """Note that a work of a tenant, which was given out, is done."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def drop(self) -> list[T]:
        """Give all that waits, which then waits no longer."""
        dropped = [work for waiting in self._waiting.values() for work in waiting]
        self._waiting.clear()
        self._order.clear()
        self._size = 0
        return dropped

    def _may_run(self, tenant: Hashable) -> bool:
        return self._at_once_max is None or self._running[tenant] < self._at_once_max


class _Work:
    """A call that waits for a thread, and where its outcome goes."""

    __slots__ = ("outcome", "run", "since")

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.outcome: Future[object] = Future()
        self.since = time.monotonic()


class FairThreads:
    """Threads of one kind of work, which tenants use in turn; much work of one cannot keep the others waiting."""

    def __init__(
        self,
        name: str,
        threads: int,
        waited: Callable[[float], None] = lambda _seconds: None,
        *,
        tenant_threads_max: int | None = None,
    ) -> None:
        """Have so many threads, made when they are first needed, and of them so many for one tenant at a time.

        `waited` is told how long each work waited for its thread, in seconds.
        """
        self._name = name
        self._threads_max = threads
        self._waited = waited
        self._turns: Turns[_Work] = Turns(tenant_threads_max)
        self._parked = 0  # works that a thread came for in vain, as their tenants have as many threads as they may
        self._tokens: queue.SimpleQueue[bool] = queue.SimpleQueue()  # one for each work that waits; False ends a thread
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    async def run(self, tenant: Hashable, work: Callable[[], T]) -> T:
        """Run the work in one of the threads when it is its turn; if the caller is cancelled, what runs runs on."""
        return await asyncio.wrap_future(self.submit(tenant, work))

    def submit(self, tenant: Hashable, work: Callable[[], T]) -> Future[T]:
        """Have the work run in one of the threads when it is its turn. Raises `StoreUnavailable` after `close`."""
        waiting = _Work(work)
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The server is stopping. Try again in a moment.")
            self._turns.put(tenant, waiting)
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._threads_max:
                self._start_thread()
            self._tokens.put(True)
        return waiting.outcome  # type: ignore[return-value]  # what `work` returns

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"smsevents-{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while self._tokens.get():
            with self._lock:
                taken = self._turns.take()
                if taken is None:
                    self._parked += bool(self._turns)  # nothing is left of what `close` dropped
                    self._idle += 1
                    continue
            tenant, work = taken
            if work.outcome.set_running_or_notify_cancel():
                self._waited(time.monotonic() - work.since)
                _settle(work)
            del work, taken  # what it holds must not wait for the next one
            with self._lock:
                self._turns.done(tenant)
                if self._parked:
                    self._parked -= 1
                    self._tokens.put(True)
                elif not self._turns:
                    self._idle += 1

    def close(self) -> None:
        """Drop what waits, wait for what runs, then end the threads."""
        with self._lock:
            self._closed = True
            dropped = self._turns.drop()
            for _ in self._threads:
                self._tokens.put(False)
        for work in dropped:
            work.outcome.cancel()
        for thread in self._threads:
            thread.join()


def _settle(work: _Work) -> None:
    try:
        result = work.run()
    except BaseException as error:  # noqa: BLE001 -- handed on to the caller, who raises it
        work.outcome.set_exception(error)
    else:
        work.outcome.set_result(result)

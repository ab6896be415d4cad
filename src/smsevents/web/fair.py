"""Sharing the resources of a process between shops: places for requests, and worker threads.

    ConcurrencyLimit  how many requests run at the same time; a tenant with many leaves the rest to the others
    Turns             work that waits, handed out to the tenants in turn
    FairThreads       threads that take their work from `Turns`

A **tenant** is a shop's trackpoint, or a client's address if the shop is not known yet.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from smsevents.errors import StoreUnavailable, TooManyAtOnce
from smsevents.web.results import LoopWork, Results

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

# A shop may have this many times as many places as are free. So one shop alone can have four fifths of the places, two
# can have four ninths each, and however many there are, some places are left for the next one.
GATE_FREE_RATIO = 4


class ConcurrencyLimit:
    """Limits how many requests of a kind run at the same time. It refuses further ones rather than queue them."""

    def __init__(self, kind: str, at_once_max: int, setting: str = "") -> None:
        """Allow `at_once_max` requests of a kind. Refusals name `setting`, unless the limit has no setting."""
        self._kind = kind
        self._at_once_max = at_once_max
        self._setting = setting
        self._inside: Counter[Hashable] = Counter()
        self._all_inside = 0

    def enter(self, tenant: Hashable) -> _Place:
        """Hold a place for as long as a `with` block runs, which raises `TooManyAtOnce` at its start.

        The last free place is only for a tenant that has none.
        """
        return _Place(self, tenant)

    def take(self, tenant: Hashable) -> None:
        """Take a place, until `leave`. Raises `TooManyAtOnce`."""
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

    def leave(self, tenant: Hashable) -> None:
        """Return a place that was taken."""
        self._all_inside -= 1
        self._inside[tenant] -= 1
        if not self._inside[tenant]:
            del self._inside[tenant]

    @property
    def inside(self) -> int:
        """The number of requests that run now."""
        return self._all_inside


class _Place:
    """A place while a block runs. A generator would take longer, and each request enters twice."""

    __slots__ = ("_limit", "_tenant")

    def __init__(self, limit: ConcurrencyLimit, tenant: Hashable) -> None:
        self._limit = limit
        self._tenant = tenant

    def __enter__(self) -> None:
        self._limit.take(self._tenant)

    def __exit__(self, *_: object) -> None:
        self._limit.leave(self._tenant)


class Turns(Generic[T]):
    """Work that waits: in order of arrival for each tenant, and the tenants in turn. Not thread-safe."""

    def __init__(self, at_once_max: int | None = None) -> None:
        """Start empty. At most `at_once_max` work items of a tenant are handed out before one of them is done."""
        self._at_once_max = at_once_max
        self._running: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[T]] = {}
        self._order: deque[Hashable] = deque()  # the tenants that have work waiting, the next one first
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, tenant: Hashable, work: T) -> None:
        """Queue work of a tenant after its other work. A tenant that had none comes after all other tenants."""
        if tenant not in self._waiting:
            self._waiting[tenant] = deque()
            self._order.append(tenant)
        self._waiting[tenant].append(work)
        self._size += 1

    def take(self) -> tuple[Hashable, T] | None:
        """Return the tenant whose turn it is and its first work, or None if nothing may be handed out now."""
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
        """Note that work of a tenant, which was handed out, is done."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def drop(self) -> list[T]:
        """Remove all waiting work and return it."""
        dropped = [work for waiting in self._waiting.values() for work in waiting]
        self._waiting.clear()
        self._order.clear()
        self._size = 0
        return dropped

    def _may_run(self, tenant: Hashable) -> bool:
        return self._at_once_max is None or self._running[tenant] < self._at_once_max


class _Work:
    """A call that waits for a thread, and the future for its result."""

    __slots__ = ("outcome", "run", "since")

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.outcome: Future[object] = Future()
        self.since = time.monotonic()

    def do(self) -> None:
        """Run the call, unless it was cancelled, and set its result."""
        if not self.outcome.set_running_or_notify_cancel():
            return
        try:
            result = self.run()
        except BaseException as error:  # noqa: BLE001 -- passed on to the caller, who raises it
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(result)

    def drop(self) -> None:
        """Cancel the call, which has not begun."""
        self.outcome.cancel()


class FairThreads:
    """Threads for one kind of work, which tenants use in turn: much work of one tenant cannot block the others."""

    def __init__(
        self,
        name: str,
        threads: int,
        waited: Callable[[float], None] = lambda _seconds: None,
        *,
        tenant_threads_max: int | None = None,
    ) -> None:
        """Use a limited number of threads, and a limited number for one tenant at the same time.

        Threads are started when they are first needed. `waited` is called with the seconds that work waited for its
        thread.
        """
        self._name = name
        self._threads_max = threads
        self._waited = waited
        self._turns: Turns[_Work | LoopWork] = Turns(tenant_threads_max)
        self._parked = 0  # work items that no thread could take, because their tenants were at their limit
        self._tokens: queue.SimpleQueue[bool] = queue.SimpleQueue()  # one for each waiting work; False ends a thread
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._results: Results | None = None

    async def run(self, tenant: Hashable, work: Callable[[], T]) -> T:
        """Run the work in a thread when it is its turn. Work that already runs continues if the caller is cancelled."""
        return await self.start(tenant, work)

    def start(self, tenant: Hashable, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do what `run` does, but return the future at once. Raises `StoreUnavailable` after `close`."""
        loop = asyncio.get_running_loop()
        if self._results is None or self._results.loop is not loop:
            self._results = Results(loop)
        results = self._results
        waiting = LoopWork(work, results)
        self._put(tenant, waiting)
        results.expect()
        return waiting.outcome  # type: ignore[return-value]  # the type that `work` returns

    def submit(self, tenant: Hashable, work: Callable[[], T]) -> Future[T]:
        """Queue the work for a thread and return its future. Raises `StoreUnavailable` after `close`."""
        waiting = _Work(work)
        self._put(tenant, waiting)
        return waiting.outcome  # type: ignore[return-value]  # the type that `work` returns

    def _put(self, tenant: Hashable, waiting: _Work | LoopWork) -> None:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The server is stopping. Try again in a moment.")
            self._turns.put(tenant, waiting)
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._threads_max:
                self._start_thread()
            self._tokens.put(True)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"smsevents-{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while self._tokens.get():
            with self._lock:
                taken = self._turns.take()
                if taken is None:
                    self._parked += bool(self._turns)  # nothing is left if `close` dropped the work
                    self._idle += 1
                    continue
            tenant, work = taken
            if not work.outcome.cancelled():
                self._waited(time.monotonic() - work.since)
            work.do()
            if isinstance(work, LoopWork):
                work.pass_on(more=len(self._turns) > 0)
            del work, taken  # its memory must not be held until the next work arrives
            with self._lock:
                self._turns.done(tenant)
                if self._parked:
                    self._parked -= 1
                    self._tokens.put(True)
                elif not self._turns:
                    self._idle += 1

    @property
    def is_wanted(self) -> bool:
        """Whether other work waits for a thread. Long work ends its turn then."""
        return len(self._turns) > 0

    def close(self) -> None:
        """Drop the waiting work, wait for the running work, then end the threads."""
        with self._lock:
            self._closed = True
            dropped = self._turns.drop()
            for _ in self._threads:
                self._tokens.put(False)
        for work in dropped:
            work.drop()
        for thread in self._threads:
            thread.join()

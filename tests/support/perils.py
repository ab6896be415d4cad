"""Processes of one log that are slow at random steps, and killed at random steps: as threads with a database each.

A step is the beginning of a transaction, its commit, the time after its commit, or a call of the store. Only this code
knows about steps: it wraps the database and the store. A process that was killed does nothing more, whatever its code
still tries to clean up. Its locks and connections end, as those of a killed process do, when its database is closed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smsevents.catalog import Database
from smsevents.catalog.markers import is_pack
from smsevents.errors import ObjectGone

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.storage.base import ByteStore, Incoming, StoredObject

SLOW_RATIO = 0.08  # of all steps
SLOW_MAX_SECONDS = 0.06
LATE_RATIO = 0.7  # of the kills at a put: the store writes the object later
READ = "before a read"
READ_RATIO = 0.1  # of the kills at other steps: reads change nothing, and there are many
STEPS_TOLD = 60  # the last ones, when something is wrong


class Killed(Exception):
    """The process was killed at a step, or is dead already."""


class Journal:
    """What happened in a run: the last steps of all processes, and how often each thing. Thread-safe."""

    def __init__(self) -> None:
        """Begin a run."""
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._steps: deque[str] = deque(maxlen=STEPS_TOLD)
        self.counts: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()

    def note(self, process: str, step: str) -> None:
        """Note a step of a process."""
        with self._lock:
            self._steps.append(f"{time.monotonic() - self._began:9.4f} s  {process:<12} {step}")

    def count(self, what: str, number: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self.counts[what] += number

    def kill(self, process: str, step: str) -> None:
        """Note that a process was killed at a step."""
        self.note(process, f"KILLED {step}")
        with self._lock:
            self.kills[step] += 1

    def __str__(self) -> str:
        with self._lock:
            return "\n".join([*self._steps, f"counts: {dict(self.counts)}", f"kills: {dict(self.kills)}"])


class LatePuts:
    """Objects that a store writes only after the process that put them was killed. Thread-safe."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._waiting: list[tuple[ByteStore, str, bytes]] = []

    def add(self, store: ByteStore, key: str, parts: Sequence[bytes]) -> None:
        """Remember a put that takes effect later."""
        with self._lock:
            self._waiting.append((store, key, b"".join(parts)))

    def take_effect(self) -> int:
        """Write what is late. Return how many objects that were."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for store, key, data in waiting:
            store.put(key, [data])
        return len(waiting)


class Life:
    """The life of one process, which may end at any step."""

    def __init__(self, name: str, chance: random.Random, journal: Journal, kill_ratio: float) -> None:
        """Begin. `kill_ratio` is the share of the steps at which it is killed."""
        self.name = name
        self.chance = chance
        self.journal = journal
        self._kill_ratio = kill_ratio
        self._is_over = False

    def step(self, name: str) -> None:
        """Take a step: at once, slowly, or as the last one."""
        if self._is_over:
            raise Killed(name)
        if name != READ:  # there are too many
            self.journal.note(self.name, name)
        if self.chance.random() < SLOW_RATIO:
            time.sleep(self.chance.uniform(0, SLOW_MAX_SECONDS))  # not to wait for anything: it is slow
        if self.chance.random() < self._kill_ratio * (READ_RATIO if name == READ else 1):
            self.end(name)

    def end(self, name: str) -> None:
        """Be killed at a step."""
        self._is_over = True
        self.journal.kill(self.name, name)
        raise Killed(name)


class PerilousDatabase(Database):
    """The database as one process has it open. Its transactions, and the calls of its store, are steps."""

    def __init__(self, url: str, life: Life, open_store: Callable[[str], ByteStore], late: LatePuts) -> None:
        """Open it for a life. What the store writes too late is passed to `late`."""
        super().__init__(url, create=False, open_store=lambda where: PerilousStore(open_store(where), life, late))
        self._life = life

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read, after a step."""
        self._life.step(READ)
        with super().read() as connection:
            yield connection

    @contextmanager
    def exclusive(self, *, beside: bool = False) -> Iterator[Connection]:
        """Write, between steps."""
        self._life.step("before a transaction")
        with super().exclusive(beside=beside) as connection:
            yield connection
            self._life.step("before a commit")
        self._life.step("after a commit")


class PerilousStore:
    """A store as one process uses it. Its calls are steps."""

    def __init__(self, inner: ByteStore, life: Life, late: LatePuts) -> None:
        """Pass everything on to a store."""
        self._inner = inner
        self._life = life
        self._late = late
        self.url = inner.url
        self.prefers_long_reads = inner.prefers_long_reads

    def is_current(self) -> bool:
        """Return whether it is what its URL opens."""
        return self._inner.is_current()

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Put an object, between steps. If the process is killed before it, the store may write it all the same."""
        try:
            self._life.step("before a put")
        except Killed:
            if is_pack(key) and self._life.chance.random() < LATE_RATIO:
                self._late.add(self._inner, key, parts)
            raise
        self._inner.put(key, parts)
        self._life.journal.count("packs written", is_pack(key))
        self._life.step("after a put")

    def read(self, key: str, start: int, size: int) -> bytes:
        """Read a part of an object, after a step."""
        self._life.step("before reading an object")
        try:
            return self._inner.read(key, start, size)
        except ObjectGone:
            self._life.journal.count("packs gone before they were read")
            raise

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Incoming:
        """Read a long part of an object, after a step."""
        self._life.step("before reading an object")
        return self._inner.incoming(key, start, size, ahead=ahead)

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete objects, between steps."""
        self._life.step("before a deletion")
        gone = self._inner.delete(keys)
        self._life.step("after a deletion")
        return gone

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """List objects, after a step."""
        self._life.step("before a listing")
        return self._inner.objects(prefix)

    def unsafe(self) -> str | None:
        """Return what the store does."""
        return self._inner.unsafe()

    def check_writable(self) -> None:
        """Check the store."""
        self._inner.check_writable()

    def free_bytes(self) -> int | None:
        """Return what the store does."""
        return self._inner.free_bytes()

"""Processes that work on the packs of a log and are killed at a step.

A step is the beginning of a transaction, its commit, the time after its commit, or a call that changes the folder of
the packs. Only this code knows about steps: it wraps the database and the calls of the operating system in the child.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from smsevents.catalog import Database
from smsevents.catalog.attachment import attach
from smsevents.catalog.objects import hasten
from smsevents.catalog.packs import packs_of
from smsevents.catalog.stores import set_packing
from smsevents.upkeep import erasure, quarantining
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.packing import pack_settled, unpack_shop, write_stored
from smsevents.upkeep.retention import expire
from smsevents.upkeep.verification import verify
from smsevents.wire.limits import DAY_MS
from tests.support.erasures import USER
from tests.support.logs import TINY, Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from sqlalchemy import Connection

T = TypeVar("T")
SHOP = Held.trackpoint
FEW = replace(TINY, segment_bytes=900)
DONE_MAX_SECONDS = 100
CALLS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir")

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def attach_and_pack(database: Database, folder: Path, now: int) -> None:
    """Begin to use a folder, and pack the shop."""
    attach(database, folder.as_uri())
    pack(database, folder, now)


def pack(database: Database, _: Path, now: int) -> None:
    """Pack what is not packed."""
    pack_settled(database, SHOP, now, now + DAY_MS, FEW)


def compact(database: Database, _: Path, now: int) -> None:
    """Merge late events into the packs."""
    compact_shop(database, SHOP, now, None, FEW)


def collect_all(database: Database, _: Path, __: int) -> None:
    """Delete what is not needed."""
    collect(database, database.dialect.now_ms() + 2 * DAY_MS)


def unpack(database: Database, _: Path, __: int) -> None:
    """Move the packs into the database, as `smsevents move database` does."""
    database.write(partial(set_packing, packing=False))
    with database.read() as connection:
        found = list(packs_of(connection, SHOP))
    unpack_shop(database, SHOP, found)
    later = database.dialect.now_ms() + 1
    database.write(partial(hasten, now=later))
    collect(database, later)


def forget(database: Database, _: Path, __: int) -> None:
    """Erase the user, and wipe the files."""
    erasure.forget(database, SHOP, [USER], database.dialect.now_ms(), block=False)


def retire(database: Database, _: Path, now: int) -> None:
    """Let the first ten days expire, and collect their packs."""
    expire(database, now)
    collect(database, database.dialect.now_ms() + 2 * DAY_MS)


def rescue(database: Database, _: Path, now: int) -> None:
    """Quarantine what is damaged."""
    for one in list(verify(database, None)):
        if one.damage:
            quarantining.quarantine(database, one, now)


ACTIONS: dict[str, Callable[[Database, Path, int], None]] = {
    one.__name__: one for one in (attach_and_pack, pack, compact, collect_all, unpack, forget, retire, rescue)
}


class Steps:
    """Counts the steps of this process, and kills it at one. The name of that step goes to a file."""

    def __init__(self, at: int, told: Path) -> None:
        """Kill at the step with this number, beginning with 0."""
        self._left = at
        self._told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._write = os.write
        self._doing = ""

    def step(self, name: str, before: Callable[[], object] = lambda: None) -> None:
        """Count a step. If it is the one, do something that is half of it, and die."""
        self._left -= 1
        if self._left < 0:
            before()
            self._write(self._told, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap_calls(self, folder: Path) -> None:
        """Count the calls that change something in a folder."""
        handles: set[int] = set()

        def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(what: Any, *rest: Any, **options: Any) -> Any:
                is_here = what in handles if isinstance(what, int) else str(what).startswith(str(folder))
                if is_here and not (name == "open" and not rest[0] & os.O_CREAT):
                    half = partial(real, what, bytes(rest[0])[: len(rest[0]) // 2]) if name == "write" else lambda: None
                    self.step(f"{name} in the folder", half)
                result = real(what, *rest, **options)
                if name == "open" and is_here:
                    handles.add(result)
                return result

            return call

        close = os.close

        def closing(handle: int) -> None:
            handles.discard(handle)
            close(handle)

        for name in CALLS:
            setattr(os, name, wrapped(name, getattr(os, name)))
        vars(os)["close"] = closing


class Stepping(Database):
    """A database whose transactions are steps."""

    def __init__(self, url: str, steps: Steps) -> None:
        """Open a database, and count steps."""
        super().__init__(url, create=False)
        self._steps = steps
        self._written = ""

    @contextmanager
    def exclusive(self, *, beside: bool = False) -> Iterator[Connection]:
        """Write, between steps."""
        self._steps.step("before a transaction")
        with super().exclusive(beside=beside) as connection:
            yield connection
            self._steps.step(f"before the commit of {self._written}")
        self._steps.step(f"after the commit of {self._written}")

    def submit(
        self, run: Callable[[Connection], T], size_bytes: int = 0, *, beside: bool = False, medium: bool = False
    ) -> Future[T]:
        """Submit a write, and remember its name."""

        def named(connection: Connection) -> T:
            self._written = getattr(run.func if isinstance(run, partial) else run, "__qualname__", "")
            return run(connection)

        return super().submit(named, size_bytes, beside=beside, medium=medium)


def _work(  # noqa: PLR0913, PLR0917 -- passed to another process
    url: str, folder: Path, action: str, now: int, at: int, told: Path
) -> None:
    """Do an action in this process, and be killed at a step."""
    for module in (erasure, quarantining):
        vars(module)["write_stored"] = partial(write_stored, sizes=FEW.packs)
    steps = Steps(at, told)
    database = Stepping(url, steps)
    steps.wrap_calls(folder)
    ACTIONS[action](database, folder, now)
    database.close()


def killed_at(held: Held, folder: Path, action: str, at: int) -> str | None:
    """Do an action in another process that is killed at a step. Return the name of the step, or None if it ended.

    `held` must be closed meanwhile if its file is to be complete; a process of its own holds no lock of it.
    """
    told = folder.with_name("step")
    process = _processes.Process(target=_work, args=(held.url, folder, action, held.now, at, told))
    process.start()
    process.join(DONE_MAX_SECONDS)
    assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
    return told.read_text() if process.exitcode else None

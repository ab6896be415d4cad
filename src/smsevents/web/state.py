"""What the requests of one process share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from smsevents.access import Access
from smsevents.catalog import Database, open_existing
from smsevents.errors import TooManyAtOnce
from smsevents.log import Log
from smsevents.settings import (
    ERASURES_AT_ONCE_MAX,
    EXPORT_MERGERS,
    EXPORT_READERS,
    EXPORT_RUNS_AHEAD_MAX,
    IMPORT_WORKERS,
    Settings,
)
from smsevents.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Gate:
    """Lets so many requests of a kind in at a time, and refuses the next ones rather than let them pile up."""

    def __init__(self, kind: str, at_once_max: int, setting: str = "") -> None:
        """Let `at_once_max` requests of a kind in; the setting, if it is one, is named to those who are refused."""
        self._kind = kind
        self._at_once_max = at_once_max
        self._setting = setting
        self._inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside for as long as the block runs. Raises `TooManyAtOnce`."""
        if self._inside >= self._at_once_max:
            raise TooManyAtOnce(
                f"The server is busy with {self._at_once_max} {self._kind} already. Try again in a moment."
                + (f" The operator of the server can raise {self._setting}." if self._setting else "")
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


class Slots:
    """So many places for what may be held besides; whoever finds none goes on without."""

    def __init__(self, free: int) -> None:
        """Have `free` places."""
        self._free = free

    def take(self) -> bool:
        """Take a place, to be given back; tell whether there was one."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Give a place back."""
        self._free += 1


class Workers:
    """Threads of one kind of work, so that much of it cannot keep the other kinds waiting."""

    def __init__(self, name: str, threads: int) -> None:
        """Have so many threads, made when they are first needed."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"smsevents-{name}")

    async def run(self, work: Callable[[], T]) -> T:
        """Run the work in one of the threads; if the caller is cancelled, it still runs to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what runs, then end the threads."""
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Shared:
    """The parts that requests use. `close` it when the process ends."""

    settings: Settings
    database: Database
    log: Log
    access: Access
    timekeeper: Timekeeper
    readers: Workers
    mergers: Workers
    importers: Workers
    erasers: Workers
    exports: Gate
    imports: Gate
    erasures: Gate
    runs_ahead: Slots

    @classmethod
    def open(cls, settings: Settings) -> Shared:
        """Open the catalog and start what is needed. Raises `StoreUnavailable` or `SettingError`."""
        database = open_existing(settings.database)
        timekeeper = Timekeeper(database)
        return cls(
            settings=settings,
            database=database,
            log=Log(database),
            access=Access(database, timekeeper=timekeeper),
            timekeeper=timekeeper,
            readers=Workers("reader", EXPORT_READERS),
            mergers=Workers("merger", EXPORT_MERGERS),
            importers=Workers("importer", IMPORT_WORKERS),
            erasers=Workers("eraser", 1),  # see `users.forget_user`
            exports=Gate("exports", settings.exports_at_once_max, "SMSEVENTS_EXPORTS_AT_ONCE_MAX"),
            imports=Gate("imports", settings.imports_at_once_max, "SMSEVENTS_IMPORTS_AT_ONCE_MAX"),
            erasures=Gate("erasures", ERASURES_AT_ONCE_MAX),
            runs_ahead=Slots(EXPORT_RUNS_AHEAD_MAX),
        )

    def close(self) -> None:
        """End the threads and close the database."""
        self.readers.close()
        self.mergers.close()
        self.importers.close()
        self.erasers.close()
        self.database.close()

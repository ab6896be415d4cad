"""What the requests of one process share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.accounts.access import Access
from smsevents.catalog import Database, open_served
from smsevents.log.log import Log
from smsevents.timekeeper import Timekeeper
from smsevents.web import tenant_metrics
from smsevents.web.connection.registry import connections_max
from smsevents.web.fair import Gate, Workers
from smsevents.web.once import Once

if TYPE_CHECKING:
    from smsevents.clock.trusted import Judgement
    from smsevents.settings import Settings

EXPORT_READERS = 2  # threads; more of them wait for the interpreter's lock rather than for the disk
EXPORT_MERGERS = 1  # for what would keep them from all other exports
EXPORT_RUNS_AHEAD_MAX = 8  # in a process: what is read ahead for clients that stop reading stays bounded
IMPORT_WORKERS = 4
ERASURES_AT_ONCE_MAX = 64

# One shop alone keeps the interpreter busy with two; the other threads are free for small imports of other shops.
IMPORT_WORKERS_OF_SHOP_MAX = IMPORT_WORKERS // 2


class Slots:
    """A fixed number of slots; callers that get none continue without."""

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
    doors: Workers  # looks keys up, so that wrong ones keep no export waiting
    probes: Workers  # for health and metrics, which answer whatever else goes on
    readiness: Once[Judgement]
    exposition: Once[bytes]
    exports: Gate
    imports: Gate
    erasures: Gate
    runs_ahead: Slots

    @classmethod
    def open(cls, settings: Settings) -> Shared:
        """Open the catalog and start what is needed. Raises `StoreUnavailable` or `SettingError`."""
        database = open_served(settings.database)
        timekeeper = Timekeeper(database)
        # all gates together are smaller than what may connect, or the requests let in would keep everybody else out
        gate_max = max(1, connections_max() // 2)
        probes = _workers("probe", 2, tenant_threads_max=1)  # so that no readiness waits for numbers
        return cls(
            settings=settings,
            database=database,
            log=Log(database, timekeeper=timekeeper),
            access=Access(database, timekeeper=timekeeper),
            timekeeper=timekeeper,
            readers=_workers("reader", EXPORT_READERS),
            mergers=_workers("merger", EXPORT_MERGERS),
            importers=_workers("importer", IMPORT_WORKERS, tenant_threads_max=IMPORT_WORKERS_OF_SHOP_MAX),
            erasers=_workers("eraser", 1),  # see `users.forget_user`
            doors=_workers("door", 1),
            probes=probes,
            readiness=Once(probes, "readiness"),
            exposition=Once(probes, "metrics"),
            exports=_gate("exports", settings.exports_at_once_max, gate_max, "SMSEVENTS_EXPORTS_AT_ONCE_MAX"),
            imports=_gate("imports", settings.imports_at_once_max, gate_max, "SMSEVENTS_IMPORTS_AT_ONCE_MAX"),
            erasures=Gate("erasures", min(ERASURES_AT_ONCE_MAX, gate_max)),
            runs_ahead=Slots(EXPORT_RUNS_AHEAD_MAX),
        )

    def close(self) -> None:
        """End the threads and close the database."""
        for workers in (self.readers, self.mergers, self.importers, self.erasers, self.doors, self.probes):
            workers.close()
        self.database.close()


def _gate(kind: str, wanted: int, at_most: int, setting: str) -> Gate:
    return Gate(kind, wanted, setting) if wanted <= at_most else Gate(kind, at_most, "`ulimit -n`")


def _workers(name: str, threads: int, *, tenant_threads_max: int | None = None) -> Workers:
    waited = tenant_metrics.wait_seconds.labels(name).observe
    return Workers(name, threads, waited, tenant_threads_max=tenant_threads_max)

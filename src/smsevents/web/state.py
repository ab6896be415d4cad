"""The state that the requests of one process share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.accounts.access import Access
from smsevents.accounts.sessions import Sessions
from smsevents.catalog import Database, open_served
from smsevents.log.joining import Joining
from smsevents.log.log import Log
from smsevents.log.recent import RecentEvents
from smsevents.log.small import SmallImports
from smsevents.receipts.receivers import Receivers
from smsevents.receipts.recording import ReceiptRecorder
from smsevents.receipts.register import Register
from smsevents.segments.segment import forget_opened
from smsevents.timekeeper import Timekeeper
from smsevents.web import tenant_metrics
from smsevents.web.attempts import Attempts
from smsevents.web.commit_marks import CommitMarks
from smsevents.web.connection.registry import connections_max
from smsevents.web.export_pace import EXPORTS_DIRECT_MAX, Slots
from smsevents.web.fair import ConcurrencyLimit, FairThreads
from smsevents.web.once import Once
from smsevents.web.outcomes import Outcomes

if TYPE_CHECKING:
    from smsevents.settings import Settings
    from smsevents.web.health import Readiness

EXPORT_READERS = 2  # threads; further ones would wait for the interpreter's lock rather than for the disk
EXPORT_MERGERS = 1  # for slow pages, which would block all other exports
IMPORT_WORKERS = 4
ERASURES_AT_ONCE_MAX = 64
STATISTICS_AT_ONCE_MAX = 64

# Two threads of one shop keep the interpreter busy. The others stay free for small imports of other shops.
IMPORT_WORKERS_OF_SHOP_MAX = IMPORT_WORKERS // 2


@dataclass(frozen=True)
class Lane:
    """What requests of one kind share: the limit on how many run at the same time, and their threads."""

    limit: ConcurrencyLimit
    threads: FairThreads

    def close(self) -> None:
        """End the threads."""
        self.threads.close()


@dataclass(frozen=True)
class ExportLane(Lane):
    """Exports also have threads for slow pages, which would block all other exports, and slots for sending directly."""

    mergers: FairThreads
    direct: Slots

    def close(self) -> None:
        """End the threads."""
        super().close()
        self.mergers.close()


@dataclass(frozen=True)
class AppState:
    """The parts that requests use. Call `close` when the process ends."""

    settings: Settings
    database: Database
    log: Log
    joining: Joining
    small_imports: SmallImports
    recent: RecentEvents
    commit_marks: CommitMarks
    markers: FairThreads  # ask what was committed, if a server has to be asked: exports wait for it
    access: Access
    sessions: Sessions
    wrong_keys: Attempts
    receivers: Receivers
    receipts: ReceiptRecorder
    outcomes: Outcomes
    register: Register
    wrong_tokens: Attempts
    timekeeper: Timekeeper
    exports: ExportLane
    imports: Lane
    erasures: Lane
    statistics: Lane
    doors: FairThreads  # look up keys, so that wrong keys do not delay exports
    probes: FairThreads  # for health and metrics, which must respond under any load
    readiness: Once[Readiness]
    exposition: Once[bytes]

    @classmethod
    def open(cls, settings: Settings) -> AppState:
        """Open the catalog and create the lanes and threads. Raises `StoreUnavailable` or `SettingError`."""
        database = open_served(settings.database)
        timekeeper = Timekeeper(database)
        joining = Joining(database)
        access = Access(database, timekeeper=timekeeper)
        log = Log(database, timekeeper=timekeeper, joining=joining)
        # the sum of all limits is smaller than the number of connections, or running requests would block all others
        at_most = max(1, connections_max() // 2)
        probes = _threads("probe", 2, tenant_threads_max=1)  # readiness never waits for metrics
        exports = ExportLane(
            _limit("exports", settings.exports_at_once_max, at_most, "SMSEVENTS_EXPORTS_AT_ONCE_MAX"),
            _threads("reader", EXPORT_READERS),
            _threads("merger", EXPORT_MERGERS),
            Slots(EXPORTS_DIRECT_MAX),
        )
        markers = _threads("marker", 1)
        return cls(
            settings=settings,
            database=database,
            log=log,
            joining=joining,
            small_imports=SmallImports(timekeeper, log.blocked, joining),
            recent=RecentEvents(database, exports.threads.submit),
            commit_marks=CommitMarks(database, markers),
            markers=markers,
            access=access,
            sessions=Sessions(database, access),
            wrong_keys=Attempts("keys", "Check the key, wait a minute, then try again."),
            receivers=Receivers(database),
            receipts=ReceiptRecorder(database, joining),
            outcomes=Outcomes(),
            register=Register(database, joining),
            wrong_tokens=Attempts("tokens", "Check the address in the gateway's configuration."),
            timekeeper=timekeeper,
            exports=exports,
            imports=Lane(
                _limit("imports", settings.imports_at_once_max, at_most, "SMSEVENTS_IMPORTS_AT_ONCE_MAX"),
                _threads("importer", IMPORT_WORKERS, tenant_threads_max=IMPORT_WORKERS_OF_SHOP_MAX),
            ),
            erasures=Lane(
                ConcurrencyLimit("erasures", min(ERASURES_AT_ONCE_MAX, at_most)),
                _threads("eraser", 1),  # see `users.forget_user`
            ),
            statistics=Lane(
                ConcurrencyLimit("statistics", min(STATISTICS_AT_ONCE_MAX, at_most)),
                # a count may take long: one shop always leaves a thread for the others
                _threads("counter", 2, tenant_threads_max=1),
            ),
            doors=_threads("door", 1),
            probes=probes,
            readiness=Once(probes, "readiness"),
            exposition=Once(probes, "metrics"),
        )

    def forget_events(self) -> None:
        """Remove events from memory that are kept there for the next requests. Some may be erased meanwhile."""
        self.recent.forget()
        self.joining.forget()
        forget_opened()

    def close(self) -> None:
        """End the threads and close the database."""
        for one in (self.exports, self.imports, self.erasures, self.statistics, self.doors, self.probes, self.markers):
            one.close()
        self.database.close()


def _limit(kind: str, wanted: int, at_most: int, setting: str) -> ConcurrencyLimit:
    return (
        ConcurrencyLimit(kind, wanted, setting) if wanted <= at_most else ConcurrencyLimit(kind, at_most, "`ulimit -n`")
    )


def _threads(name: str, threads: int, *, tenant_threads_max: int | None = None) -> FairThreads:
    waited = tenant_metrics.wait_seconds.labels(name).observe
    return FairThreads(name, threads, waited, tenant_threads_max=tenant_threads_max)

"""The upkeep worker: a process that compacts segments and expires events.

`serve` starts one beside its workers. It is a separate process with a low priority, because merging keeps an
interpreter busy and no request should wait for it.

One upkeep worker of a database **leads**: the one that holds the lease. It does what concerns all shops: it expires
events, wipes, and deletes old packs. Where the database serves several machines, the work on shops is divided among all
upkeep workers (`shares.py`). Elsewhere the one that leads does that, too, and the others wait.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

import structlog

from smsevents.catalog import open_served
from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.leases import LEASE_SECONDS, release_lease, take_lease
from smsevents.catalog.packs import shops_with_packs
from smsevents.catalog.segments import line_bytes_after, newest_id, newest_settled_id, shops_changed
from smsevents.catalog.stores import is_packing
from smsevents.clock.system import Clocks
from smsevents.errors import DamagedSegment, SmsEventsError, StoreUnavailable
from smsevents.logging_config import configure_logging
from smsevents.settings import Settings
from smsevents.stats.keeping import DayKeeper
from smsevents.timekeeper import Herald, Timekeeper
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.erasure_records import ERASURES_KEPT_DAYS
from smsevents.upkeep.packing import pack_settled
from smsevents.upkeep.receipt_rows import SENT_KEPT_DAYS, expire_receipts, settle_register
from smsevents.upkeep.retention import expire
from smsevents.upkeep.settling import Settling, compact_background, past_before
from smsevents.upkeep.space import give_back_room
from smsevents.upkeep.tallying import Backfill
from smsevents.upkeep.wiping import seconds_to_wipe, wipe
from smsevents.worker.erasure_round import ErasureRound
from smsevents.worker.lifeline import end_with_parent
from smsevents.worker.shares import EXTENDED_EVERY_SECONDS, Shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from smsevents.catalog import Database
    from smsevents.clock.trusted import Judgement

UPKEEP_INTERVAL_SECONDS = 15
PRESSED_CHECK_SECONDS = 1.0  # how soon the worker notices that much has arrived
BUSY_ROUNDS_MAX = 20  # about five minutes; then unused space is returned all the same
PRESSED_LINES_BYTES = 32 * 1024 * 1024  # about 130,000 events
WORKER_WATCH_SECONDS = 0.5  # how soon the server notices that the upkeep worker is gone
UPKEEP_NICENESS = 10  # a lower priority than serving

logger = structlog.get_logger()

LEASE = "upkeep"
WORKER_STOP_MAX_SECONDS = 5
_NOT_FOR_THE_WORKER = {signal.SIGINT, signal.SIGHUP}
_STOPPED = {0, -signal.SIGTERM}  # exit codes of an upkeep worker that was told to stop; the second one during its start


class UpkeepWorker:
    """Does the upkeep of a database: all of it, or that of its shops."""

    def __init__(  # noqa: PLR0913 -- the keyword ones are settings
        self,
        database: Database,
        clock: Callable[[], int] | None = None,
        timekeeper: Timekeeper | None = None,
        *,
        packs: bool = False,
        sent_kept_days: int = SENT_KEPT_DAYS,
        erasures_kept_days: int = ERASURES_KEPT_DAYS,
    ) -> None:
        """Use a database, and a timekeeper that knows whether the time can be trusted.

        With `packs`, what has settled is moved into the store of packs, unless the log was moved back. Registered
        messages are deleted after `sent_kept_days`, and records of erasures after `erasures_kept_days`.

        The clock returns Unix milliseconds. The default is the clock that all processes of the database share, because
        they compare the ends of leases.
        """
        self._database = database
        self._now = clock or database.dialect.now_ms
        self._timekeeper = timekeeper or Timekeeper(database, Clocks(wall_ms=self._now))
        self._packs = packs
        self._sent_kept_days = sent_kept_days
        self._erasures = ErasureRound(database, erasures_kept_days)
        self._not_packed: set[int] = set()  # shops whose packs could not be written in the last round
        self._left: set[int] = set()  # shops that another worker was still working on in the last round
        self._herald = Herald()
        self._note_again = 0.0
        self.holder = secrets.token_hex(8)
        self._shares = Shares(database, self.holder)
        # the workers in the last round that was completed: if others came or went, shops changed hands
        self._looked_at_with: Sequence[str] = ()
        self._settling = Settling()
        self._backfill = Backfill()
        self._day_keeper = DayKeeper()
        self._extend_again = 0.0
        self._looked_at = 0  # the highest segment id when the last round began: only newer segments need a check
        self._pressed_after = 0  # the highest segment id when the last round ended: what it merged has not arrived
        self._busy_rounds = 0  # in a row, in which there was something to merge

    def take_lease(self) -> bool:
        """Take or extend the lease. Return whether this upkeep worker holds it."""
        now = self._now()
        expires = now + LEASE_SECONDS * 1000
        return self._database.write(lambda c: take_lease(c, LEASE, self.holder, now, expires))

    def release_lease(self) -> None:
        """Release the lease and the shops, so that others do not have to wait until they expire."""
        self._database.write(lambda c: release_lease(c, LEASE, self.holder))
        if self._database.dialect.divides_upkeep:
            self._shares.leave()

    def round(self) -> bool:
        """Do one round of the upkeep. Return whether it was completed.

        While time is in doubt no event counts as old: nothing expires, and compaction keeps everything.
        """
        leads = self.take_lease()
        if self._database.dialect.divides_upkeep:
            self._shares.join(self._now())
        elif not leads:
            self._herald.hear(self._timekeeper.note())
            return False
        judgement = self._timekeeper.note(worked=True)
        self._herald.hear(judgement)
        if leads:
            self._expire(judgement)
            self._erasures.run(self._now(), judgement.old_by_ms)
        looked_at = self._looked_at
        worked = self._keep_shops()
        if worked is None:
            return False
        leads = leads and self.take_lease()
        if leads:
            self._wipe_and_collect()
            self._tally(looked_at)
            self._keep_messages()
        with self._database.read() as connection:
            self._pressed_after = newest_id(connection)
        # while there is something to merge, compaction would use the space again
        self._busy_rounds = self._busy_rounds + 1 if worked else 0
        if leads and (not worked or self._busy_rounds % BUSY_ROUNDS_MAX == 0):
            give_back_room(self._database, lambda: not self.is_pressed())
        return True

    def _keep_shops(self) -> bool | None:
        """Work on the shops of this worker. Return whether anything changed, or None if it lost the lease."""
        workers = self._shares.workers
        with self._database.read() as connection:
            newest = newest_settled_id(connection)
        with self._database.read() as connection:
            now = self._now()
            due = self._settling.shops_due(now)
            looks_at_all = due is None or workers != self._looked_at_with
            changed = shops_changed(connection, 0 if looks_at_all else self._looked_at)
            if looks_at_all:
                changed += shops_with_packs(connection)
            packs = self._packs and is_packing(connection)
        worked = False
        for trackpoint in sorted({*changed, *(due or ()), *self._not_packed, *self._left}):
            self._left.discard(trackpoint)
            if not self._shares.has(trackpoint):
                self._not_packed.discard(trackpoint)
                continue
            if not self._still_works():
                return None
            worked |= self._keep_shop(trackpoint, now, packs=packs)
        if due is None:
            self._settling.looked_at_all(now)
        self._looked_at, self._looked_at_with = newest, workers
        return worked

    def _still_works(self) -> bool:
        """Extend what this worker holds. Return whether it may work on further shops."""
        leads = self.take_lease()
        if self._database.dialect.divides_upkeep:
            self._shares.extend(self._now())
            return True
        return leads

    def _expire(self, judgement: Judgement) -> None:
        """Delete what is older than the history."""
        expired = expire(self._database, judgement.old_by_ms)
        if expired.segments or expired.packs:
            logger.info("expired", segments=expired.segments, packs=expired.packs, events=expired.events)
        if unmatched := expire_receipts(self._database, judgement.old_by_ms, self._sent_kept_days):
            logger.warning("receipts without a message dropped", receipts=unmatched)
        settle_register(self._database, judgement.clock_ms)

    def _keep_shop(self, trackpoint: int, now: int, *, packs: bool) -> bool:
        """Compact a shop, and with `packs` pack it, unless another worker is doing that. Return whether it changed."""
        try:
            with self._database.dialect.shop_kept(trackpoint):
                worked = self._compact(trackpoint, self._judge_at_work().old_by_ms, now)
                if packs:
                    worked |= self._pack(trackpoint, self._judge_at_work().old_by_ms, now)
        except Busy:
            self._left.add(trackpoint)
            return False
        return worked

    def _wipe_and_collect(self) -> None:
        if seconds_to_wipe(self._database, self._now()) == 0 and (not_wiped := wipe(self._database, self._now())):
            logger.warning("not wiped", reason=not_wiped)
        self._collect()

    def _tally(self, newest: int) -> None:
        """Count the segments up to an id that have no tally, for as long as this upkeep worker has the lease.

        Those that have arrived since the last round wait for the next one: mostly, compaction replaces them first.
        """
        counted = 0
        try:
            for some in self._backfill.steps(self._database, newest):
                counted += some
                if not self.take_lease():
                    break
        except StoreUnavailable as error:  # statistics count the lines until then
            logger.warning("not tallied", reason=str(error))
        if counted:
            logger.info("tallied", segments=counted)

    def _keep_messages(self) -> None:
        """Count the messages of settled days, until much has arrived or the lease is lost: compaction comes first."""
        counted = 0
        try:
            for some in self._day_keeper.steps(self._database, self._now(), self._extend_lease):
                counted += some
                if self.is_pressed() or not self.take_lease():
                    break
        except StoreUnavailable as error:  # statistics count the lines until then
            logger.warning("messages not counted", reason=str(error))
        if counted:
            logger.info("messages counted", days=counted)

    def _extend_lease(self) -> None:
        """Extend the lease in the midst of long work. If another worker has it, that does the same work again."""
        if time.monotonic() >= self._extend_again:
            self._extend_again = time.monotonic() + EXTENDED_EVERY_SECONDS
            self.take_lease()

    def _collect(self) -> None:
        """Delete old packs. They stay while their store is away."""
        try:
            not_deleted = collect(self._database, self._now())
        except StoreUnavailable as error:
            not_deleted = str(error)
        if not_deleted:
            logger.warning("old packs are kept", reason=not_deleted)

    def _judge_at_work(self) -> Judgement:
        """Judge the time, and periodically note in the database that the upkeep is working."""
        if time.monotonic() < self._note_again:
            return self._timekeeper.judge()
        self._note_again = time.monotonic() + UPKEEP_INTERVAL_SECONDS
        return self._timekeeper.note(worked=True)

    def is_pressed(self) -> bool:
        """Return whether so much has arrived since the last round that the next one should begin at once."""
        with self._database.read() as connection:
            return line_bytes_after(connection, self._pressed_after) >= PRESSED_LINES_BYTES

    def _compact(self, trackpoint: int, old_by_ms: int, now: int) -> bool:
        """Compact a shop, and leave out events older than the history at `old_by_ms`. `now` decides what settles.

        Return whether there was something to do.
        """
        try:
            done = compact_background(
                self._database, trackpoint, old_by_ms, self._settling, now=now, old_id=self._looked_at
            )
        except DamagedSegment as error:
            logger.error("not compacted", trackpoint=trackpoint, error=str(error))  # noqa: TRY400 -- the text says all
            return False
        except StoreUnavailable as error:  # perhaps only the packs of this shop are away
            logger.warning("not compacted", trackpoint=trackpoint, error=str(error))
            return False
        if done.before:
            logger.info("compacted", trackpoint=trackpoint, segments_before=done.before, segments_after=done.after)
        return done.before > 0

    def _pack(self, trackpoint: int, old_by_ms: int, now: int) -> bool:
        """Move what has settled of a shop into the store of packs. Return whether there was something to do."""
        try:
            done = pack_settled(self._database, trackpoint, old_by_ms, past_before(now))
        except DamagedSegment as error:
            logger.error("not packed", trackpoint=trackpoint, error=str(error))  # noqa: TRY400 -- the text says all
            return False
        except StoreUnavailable as error:  # the events stay in the database
            logger.warning("not packed", trackpoint=trackpoint, error=str(error))
            self._not_packed.add(trackpoint)
            return False
        self._not_packed.discard(trackpoint)
        if done.before:
            logger.info("packed", trackpoint=trackpoint, segments_before=done.before, segments_after=done.after)
        return done.before > 0


@contextmanager
def kept(url: str, log_format: str) -> Iterator[None]:
    """Run an upkeep worker for a database beside this process for as long as the block runs.

    If it ends by itself, which takes a defect or a kill, it is started again after a pause. When the block ends, the
    upkeep worker is told to stop. It is killed if it still runs after WORKER_STOP_MAX_SECONDS: its work may be
    abandoned at any moment.
    """
    stopping = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(url, log_format, stopping), name="smsevents-upkeep worker", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        stopping.set()
        watch.join()


def _watch(url: str, log_format: str, stopping: threading.Event) -> None:
    # Ctrl-C also reaches the server, which stops the upkeep worker with SIGTERM. A process inherits the blocked signals
    # of the thread that starts it, so this holds from its first moment. The tracker of multiprocessing is started
    # first, because starting it would unblock them.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_THE_WORKER)
    while not stopping.is_set():
        process = multiprocessing.get_context("spawn").Process(target=keep, args=(url, log_format), daemon=True)
        try:
            process.start()
        except OSError as error:
            logger.error("upkeep worker not started", error=str(error), again_in_seconds=UPKEEP_INTERVAL_SECONDS)  # noqa: TRY400 -- the text says all
            stopping.wait(UPKEEP_INTERVAL_SECONDS)
            continue
        while process.is_alive() and not stopping.is_set():
            stopping.wait(WORKER_WATCH_SECONDS)
        if not stopping.is_set():
            # a supervisor may stop all processes of the group: then the server is stopping, too
            told = logger.info if process.exitcode in _STOPPED else logger.error
            told("upkeep worker ended", exit_code=process.exitcode, again_in_seconds=UPKEEP_INTERVAL_SECONDS)
            stopping.wait(UPKEEP_INTERVAL_SECONDS)
        _end(process)


def _end(process: BaseProcess) -> None:
    process.terminate()
    process.join(WORKER_STOP_MAX_SECONDS)
    if process.is_alive():  # it waits for SQLite, which ignores signals
        process.kill()
        process.join()


def keep(url: str, log_format: str) -> None:
    """Do the upkeep of a database until the process is told to stop or its parent is gone.

    A stop does not wait for the work in progress: it may be abandoned at any moment.
    """
    settings = Settings.from_environment()
    configure_logging(log_format, settings.log_level)
    os.nice(UPKEEP_NICENESS)
    for not_for_us in _NOT_FOR_THE_WORKER:
        signal.signal(not_for_us, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    end_with_parent(WORKER_STOP_MAX_SECONDS)
    try:
        database = open_served(url)
    except SmsEventsError as error:
        logger.error("upkeep worker cannot begin", error=str(error))  # noqa: TRY400 -- the text says all
        raise SystemExit(1) from error
    worker = UpkeepWorker(
        database,
        packs=bool(settings.segments),
        sent_kept_days=settings.sent_sms_kept_days,
        erasures_kept_days=settings.erasures_kept_days,
    )
    try:
        while True:
            completed = False
            try:
                completed = worker.round()
            except StoreUnavailable as error:
                logger.warning("upkeep has to wait", error=str(error))
            _wait_until_due(worker, may_be_pressed=completed)
    finally:
        with suppress(StoreUnavailable):  # the lease then expires by itself
            worker.release_lease()
        database.close()


def _wait_until_due(worker: UpkeepWorker, *, may_be_pressed: bool) -> None:
    """Wait for UPKEEP_INTERVAL_SECONDS, or with `may_be_pressed` until much has arrived.

    A worker whose round was not completed, because another one holds the lease, has nothing to be pressed about.
    """
    for _ in range(round(UPKEEP_INTERVAL_SECONDS / PRESSED_CHECK_SECONDS)):
        # not a sleep: sleeping until a given time can fail with a fake clock, and a signal ends this wait, too
        threading.Event().wait(PRESSED_CHECK_SECONDS)
        with suppress(StoreUnavailable):  # the next round reports it
            if may_be_pressed and worker.is_pressed():
                return


def _stop(*_: object) -> None:
    raise SystemExit(0)

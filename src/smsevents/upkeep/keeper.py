"""The keeper: a process that compacts and expires by itself, if it holds the lease.

`serve` starts one beside its workers. It is a process of its own, and a nice one, because merging keeps an
interpreter busy: no request should wait for it. Of all keepers of a database, on whatever machine, the one that
holds the lease works.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from smsevents.catalog import open_catalog
from smsevents.catalog.leases import release_lease, take_lease
from smsevents.catalog.outline import newest_id, shops_changed
from smsevents.clock import now_ms
from smsevents.errors import DamagedSegment, StoreUnavailable
from smsevents.logs import configure_logs
from smsevents.settings import (
    KEEPER_WATCH_SECONDS,
    LEASE_SECONDS,
    UPKEEP_INTERVAL_SECONDS,
    UPKEEP_NICENESS,
    Settings,
)
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.erasure import wipe
from smsevents.upkeep.retention import expire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.catalog import Database

logger = structlog.get_logger()

LEASE = "upkeep"


class Keeper:
    """Does the upkeep of a database when it is its turn."""

    def __init__(self, database: Database, clock: Callable[[], int] = now_ms) -> None:
        """Use a database and a clock that tells Unix milliseconds."""
        self._database = database
        self._now = clock
        self.holder = secrets.token_hex(8)
        self._looked_at = 0  # the highest id of a segment when the last round began: only newer ones need a look

    def take_lease(self) -> bool:
        """Take or prolong the lease; tell whether this keeper holds it."""
        now = self._now()
        expires = now + LEASE_SECONDS * 1000
        return self._database.write(lambda c: take_lease(c, LEASE, self.holder, now, expires))

    def release_lease(self) -> None:
        """Give the lease back, so that another keeper need not wait for its end."""
        self._database.write(lambda c: release_lease(c, LEASE, self.holder))

    def round(self) -> bool:
        """Expire, compact what is new, and wipe what is owed, if the lease is ours; tell whether it was to the end."""
        if not self.take_lease():
            return False
        expired = expire(self._database, self._now())
        if expired.segments:
            logger.info("expired", segments=expired.segments, events=expired.events)
        with self._database.read() as connection:
            newest = newest_id(connection)
            changed = shops_changed(connection, self._looked_at)
        for trackpoint in changed:
            if not self.take_lease():
                return False
            self._compact(trackpoint)
        self._looked_at = newest
        if not_wiped := wipe(self._database, self._now()):
            logger.warning("not wiped", reason=not_wiped)
        return True

    def _compact(self, trackpoint: int) -> None:
        try:
            done = compact_shop(self._database, trackpoint, self._now(), everything=False)
        except DamagedSegment as error:
            logger.error("not compacted", trackpoint=trackpoint, error=str(error))  # noqa: TRY400 -- the text says all
            return
        if done.before:
            logger.info("compacted", trackpoint=trackpoint, segments_before=done.before, segments_after=done.after)


@contextmanager
def kept(url: str, log_format: str) -> Iterator[None]:
    """Have a keeper of a database run beside this process for as long as the block does.

    One that ends by itself, which only a defect or a kill can make it do, is started again after a pause.
    """
    stopping = threading.Event()
    watch = threading.Thread(target=_watch, args=(url, log_format, stopping), name="smsevents-keeper", daemon=True)
    watch.start()
    try:
        yield
    finally:
        stopping.set()
        watch.join()


def _watch(url: str, log_format: str, stopping: threading.Event) -> None:
    while not stopping.is_set():
        process = multiprocessing.get_context("spawn").Process(target=keep, args=(url, log_format), daemon=True)
        process.start()
        while process.is_alive() and not stopping.is_set():
            stopping.wait(KEEPER_WATCH_SECONDS)
        if not stopping.is_set():
            logger.error("keeper ended", exit_code=process.exitcode, again_in_seconds=UPKEEP_INTERVAL_SECONDS)
            stopping.wait(UPKEEP_INTERVAL_SECONDS)
        process.terminate()
        process.join()


def keep(url: str, log_format: str) -> None:
    """Do the upkeep of a database until the process is told to stop or the one that started it is gone.

    A stop does not wait for the work at hand: it may be given up at any moment.
    """
    configure_logs(log_format, Settings.from_environment().log_level)
    os.nice(UPKEEP_NICENESS)
    parent = os.getppid()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server too, which stops us with SIGTERM
    database = open_catalog(url)
    keeper = Keeper(database)
    try:
        while os.getppid() == parent:
            try:
                keeper.round()
            except StoreUnavailable as error:
                logger.warning("upkeep has to wait", error=str(error))
            resume = time.monotonic() + UPKEEP_INTERVAL_SECONDS
            while time.monotonic() < resume and os.getppid() == parent:
                time.sleep(KEEPER_WATCH_SECONDS)
    finally:
        with suppress(StoreUnavailable):  # the lease then ends by itself
            keeper.release_lease()
        database.close()


def _stop(*_: object) -> None:
    raise SystemExit(0)

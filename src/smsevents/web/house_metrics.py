"""Metrics of the installation rather than of requests: the build, the database's files, the last backup, the time.

They are looked up for each request of /metrics, so any worker can return them and nothing has to be added up.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily

from smsevents.catalog.attachment import is_store_needed
from smsevents.catalog.milestones import BACKUP, reached
from smsevents.catalog.objects import State, count_objects
from smsevents.catalog.receivers import count_receipts
from smsevents.catalog.segments import overlapping_line_bytes
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.catalog import Database
    from smsevents.clock.trusted import Judgement
    from smsevents.timekeeper import Timekeeper


class House:
    """Collects the metrics of a database. It is a custom collector of prometheus_client."""

    def __init__(self, database: Database, timekeeper: Timekeeper, now: int) -> None:
        """Describe a database at the time `now` (Unix ms)."""
        self._database = database
        self._timekeeper = timekeeper
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metric families. One whose value is unknown at the moment has no sample."""
        sizes = self._database.dialect.sizes()
        build = GaugeMetricFamily("smsevents_build_info", "1: what runs, in the labels.", labels=["version", "python"])
        build.add_metric([version("smsevents"), platform.python_version()], 1)
        yield build
        yield _family("smsevents_database_bytes", "Size of the database file.", sizes.database_bytes)
        yield _family("smsevents_wal_bytes", "Size of the write-ahead log.", sizes.log_bytes)
        yield _family("smsevents_disk_free_bytes", "Room on the database's disk.", sizes.free_bytes)
        yield _family("smsevents_backup_age_seconds", "Time since the last backup.", self._backup_age())
        yield _family(
            "smsevents_unsettled_bytes",
            "Lines in segments that overlap and wait to be merged.",
            self._unsettled_bytes(),
        )
        yield from self._packs()
        yield from self._receipts()
        judgement = self._judgement()
        in_doubt = None if judgement is None else int(judgement.doubt is not None)
        yield _family("smsevents_time_in_doubt", "1 while the clock is not trusted, else 0.", in_doubt)
        idle = None if judgement is None else judgement.idle_ms / 1000
        yield _family("smsevents_upkeep_idle_seconds", "Time since the upkeep was last at work.", idle)

    def _packs(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics of the store. Without one, they have no samples."""
        live = live_bytes = dead = free_bytes = None
        with suppress(StoreUnavailable), self._database.read() as connection:
            if is_store_needed(connection):
                live, live_bytes = count_objects(connection, State.LIVE)
                dead, _ = count_objects(connection, State.DEAD)
                free_bytes = self._database.packs(connection).store.free_bytes()
        yield _family("smsevents_packs", "Packs in their store.", live)
        yield _family("smsevents_packs_bytes", "Size of the packs.", live_bytes)
        yield _family("smsevents_packs_to_delete", "Packs that were replaced and wait to be deleted.", dead)
        yield _family("smsevents_packs_free_bytes", "Room on the disk of the packs.", free_bytes)

    def _receipts(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics of receipts that have no event."""
        waiting = unmatched = None
        with suppress(StoreUnavailable), self._database.read() as connection:
            waiting, unmatched = count_receipts(connection)
        yield _family("smsevents_receipts_waiting", "Receipts that wait for their message to be registered.", waiting)
        yield _family("smsevents_receipts_unmatched", "Receipts whose message was never registered.", unmatched)

    def _judgement(self) -> Judgement | None:
        try:
            return self._timekeeper.judge()
        except StoreUnavailable:
            return None

    def _unsettled_bytes(self) -> int | None:
        try:
            with self._database.read() as connection:
                return overlapping_line_bytes(connection)
        except StoreUnavailable:
            return None

    def _backup_age(self) -> float | None:
        try:
            with self._database.read() as connection:
                at = reached(connection).get(BACKUP)
        except StoreUnavailable:
            return None
        return None if at is None else (self._now - at) / 1000


def exposition(database: Database, timekeeper: Timekeeper, now: int) -> bytes:
    """Return the metrics of the installation in the Prometheus text format, at the time `now` (Unix ms)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(House(database, timekeeper, now))
    return generate_latest(registry)


def _family(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)

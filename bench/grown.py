"""A database with shops of different sizes, made once in a run and used by several parts."""

from __future__ import annotations

import shutil
import sqlite3
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bench.dataset import generate_into
from bench.load import post
from bench.measure import stopwatch
from bench.peers.smsevents import COMMAND, Store
from bench.plan import MINUTE_MS, SPAN_DAYS, TRACKPOINT

if TYPE_CHECKING:
    from bench.plan import Plan

SMALL_EXPORT_MS = 5 * MINUTE_MS


@dataclass(frozen=True)
class GrownShop:
    """A shop and what it took to import it."""

    trackpoint: int
    key: str
    events: int
    end_ms: int
    import_seconds: float
    stored_bytes: int
    index_bytes: int

    @property
    def path(self) -> str:
        """Give the path of its export."""
        return f"/shop/{self.trackpoint}/export-sms-events"

    @property
    def last_minutes(self) -> dict[str, int]:
        """Give the interval of a small export: the newest events."""
        return {"from": self.end_ms - SMALL_EXPORT_MS, "to": self.end_ms}

    @property
    def everything(self) -> dict[str, int]:
        """Give an interval that holds all events, but none that would be too old in the middle of a run."""
        return {"from": self.end_ms - int(SPAN_DAYS + 1) * 24 * 60 * MINUTE_MS, "to": self.end_ms}

    def small_request(self, *, gzip: bool) -> bytes:
        """Give the request of a small export as it stands on the wire."""
        return self.request(self.last_minutes, gzip=gzip)

    def request(self, interval: dict[str, int], *, gzip: bool) -> bytes:
        """Give the request of an export as it stands on the wire."""
        headers = {"X-Api-Key": self.key} | ({"Accept-Encoding": "gzip"} if gzip else {})
        return post(self.path, headers, b'{"from":%d,"to":%d}' % (interval["from"], interval["to"]))


@dataclass(frozen=True)
class Grown:
    """The database and its shops, the smallest first."""

    store: Store
    shops: tuple[GrownShop, ...]


@cache
def grown(plan: Plan) -> Grown:
    """Make the database of a plan, or give it if it was made in this run."""
    folder = plan.folder / "grown"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = Store(folder / "log.db")
    shops: list[GrownShop] = []
    stored = indexed = 0
    for number, events in enumerate(sorted(plan.shop_events)):
        trackpoint = TRACKPOINT + number
        key = store.add_shop(trackpoint)
        end_ms = time.time_ns() // 1_000_000
        with stopwatch() as taken:
            command = [*COMMAND, "import", str(trackpoint), "-"]
            generate_into(command, store.environment, events, end_ms, trackpoint)
        before = (stored, indexed)
        stored, indexed = store.bytes_on_disk(), _index_bytes(store)
        shops.append(
            GrownShop(trackpoint, key, events, end_ms, round(taken[0], 2), stored - before[0], indexed - before[1])
        )
        print(f"  a shop of {events:,} events in {taken[0]:.0f} s", flush=True)
    return Grown(store, tuple(shops))


def _index_bytes(store: Store) -> int:
    connection = sqlite3.connect(store.path)
    try:
        row = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'segments\\__%' ESCAPE '\\'")
        return int(row.fetchone()[0])
    finally:
        connection.close()

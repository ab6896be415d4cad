"""Imports and exports side by side for long: memory must not grow, answers must not become slower.

One thread imports bodies of `BODY_LINES` lines at a steady pace; their times go on at the density of a shop with
10 million events. Another exports the newest minutes again and again, a third the whole shop.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat
from typing import TYPE_CHECKING

from bench.grown import GrownShop
from bench.load import ask, post
from bench.measure import download, memory_bytes, quantile
from bench.peers.smsevents import Server, Store, served
from bench.plan import SPAN_DAYS, TRACKPOINT
from bench.results import SoakResult, Tick, about
from smsevents.events import decode
from smsevents.generate import generate

if TYPE_CHECKING:
    from bench.plan import Plan

BODY_LINES = 500
BODIES_PER_SECOND = 4
EVENTS_PER_DAY = 10_000_000 / SPAN_DAYS
WHOLE_EXPORT_PAUSE_SECONDS = 2.0
SMALL_EXPORT_PAUSE_SECONDS = 0.02
TICKS = 120
TICK_MIN_SECONDS = 2.0
_MS = 1000


class _Soak:
    """What the threads of one soak share."""

    def __init__(self, server: Server, key: str, seconds: int) -> None:
        """Import at the pace for so many seconds; the last event is to have happened now."""
        self.server = server
        self.stop = threading.Event()
        self.imported = 0
        self.import_ms: list[float] = []
        self.first_byte_ms: list[float] = []
        self._key = key
        events = seconds * BODIES_PER_SECOND * BODY_LINES
        self._now = time.time_ns() // 1_000_000
        self._lines = generate(TRACKPOINT, events=events, days=events / EVENTS_PER_DAY, seed=3, end_ms=self._now)
        self._shop = self._shop_until(self._now)

    def import_steadily(self) -> None:
        """Import a body each fraction of a second until the end."""
        started = time.monotonic()
        for number in itertools.count():
            lines = list(islice(self._lines, BODY_LINES))
            if not lines or self.stop.wait(max(0.0, started + number / BODIES_PER_SECOND - time.monotonic())):
                return
            request = post(
                f"/shop/{TRACKPOINT}/import-sms-events",
                {"X-Api-Key": self._key},
                b"".join(b"%b\n" % one for one in lines),
            )
            self.import_ms += [one.seconds * _MS for one in ask(self.server.port, iter([request]), 1)]
            self.imported += len(lines)
            self._shop = self._shop_until(decode(lines[-1])[0].smsEvent.date)

    def export_newest(self) -> None:
        """Export the newest minutes, a few times on each connection, until the end."""
        while not self.stop.wait(SMALL_EXPORT_PAUSE_SECONDS):
            answers = ask(self.server.port, repeat(self._shop.small_request(gzip=True), 5), 1)
            self.first_byte_ms += [one.first_byte_seconds * _MS for one in answers]

    def export_all(self) -> None:
        """Export the whole shop, again and again, until the end."""
        while not self.stop.wait(WHOLE_EXPORT_PAUSE_SECONDS):
            interval = self._shop_until(self._now).everything
            download(self.server.export(self._key, interval, gzip=True), self.server.pid)

    def tick(self, second: float) -> Tick:
        """Sum up what was measured since the last tick."""
        imports, self.import_ms = self.import_ms, []
        firsts, self.first_byte_ms = self.first_byte_ms, []
        return Tick(
            second=round(second, 1),
            memory_bytes=memory_bytes(self.server.pid),
            imported=self.imported,
            import_p50_ms=round(quantile(imports or [0.0], 0.5), 3),
            first_byte_p50_ms=round(quantile(firsts or [0.0], 0.5), 3),
            first_byte_p99_ms=round(quantile(firsts or [0.0], 0.99), 3),
        )

    def _shop_until(self, end_ms: int) -> GrownShop:
        return GrownShop(TRACKPOINT, self._key, 0, end_ms, 0.0, 0, 0)


def measure(plan: Plan) -> SoakResult:
    """Run the threads for the seconds of the plan, and look at the server all the while."""
    folder = plan.folder / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = Store(folder / "log.db")
    key = store.add_shop()
    every = max(TICK_MIN_SECONDS, plan.soak_seconds / TICKS)
    ticks: list[Tick] = []
    with served(store) as server, ThreadPoolExecutor(3) as pool:
        soak = _Soak(server, key, plan.soak_seconds)
        started = time.monotonic()
        running = [pool.submit(work) for work in (soak.import_steadily, soak.export_newest, soak.export_all)]
        while (second := time.monotonic() - started) < plan.soak_seconds and not any(one.done() for one in running[1:]):
            time.sleep(every)
            ticks.append(soak.tick(second + every))
        soak.stop.set()
        for one in running:
            one.result()
    shutil.rmtree(folder)
    return SoakResult(about=about(), seconds=plan.soak_seconds, ticks=ticks)

"""Imports and exports side by side for long: memory must not grow, responses must not become slower.

Imported times go on at the density of a shop with 10 million events, so that the newest minutes hold as many as there.
"""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice, repeat

from bench.dataset import generated, now_ms
from bench.load import post, send
from bench.measure import Figures, memory_bytes, quantile
from bench.peers.smsevents import IMPORT_PATH, Server, Shop, Store, served
from bench.plan import SPAN_DAYS, TRACKPOINT, Plan
from bench.render import Case, Lines
from bench.results import Row

_BODY_LINES, _BODIES_PER_SECOND = 500, 4
_EVENTS_PER_DAY = 10_000_000 / SPAN_DAYS
_WHOLE_EXPORT_PAUSE_SECONDS, _SMALL_EXPORT_PAUSE_SECONDS = 2.0, 0.02
_TICKS, _TICK_MIN_SECONDS = 120, 2.0
_THIRDS = ("first", "second", "last")


class _Soak:
    def __init__(self, server: Server, key: str, seconds: int) -> None:
        self.stop = threading.Event()
        self._server = server
        self._imported = 0
        self._times: dict[str, list[float]] = {"import": [0.0], "export": [0.0]}
        self._whole = self._shop = Shop(key, now_ms())
        events = seconds * _BODIES_PER_SECOND * _BODY_LINES
        self._lines = generated(TRACKPOINT, events, self._whole.end_ms, events / _EVENTS_PER_DAY)
        self._body = list(islice(self._lines, _BODY_LINES))  # so that the clock starts after the generator

    def import_steadily(self) -> None:
        started = time.monotonic()
        for number in count():
            if not self._body or self.stop.wait(max(0.0, started + number / _BODIES_PER_SECOND - time.monotonic())):
                self._lines.close()
                return
            request = post(IMPORT_PATH, {"X-Api-Key": self._shop.key}, b"".join(self._body))
            times = [last for _, last in send(self._server.port, iter([request]), 1)]
            self._times["import"] += times
            self._imported += len(self._body)
            newest = max(int(date) for date in re.findall(rb'"date":([0-9]+)', self._body[-1]))
            self._shop = Shop(self._shop.key, newest)
            self._body = list(islice(self._lines, _BODY_LINES))

    def export_newest(self) -> None:
        while not self.stop.wait(_SMALL_EXPORT_PAUSE_SECONDS):
            requests = repeat(self._shop.request("gzip"), 5)  # on one connection
            times = [first for first, _ in send(self._server.port, requests, 1)]
            self._times["export"] += times

    def export_all(self) -> None:
        while not self.stop.wait(_WHOLE_EXPORT_PAUSE_SECONDS):
            self._server.export(self._whole, "gzip")

    def tick(self) -> Figures:
        """Sum up what was measured since the last tick."""
        times, self._times = self._times, {"import": [], "export": []}
        imports, exports = (times[name] or [0.0] for name in ("import", "export"))
        figures = {"import_p50_ms": quantile(imports, 0.5), "first_byte_p50_ms": quantile(exports, 0.5)}
        figures |= {"first_byte_p99_ms": quantile(exports, 0.99), "imported_events": self._imported}
        return figures | {"memory_bytes": memory_bytes(self._server.pid)}


def _measure(plan: Plan) -> list[Row]:
    """Run the threads, and look at the server all the while: a row for each third of the time."""
    every = max(_TICK_MIN_SECONDS, plan.soak_seconds / _TICKS)
    ticks = max(len(_THIRDS), round(plan.soak_seconds / every))
    rows = [Row({"seconds": plan.soak_seconds, "third": third}, {}) for third in _THIRDS]
    with plan.workplace("soak") as folder, ThreadPoolExecutor(3) as pool:
        store = Store(folder / "log.db")
        key = store.add_shop()
        with served(store) as server:
            soak = _Soak(server, key, plan.soak_seconds)
            work = [pool.submit(one) for one in (soak.import_steadily, soak.export_newest, soak.export_all)]
            for number in range(ticks):
                if not any(one.done() for one in work[1:]):  # one that failed has ended early
                    time.sleep(every)
                    for name, value in (soak.tick() | {"minutes": (number + 1) * every / 60}).items():
                        rows[number * len(_THIRDS) // ticks].figures.setdefault(name, []).append(round(value, 3))
            soak.stop.set()
            for one in work:
                one.result()
    return rows


CASE = Case(
    _measure,
    "{seconds} seconds. Medians of what was seen every few seconds, in each third of them:",
    ("third", "memory_bytes", "first_byte_p50_ms", "first_byte_p99_ms", "import_p50_ms"),
    Lines(
        "Import and export side by side, small exports and whole ones: flat is good",
        "minutes",
        ("memory_bytes", "first_byte_p50_ms first_byte_p99_ms", "import_p50_ms"),
    ),
)

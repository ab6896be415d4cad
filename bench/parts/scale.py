"""What grows with the size of a shop and with the number of shops, and what must not."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from bench.grown import GrownShop, grown
from bench.load import ask, post
from bench.measure import download, memory_bytes, peak_memory, quantile
from bench.parts.latency import latency
from bench.peers.processes import own_process
from bench.peers.smsevents import Store, served
from bench.plan import DAY_MS, HOUR_MS, TRACKPOINT
from bench.results import ShopCount, ShopSize, about
from smsevents.access import Access
from smsevents.catalog import open_catalog
from smsevents.generate import generate
from smsevents.intake import Intake
from smsevents.log import Log
from smsevents.window import Window

if TYPE_CHECKING:
    from bench.plan import Plan

SHOP_EVENTS = 200
SHOP_DAYS = 2
CATALOG_READS = 50
IMPORTS_AT_ONCE = 64
_MS = 1000


def sizes(plan: Plan) -> list[ShopSize]:
    """Measure shops of different sizes in one database."""
    made = grown(plan)
    found: list[ShopSize] = []
    for shop in made.shops:
        with own_process(_nothing) as process:
            catalog_ms, read = process.submit(_catalog_cost, made.store.url, shop).result()
        with served(made.store) as server:
            request = shop.small_request(gzip=True)
            ask(server.port, repeat(request, 50), 1)
            answers = ask(server.port, repeat(request, plan.requests // 4), 1)
            peaks: dict[str, int] = {}
            seconds: dict[str, float] = {}
            for encoding in ("gzip", "identity"):
                full = server.export(shop.key, shop.everything, gzip=encoding == "gzip", trackpoint=shop.trackpoint)
                with peak_memory(server.pid) as peak:
                    seconds[encoding] = download(full, server.pid).seconds
                peaks[encoding] = peak[0]
        small = latency(answers, 1.0)
        found.append(
            ShopSize(
                about=about(),
                events=shop.events,
                stored_bytes=shop.stored_bytes,
                index_bytes=shop.index_bytes,
                import_seconds=shop.import_seconds,
                first_byte_p50_ms=small.first_byte_p50_ms,
                first_byte_p99_ms=small.first_byte_p99_ms,
                catalog_ms=catalog_ms,
                catalog_read_bytes=read,
                export_peak_bytes=peaks,
                export_seconds=seconds,
            )
        )
    return found


def _nothing() -> None:
    """Need no preparation."""


def _catalog_cost(url: str, shop: GrownShop) -> tuple[float, int]:
    """Read the first page of a small export from the store; give its processor time in ms and its bytes."""
    database = open_catalog(url)
    try:
        Access(database).shops()  # so that opening the file and reading its schema is not counted
        log = Log(database)
        window = Window(*shop.last_minutes.values())
        before = _bytes_read()
        next(log.read(shop.trackpoint, window), None)
        read = _bytes_read() - before
        times = []
        for _ in range(CATALOG_READS):
            started = time.process_time()
            next(log.read(shop.trackpoint, window), None)
            times.append((time.process_time() - started) * _MS)
    finally:
        database.close()
    return round(quantile(times, 0.5), 3), read


def _bytes_read() -> int:
    """Tell what this process has read from files so far, also where the kernel had it in memory."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split("\n")[0])


def counts(plan: Plan) -> list[ShopCount]:
    """Measure small exports and small imports of shops picked by chance, while there are more and more shops."""
    folder = plan.folder / "shops"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = Store(folder / "log.db")
    end_ms = time.time_ns() // 1_000_000
    picks = random.Random(1)  # noqa: S311 -- the same shops in every run
    keys: list[str] = []
    found: list[ShopCount] = []
    for shops in sorted(plan.shops):
        keys += _add_shops(store, len(keys), shops, end_ms)
        with served(store) as server:
            chosen = [picks.randrange(shops) for _ in range(plan.requests)]
            exports = [_export_request(shop, keys[shop], end_ms) for shop in chosen]
            # later than what is exported, so that the exports that follow are the same as before
            later = end_ms + 2 * HOUR_MS
            imports = [_import_request(shop, keys[shop], later + n) for n, shop in enumerate(chosen[::4])]
            ask(server.port, iter(exports[:50]), 1)
            small = latency(ask(server.port, iter(exports), 1), 1.0)
            stored = latency(ask(server.port, iter(imports), 1), 1.0)
            memory = memory_bytes(server.pid)
        found.append(
            ShopCount(
                about=about(),
                shops=shops,
                shop_events=SHOP_EVENTS,
                first_byte_p50_ms=small.first_byte_p50_ms,
                first_byte_p99_ms=small.first_byte_p99_ms,
                import_p50_ms=stored.whole_p50_ms,
                memory_bytes=memory,
            )
        )
        print(f"  {shops} shops", flush=True)
    shutil.rmtree(folder)
    return found


def _add_shops(store: Store, first: int, end: int, end_ms: int) -> list[str]:
    """Add the shops `first` to `end`, each with the same events; give their keys."""
    lines = b"\n".join(generate(TRACKPOINT, events=SHOP_EVENTS, days=SHOP_DAYS, seed=1, end_ms=end_ms))
    database = open_catalog(store.url)
    keys: list[str] = []
    try:
        access, log = Access(database), Log(database)
        for start in range(first, end, IMPORTS_AT_ONCE):
            with ExitStack() as intakes:
                pending = []
                for number in range(start, min(start + IMPORTS_AT_ONCE, end)):
                    trackpoint = TRACKPOINT + number
                    access.add_shop(trackpoint, "")
                    keys.append(access.create_key(trackpoint, ("export", "import")))
                    intake = intakes.enter_context(Intake(trackpoint, end_ms, gzip=False, lines_max_mib=1024))
                    intake.feed(lines.replace(b":%d," % TRACKPOINT, b":%d," % trackpoint))
                    intake.finish()
                    pending.append(log.append(trackpoint, intake.segments()))
                for stored in pending:
                    stored.result()
    finally:
        database.close()
    return keys


def _export_request(shop: int, key: str, end_ms: int) -> bytes:
    path = f"/shop/{TRACKPOINT + shop}/export-sms-events"
    body = b'{"from":%d,"to":%d}' % (end_ms - DAY_MS, end_ms)
    return post(path, {"X-Api-Key": key, "Accept-Encoding": "gzip"}, body)


def _import_request(shop: int, key: str, date: int) -> bytes:
    line = next(generate(TRACKPOINT + shop, events=1, days=HOUR_MS / DAY_MS, seed=date, end_ms=date))
    return post(f"/shop/{TRACKPOINT + shop}/import-sms-events", {"X-Api-Key": key}, line)

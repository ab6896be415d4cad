"""Read logs in which everything overlaps, as shuffled imports leave them until they are compacted.

    uv run --locked python -m bench.overlap 3000 6000 12000

Makes a log of so many imports of 1 to 200 events, all over the same 100 seconds, without a keeper, and reads it
whole. The time for an event should not grow with the log. `PYTHONPATH` may name the `src` of another checkout.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from smsevents.access import Access
from smsevents.catalog import open_catalog
from smsevents.clock import now_ms
from smsevents.generate import generate
from smsevents.log import Log
from smsevents.segments import entries_of, pack, unpack
from smsevents.settings import DAY_MS
from smsevents.window import Window

SHOP = 7
SPAN_MS = 100_000
SIZES = [1, 1, 3, 200]


def fill(log: Log, imports: int, end_ms: int) -> int:
    """Make a log of so many imports; tell how many events they hold."""
    chance = random.Random(1)  # noqa: S311 -- invented data
    sizes = [chance.choice(SIZES) for _ in range(imports)]
    lines = generate(SHOP, events=sum(sizes), days=SPAN_MS / DAY_MS, seed=1, end_ms=end_ms)
    entries = entries_of(b"".join(line + b"\n" for line in lines), "generated")
    chance.shuffle(entries)
    waiting = []
    for size in sizes:
        waiting.append(log.append(SHOP, pack(sorted(entries[-size:]))))
        del entries[-size:]
    for one in waiting:
        one.result()
    return sum(sizes)


def measure(imports: int) -> str:
    """Make a log, read it, and tell how long that took."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_catalog(f"sqlite:///{Path(folder) / 'log.db'}")
        Access(database).add_shop(SHOP, "")
        log = Log(database)
        end_ms = now_ms()
        stored = fill(log, imports, end_ms)
        started, pages, events = time.perf_counter(), 0, 0
        for page in log.read(SHOP, Window(end_ms - DAY_MS, end_ms)):
            pages += 1
            events += sum(piece.count(b"\n") for piece in unpack([page]))
        seconds = time.perf_counter() - started
        database.close()
    if events != stored:
        raise SystemExit(f"{events:,} events were read of {stored:,} that were stored.")
    rate = f"{seconds / events * 1e6:.1f} µs an event"
    return f"{imports:>7,} imports, {events:>9,} events: {seconds:6.2f} s, {rate}, {pages} pages"


if __name__ == "__main__":
    for asked in sys.argv[1:] or ["3000", "6000", "12000"]:
        print(measure(int(asked)), flush=True)

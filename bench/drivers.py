"""How a shop's log is read: the synchronous driver in threads, beside the asynchronous one.

    uv run --with aiosqlite --with greenlet bench/drivers.py

Reads one million generated events from SQLite, page by page as an export does, with the same statement and the
same size of a page, and prints the median of the runs and their ratio. docs/architecture.md quotes it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from smsevents.access import Access
from smsevents.catalog import open_catalog
from smsevents.catalog.stored import segment_of
from smsevents.catalog.tables import segments
from smsevents.clock import now_ms
from smsevents.generate import generate
from smsevents.intake import Intake
from smsevents.log import Log
from smsevents.segments import count
from smsevents.settings import EXPORT_READERS, PAGE_HELD_MAX_BYTES
from smsevents.window import Window

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.segments import Entry

TRACKPOINT = 7
EVENTS = 1_000_000
RUNS = 20
END = 10**14
READ_AHEAD_ROWS = 4


def fill(database: Database) -> None:
    """Store the events."""
    Access(database).add_shop(TRACKPOINT, "")
    with Intake(TRACKPOINT, now_ms(), gzip=False, lines_max_mib=10_000) as intake:
        for line in generate(TRACKPOINT, events=EVENTS, days=80, seed=1, end_ms=now_ms()):
            intake.feed(line + b"\n")
        intake.finish()
        Log(database).append(TRACKPOINT, intake.segments()).result()


async def with_async_driver(engine: AsyncEngine) -> int:
    """Read with aiosqlite, rows streamed; give the number of events."""
    events = 0
    following: Entry | None = (0, b"")
    while following is not None:
        held, after, following = 0, following, None
        async with engine.connect() as connection:
            c = segments.c
            longest = select(func.max(c.span_ms)).where(c.trackpoint == TRACKPOINT).scalar_subquery()
            rows = await connection.stream(
                select(segments)
                .where(
                    c.trackpoint == TRACKPOINT,
                    c.first_date >= after[0] - longest,
                    c.first_date <= END,
                    c.last_date >= after[0],
                )
                .order_by(c.first_date, c.first_line)
                .execution_options(yield_per=READ_AHEAD_ROWS)
            )
            async for row in rows:
                segment = segment_of(row)
                if segment.last <= after:
                    continue
                if held >= PAGE_HELD_MAX_BYTES:
                    following = after
                    break
                segment.check_stored()
                held += len(segment.data)
                events += segment.events
                after = segment.last
    return events


async def with_threads(log: Log, pool: ThreadPoolExecutor) -> int:
    """Read as the server does; give the number of events."""
    loop = asyncio.get_running_loop()
    pages = log.read(TRACKPOINT, Window(0, END))
    events = 0
    while (page := await loop.run_in_executor(pool, lambda: next(pages, None))) is not None:
        events += count(page)
    return events


async def main() -> None:
    """Fill a database, read it in turns, print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_catalog(f"sqlite:///{folder}/log.db")
        fill(database)
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/log.db")
        pool = ThreadPoolExecutor(EXPORT_READERS)
        log = Log(database)
        if await with_async_driver(engine) != await with_threads(log, pool):
            raise SystemExit("the two did not read the same events")
        seconds: dict[str, list[float]] = {"async driver": [], "threads": []}
        for _ in range(RUNS):
            started = time.perf_counter()
            await with_async_driver(engine)
            middle = time.perf_counter()
            await with_threads(log, pool)
            seconds["async driver"].append(middle - started)
            seconds["threads"].append(time.perf_counter() - middle)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name, median in medians.items():
            print(f"{name:14}{median * 1000:8.1f} ms")
        print(f"threads are {medians['async driver'] / medians['threads']:.1f} times as fast")
        await engine.dispose()
        pool.shutdown()
        database.close()


if __name__ == "__main__":
    asyncio.run(main())

"""A SQLite file shrinks in brief steps; one of an early version does so once it was rewritten."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from smsevents.catalog import open_catalog
from smsevents.catalog.dialects.sqlite.files import (
    FREE_KEPT_RATIO,
    FREE_MIN_BYTES,
    GIVEN_BACK_AT_FIRST_BYTES,
    GIVEN_BACK_IN_STEP_MAX_BYTES,
    WAL_KEPT_WHEN_IDLE_BYTES,
)
from smsevents.catalog.dialects.sqlite.free_space import DATABASE_PAGE_BYTES
from smsevents.catalog.shops import all_shops
from smsevents.catalog.tables import message_days, tallies
from smsevents.demo.generate import generate
from smsevents.errors import StoreUnavailable
from smsevents.upkeep.retention import expire
from smsevents.upkeep.space import (
    GIVE_BACK_MAX_SECONDS,
    PAUSE_BY_STEP_RATIO,
    PAUSE_MIN_SECONDS,
    give_back_room,
    rewrite,
)
from smsevents.worker.worker import UpkeepWorker
from tests.support.databases import old_view, query, write_lock
from tests.support.lines import DAY_MS
from tests.support.logs import Held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE_BYTES = 16 * 1024
FIRST_STEP_PAGES = GIVEN_BACK_AT_FIRST_BYTES // PAGE_BYTES
FREED_PAGES = 2000
HALF_FULL_PAGES = 4
ROUNDS = 8  # more than the worker needs to become idle


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Create a shop."""
    made = Held(url)
    yield made
    made.database.close()


def pages(path: Path) -> tuple[int, int]:
    """Return the number of pages of a file, and how many of them are free."""
    ((count,),), ((free,),) = query(path, "PRAGMA page_count"), query(path, "PRAGMA freelist_count")
    return count, free


def free_pages(path: Path) -> None:
    """Leave FREED_PAGES or more free pages in the middle of a file."""
    size = FREED_PAGES * PAGE_BYTES
    query(path, "CREATE TABLE freed (data)")
    query(path, "INSERT INTO freed VALUES (randomblob(?))", size)
    query(path, "CREATE TABLE kept (data)")
    query(path, "INSERT INTO kept VALUES (randomblob(?))", size // 4)
    query(path, "DROP TABLE freed")


def test_a_step_is_brief(held: Held) -> None:
    """The first step returns few pages, none returns many, and the last one leaves some free for the next writes."""
    free_pages(held.path)
    kept = query(held.path, "SELECT data FROM kept")
    before, _ = pages(held.path)
    assert held.database.dialect.give_back_room()
    assert pages(held.path)[0] == before - FIRST_STEP_PAGES
    more = True
    while more:
        before, _ = pages(held.path)
        more = held.database.dialect.give_back_room()
        assert 0 <= before - pages(held.path)[0] <= GIVEN_BACK_IN_STEP_MAX_BYTES // PAGE_BYTES

    count, free = pages(held.path)
    assert 0 < free <= max(FREE_MIN_BYTES // PAGE_BYTES, FREE_KEPT_RATIO * before)
    assert held.path.stat().st_size == count * PAGE_BYTES
    assert query(held.path, "SELECT data FROM kept") == kept


def test_steps_end_when_they_may_not_continue(held: Held) -> None:
    """No further step begins once `may_continue` is false or the time is used, and each is followed by a pause."""
    free_pages(held.path)
    pauses: list[float] = []
    give_back_room(held.database, lambda: len(pauses) < 2, pauses.append)
    assert len(pauses) == 2
    assert min(pauses) >= PAUSE_MIN_SECONDS
    assert pages(held.path)[1] > FREED_PAGES / 4

    seconds = iter([0.0, 0.0, 0.5, GIVE_BACK_MAX_SECONDS])
    before, _ = pages(held.path)
    give_back_room(held.database, lambda: True, pauses.append, lambda: next(seconds))
    assert pauses[2:] == [PAUSE_BY_STEP_RATIO * 0.5]
    assert pages(held.path)[0] < before


def test_a_reader_keeps_the_log_and_is_not_waited_for(held: Held) -> None:
    """While a reader has an old view, the write-ahead log stays and nothing fails; after that it is emptied."""
    free_pages(held.path)
    log = held.path.with_name(f"{held.path.name}-wal")
    with old_view(held.path):
        held.put(islice(generate(held.trackpoint, events=3000, days=30, seed=1, end_ms=held.now), 3000))
        give_back_room(held.database, lambda: True, lambda _: None)
        assert log.stat().st_size > WAL_KEPT_WHEN_IDLE_BYTES
    give_back_room(held.database, lambda: True, lambda _: None)

    assert log.stat().st_size == 0
    assert held.exported() == held.expected()


def test_a_file_of_an_early_version_shrinks_once_it_was_rewritten(tmp_path: Path) -> None:
    """A file that was created without the setting keeps its free pages, until `rewrite`; from then on it shrinks."""
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("PRAGMA user_version = 0")
        connection.execute("VACUUM")
    with closing(open_catalog(f"sqlite:///{path}")) as database:
        assert query(path, "PRAGMA auto_vacuum") == [(0,)]
        free_pages(path)
        before = pages(path)
        assert not database.dialect.give_back_room()
        assert pages(path) == before
        rewrite(database)
        assert pages(path)[0] < before[0] - FREED_PAGES + 10
        query(path, "INSERT INTO kept VALUES (randomblob(50000000))")
        query(path, "DELETE FROM kept WHERE length(data) = 50000000")
        before = pages(path)
        assert database.dialect.give_back_room()
        assert pages(path)[0] < before[0]


@pytest.mark.slow
def test_an_idle_log_takes_little_more_than_its_segments(held: Held) -> None:
    """Once the worker is idle, the files take at most 1.3 times the segments and tallies, also after much has expired.

    What an empty database takes, and the free pages that are always kept, come on top.
    """
    worker = UpkeepWorker(held.database, lambda: held.now)
    worker.round()
    # a small table keeps pages that are not full any more: here that of the messages of 80 days, of which 60 go
    fixed = on_disk(held) + FREE_MIN_BYTES + HALF_FULL_PAGES * DATABASE_PAGE_BYTES
    lines = generate(held.trackpoint, events=150_000, days=80, seed=1, end_ms=held.now, by_arrival=True)
    while body := list(islice(lines, 3000)):
        held.put(body)
    for _ in range(ROUNDS):
        worker.round()
    stored = bytes_in(held)
    assert on_disk(held) < 1.3 * stored + fixed

    held.now += 60 * DAY_MS
    worker.take_lease()
    assert expire(held.database, held.now).segments > 0
    for _ in range(ROUNDS):
        worker.round()
    left = bytes_in(held)
    assert left < 0.7 * stored
    assert on_disk(held) < 1.3 * left + fixed
    assert held.exported() == held.expected()


def bytes_in(held: Held) -> int:
    """Return the bytes of all segments, their tallies, and the messages of settled days."""
    with held.database.read() as connection:
        counted = [
            connection.execute(select(func.coalesce(func.sum(func.length(table.c.data)), 0))).scalar_one()
            for table in (tallies, message_days)
        ]
    return sum(header.stored_bytes for header in held.headers()) + sum(map(int, counted))


def on_disk(held: Held) -> int:
    """Return the size of the database and its write-ahead log, in bytes."""
    return sum(os.path.getsize(f"{held.path}{end}") for end in ("", "-wal"))  # noqa: PTH202 -- a name that is no path


def test_opening_and_copying_need_no_write_lock(held: Held, tmp_path: Path) -> None:
    """While another process writes for long, the database is opened, read and copied as at any other time."""
    before = held.path.with_name(f"{held.path.name}-wal").stat().st_size
    with write_lock(held.path):
        with closing(open_catalog(held.url)) as opened, opened.read() as connection:
            assert len(all_shops(connection)) == 1
        held.database.dialect.copy_to(tmp_path / "copy", lambda _: None)

    assert query(tmp_path / "copy", "PRAGMA auto_vacuum") == [(2,)]
    assert held.path.with_name(f"{held.path.name}-wal").stat().st_size == before


def test_a_rewrite_beside_a_reader_is_reported(held: Held) -> None:
    """A rewrite whose result a reader keeps in the log is not reported as done."""
    with old_view(held.path), pytest.raises(StoreUnavailable, match="have not shrunk yet"):
        rewrite(held.database)
    rewrite(held.database)

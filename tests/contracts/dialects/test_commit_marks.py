"""Marks of commits, and the exports that rely on them: none is older than a commit that was acknowledged before it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from smsevents.catalog import open_catalog
from smsevents.catalog.dialects.postgres.connections import run_all
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.clock.system import now_ms
from smsevents.log.recent import READ_AFTER_MISSES, RecentEvents
from smsevents.web.commit_marks import CommitMarks
from smsevents.web.fair import FairThreads
from smsevents.wire.window import Window
from tests.contracts.dialects.harness import SLOW, Harness, harness_of
from tests.support.lines import DAY_MS, body_of, line
from tests.support.logs import log_at, store
from tests.support.postgres import OWNER, administered, create_database, kill, open_folder, pair, running, url_of
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.catalog import Database
    from smsevents.catalog.dialects.base import CommitMark

SHOP = 7
OFTEN = min(READ_AFTER_MISSES)
WAIT_MAX_SECONDS = 30


@pytest.fixture
def database(harness: Harness) -> Database:
    """Open it, with one shop."""
    opened = harness.opened()
    opened.write(partial(insert_shop, shop=Shop(SHOP, "", 1)))
    return opened


def test_a_mark_tells_of_every_commit(harness: Harness, database: Database) -> None:
    """A mark stays while nothing is committed, and differs after a commit of this process or of another one."""
    other = harness.opened()
    # a server may do some upkeep of its own in between
    assert eventually(lambda: database.commit_mark() == database.commit_mark() is not None)
    marks = [database.commit_mark()]
    for trackpoint, writer in enumerate((database, other, database, other), SHOP + 1):
        writer.write(partial(insert_shop, shop=Shop(trackpoint, "", 1)))
        marks.append(database.commit_mark())
    assert None not in marks
    assert len(set(marks)) == 5
    with other.exclusive() as connection:
        insert_shop(connection, Shop(77, "", 1))
        marks.append(database.commit_mark())  # it is not committed yet, and nothing waits for it
    assert database.commit_mark() not in marks


class Exports:
    """Exports of a shop by a process, as requests make them: from memory, if nothing was committed."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self.database = database
        self.now = now_ms()
        self.events = RecentEvents(database, lambda _shop, read: read())
        self.threads = FairThreads("marks", 1)
        self.marks = CommitMarks(database, self.threads)
        self.window = Window(self.now - DAY_MS, self.now)

    async def known(self) -> bytes | None:
        """Return the lines of the last day, if they are known without a read."""
        return self.events.lines(SHOP, self.window, await self.marks.mark())

    async def learn(self) -> bytes | None:
        """Ask until the events are known."""
        for _ in range(max(READ_AFTER_MISSES)):
            if (found := await self.known()) is not None:
                return found
        return None

    def put(self, writer: Database, user: str) -> bytes:
        """Import an event by a process, and return its line."""
        one = line(SHOP, self.now - 1000, user)
        store(log_at(writer, lambda: self.now), SHOP, [one])
        return one


@pytest.fixture
def exports(database: Database) -> Iterator[Exports]:
    """Yield exports of the shop, which has no events yet."""
    made = Exports(database)
    yield made
    made.threads.close()


def test_a_commit_of_another_process_is_never_missed(harness: Harness, exports: Exports) -> None:
    """Events are known until another process commits; what is known after that has the new events."""
    other = harness.opened()

    async def run() -> None:
        """Ask, on a loop."""
        lines: set[bytes] = set()
        for user in ("a", "b", "c"):
            lines.add(exports.put(other, user))
            assert await exports.known() is None
            assert await exports.learn() == body_of(sorted(lines))

    asyncio.run(run())


class SlowMarks:
    """Stops between the question for a mark and its return, at both ends of a barrier."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stop the next questions of a database, once `is_on`."""
        self.is_on = False
        self.barrier = threading.Barrier(2, timeout=WAIT_MAX_SECONDS)
        self.asked = 0
        self._mark = database.commit_mark
        monkeypatch.setattr(database, "commit_mark", self)

    def __call__(self) -> CommitMark | None:
        """Ask, and wait twice before the mark is returned."""
        self.asked += 1
        found = self._mark()
        if self.is_on:
            self.barrier.wait()
            self.barrier.wait()
        return found


@pytest.mark.parametrize("kind", [pytest.param("postgres", marks=SLOW)])
def test_a_commit_between_the_question_and_its_answer_is_not_missed_later(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that come while a question is under way are served by the next one, which tells of all commits."""
    harness = harness_of(kind, request, tmp_path)
    database, other = harness.opened(), harness.opened()
    database.write(partial(insert_shop, shop=Shop(SHOP, "", 1)))
    exports, slow = Exports(database), SlowMarks(database, monkeypatch)

    async def run() -> tuple[bytes | None, list[bytes | None]]:
        """Ask, on a loop, while another process commits."""
        exports.put(other, "before")
        assert await exports.learn() is not None
        slow.is_on, slow.asked = True, 0
        early = asyncio.create_task(exports.known())
        await asyncio.to_thread(slow.barrier.wait)  # the server has told the mark
        exports.put(other, "meanwhile")
        late = [asyncio.create_task(exports.known()) for _ in range(OFTEN - 1)]
        await asyncio.sleep(0)
        slow.is_on = False
        await asyncio.to_thread(slow.barrier.wait)
        return await early, await asyncio.gather(*late)

    try:
        early, late = asyncio.run(run())
        assert early is not None  # it came before the commit
        assert late == [None] * (OFTEN - 1)
        assert slow.asked == 2, "the late requests share a question"
    finally:
        exports.threads.close()
        harness.close()


@pytest.mark.slow
def test_a_mark_after_a_crash_differs() -> None:
    """A server that recovers after one of its processes was killed has other marks, although it goes on running."""
    with (
        open_folder() as folder,
        contextmanager(running)(folder) as server,
        closing(open_catalog(url_of(server, create_database(server)))) as database,
    ):
        before = str(database.commit_mark()).split()
        with administered(server) as connection:
            ((process,), *_) = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'smsevents'"
            ).fetchall()
        assert process > 1
        os.kill(process, signal.SIGKILL)
        assert eventually(lambda: str(database.commit_mark()).split() not in (["None"], before))
        after = str(database.commit_mark()).split()
        assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.slow
def test_a_mark_of_another_server_differs() -> None:
    """After a failover the marks are other ones, even where the new server gives out the same numbers again."""
    with pair() as (primary, standby):
        name = create_database(primary)
        hosts = ",".join(f"127.0.0.1:{urlsplit(one).port}" for one in (primary, standby))
        with closing(open_catalog(f"postgresql://{OWNER}@{hosts}/{name}?connect_timeout=2")) as database:
            database.write(partial(insert_shop, shop=Shop(SHOP, "", 1)))
            exports = Exports(database)
            with closing(exports.threads):
                line_before = exports.put(database, "before")
                assert asyncio.run(exports.learn()) == body_of([line_before])
                before = database.commit_mark()
                kill(primary)
                assert eventually(lambda: database.commit_mark() is None)
                with administered(standby) as connection:
                    connection.execute("SELECT pg_promote()")
                    ((snapshot,),) = run_all(connection, "SELECT pg_current_snapshot()::text")
                assert eventually(lambda: database.commit_mark() is not None)
                assert database.commit_mark() != before
                assert str(before).endswith(snapshot), "both servers have the same transactions"
                assert asyncio.run(exports.known()) is None
                assert asyncio.run(exports.learn()) == body_of([line_before])

"""Races between processes that write at the same time, each made the same every time: each step waits for the other.

SQLite has one writer, so these cannot happen there. Each test fails without the guard that its docstring names.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.catalog import open_catalog
from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.in_order import InOrder
from smsevents.catalog.replacement import replace_stored
from smsevents.catalog.segments import insert_segments, lock_segments, newest_settled_id
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.errors import StoreUnavailable
from smsevents.log import joining, recorder
from smsevents.segments.segment import pack
from smsevents.segments.splice import unpack
from smsevents.upkeep.erasure import erase
from smsevents.wire.window import Window
from smsevents.worker.worker import UpkeepWorker
from tests.contracts.dialects.harness import PostgresHarness, harness_of
from tests.contracts.dialects.racing import NOW_MS, SHOP, WAIT_MAX_SECONDS, Held, Site, entries, rows
from tests.support.lines import body_of, line
from tests.support.logs import store
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.catalog import Database

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgres", pytest.param("pgbouncer", marks=pytest.mark.campaign)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Make a database for two processes, which reach it directly or through pgbouncer."""
    harness = harness_of(request.param, request, tmp_path)
    assert isinstance(harness, PostgresHarness)
    yield Site(harness)
    harness.close()


@pytest.mark.parametrize("beside", [True, False])
def test_an_erased_user_does_not_return(site: Site, *, beside: bool) -> None:
    """Of two replacements of one segment, the second is refused: a compaction cannot bring back an erased user.

    The guards are that the rows are locked, and that other writes than imports run one at a time.
    """
    site.put("forgotten", "other")
    site.put("third", start_ms=NOW_MS + 10)
    first, second = site.ids()
    point = Held()

    def compact(connection: Connection) -> bool:
        read = rows(first, second)
        merged = pack(entries("forgotten", "other") + entries("third", start_ms=NOW_MS + 10))
        done = replace_stored(connection, SHOP, read, read, merged)
        point()
        return done

    def erase_from_first(connection: Connection) -> bool:
        rest = pack(entries("", "other")[1:])
        return replace_stored(connection, SHOP, rows(first), rows(first), rest)

    compaction = site.one.submit(compact, beside=beside)
    point.wait()
    erasure = site.other.submit(erase_from_first, beside=beside)
    assert eventually(lambda: site.is_waiting() or erasure.done())
    point.released.set()
    assert compaction.result(WAIT_MAX_SECONDS)
    assert not erasure.result(WAIT_MAX_SECONDS)
    assert site.users() == ["forgotten", "other", "third"]
    assert len(site.ids()) == 1


def test_a_scan_misses_no_segment(site: Site) -> None:
    """A segment that is committed after another one with a higher id is still looked at by the next round.

    The guard is that a transaction announces the ids that it may use.
    """
    site.one.write(lambda c: insert_shop(c, Shop(8, "", 1)))
    point = Held()

    def slow(connection: Connection) -> None:
        dialect_of(connection).begin_append(connection, SHOP)
        for user in ("b", "a"):
            insert_segments(connection, SHOP, pack(entries("x", user, "z")))
        point()

    late = site.other.submit(slow, beside=True)
    point.wait()
    site.put("someone", shop=8)
    worker = UpkeepWorker(site.one, lambda: NOW_MS)
    assert worker.round()
    with site.one.read() as connection:
        assert newest_settled_id(connection) == 0
    point.released.set()
    late.result(WAIT_MAX_SECONDS)
    with site.one.read() as connection:
        assert newest_settled_id(connection) == 3
    assert len(site.ids()) == 2
    assert worker.round()
    assert worker.round()
    assert len(site.ids()) == 1
    assert site.users() == ["x", "a", "b", "z"]


def test_an_export_has_no_hole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is read while a compaction replaces its segments holds all of their events.

    The guard is that all statements of a read see one state.
    """
    wide = [(NOW_MS, line(SHOP, NOW_MS, "first")), (NOW_MS + 50, line(SHOP, NOW_MS + 50, "second"))]
    later = entries("third", "fourth", start_ms=NOW_MS + 60)
    for one in (wide, later):
        site.one.write(lambda c, one=one: insert_segments(c, SHOP, pack(one)))  # type: ignore[misc]
    ids = site.ids()
    reaching_over = InOrder.reaching_over
    compacted: list[bool] = []

    def with_compaction(self: InOrder, connection: Connection, trackpoint: int, after: Any) -> list[int]:
        found = reaching_over(self, connection, trackpoint, after)
        if not compacted:
            replace = partial(replace_stored, trackpoint=SHOP, read=rows(*ids), gone=rows(*ids), new=pack(wide + later))
            compacted.append(site.other.write(replace))
        return found

    monkeypatch.setattr(InOrder, "reaching_over", with_compaction)
    text = b"".join(unpack(site.log(site.one).read(SHOP, Window(NOW_MS + 55, NOW_MS + 100))))
    assert compacted == [True]
    assert text == body_of(one for _, one in later)


@pytest.mark.parametrize("joined", [False, True])
def test_no_event_of_a_blocked_user_stays(site: Site, monkeypatch: pytest.MonkeyPatch, *, joined: bool) -> None:
    """An import that was checked before a user was blocked is committed before the erasure looks, or refused.

    The guard is the lock of a shop that imports share until they commit.
    """
    point = Held()
    module: Any = joining if joined else recorder
    name = "store_grown" if joined else "insert_segments"
    insert = getattr(module, name)

    def slow(connection: Connection, *words: Any) -> Any:
        point()
        return insert(connection, *words)

    monkeypatch.setattr(module, name, slow)
    lines = [line(SHOP, NOW_MS + at, user) for at, user in enumerate(["kept", "blocked"])]
    with ThreadPoolExecutor(2) as threads:
        importing = threads.submit(store, site.log(site.one, joined=joined), SHOP, lines)
        point.wait()
        erasing = threads.submit(erase, site.other, SHOP, ["blocked"], NOW_MS, block=True)
        assert eventually(lambda: site.is_waiting() or erasing.done())
        point.released.set()
        importing.result(WAIT_MAX_SECONDS)
        assert erasing.result(WAIT_MAX_SECONDS).events == 1
    assert site.users() == ["kept"]


def test_an_import_after_a_block_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that read who is blocked before a user was blocked, and is written after it, leaves nothing."""
    point = Held()
    submit = site.one.submit

    def late(*words: Any, **options: Any) -> Future[Any]:
        point()
        return submit(*words, **options)

    monkeypatch.setattr(site.one, "submit", late)
    with ThreadPoolExecutor(1) as threads:
        importing = threads.submit(store, site.log(site.one), SHOP, [line(SHOP, NOW_MS, "blocked")])
        point.wait()
        assert erase(site.other, SHOP, ["blocked"], NOW_MS, block=True).events == 0
        point.released.set()
        with pytest.raises(StoreUnavailable, match="blocked or unblocked meanwhile"):
            importing.result(WAIT_MAX_SECONDS)
    assert site.users() == []


def test_a_step_that_lost_its_lock_replaces_nothing(site: Site) -> None:
    """A step whose connection was lost cannot write once an erasure has begun: its share is taken again in the write.

    Otherwise the erasure would not find what the step wrote meanwhile.
    """
    site.put("forgotten", "other")
    (first,) = site.ids()
    replace = partial(
        replace_stored,
        trackpoint=SHOP,
        read=rows(first),
        gone=rows(first),
        new=list(pack(entries("forgotten", "other"))),
    )
    with site.one.dialect.shop_step(SHOP):
        site.harness.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        with site.other.dialect.shop_alone(SHOP, WAIT_MAX_SECONDS):
            assert not site.one.write(replace)
        assert site.one.write(replace)
    assert site.ids() == [first + 1]


def test_a_step_finishes_while_an_erasure_waits(site: Site) -> None:
    """A step that holds its lock may still write while another process waits to be alone with the shop."""
    site.put("a")
    (first,) = site.ids()
    new = list(pack(entries("a")))
    with ThreadPoolExecutor(1) as threads:
        with site.one.dialect.shop_step(SHOP):
            waiting = threads.submit(_alone, site.other)
            assert eventually(site.is_waiting)
            assert site.one.write(lambda c: replace_stored(c, SHOP, rows(first), rows(first), new))
        waiting.result(WAIT_MAX_SECONDS)
    with site.one.dialect.shop_alone(SHOP, 1):
        (second,) = site.ids()
        assert site.one.write(lambda c: replace_stored(c, SHOP, rows(second), rows(second), new))


def _alone(database: Database) -> None:
    with database.dialect.shop_alone(SHOP, WAIT_MAX_SECONDS):
        pass


def test_an_erasure_that_lost_its_lock_says_so(site: Site) -> None:
    """Exclusive access that was lost meanwhile, as when a server was replaced, is an error at its end."""
    with pytest.raises(StoreUnavailable, match="lost"), site.one.dialect.shop_alone(SHOP, 1):
        site.harness.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    with site.other.dialect.shop_alone(SHOP, 1):
        pass


def test_writes_that_collide_are_run_again(site: Site) -> None:
    """Two transactions that lock the same rows in opposite order are both done in the end, each once."""
    site.put("a")
    site.put("b", start_ms=NOW_MS + 10)
    first, second = site.ids()
    start = threading.Barrier(2)
    has_both = threading.Event()
    tries: list[int] = []

    def lock(connection: Connection, ids: tuple[int, int]) -> int:
        tries.append(ids[0])
        if len(tries) > 2:  # else it might take its row before the one that waits for it, and collide again
            assert has_both.wait(WAIT_MAX_SECONDS)
        locked = lock_segments(connection, [ids[0]])
        if len(tries) <= 2:
            start.wait(WAIT_MAX_SECONDS)
        locked += lock_segments(connection, [ids[1]])
        has_both.set()
        return locked

    outcomes = [
        site.one.submit(lambda c: lock(c, (first, second)), beside=True),
        site.other.submit(lambda c: lock(c, (second, first)), beside=True),
    ]
    assert [one.result(WAIT_MAX_SECONDS) for one in outcomes] == [2, 2]
    assert len(tries) == 3


def test_several_processes_create_the_tables_at_once(site: Site) -> None:
    """Of processes that open an empty database at the same time, one creates the tables, and all can use them."""
    site.harness.query("DROP SCHEMA public CASCADE", "CREATE SCHEMA public AUTHORIZATION keeper")
    start = threading.Barrier(4)

    def open_it(_: int) -> str | None:
        start.wait(WAIT_MAX_SECONDS)
        database = open_catalog(site.harness.url)
        try:
            database.write(lambda c: c.exec_driver_sql("SELECT 1").close())
            return getattr(database.dialect, "identity", None)
        finally:
            database.close()

    with ThreadPoolExecutor(4) as threads:
        identities = set(threads.map(open_it, range(4)))
    assert len(identities) == 1
    assert None not in identities


def test_connections_that_the_server_closed_are_replaced(site: Site) -> None:
    """After the server closed all connections, as in a restart, reads and writes go on with new ones."""
    site.put("a")
    site.harness.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert _again(site.users) == ["a"]
    _again(partial(site.put, "b", start_ms=NOW_MS + 1))
    assert site.users() == ["a", "b"]


def _again(act: Callable[[], Any]) -> Any:
    """Do something as a client would: again if the server said to try again. Behind pgbouncer that may happen once."""
    try:
        return act()
    except StoreUnavailable:
        return act()

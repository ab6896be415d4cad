"""What the catalog may rely on (`catalog/dialects/base.py`), tested against every dialect; `HARNESSES` names them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import urandom
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import dialects
from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.leases import release_lease, take_lease
from smsevents.catalog.pending_scrubs import add_pending, pending
from smsevents.catalog.replacement import replace_stored
from smsevents.catalog.segments import headers_of, insert_segments, segments_of
from smsevents.catalog.shops import Shop, all_shops, block_user, blocked_digests, insert_shop
from smsevents.clock.system import now_ms
from smsevents.errors import InvalidRequest, ShopExists, StoreFull, StoreUnavailable
from smsevents.segments.segment import pack
from tests.contracts.dialects.harness import (
    Harness,
    PostgresHarness,
    SqliteHarness,
    held_by_another_process,
)
from tests.support.entries import entry
from tests.support.lines import line

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.catalog import Database

WAIT_MAX_SECONDS = 30
SHOP = 7


@pytest.fixture
def database(harness: Harness) -> Database:
    """Open it, with one shop."""
    opened = harness.opened()
    opened.write(lambda connection: insert_shop(connection, Shop(SHOP, "first", 1)))
    return opened


def shops_in(connection: Connection) -> list[int]:
    """Return the shops that a transaction sees."""
    return [shop.trackpoint for shop in all_shops(connection)]


def rows(ids: set[int]) -> set[tuple[str, int]]:
    """Return what names the rows with these ids in a replacement."""
    return {("row", one) for one in ids}


def ids_of(database: Database) -> list[int]:
    """Return the ids of the segments of the shop."""
    with database.read() as connection:
        return [header.id for header in headers_of(connection, SHOP)]


def test_the_dialects_that_are_held_to_the_contract() -> None:
    """Exactly the dialects that a URL can choose run through this suite."""
    packages = {path.name for path in _folder().iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == {SqliteHarness.package, PostgresHarness.package}


def _folder() -> Path:
    from pathlib import Path  # noqa: PLC0415 -- of a type elsewhere

    return Path(dialects.__file__).parent


def test_statements_of_one_read_see_one_state(harness: Harness, database: Database) -> None:
    """Whatever is committed meanwhile, by this process or another, all statements of a read see the same state."""
    other = harness.opened()
    with database.read() as connection:
        before = shops_in(connection)
        database.write(lambda c: insert_shop(c, Shop(8, "second", 1)))
        other.write(lambda c: insert_shop(c, Shop(9, "third", 1)))
        assert shops_in(connection) == before == [SHOP]
    with database.read() as connection:
        assert shops_in(connection) == [7, 8, 9]


def test_a_write_that_reads_first_is_as_if_it_were_alone(harness: Harness, database: Database) -> None:
    """Concurrent writes that read a number and write the next one lose none."""
    databases = [database, harness.opened(), harness.opened()]
    start = threading.Barrier(len(databases))

    def count_up(opened: Database) -> None:
        start.wait(WAIT_MAX_SECONDS)
        for _ in range(20):
            opened.write(lambda c: insert_shop(c, Shop(max(shops_in(c)) + 1, "", 1)))

    with ThreadPoolExecutor(len(databases)) as threads:
        list(threads.map(count_up, databases))
    with database.read() as connection:
        assert shops_in(connection) == list(range(SHOP, SHOP + 61))


def test_a_refused_write_takes_no_other_with_it(database: Database) -> None:
    """Of writes that share a commit, one that is refused changes nothing, and those before and after it are stored."""
    began, go_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        began.set()
        assert go_on.wait(WAIT_MAX_SECONDS)

    def refused(connection: Connection) -> None:
        insert_shop(connection, Shop(10, "", 1))
        raise ShopExists("no")

    held = database.submit(hold)
    assert began.wait(WAIT_MAX_SECONDS)
    before = database.submit(lambda c: insert_shop(c, Shop(8, "", 1)))
    bad = database.submit(refused)
    after = database.submit(lambda c: insert_shop(c, Shop(9, "", 1)))
    go_on.set()
    for future in (held, before, after):
        future.result(WAIT_MAX_SECONDS)
    with pytest.raises(ShopExists):
        bad.result(WAIT_MAX_SECONDS)
    with database.read() as connection:
        assert shops_in(connection) == [7, 8, 9]


def test_segments_are_replaced_only_while_all_that_was_read_are_there(database: Database) -> None:
    """A replacement made of a segment that is gone meanwhile is thrown away, and the log stays as it is."""
    for number in range(3):
        database.write(lambda c, number=number: insert_segments(c, SHOP, pack([entry(number)])))  # type: ignore[misc]
    first, second, third = ids_of(database)
    new = list(pack([entry(0), entry(1)]))
    assert database.write(lambda c: replace_stored(c, SHOP, rows({second}), rows({second}), []))
    assert not database.write(lambda c: replace_stored(c, SHOP, rows({first, second}), rows({first, second}), new))
    assert ids_of(database) == [first, third]
    assert database.write(lambda c: replace_stored(c, SHOP, rows({first, third}), rows({first}), new))
    assert ids_of(database)[-1] == third
    assert first not in ids_of(database)


def test_an_id_is_never_used_again(database: Database) -> None:
    """A segment that comes after the newest one is gone has a higher id than that one had."""
    database.write(lambda c: insert_segments(c, SHOP, pack([entry(1)])))
    (first,) = ids_of(database)
    database.write(lambda c: replace_stored(c, SHOP, rows({first}), rows({first}), []))
    database.write(lambda c: insert_segments(c, SHOP, pack([entry(1)])))
    assert ids_of(database)[0] > first


def test_one_process_holds_a_lease(harness: Harness, database: Database) -> None:
    """Of two processes that take a lease at the same time, one gets it; the other gets it after release or expiry."""
    start = threading.Barrier(2)

    def take(opened: Database, holder: str) -> bool:
        start.wait(WAIT_MAX_SECONDS)
        return opened.write(lambda c: take_lease(c, "work", holder, 1000, 2000))

    with ThreadPoolExecutor(2) as threads:
        taken = list(threads.map(take, [database, harness.opened()], ["one", "two"]))
    assert sorted(taken) == [False, True]
    holder, other = ("one", "two") if taken[0] else ("two", "one")
    database.write(lambda c: release_lease(c, "work", holder))
    assert database.write(lambda c: take_lease(c, "work", other, 1000, 2000))
    assert database.write(lambda c: take_lease(c, "work", holder, 2001, 3000))


def test_steps_share_a_shop(harness: Harness, database: Database) -> None:
    """Two steps run in one shop at the same time, and exclusive access is not granted meanwhile."""
    other = harness.opened()
    with database.dialect.shop_step(SHOP), other.dialect.shop_step(SHOP):
        with pytest.raises(Busy), other.dialect.shop_alone(SHOP, 0.05):
            pass
        with other.dialect.shop_alone(SHOP + 1, 0.05):
            pass


def test_no_step_begins_while_one_waits_to_be_alone(harness: Harness, database: Database) -> None:
    """A process that waits for exclusive access gets it after the running steps: no further step begins before."""
    other = harness.opened()
    alone = threading.Event()

    def wait_to_be_alone() -> None:
        with other.dialect.shop_alone(SHOP, WAIT_MAX_SECONDS):
            alone.set()

    waiting = threading.Thread(target=wait_to_be_alone)
    with database.dialect.shop_step(SHOP):
        waiting.start()
        while True:  # until it waits: then a step that would begin is refused
            try:
                with database.dialect.shop_step(SHOP):
                    pass
            except Busy:
                break
        assert not alone.is_set()
    waiting.join(WAIT_MAX_SECONDS)
    assert alone.is_set()
    with database.dialect.shop_step(SHOP):
        pass


def take_when_free(lock: Callable[[], AbstractContextManager[None]]) -> None:
    """Take a lock of a process that was killed. A server ends its transaction once it sees the connection closed."""
    give_up = monotonic() + WAIT_MAX_SECONDS
    while True:
        try:
            with lock():
                return
        except Busy:
            assert monotonic() < give_up
            sleep(0.01)


def test_a_lock_ends_with_its_process(database: Database, harness: Harness) -> None:
    """A process killed while it has exclusive access to a shop blocks nobody."""
    with held_by_another_process(harness.url, SHOP) as holder:
        with pytest.raises(Busy), database.dialect.shop_step(SHOP):
            pass
        holder.kill()
        holder.wait(WAIT_MAX_SECONDS)
        take_when_free(lambda: database.dialect.shop_step(SHOP))


def test_one_process_does_the_upkeep_of_a_shop(database: Database, harness: Harness) -> None:
    """While one process does the upkeep of a shop, no other does; steps and erasures go on; a kill frees the shop."""
    with held_by_another_process(harness.url, SHOP, "shop_kept") as holder:
        with pytest.raises(Busy, match="the upkeep of this shop"), database.dialect.shop_kept(SHOP):
            pass
        with database.dialect.shop_kept(SHOP + 1), database.dialect.shop_step(SHOP):
            pass
        with database.dialect.shop_alone(SHOP, 1):
            pass
        holder.kill()
        holder.wait(WAIT_MAX_SECONDS)
        take_when_free(lambda: database.dialect.shop_kept(SHOP))


def test_one_scrubs_at_a_time(harness: Harness, database: Database) -> None:
    """While one process scrubs, another waits, and is informed if its turn does not come."""
    other = harness.opened()
    with database.dialect.scrub_alone(1), pytest.raises(Busy), other.dialect.scrub_alone(0.05):
        pass
    with other.dialect.scrub_alone(1):
        pass


def test_a_scrub_leaves_no_copy_of_what_was_deleted(harness: Harness, database: Database) -> None:
    """After all steps of a scrub no file of the database holds a row that was deleted, and all others are there."""
    marks = [f"secret-{number}" for number in range(200)]
    for number, mark in enumerate(marks):
        database.write(lambda c, n=number, m=mark: insert_shop(c, Shop(1000 + n, m, 1)))  # type: ignore[misc]
    assert b"secret-" in harness.bytes_stored()
    database.write(lambda c: c.exec_driver_sql("DELETE FROM shops WHERE trackpoint >= 1000").close())
    with database.dialect.scrub_alone(1), harness.opened().dialect.shop_step(SHOP):
        for step in database.dialect.scrub_steps:
            assert database.dialect.scrub(step).done
    assert b"secret-" not in harness.bytes_stored()
    with database.read() as connection:
        assert shops_in(connection) == [SHOP]


def test_unused_room_is_given_back_in_steps(harness: Harness, database: Database) -> None:
    """Steps return what deleted rows took, beside a reader and writes, and leave all other rows as they are."""
    if not harness.gives_back_room:
        assert not database.dialect.give_back_room()
        return
    for number in range(40):
        dates = range(number * 1000, number * 1000 + 100)
        some = list(pack([(date, line(SHOP, date, urandom(200).hex())) for date in dates]))
        database.write(partial(insert_segments, trackpoint=SHOP, new=some))
    full = len(harness.bytes_stored())
    kept = set(ids_of(database)[::8])
    gone = set(ids_of(database)) - kept
    with database.read() as connection:
        before = [segment.data for segment in segments_of(connection, sorted(kept))]
    database.write(lambda c: replace_stored(c, SHOP, rows(gone), rows(gone), []))
    with harness.opened().read() as slow:
        assert shops_in(slow) == [SHOP]
        for number in range(1, 200):
            database.write(partial(insert_shop, shop=Shop(SHOP + number, "", 1)))
            if not database.dialect.give_back_room():
                break
        assert shops_in(slow) == [SHOP]
    while database.dialect.give_back_room():
        pass

    assert len(harness.bytes_stored()) < full / 2
    assert set(ids_of(database)) == kept
    with database.read() as connection:
        assert [segment.data for segment in segments_of(connection, sorted(kept))] == before


def test_a_copy_is_of_one_moment(harness: Harness, database: Database, tmp_path: Path) -> None:
    """A copy holds what was committed before it and nothing that was deleted, and the database goes on."""
    if not harness.can_copy:
        with pytest.raises(InvalidRequest, match="is a pool of connections"):
            database.dialect.copy_to(tmp_path / "copy", shops_in)
        return
    database.write(lambda c: insert_shop(c, Shop(8, "deleted later", 1)))
    database.write(lambda c: c.exec_driver_sql("DELETE FROM shops WHERE trackpoint = 8").close())
    target = tmp_path / "copy"
    target.touch()
    with database.read() as connection:
        assert shops_in(connection) == [SHOP]
        assert database.dialect.copy_to(target, shops_in) == [SHOP]
    database.write(lambda c: insert_shop(c, Shop(9, "later", 1)))
    assert harness.copied(target) == [(SHOP, "first")]
    assert b"deleted later" not in target.read_bytes()


def test_a_copy_beside_writes_holds_complete_transactions(harness: Harness, database: Database, tmp_path: Path) -> None:
    """A copy made while another process writes holds all of each transaction or nothing of it."""
    if not harness.can_copy:
        with pytest.raises(InvalidRequest, match="is a pool of connections"):
            database.dialect.copy_to(tmp_path / "copy", shops_in)
        return
    other = harness.opened()
    stop, wrote = threading.Event(), threading.Event()

    def write_pairs() -> None:
        number = SHOP
        while not stop.is_set():
            number += 2

            def pair(connection: Connection, even: int = number) -> None:
                insert_shop(connection, Shop(even, "even", 1))
                insert_shop(connection, Shop(even + 1, "odd", 1))

            other.write(pair)
            wrote.set()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write_pairs)
        try:
            assert wrote.wait(WAIT_MAX_SECONDS)
            for number in range(5 if harness.package == "sqlite" else 2):  # a dump takes longer
                target = tmp_path / f"copy-{number}"
                target.touch()
                read = database.dialect.copy_to(target, shops_in)
                copied = harness.copied(target)
                assert [shop for shop, _ in copied] == read
                names = [name for _, name in copied]
                assert names == ["first", *("even", "odd") * (len(names) // 2)]
        finally:
            stop.set()
        writing.result(WAIT_MAX_SECONDS)


def test_the_same_block_and_scrub_may_be_recorded_twice_at_the_same_time(harness: Harness, database: Database) -> None:
    """Two processes that block one user and record one scrub at the same time both succeed, and each is there once."""
    start = threading.Barrier(2)

    def erase(opened: Database) -> None:
        start.wait(WAIT_MAX_SECONDS)
        opened.write(lambda c: block_user(c, SHOP, b"digest", 1))
        opened.write(lambda c: add_pending(c, "vacuum", "token", 1))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(erase, [database, harness.opened()]))
    with database.read() as connection:
        assert blocked_digests(connection, SHOP) == {b"digest"}
        assert pending(connection) == {"vacuum": "token"}


def test_a_database_that_was_replaced_is_left_alone(harness: Harness, database: Database) -> None:
    """Once another database has taken its place, nothing is read from or written to it, and it is not ready."""
    harness.replace()
    with pytest.raises(StoreUnavailable, match="moved or replaced"), database.read() as connection:
        shops_in(connection)
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        database.write(lambda c: insert_shop(c, Shop(8, "", 1)))
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        database.check_writable()
    if database.dialect.marks_commits_at_once:
        with pytest.raises(StoreUnavailable, match="moved or replaced"):
            database.commit_mark()


def test_a_write_without_room_is_told(harness: Harness, database: Database) -> None:
    """A write that finds no space stores nothing and says so; from then on the database is not ready for writes."""
    database.check_writable()
    harness.use_up_room()
    with pytest.raises(StoreFull):
        database.write(lambda c: insert_shop(c, Shop(8, "x" * 1_000_000, 1)))
    with database.read() as connection:
        assert shops_in(connection) == [SHOP]
    with pytest.raises(StoreUnavailable, match="room"):
        database.check_writable()


def test_damage_is_told_as_such(harness: Harness, database: Database) -> None:
    """An error of the database while reading becomes one of ours, which says what to do."""
    database.close()
    harness.damage()

    def read() -> list[int]:
        with harness.opened().read() as connection:
            return shops_in(connection)

    with pytest.raises(StoreUnavailable, match=r"cannot be read|cannot be opened"):
        read()


def test_the_clock_of_the_database(database: Database) -> None:
    """The database returns Unix milliseconds, and its time advances."""
    before = now_ms()
    told = database.dialect.now_ms()
    assert before - 60_000 <= told <= now_ms() + 60_000


def test_sizes_are_told(harness: Harness, database: Database) -> None:
    """The database reports its size in bytes, and its free space where it can be known."""
    sizes = database.dialect.sizes()
    assert sizes.database_bytes
    assert (sizes.log_bytes is not None) is harness.tells_room
    assert bool(sizes.free_bytes) is harness.tells_room

"""The log on real SQLite files: what is appended in any order is read in one, beside whatever else happens."""

from __future__ import annotations

import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import shake_256
from itertools import count as counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.catalog.segments import insert_segments
from smsevents.catalog.tables import segments as segments_table
from smsevents.errors import DamagedSegment, UnknownShop
from smsevents.log.recorder import append_segments
from smsevents.segments.merge import MERGE_HELD_MAX_BYTES, PAGE_HELD_MAX_BYTES
from smsevents.segments.segment import pack
from smsevents.segments.splice import splice, unpack
from smsevents.wire.window import Window, resolve
from tests.support.databases import damage_newest_segment, query, wal_can_be_emptied
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line, model
from tests.support.logs import log_at, store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments.segment import Piece, Segment

NOW = 1_676_380_261_000
OLDEST = NOW - 90 * DAY_MS
ALL = Window(OLDEST, NOW)


class Opened:
    """An open database with its log, its file, and new shops."""

    def __init__(self, url: str) -> None:
        """Open the database that `url` names, with a clock that stands still."""
        self.path = Path(url.removeprefix("sqlite:///"))
        self.database: Database = open_catalog(url)
        self.log = log_at(self.database, lambda: NOW)
        self._shops = counter(1)

    def shop(self) -> int:
        """Add a shop."""
        access = Access(self.database)
        return access.add_shop(next(self._shops), "").trackpoint

    def read(self, shop: int, window: Window = ALL) -> bytes:
        """Read a window to its end as plain lines."""
        return b"".join(unpack(self.log.read(shop, window)))

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement on a connection of its own, as another process would."""
        return query(self.path, statement, *values)

    def rows(self, shop: int) -> int:
        """Count the segments of a shop."""
        found: int = self.sql("SELECT count(*) FROM segments WHERE trackpoint = ?", shop)[0][0]
        return found


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Yield an open database that the tests share, each with a shop of its own."""
    opened = Opened(f"sqlite:///{tmp_path_factory.mktemp('log') / 'log.db'}")
    yield opened
    opened.database.close()


def bulky(date: int, seed: object = "") -> bytes:
    """Return a line of about 2 KiB that hardly compresses, so that a few thousand of them fill many pages."""
    text = shake_256(f"{date} {seed}".encode()).hexdigest(1024)
    return line(1, date, text[:1024], campaign=text[1024:])


def for_shop(shop: int, lines: Iterable[bytes]) -> list[bytes]:
    """Return lines with the trackpoint of a shop in place of 1."""
    return [one.replace(b'"trackpoint":1,', b'"trackpoint":%d,' % shop, 1) for one in lines]


few_dates = st.sampled_from([OLDEST, OLDEST + 1, NOW - HOUR_MS, NOW - 1, NOW])
line_values = st.builds(line, st.just(1), few_dates | st.integers(OLDEST, NOW), st.sampled_from(["a", "b", "ž\u2028"]))
bounds = st.none() | few_dates | st.integers(OLDEST - DAY_MS, NOW + DAY_MS)


@settings(max_examples=50, deadline=None)
@given(
    pool=st.lists(line_values, min_size=1, max_size=25),
    picks=st.lists(st.lists(st.integers(0, 24), max_size=15), max_size=6),
    windows=st.lists(st.tuples(bounds, bounds), min_size=1, max_size=4),
)
def test_what_was_imported_is_read_as_a_sorted_set(
    opened: Opened, pool: list[bytes], picks: list[list[int]], windows: list[tuple[int | None, int | None]]
) -> None:
    """Batches that are shuffled, late, repeated or of equal dates are read in order and without duplicates."""
    shop = opened.shop()
    batches = [for_shop(shop, [pool[index % len(pool)] for index in batch]) for batch in picks]
    for batch in batches:
        store(opened.log, shop, batch)
    stored = [one for batch in batches for one in batch]
    for from_, to in windows:
        if from_ is not None and to is not None and from_ > to:
            continue
        window = resolve(from_, to, NOW)
        assert opened.read(shop, window) == model(stored, window.start, window.end)


def test_a_shop_reads_its_own_lines_only(opened: Opened) -> None:
    """Two shops with events of the same time each read their own, and a new one or an unknown one reads nothing."""
    one, other, empty = opened.shop(), opened.shop(), opened.shop()
    store(opened.log, one, [line(one, NOW - 1), line(one, NOW)])
    store(opened.log, other, [line(other, NOW - 1)])
    assert opened.read(one) == model([line(one, NOW - 1), line(one, NOW)], OLDEST, NOW)
    assert opened.read(other) == model([line(other, NOW - 1)], OLDEST, NOW)
    assert opened.read(empty) == opened.read(2**62) == b""


def test_an_empty_window_reads_no_page(opened: Opened) -> None:
    """A window whose start is after its end returns no page."""
    shop = opened.shop()
    store(opened.log, shop, [line(shop, NOW)])
    assert list(opened.log.read(shop, Window(NOW + 1, NOW))) == []


def test_a_long_segment_is_found_from_within(opened: Opened) -> None:
    """A segment of 90 days is read by a window far from its ends, beside many short ones."""
    shop = opened.shop()
    dates = [OLDEST, NOW - 30 * DAY_MS, NOW]
    store(opened.log, shop, [line(shop, date, "long") for date in dates])
    for day in range(20, 40):
        store(opened.log, shop, [line(shop, NOW - day * DAY_MS, "short")])
    stored = [line(shop, date, "long") for date in dates]
    stored += [line(shop, NOW - day * DAY_MS, "short") for day in range(20, 40)]
    window = Window(NOW - 30 * DAY_MS, NOW - 30 * DAY_MS)
    assert opened.read(shop, window) == model(stored, *window)


@pytest.mark.parametrize("apart_ms", [1000, 0])
def test_a_log_of_many_pages_is_read_whole(opened: Opened, apart_ms: int) -> None:
    """A log of many overlapping segments, even of one millisecond, is read whole though not all of it may be held."""
    shop = opened.shop()
    lines = for_shop(shop, [bulky(NOW - step * apart_ms, step) for step in range(9_000)])
    for start in range(3):
        store(opened.log, shop, lines[start::3])
    lines += [line(shop, NOW, "!"), line(shop, NOW, "~")]
    for one in lines[-2:]:
        store(opened.log, shop, [one])
    expected = model(lines, OLDEST, NOW)
    assert len(expected) > 2 * MERGE_HELD_MAX_BYTES
    pages = list(opened.log.read(shop, ALL))
    assert len(pages) > 2
    assert all(pages)
    assert b"".join(unpack(pages)) == expected
    assert zlib.decompress(b"".join(splice(pages)), 31) == expected


def test_an_unknown_shop_is_refused_and_nothing_is_stored(opened: Opened) -> None:
    """An append to a shop that does not exist is refused with its trackpoint, and nothing is stored."""
    before = opened.sql("SELECT count(*), max(id) FROM segments")
    with pytest.raises(UnknownShop, match="4000000000"):
        store(opened.log, 4_000_000_000, [line(4_000_000_000, NOW)])
    assert opened.sql("SELECT count(*), max(id) FROM segments") == before


def test_the_same_lines_again_store_nothing(opened: Opened) -> None:
    """Sending the same lines again, in any order, stores no further segment and reads the same."""
    shop = opened.shop()
    lines = [line(shop, NOW - step, "ž") for step in range(100)]
    store(opened.log, shop, lines)
    stored = opened.sql("SELECT * FROM segments WHERE trackpoint = ?", shop)
    for again in (lines, lines[::-1], lines * 2):
        store(opened.log, shop, again)
    assert opened.sql("SELECT * FROM segments WHERE trackpoint = ?", shop) == stored
    assert opened.read(shop) == model(lines, OLDEST, NOW)


def test_the_same_lines_of_two_shops_are_both_stored(opened: Opened) -> None:
    """That a shop has some bytes stored already says nothing of another shop."""
    one, other = opened.shop(), opened.shop()
    for shop in (one, other):
        append_segments(opened.database, shop, one_segment(1, "a")).result()
    assert (opened.rows(one), opened.rows(other)) == (1, 1)


def one_segment(shop: int, user: str) -> list[Segment]:
    """Pack one event."""
    return list(pack([(NOW, line(shop, NOW, user))]))


@contextmanager
def held_writer(database: Database) -> Iterator[None]:
    """Hold the writer within a write, so that what is submitted meanwhile waits, and let it go at the end."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        begun.set()
        assert go_on.wait(60)

    held = database.submit(hold)
    assert begun.wait(60)
    try:
        yield
    finally:
        go_on.set()
        held.result()


@pytest.fixture
def commits() -> Iterator[list[Connection]]:
    """Yield a list to which each commit of SQLAlchemy adds."""
    noted: list[Connection] = []
    note = noted.append
    event.listen(Engine, "commit", note)
    yield noted
    event.remove(Engine, "commit", note)


def test_appends_that_wait_share_one_commit(opened: Opened, commits: list[Connection]) -> None:
    """Appends that wait for the writer become durable together, in one commit, and none is seen before it."""
    shop = opened.shop()
    before = len(commits)
    with held_writer(opened.database):
        waiting = [append_segments(opened.database, shop, one_segment(shop, f"{user}")) for user in range(100)]
        assert not any(future.done() for future in waiting)
        assert opened.rows(shop) == 0
    for future in waiting:
        future.result()
    assert len(commits) == before + 2  # that of the write that held the writer, and one for all that waited
    assert opened.rows(shop) == 100
    assert opened.read(shop) == model([line(shop, NOW, f"{user}") for user in range(100)], OLDEST, NOW)


def test_appends_of_many_threads_all_land(opened: Opened) -> None:
    """Appends of many threads at a time are all stored once their futures are done, each exactly once."""
    shop = opened.shop()
    users = [f"{thread} {one}" for thread in range(16) for one in range(10)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda user: append_segments(opened.database, shop, one_segment(shop, user)).result(), users))
    assert opened.rows(shop) == len(users)
    assert opened.read(shop) == model([line(shop, NOW, user) for user in users], OLDEST, NOW)


def test_a_refused_append_takes_no_other_with_it(opened: Opened) -> None:
    """In a group that shares a commit, a refused append gets its error, and the others are stored."""
    shop = opened.shop()
    with held_writer(opened.database):
        good = append_segments(opened.database, shop, one_segment(shop, "a"))
        bad = append_segments(opened.database, 4_000_000_000, one_segment(1, "b"))
        also_good = append_segments(opened.database, shop, one_segment(shop, "c"))
    for future in (good, also_good):
        future.result()
    assert isinstance(bad.exception(), UnknownShop)
    assert opened.read(shop) == model([line(shop, NOW, "a"), line(shop, NOW, "c")], OLDEST, NOW)


def test_an_append_that_breaks_off_takes_no_other_with_it(opened: Opened) -> None:
    """Segments that cannot be read to their end, as of a closed spool, are not stored, and all others are."""
    shop = opened.shop()

    def broken() -> Iterator[Segment]:
        yield from one_segment(shop, "b")
        raise ValueError("read of closed file")

    with held_writer(opened.database):
        good = append_segments(opened.database, shop, one_segment(shop, "a"))
        bad = append_segments(opened.database, shop, broken())
        also_good = append_segments(opened.database, shop, one_segment(shop, "c"))
    assert isinstance(bad.exception(), ValueError)
    assert [future.exception() for future in (good, also_good)] == [None, None]
    assert opened.read(shop) == model([line(shop, NOW, "a"), line(shop, NOW, "c")], OLDEST, NOW)


def test_a_cancelled_append_takes_no_other_with_it(opened: Opened) -> None:
    """An append that is given up while it waits is not stored, and the others of its group are."""
    shop = opened.shop()
    with held_writer(opened.database):
        good = append_segments(opened.database, shop, one_segment(shop, "a"))
        given_up: Future[None] = append_segments(opened.database, shop, one_segment(shop, "b"))
        assert given_up.cancel()
    good.result()
    assert opened.read(shop) == model([line(shop, NOW, "a")], OLDEST, NOW)


def day_by_day(opened: Opened, days: int = 4) -> tuple[int, list[bytes]]:
    """Store some days of bulky lines, each a segment or two, so that they are read in several pages."""
    shop = opened.shop()
    lines = []
    for day in range(days, 0, -1):
        lines += for_shop(shop, [bulky(NOW - day * DAY_MS + second * 1000) for second in range(600)])
        store(opened.log, shop, lines[-600:])
    assert len(list(opened.log.read(shop, ALL))) >= days - 1
    return shop, lines


def lines_of(pages: Iterable[Iterable[Piece]]) -> list[bytes]:
    """Return the lines of pages."""
    return b"".join(unpack(pages)).splitlines()


def test_a_read_goes_on_while_segments_are_stored(opened: Opened) -> None:
    """A read that has begun returns, in order and once, all that was there and all that arrives after its position."""
    shop, lines = day_by_day(opened)
    reading = opened.log.read(shop, ALL)
    got = lines_of([next(reading)])
    place = date_of(got[-1])
    before, after = line(shop, place - 1, "before"), [line(shop, place + 1 + step, "behind") for step in range(3)]
    store(opened.log, shop, [before, *after, *lines[::50]])
    got += lines_of(reading)
    assert got == model([*lines, *after], OLDEST, NOW).splitlines()
    assert opened.read(shop) == model([*lines, before, *after], OLDEST, NOW)


def compact(opened: Opened, shop: int) -> None:
    """Replace all segments of a shop by merged ones, as compaction would."""

    def replace_all(connection: Connection) -> None:
        rows = connection.execute(segments_table.select().where(segments_table.c.trackpoint == shop)).all()
        lines = b"".join(zlib.decompress(row.data + b"\x03\x00", -15) for row in rows).splitlines()
        connection.execute(delete(segments_table).where(segments_table.c.trackpoint == shop))
        insert_segments(connection, shop, pack(sorted({(date_of(one), one) for one in lines})))

    opened.database.write(replace_all)


def test_a_read_goes_on_while_segments_are_replaced(opened: Opened) -> None:
    """A read goes on right when, between each two of its pages, all rows are replaced by merged ones."""
    shop, lines = day_by_day(opened)
    late = for_shop(shop, [bulky(NOW - 3 * DAY_MS + step * HOUR_MS, "late") for step in range(60)])
    store(opened.log, shop, late)
    got: list[bytes] = []
    ids = opened.sql("SELECT id FROM segments WHERE trackpoint = ?", shop)
    for page in opened.log.read(shop, ALL):
        got += lines_of([page])
        compact(opened, shop)
    assert got == model([*lines, *late], OLDEST, NOW).splitlines()
    assert not set(ids) & set(opened.sql("SELECT id FROM segments WHERE trackpoint = ?", shop))


def test_a_reader_holds_no_transaction_between_pages(opened: Opened) -> None:
    """Between two pages of a read the write-ahead log can be emptied, so a slow client does not make it grow."""
    shop, lines = day_by_day(opened)
    got: list[bytes] = []
    for page in opened.log.read(shop, ALL):
        store(opened.log, shop, [line(shop, OLDEST, f"{len(got)}")])
        assert wal_can_be_emptied(opened.path)
        got += lines_of([page])
    assert got == model(lines, OLDEST, NOW).splitlines()


def test_a_read_that_is_given_up_holds_nothing(opened: Opened) -> None:
    """A read that is dropped after its first page leaves no transaction behind."""
    shop, _ = day_by_day(opened, 2)
    reading = opened.log.read(shop, ALL)
    next(reading)
    del reading
    store(opened.log, shop, [line(shop, OLDEST, "more")])
    assert wal_can_be_emptied(opened.path)


def test_a_page_is_bounded(opened: Opened) -> None:
    """What a page holds is about its limit and no more than one segment beyond it."""
    shop, _ = day_by_day(opened)
    for page in opened.log.read(shop, ALL):
        sizes = [len(piece) if isinstance(piece, bytes) else len(piece.data) for piece in page]
        assert sum(sizes[:-1]) < PAGE_HELD_MAX_BYTES


def damage(opened: Opened, shop: int) -> int:
    """Change one byte of a shop's only segment. Return its id."""
    return damage_newest_segment(opened.path, shop)


@pytest.mark.parametrize("window", [ALL, Window(NOW - 1, NOW - 1)])
def test_a_damaged_row_is_told_by_its_name(opened: Opened, window: Window) -> None:
    """A read that comes upon a changed byte gives no page of it but the segment's id; other shops are as before."""
    shop, other = opened.shop(), opened.shop()
    for one in (shop, other):
        store(opened.log, one, [line(one, NOW - step) for step in range(3)])
    name = damage(opened, shop)
    with pytest.raises(DamagedSegment, match=f"Segment {name} is damaged"):
        next(opened.log.read(shop, window))
    assert opened.read(other) == model([line(other, NOW - step) for step in range(3)], OLDEST, NOW)


def test_the_lines_of_a_damaged_segment_are_stored_anew(opened: Opened) -> None:
    """Resending the lines of a damaged segment does not count as a repetition: they are stored again."""
    shop = opened.shop()
    store(opened.log, shop, [line(shop, NOW)])
    damage(opened, shop)
    store(opened.log, shop, [line(shop, NOW)])
    rows = opened.sql("SELECT stored_crc, data FROM segments WHERE trackpoint = ? ORDER BY id", shop)
    assert [zlib.crc32(data) == crc for crc, data in rows] == [False, True]


def test_what_was_appended_is_there_again(url: str) -> None:
    """Appended lines are read unchanged after the database is closed and opened again."""
    first = Opened(url)
    shop = first.shop()
    store(first.log, shop, [line(shop, NOW)])
    first.database.close()
    again = Opened(url)
    assert again.read(shop) == model([line(shop, NOW)], OLDEST, NOW)
    again.database.close()

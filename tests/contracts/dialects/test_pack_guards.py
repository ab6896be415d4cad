"""Races of packs and of growing segments between processes, without the lock that lets most writes run one at a time.

Each of these writes also locks what it relies on, so that none depends on that one lock. So the tests run them beside
each other. Each test fails without the guard that its docstring names.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.objects import announce, doom_abandoned, objects_due
from smsevents.catalog.packs import packs_of
from smsevents.catalog.replacement import replace_stored
from smsevents.catalog.segments import insert_segments, newest_settled_id
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.log import joining
from smsevents.segments.pack import make_pack
from smsevents.segments.segment import pack
from tests.contracts.dialects.harness import PostgresHarness, harness_of
from tests.contracts.dialects.racing import NOW_MS, SHOP, WAIT_MAX_SECONDS, Held, Site, entries, rows
from tests.support.lines import line
from tests.support.logs import store
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.segments.pack import Pack
    from smsevents.wire.lines import Entry

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgres", pytest.param("pgbouncer", marks=pytest.mark.campaign)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Make a database for two processes, which reach it directly or through pgbouncer."""
    harness = harness_of(request.param, request, tmp_path)
    assert isinstance(harness, PostgresHarness)
    yield Site(harness)
    harness.close()


def announced(site: Site, key: str, of: Sequence[Entry]) -> Pack:
    """Announce an object, and return the pack that would be in it. Nothing here reads the object."""
    made, _ = make_pack(SHOP, key, list(pack(of)))
    site.one.write(partial(announce, trackpoint=SHOP, key=key, size_bytes=made.object_bytes, now=NOW_MS))
    return made


def keys_named(site: Site) -> list[str]:
    """Return the keys of the packs of the shop, in order."""
    with site.one.read() as connection:
        return [found.place.key for found in packs_of(connection, SHOP)]


def test_a_pack_is_replaced_once(site: Site) -> None:
    """Of two replacements of one pack, the second is refused: a merge cannot bring back an erased user.

    The guard is that packs are locked before they are counted.
    """
    first = announced(site, "first", entries("forgotten", "other"))
    assert site.one.write(partial(replace_stored, trackpoint=SHOP, read=(), gone=(), packs=[first], now=NOW_MS))
    with site.one.read() as connection:
        (there,) = packs_of(connection, SHOP)
    read = {there.stored_as}
    without, merged = announced(site, "without", entries("", "other")[1:]), announced(site, "merged", entries("a", "b"))
    point = Held()

    def replace_and_wait(connection: Connection) -> bool:
        done = replace_stored(connection, SHOP, read, read, packs=[without], now=NOW_MS)
        point()
        return done

    erasure = site.one.submit(replace_and_wait, beside=True)
    point.wait()
    replace = partial(replace_stored, trackpoint=SHOP, read=read, gone=read, packs=[merged], now=NOW_MS)
    merging = site.other.submit(replace, beside=True)
    assert eventually(lambda: site.is_waiting() or merging.done())
    point.released.set()
    assert erasure.result(WAIT_MAX_SECONDS)
    assert not merging.result(WAIT_MAX_SECONDS)
    assert keys_named(site) == ["without"]


def test_an_object_is_live_or_dead(site: Site) -> None:
    """While a swap makes an object live, no collection makes it dead, and deletes it.

    The guard is that the swap locks the row that announced the object.
    """
    swapped = announced(site, "slow", entries("a", "b"))
    point = Held()

    class Pausing(set[Any]):
        """What a swap deletes. It is looked at after the check of the objects."""

        def __iter__(self) -> Iterator[Any]:
            if not point.reached.is_set():
                point()
            return super().__iter__()

    swap = partial(replace_stored, trackpoint=SHOP, read=(), gone=Pausing(), packs=[swapped], now=NOW_MS)

    def doom(connection: Connection) -> list[str]:
        doom_abandoned(connection, NOW_MS + 1, NOW_MS + 1)
        return objects_due(connection, NOW_MS + 2, 10)

    swapping = site.one.submit(swap, beside=True)
    point.wait()
    dooming = site.other.submit(doom, beside=True)
    assert eventually(lambda: site.is_waiting() or dooming.done())
    point.released.set()
    assert swapping.result(WAIT_MAX_SECONDS)
    assert dooming.result(WAIT_MAX_SECONDS) == []
    assert keys_named(site) == ["slow"]


def test_a_dead_object_becomes_no_pack(site: Site) -> None:
    """A swap is refused once its object is dead, also while the store has not deleted it yet.

    The guard is the state of the row that announced the object.
    """
    site.put("a", "b")
    (first,) = site.ids()
    late = announced(site, "late", entries("a", "b"))
    site.other.write(lambda connection: doom_abandoned(connection, NOW_MS + 1, NOW_MS + 1))
    swap = partial(replace_stored, trackpoint=SHOP, read=rows(first), gone=rows(first), packs=[late], now=NOW_MS)
    assert not site.one.write(swap)
    assert keys_named(site) == []
    assert site.ids() == [first]
    assert site.users() == ["a", "b"]


def test_a_scan_misses_no_segment_of_a_replacement(site: Site) -> None:
    """A segment that a slow compaction makes is still looked at by a scan that saw higher ids before.

    The guard is that a replacement announces the ids that it may use.
    """
    site.one.write(lambda connection: insert_shop(connection, Shop(8, "", 1)))
    site.put("a")
    site.put("b", start_ms=NOW_MS + 10)
    first, second = site.ids()
    point = Held()

    def slow(connection: Connection) -> bool:
        read = rows(first, second)
        done = replace_stored(connection, SHOP, read, read, pack(entries("a") + entries("b", start_ms=NOW_MS + 10)))
        point()
        return done

    compaction = site.other.submit(slow, beside=True)
    point.wait()
    site.put("someone", shop=8)
    with site.one.read() as connection:
        assert newest_settled_id(connection) == second
    point.released.set()
    assert compaction.result(WAIT_MAX_SECONDS)
    with site.one.read() as connection:
        assert newest_settled_id(connection) == second + 2
    assert site.users() == ["a", "b"]


def held_before_growth(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Return the point at which small imports are held, after they were read and before they are stored."""
    point = Held()
    module: Any = joining
    store_grown = module.store_grown

    def slow(connection: Connection, *words: Any) -> Any:
        point()
        return store_grown(connection, *words)

    monkeypatch.setattr(module, "store_grown", slow)
    return point


def test_a_segment_grows_or_is_compacted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a compaction replaces a segment before a small import makes it grow, no event is stored twice.

    The guard is that a growing segment is replaced only if it is there, with the bytes that are remembered.
    """
    log = site.log(site.one, joined=True)
    store(log, SHOP, [line(SHOP, NOW_MS, "first")])
    (first,) = site.ids()
    point = held_before_growth(monkeypatch)
    replace = partial(
        replace_stored, trackpoint=SHOP, read=rows(first), gone=rows(first), new=list(pack(entries("first")))
    )
    with ThreadPoolExecutor(1) as threads:
        importing = threads.submit(store, log, SHOP, [line(SHOP, NOW_MS + 1, "second")])
        point.wait()
        compacting = site.other.submit(replace)
        assert compacting.result(WAIT_MAX_SECONDS)
        point.released.set()
        importing.result(WAIT_MAX_SECONDS)
    assert site.users() == ["first", "second"]
    assert site.harness.query("SELECT sum(events) FROM segments") == [(2,)]


def test_no_segment_grows_during_an_erasure(site: Site) -> None:
    """While a process is alone with a shop, a small import gets a segment of its own, and the old ones stay.

    The guard is that a segment grows only if the shop can be shared.
    """
    log = site.log(site.one, joined=True)
    store(log, SHOP, [line(SHOP, NOW_MS, "first")])
    before = site.ids()
    with site.other.dialect.shop_alone(SHOP, WAIT_MAX_SECONDS):
        store(log, SHOP, [line(SHOP, NOW_MS + 1, "second")])
        assert site.ids() == [*before, before[0] + 1]
    assert site.users() == ["first", "second"]


def test_an_erasure_waits_for_a_segment_that_grows(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is alone with a shop only after the transaction in which a segment grows.

    The guard is that this transaction shares the shop until its end.
    """
    log = site.log(site.one, joined=True)
    store(log, SHOP, [line(SHOP, NOW_MS, "first")])
    point = held_before_growth(monkeypatch)
    seen: list[str] = []

    def look() -> None:
        with site.other.dialect.shop_alone(SHOP, WAIT_MAX_SECONDS):
            seen.extend(site.users())

    with ThreadPoolExecutor(2) as threads:
        importing = threads.submit(store, log, SHOP, [line(SHOP, NOW_MS + 1, "second")])
        point.wait()
        erasing = threads.submit(look)
        assert eventually(lambda: site.is_waiting() or erasing.done())
        point.released.set()
        importing.result(WAIT_MAX_SECONDS)
        erasing.result(WAIT_MAX_SECONDS)
    assert seen == ["first", "second"]


def test_what_was_announced_is_free_again(site: Site) -> None:
    """A transaction that is rolled back announces nothing any more, so scans go on to the newest segment."""
    point = Held()

    def refused(connection: Connection) -> None:
        dialect_of(connection).begin_append(connection, SHOP)
        insert_segments(connection, SHOP, pack(entries("a")))
        point()
        raise ValueError("refused")

    gone = site.other.submit(refused, beside=True)
    point.wait()
    site.put("b", start_ms=NOW_MS + 10)
    with site.one.read() as connection:
        assert newest_settled_id(connection) == 0
    point.released.set()
    with pytest.raises(ValueError, match="refused"):
        gone.result(WAIT_MAX_SECONDS)
    with site.one.read() as connection:
        assert newest_settled_id(connection) == 2
    assert site.users() == ["b"]

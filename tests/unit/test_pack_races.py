"""Races over packs, each made to happen at one call of the store: nothing is lost, and nothing comes back."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.objects import State, announce, count_objects
from smsevents.catalog.stores import set_packing
from smsevents.errors import StoreUnavailable
from smsevents.segments.splice import unpack
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep import erasure
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.packing import new_key, pack_settled, unpack_shop, write_stored
from smsevents.upkeep.wiping import wipe
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.databases import query
from tests.support.kills import FEW
from tests.support.lines import DAY_MS, date_of, model
from tests.support.logs import Held, keys_in
from tests.support.pack_races import (
    CHANGES,
    DAYS,
    Race,
    erase,
    expire_half,
    forget_user,
    move,
    old_by,
    opened_race,
    repack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

WAIT_MAX_SECONDS = 30


@pytest.fixture
def race(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Race]:
    """Yield a log with packs."""
    yield from opened_race(url, monkeypatch, packed=True)


@pytest.fixture
def unpacked(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Race]:
    """Yield a log that is not packed yet."""
    yield from opened_race(url, monkeypatch, packed=False)


def read_all(held: Held, page_bytes: int) -> bytes:
    """Export everything in pages of a size."""
    window = resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now)
    reader = held.log.read(held.trackpoint, window)
    parts: list[bytes] = []
    while pieces := reader.next_page(page_bytes):
        parts += unpack([pieces])
    return b"".join(parts)


class Distant(MemoryStore):
    """A store that is as well read in long parts as one on the network."""

    prefers_long_reads = True


PAGES_BYTES = [100, 1_000_000]  # the smaller one has several reads in a page, and several pages
READERS = [
    *(pytest.param(MemoryStore, change, size) for change in CHANGES for size in PAGES_BYTES),
    pytest.param(Distant, "erase", 100),
    *(pytest.param(Distant, change, 100, marks=pytest.mark.campaign) for change in CHANGES if change != "erase"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "change", "page_bytes"), READERS)
def test_a_reader_survives_the_deletion_of_packs_at_each_fetch(
    url: str, monkeypatch: pytest.MonkeyPatch, kind: type[MemoryStore], change: str, page_bytes: int
) -> None:
    """Between the transaction of a page and each read of a pack, all packs may be replaced and deleted.

    The export then has each event that stays exactly once, in order, and none that never was.
    """
    monkeypatch.setattr(erasure, "write_stored", partial(write_stored, sizes=FEW.packs))
    number = 0
    happened = True
    while happened:
        happened = False
        race = Race(f"{url}-{number}", kind())

        def happens(race: Race = race) -> None:
            nonlocal happened
            happened = True
            CHANGES[change](race)

        race.store.on("read", number, happens)
        got = read_all(race.held, page_bytes)
        held = race.held
        if change == "erase":
            least = model(race.without_user(), held.now - HISTORY_MS, held.now)
        elif change == "expire_half":
            least = model(held.lines, held.now - (DAYS // 2) * DAY_MS, held.now)
        else:
            least = held.expected()
        lines = got.splitlines()
        assert set(least.splitlines()) <= set(lines) <= held.lines
        assert lines == sorted(set(lines), key=lambda one: (date_of(one), one))
        race.other.close()
        held.database.close()
        number += 1
    assert number >= 3


def test_a_reader_survives_many_replacements_of_a_page(race: Race) -> None:
    """A page whose packs are replaced and deleted at each of its first reads is read again each time."""
    times = 0

    def happens(name: str) -> None:
        nonlocal times
        if name == "read" and times < 4:
            times += 1
            repack(race)

    race.store.happens = happens
    assert read_all(race.held, 1_000_000) == race.held.expected()
    assert times == 4


def test_a_reader_of_overlapping_packs_survives_their_deletion(race: Race) -> None:
    """Packs that are opened within the transaction of a page may be deleted, too."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    race.store.on("read", 0, lambda: move(race))
    assert held.exported() == held.expected()
    race.check()


# Two that write.


@pytest.mark.parametrize("call", ["put", "after put"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_of_two_packers_one_wins(unpacked: Race, call: str, number: int) -> None:
    """When another process packs the same segments meanwhile, the slower one throws its packs away."""
    held = unpacked.held

    def happens() -> None:
        assert pack_settled(unpacked.other, held.trackpoint, held.now, held.now + DAY_MS, FEW).after

    unpacked.store.on(call, number, happens)
    held.pack(FEW)
    assert sum(pack.events for pack in held.packs()) == len(held.lines)
    assert held.headers() == []
    unpacked.check()


@pytest.mark.parametrize("call", ["put", "after put"])
def test_of_two_mergers_one_wins(race: Race, call: str) -> None:
    """When another process merges the same packs meanwhile, the slower one throws its packs away."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    race.store.on(call, 1, lambda: compact_shop(race.other, held.trackpoint, held.now, None, FEW))
    held.compact(FEW)
    assert held.headers() == []
    race.check()


@pytest.mark.parametrize("call", ["put", "after put"])
def test_an_erasure_waits_for_a_packer(unpacked: Race, call: str) -> None:
    """An erasure that begins while packs are written finds the user's events in them."""
    erased: list[erasure.Erased] = []
    held = unpacked.held
    thread = threading.Thread(target=lambda: erased.append(forget_user(unpacked.other, held.trackpoint)))

    def happens() -> None:
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert erased == []

    unpacked.store.on(call, 1, happens)
    held.pack(FEW)
    thread.join(WAIT_MAX_SECONDS)
    assert (erased[0].events, erased[0].wiped) == (3, True)
    held.lines = unpacked.without_user()
    assert keys_in(unpacked.store.inner) == held.keys_named()
    unpacked.check()


@pytest.mark.parametrize("call", ["put", "after put"])
@pytest.mark.parametrize("merges", [False, True], ids=["packing", "merging"])
def test_an_erased_user_never_comes_back(url: str, monkeypatch: pytest.MonkeyPatch, call: str, *, merges: bool) -> None:
    """Even if the locks fail, an erasure in the middle of a step of packing makes that step void.

    What the step writes after that is deleted without a comparison of the store with the catalog.
    """
    for race in opened_race(url, monkeypatch, packed=merges):
        held = race.held
        held.put(sorted(held.lines, key=date_of)[::4] if merges else [])
        monkeypatch.setattr(held.database.dialect, "shop_step", lambda _: nullcontext())
        race.store.on(call, 0, lambda race=race: erase(race))  # type: ignore[misc]
        if merges:
            held.compact(FEW)
        else:
            held.pack(FEW)
        held.lines = race.without_user()
        assert held.exported() == held.expected()
        race.collect()
        assert keys_in(race.store.inner) == held.keys_named()
        race.check()


@pytest.mark.parametrize("call", ["put", "after put"])
def test_a_write_that_was_taken_for_abandoned_is_void(unpacked: Race, call: str) -> None:
    """The collection may delete an object while a slow process writes it, because no pack can name it any more."""
    held = unpacked.held
    doomed: list[str] = []

    def happens() -> None:
        doomed.extend(keys_in(unpacked.store.inner))
        collect(unpacked.other, unpacked.other.dialect.now_ms() + 2 * DAY_MS)
        assert query(held.path, "SELECT count(*) FROM objects") == [(0,)]
        assert keys_in(unpacked.store.inner) == set()

    unpacked.store.on(call, 0, happens)
    done = held.pack(FEW)
    assert not done.whole
    assert len(doomed) == (call == "after put")
    assert not set(doomed) & held.keys_named()
    assert held.exported() == held.expected()
    unpacked.collect()  # finds what was written after that, at once
    assert keys_in(unpacked.store.inner) == held.keys_named()
    held.pack(FEW)
    unpacked.check()


def test_a_swap_in_doubt_stays_if_it_was_made(unpacked: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a process hears of a failure although the catalog names its packs, it deletes none of them."""
    held = unpacked.held
    submit = held.database.submit

    def in_doubt(run: Callable[[Connection], object], size_bytes: int = 0) -> Future[object]:
        outcome = submit(run, size_bytes)
        if getattr(run, "__qualname__", "") == "write_stored.<locals>.replace":
            assert outcome.result() is True
            outcome = Future()
            outcome.set_exception(StoreUnavailable("The connection was lost."))
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(held.database, "submit", in_doubt)
        with pytest.raises(StoreUnavailable, match="connection"):
            held.pack(FEW)
    assert held.packs()
    unpacked.check()


def test_what_is_live_is_never_taken_for_abandoned(race: Race) -> None:
    """However old a pack is, a collection that finds something abandoned leaves it alone."""
    held = race.held
    for days in (2, 20, 400):
        key = new_key(held.trackpoint, held.now, days)
        held.database.write(partial(announce, trackpoint=held.trackpoint, key=key, size_bytes=1, now=1))
        held.collect(days * DAY_MS)
        with held.database.read() as connection:
            assert count_objects(connection, State.LIVE)[0] == len(held.packs())
    race.check()


def test_an_object_that_came_after_its_deletion_is_found(race: Race) -> None:
    """An object that has no row is deleted two days after it was written, and not before."""
    held = race.held
    late = new_key(held.trackpoint, held.now, 1)
    held.collect(0)
    race.store.inner.put(late, [b"late"])
    held.collect(DAY_MS)
    held.collect(8 * DAY_MS - 60_000 * 60)
    assert late not in keys_in(race.store.inner)
    race.check()


def test_a_young_object_without_a_row_stays(race: Race) -> None:
    """An object that has no row may be one of a catalog that is restored just now."""
    late = new_key(race.held.trackpoint, race.held.now, 1)
    race.store.inner.put(late, [b"late"])
    race.held.collect(DAY_MS)
    assert late in keys_in(race.store.inner)


@pytest.mark.parametrize("call", ["put", "after put"])
def test_packing_ends_when_the_log_was_moved_back(unpacked: Race, call: str) -> None:
    """A worker that packs while the log is moved into the database leaves everything there, and no object."""
    held = unpacked.held
    unpacked.store.on(call, 1, lambda: move_all(unpacked))
    held.pack(FEW)
    assert not held.packs()
    unpacked.collect()
    assert keys_in(unpacked.store.inner) == set()
    unpacked.check()


def move_all(race: Race) -> None:
    """Move all packs that there are into the database."""
    race.other.write(partial(set_packing, packing=False))
    unpack_shop(race.other, race.held.trackpoint, race.held.packs())
    race.collect()


@pytest.mark.parametrize("call", ["read", "put", "after put"])
def test_merging_ends_when_the_log_was_moved_back(race: Race, call: str) -> None:
    """Late events that are merged into packs while these are moved into the database do not bring packs back."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    race.store.on(call, 0, lambda: move(race))
    held.compact(FEW)
    assert not held.packs()
    race.collect()
    assert keys_in(race.store.inner) == set()
    race.check()


@pytest.mark.parametrize("call", ["read", "put", "after put"])
def test_merging_does_not_bring_expired_events_back(race: Race, call: str) -> None:
    """Packs that expire while they are merged stay gone."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    race.store.on(call, 0, lambda: expire_half(race))
    before = [pack for pack in held.packs() if pack.last[0] < held.now - (DAYS // 2) * DAY_MS]
    compact_shop(held.database, held.trackpoint, held.now, None, FEW)
    assert before
    assert not {pack.place.key for pack in before} & held.keys_named()
    held.now = old_by(race)
    race.check()


@pytest.mark.parametrize("number", range(5))
def test_an_erasure_beside_the_retention_ends(race: Race, number: int) -> None:
    """A pack that expires and is deleted while an erasure reads it holds nothing of the user any more."""
    race.store.on("read", number, lambda: expire_half(race))
    done = forget_user(race.held.database, race.held.trackpoint)
    assert done.wiped
    race.held.lines = race.without_user()
    race.held.now = old_by(race)
    race.check()


def test_an_erasure_deletes_what_was_replaced_before(race: Race) -> None:
    """Objects that would be kept for a while may hold the user's events, so they are gone when the erasure returns."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    held.compact(FEW)
    assert keys_in(race.store.inner) > held.keys_named()
    assert forget_user(held.database, held.trackpoint).wiped
    assert keys_in(race.store.inner) == held.keys_named()
    held.lines = race.without_user()
    race.check()


def test_what_a_killed_erasure_replaced_is_deleted_by_the_wipe(race: Race) -> None:
    """An erasure that is killed after it rewrote a pack has that pack deleted by the next wipe, at once."""
    held = race.held
    before = held.keys_named()

    def killed() -> None:
        raise KeyboardInterrupt

    race.store.on("put", 1, killed)
    with pytest.raises(KeyboardInterrupt):
        forget_user(held.database, held.trackpoint)
    replaced = before - held.keys_named()
    assert len(replaced) == 1
    assert replaced < keys_in(race.store.inner)
    assert wipe(race.other, race.other.dialect.now_ms()) is None
    assert keys_in(race.store.inner) == held.keys_named()


@pytest.mark.parametrize("call", ["delete", "after delete"])
def test_an_erasure_beside_the_collection_of_another_worker(race: Race, call: str) -> None:
    """An erasure in the middle of another worker's deletions is wiped only when no object holds the user any more."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    held.compact(FEW)
    assert keys_in(race.store.inner) > held.keys_named()
    erased: list[bool] = []

    def erase_meanwhile() -> None:
        done = forget_user(race.other, held.trackpoint)
        assert done.wiped
        assert keys_in(race.store.inner) == held.keys_named()
        erased.append(done.wiped)

    race.store.on(call, 0, erase_meanwhile)
    assert held.collect() is None
    assert erased == [True]
    held.lines = race.without_user()
    race.check()


def test_an_erasure_that_is_not_confirmed_is_wiped_by_another_worker(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store does not confirm a deletion, nobody reports `wiped`; then any worker completes it."""
    held = race.held
    delete = race.store.inner.delete
    monkeypatch.setattr(race.store.inner, "delete", lambda keys: delete(keys[1:]))
    done = forget_user(held.database, held.trackpoint)
    assert not done.wiped
    assert "could not be deleted" in str(done.not_wiped)
    left = keys_in(race.store.inner) - held.keys_named()
    assert len(left) == 1
    assert "could not be deleted" in str(wipe(race.other, race.other.dialect.now_ms()))
    assert keys_in(race.store.inner) - held.keys_named() == left
    monkeypatch.undo()
    assert wipe(race.other, race.other.dialect.now_ms()) is None
    held.lines = race.without_user()
    race.check()

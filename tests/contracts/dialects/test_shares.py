"""Upkeep by several workers of one database: each shop has one of them, and no worker's death leaves a shop without."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.leases import LEASE_SECONDS
from smsevents.catalog.segments import headers_of
from smsevents.catalog.shops import Shop, insert_shop
from smsevents.log.log import Log
from smsevents.segments.splice import unpack
from smsevents.upkeep import settling
from smsevents.upkeep.erasure import Erased, forget
from smsevents.upkeep.groups import COMPACTION_SMALL_SEGMENTS_MIN
from smsevents.wire.window import Window
from smsevents.worker import worker as worker_module
from smsevents.worker.shares import Shares
from smsevents.worker.worker import UpkeepWorker
from tests.contracts.dialects.harness import PostgresHarness, harness_of
from tests.support.ingests import CertainTime
from tests.support.lines import line, model
from tests.support.logs import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.catalog import Database
    from smsevents.upkeep.groups import Compacted

pytestmark = pytest.mark.slow

WAIT_MAX_SECONDS = 30
SHOPS = range(7, 27)
NOW_MS = 1_790_000_000_000
USER = "erase me"


class Plant:
    """Two workers on two machines, as two open databases of one; a third database looks on."""

    def __init__(self, harness: PostgresHarness) -> None:
        """Fill some shops with small segments that are worth merging. The clock stands still until a test sets it."""
        self.now = NOW_MS
        self.outside = harness.opened()
        self.log = Log(self.outside, lambda: NOW_MS, CertainTime(lambda: NOW_MS))
        self.harness = harness
        self.lines: dict[int, list[bytes]] = {shop: [] for shop in SHOPS}
        for shop in SHOPS:
            self.outside.write(lambda connection, shop=shop: insert_shop(connection, Shop(shop, "", 1)))  # type: ignore[misc]
            self.fill(shop)
        self.workers = [self.worker() for _ in range(2)]

    def worker(self) -> UpkeepWorker:
        """Open the database once more, with a worker for it."""
        return UpkeepWorker(self.harness.opened(), lambda: self.now)

    def fill(self, shop: int) -> None:
        """Import events one by one, so that each is a segment."""
        for _ in range(COMPACTION_SMALL_SEGMENTS_MIN):
            at = len(self.lines[shop])
            self.lines[shop].append(line(shop, NOW_MS - 1000 + at, USER if at == 1 else f"user {at}"))
            store(self.log, shop, self.lines[shop][-1:])

    def segments(self) -> set[int]:
        """Return how many segments the shops have."""
        with self.outside.read() as connection:
            return {len(list(headers_of(connection, shop))) for shop in SHOPS}

    def check(self) -> None:
        """Check that each shop has its events, each once, in one segment."""
        for shop in SHOPS:
            exported = b"".join(unpack(self.log.read(shop, Window(0, NOW_MS + 1_000_000))))
            assert exported == model(self.lines[shop], 0, NOW_MS + 1_000_000)
        assert self.segments() == {1}


@pytest.fixture(params=["postgres", pytest.param("pgbouncer", marks=pytest.mark.campaign)])
def plant(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plant]:
    """Make a database with shops and two workers."""
    harness = harness_of(request.param, request, tmp_path)
    assert isinstance(harness, PostgresHarness)
    yield Plant(harness)
    harness.close()


def watched(monkeypatch: pytest.MonkeyPatch, happens: Callable[[Database, int], None]) -> None:
    """Call `happens` with the database of a worker and the shop, each time before a worker compacts one."""
    compact = settling.compact_background

    def compact_watched(database: Database, trackpoint: int, *arguments: object, **named: object) -> Compacted:
        happens(database, trackpoint)
        return compact(database, trackpoint, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(worker_module, "compact_background", compact_watched)


def test_two_workers_work_on_two_shops_at_the_same_time(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both workers are in the middle of a shop at once, all shops are done once, and each by one of them."""
    both = threading.Barrier(2)
    waited: set[Database] = set()
    did: list[tuple[Database, int]] = []

    def happens(database: Database, trackpoint: int) -> None:
        did.append((database, trackpoint))
        if database not in waited:
            waited.add(database)
            both.wait(WAIT_MAX_SECONDS)

    for worker in plant.workers * 2:  # they learn of each other
        worker.round()
    for shop in SHOPS:
        plant.fill(shop)
    watched(monkeypatch, happens)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(UpkeepWorker.round, plant.workers)) == [True, True]
    assert len(waited) == 2
    assert sorted(shop for _, shop in did) == sorted(SHOPS)
    for worker in plant.workers:  # what has only just arrived is merged in the next round
        worker.round()
    plant.check()


def test_a_shop_is_never_worked_on_twice_at_the_same_time(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that do not know of each other both want all shops: one leaves to the other what that is working on."""
    one, other = plant.workers
    busy: set[int] = set()
    beside: list[int] = []

    def happens(_: Database, trackpoint: int) -> None:
        assert trackpoint not in busy
        busy.add(trackpoint)
        if not beside:
            beside.append(trackpoint)
            monkeypatch.setattr(Shares, "has", lambda *_: True)
            assert other.round()
            assert busy == set(SHOPS)
            busy.clear()

    watched(monkeypatch, happens)
    monkeypatch.setattr(Shares, "has", lambda *_: True)
    assert one.round()
    assert beside == [SHOPS[0]]
    plant.check()

    busy.clear()
    assert other.round()  # what was left to the first one is looked at again
    assert busy >= {SHOPS[0]}
    plant.check()


@pytest.mark.parametrize("dies", [True, False])
def test_the_shops_of_a_worker_that_is_gone_go_to_the_others(plant: Plant, *, dies: bool) -> None:
    """A worker that stopped leaves its shops at once, one that died when its lease ends; its lock ends with it."""
    one, other = plant.workers
    for worker in (one, other, one):
        assert worker.round()
    plant.check()
    for shop in SHOPS:
        plant.fill(shop)
    assert other.round()
    assert max(plant.segments()) > 1  # those of the other are not its business
    if dies:
        plant.now += LEASE_SECONDS * 1000 - 1
        assert other.round()
        assert max(plant.segments()) > 1
        plant.now += 1
    else:
        one.release_lease()
    assert other.round()
    plant.check()


def test_one_worker_leads(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several workers, the one with the lease expires and collects; the others do not."""
    did: list[str] = []
    monkeypatch.setattr(UpkeepWorker, "_expire", lambda self, _: did.append(self.holder))
    one, other = plant.workers
    for worker in (one, other, one, other):
        assert worker.round()
    assert did == [one.holder] * 2
    one.release_lease()
    assert other.round()
    assert did[2:] == [other.holder]


def test_an_erasure_between_workers_leaves_nothing(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure while a worker is in the middle of the shop and another comes reports `wiped` and leaves no event."""
    one, other = plant.workers
    shop = SHOPS[0]
    erased: list[Erased] = []

    def happens(_: Database, trackpoint: int) -> None:
        if trackpoint == shop and not erased:
            erased.append(forget(plant.outside, shop, [USER], NOW_MS, block=True))

    watched(monkeypatch, happens)
    for worker in (one, other, one, other):
        assert worker.round()
    ((done),) = erased
    assert (done.events, done.wiped) == (1, True)
    plant.lines[shop] = [one for one in plant.lines[shop] if USER.encode() not in one]
    plant.check()
    assert USER.encode() not in b"".join(one for one in unpack(plant.log.read(shop, Window(0, NOW_MS + 1_000_000))))


def test_shops_stay_with_their_workers(plant: Plant) -> None:
    """The workers agree on a division, and when one more comes, only shops that it gets change hands."""
    shares = [Shares(plant.outside, name) for name in ("a", "b", "c")]

    def division(among: list[Shares]) -> dict[int, str]:
        for one in among * 2:
            one.join(NOW_MS)
        holders = {shop: [name for name, one in zip("abc", among, strict=False) if one.has(shop)] for shop in SHOPS}
        assert {len(found) for found in holders.values()} == {1}
        return {shop: name for shop, (name,) in holders.items()}

    before = division(shares[:2])
    after = division(shares)
    assert set(after.values()) == {"a", "b", "c"}
    assert {after[shop] for shop in SHOPS if after[shop] != before[shop]} == {"c"}

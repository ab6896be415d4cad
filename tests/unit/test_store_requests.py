"""How many objects there are, and how many requests a store gets: neither grows with the number of small shops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bench.store_life import DELETE, GET, PUT, Life

from smsevents.demo.generate import generate
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_MS = 20_717 * DAY_MS
SMALL_SHOPS = range(100, 120)
SMALL_SHOP_EVENTS = 200
LARGE_SHOP = 7
LARGE_SHOP_EVENTS = 150_000  # more than PACK_MIN_BYTES
DAYS = 10
MILLION = 1_000_000
EVENTS_A_DAY, LIVED_DAYS = 100_000, 4
PUTS_PER_MILLION_MAX = 30


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Open an empty log."""
    with Life(tmp_path, START_MS) as life:
        yield life


def imported(life: Life, trackpoint: int, events: int) -> None:
    """Import invented events of the last days of a new shop."""
    life.add_shop(trackpoint)
    life.record(trackpoint, list(generate(trackpoint, events=events, days=DAYS, seed=1, end_ms=START_MS)))


def test_small_shops_make_no_objects(life: Life) -> None:
    """What is too little for a pack stays in the database. The store is asked for the packs of large shops alone."""
    for shop in SMALL_SHOPS:
        imported(life, shop, SMALL_SHOP_EVENTS)
    life.now_ms += 3 * DAY_MS
    before = life.store.requests.copy()
    life.work()
    assert life.packs() == []
    asked = life.store.requests - before
    assert asked[PUT] == 0

    life.now_ms -= 3 * DAY_MS
    imported(life, LARGE_SHOP, LARGE_SHOP_EVENTS)
    life.now_ms += 3 * DAY_MS
    life.work()
    packs = life.packs()
    assert 0 < len(packs) == life.store.requests[PUT]
    assert {one.key.split("/")[0] for one in packs} == {str(LARGE_SHOP)}
    for shop in SMALL_SHOPS:
        assert life.exported_lines(shop) == SMALL_SHOP_EVENTS
    assert life.exported_lines(LARGE_SHOP) == LARGE_SHOP_EVENTS


@pytest.mark.slow
def test_a_million_events_take_few_requests(life: Life) -> None:
    """Events of some days, some of them late, are written about twice, and read with about a GET for each pack."""
    life.add_shop(LARGE_SHOP)
    life.live(LARGE_SHOP, EVENTS_A_DAY, LIVED_DAYS, arrivals_a_day=3)
    asked = life.store.requests.copy()
    packs = life.packs()
    events = EVENTS_A_DAY * LIVED_DAYS
    assert 0 < len(packs) <= asked[PUT]
    assert asked[PUT] * MILLION <= PUTS_PER_MILLION_MAX * events
    assert asked[DELETE] <= asked[PUT]
    assert life.store.written_bytes <= 3 * sum(one.size_bytes for one in packs)
    assert life.exported_lines(LARGE_SHOP) == events
    assert life.store.requests[GET] - asked[GET] <= 3 * len(packs)

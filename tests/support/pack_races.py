"""A log with packs, another process of the same log, and what that one may do at a call of the store."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from smsevents.catalog.objects import hasten
from smsevents.catalog.stores import set_packing
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep import erasure
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.packing import unpack_shop, write_stored
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import HISTORY_MS
from tests.support.databases import query
from tests.support.erasures import USER
from tests.support.hooked import Hooked
from tests.support.kills import FEW
from tests.support.lines import DAY_MS, date_of, line, random_lines
from tests.support.logs import Held, keys_in, open_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from smsevents.catalog import Database


DAYS = 14


class Race:
    """A log with packs whose store is hooked, and another process of the same log that is not."""

    def __init__(self, url: str, inner: MemoryStore, *, packed: bool = True) -> None:
        """Fill the log, with three events of the user."""
        self.store = Hooked(inner)
        self.held = Held(url, self.store)
        self.other = open_with(url, inner)
        held = self.held
        chance = random.Random(5)  # noqa: S311 -- invented data
        held.put(random_lines(chance, held.trackpoint, 80, held.now - (DAYS + 3) * DAY_MS, held.now - 3 * DAY_MS))
        held.put([line(held.trackpoint, held.now - day * DAY_MS, USER) for day in (4, 10, 11)])
        held.compact(FEW)
        if packed:
            held.pack(FEW)
            assert len(held.packs()) > 3

    def collect(self) -> None:
        """Have the other process delete what no pack names."""
        now = self.other.dialect.now_ms()
        self.other.write(lambda connection: hasten(connection, now + 1))
        collect(self.other, now + 1)

    def without_user(self) -> set[bytes]:
        """Return the lines of others than the user."""
        return {one for one in self.held.lines if USER.encode() not in one}

    def check(self) -> None:
        """Check that the log has the expected lines, and after a collection two days later no other objects."""
        held = self.held
        assert held.exported() == held.expected()
        assert held.damages() == []
        assert held.collect() is None
        assert held.exported() == held.expected()
        assert keys_in(self.store.inner) == held.keys_named()
        rows = query(held.path, "SELECT key, state FROM objects ORDER BY key")
        assert rows == [(key, "live") for key in sorted(held.keys_named())]


def opened_race(url: str, monkeypatch: pytest.MonkeyPatch, *, packed: bool) -> Iterator[Race]:
    """Yield a log, and close it."""
    monkeypatch.setattr(erasure, "write_stored", partial(write_stored, sizes=FEW.packs))
    made = Race(url, MemoryStore(), packed=packed)
    yield made
    made.other.close()
    made.held.database.close()


# What another process does beside.


def repack(race: Race) -> None:
    """Merge packs with events that came late. They were there before, so the export stays the same."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    before = held.keys_named()
    compact_shop(race.other, held.trackpoint, held.now, None, FEW)
    assert not before & held.keys_named()
    race.collect()


def forget_user(database: Database, trackpoint: int) -> erasure.Erased:
    """Erase the user, and wipe."""
    return erasure.forget(database, trackpoint, [USER], database.dialect.now_ms(), block=False)


def erase(race: Race) -> None:
    """Erase the user."""
    done = forget_user(race.other, race.held.trackpoint)
    assert done.wiped


def expire_half(race: Race) -> None:
    """Let the older half of the packs expire, and delete their objects."""
    assert expire(race.other, old_by(race)).packs
    race.collect()


def old_by(race: Race) -> int:
    """Return the time by which the older half of the packs has expired."""
    return race.held.now + HISTORY_MS - (DAYS // 2) * DAY_MS


def move(race: Race) -> None:
    """Move the packs into the database, as `smsevents move database` does."""
    held = race.held
    race.other.write(partial(set_packing, packing=False))
    assert unpack_shop(race.other, held.trackpoint, held.packs())
    race.collect()
    assert not held.packs()


CHANGES: dict[str, Callable[[Race], None]] = {one.__name__: one for one in (repack, erase, expire_half, move)}

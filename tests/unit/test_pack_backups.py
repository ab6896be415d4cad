"""Backups of packs, whatever happens to the packs meanwhile."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import Database
from smsevents.catalog.attachment import adopt
from smsevents.catalog.objects import State, count_objects, pin, unpin
from smsevents.segments.splice import unpack
from smsevents.upkeep.backup import backup
from smsevents.upkeep.collecting import PINNED_MAX_MS, collect
from smsevents.upkeep.pack_copies import packs_beside
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import resolve
from tests.support.kills import FEW
from tests.support.lines import DAY_MS, date_of
from tests.support.logs import keys_in, log_at
from tests.support.pack_races import (
    CHANGES,
    Race,
    forget_user,
    opened_race,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def race(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Race]:
    """Yield a log with packs."""
    yield from opened_race(url, monkeypatch, packed=True)


def restored(race: Race, target: Path) -> tuple[bytes, Database]:
    """Open a backup with its packs, and return its export."""
    database = open_with_folder(target)
    held = race.held
    window = resolve(held.now - HISTORY_MS, held.now + DAY_MS, held.now)
    return b"".join(unpack(log_at(database, lambda: held.now).read(held.trackpoint, window))), database


def open_with_folder(target: Path) -> Database:
    """Open a backup, and adopt the folder beside it."""
    database = Database(f"sqlite:///{target}", create=False)
    adopt(database, packs_beside(target).as_uri())
    return database


@pytest.mark.parametrize("change", ["repack", "erase", "move"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_backup_has_all_packs_whatever_happens_meanwhile(
    race: Race, tmp_path: Path, change: str, number: int
) -> None:
    """Objects that a backup may still copy stay, though they are replaced and due. They go after the backup."""
    held = race.held
    expected = held.expected()

    def happens() -> None:
        before = keys_in(race.store.inner)
        if change == "erase":
            done = forget_user(race.other, held.trackpoint)
            assert not done.wiped
            assert "backup" in str(done.not_wiped)
        else:
            CHANGES[change](race)
        assert before <= keys_in(race.store.inner)

    race.store.on("read", number, happens)
    backup(held.database, tmp_path / "copy.db", 1)
    got, database = restored(race, tmp_path / "copy.db")
    database.close()
    assert got == expected
    if change == "erase":
        assert forget_user(held.database, held.trackpoint).wiped
        held.lines = race.without_user()
    race.collect()
    assert keys_in(race.store.inner) == held.keys_named()
    race.check()


def test_a_backup_may_begin_while_objects_are_being_deleted(race: Race, tmp_path: Path) -> None:
    """A deletion that began before the backup goes on. It concerns nothing that the backup names."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    held.compact(FEW)
    race.store.on("delete", 0, lambda: backup(race.other, tmp_path / "copy.db", 1))
    held.collect()
    got, database = restored(race, tmp_path / "copy.db")
    database.close()
    assert got == held.expected()
    race.check()


def test_a_pin_holds_until_it_ends(race: Race) -> None:
    """While a pin is valid, nothing is deleted. One that has expired, or lasts longer than any, holds nothing."""
    held = race.held
    held.put(sorted(held.lines, key=date_of)[::4])
    held.compact(FEW)
    there = keys_in(race.store.inner)
    now = held.database.dialect.now_ms() + 2 * DAY_MS
    for expires, holds in ((now, True), (now + PINNED_MAX_MS, True), (now - 1, False), (now + DAY_MS * 400, False)):
        held.database.write(partial(pin, name="a", expires_ms=expires))
        if holds:
            assert "backup" in str(collect(held.database, now))
            assert keys_in(race.store.inner) == there
            with held.database.read() as connection:
                assert count_objects(connection, State.DEAD)[0] > 0
    assert collect(held.database, now) is None
    assert keys_in(race.store.inner) == held.keys_named()
    held.database.write(partial(unpin, name="a"))
    race.check()

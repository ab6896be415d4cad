"""Backups of packs, whatever happens to the packs meanwhile."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import Database
from smsevents.catalog.attachment import adopt
from smsevents.catalog.objects import State, count_objects, pin, unpin
from smsevents.errors import InvalidRequest
from smsevents.segments.splice import unpack
from smsevents.upkeep import backup as backups
from smsevents.upkeep.backup import UNFINISHED, backup
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


class Killed(BaseException):
    """A kill, as far as the process can tell: nothing is cleaned up."""


STEPS = ["copied", "named", "synced", "about to finish"]


def killed_at(step: str, race: Race, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a backup that is killed at a step, from copying the packs to naming the database."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(backups.shutil, "rmtree", lambda *_, **__: None)  # type: ignore[attr-defined]
        if step == "copied":
            patch.setattr(race.store.inner, "read", kill)
        elif step == "named":
            rename = Path.rename

            def rename_and_kill(path: Path, to: Path) -> None:
                rename(path, to)
                raise Killed

            patch.setattr(Path, "rename", rename_and_kill)
        elif step == "synced":
            patch.setattr(backups, "_name", kill)
            patch.setattr(backups, "_finished", lambda _: nullcontext())
        else:
            patch.setattr(Path, "unlink", kill)
        with pytest.raises(Killed):
            backup(race.held.database, target, 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_backup_after_a_killed_one_is_complete(
    race: Race, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a killed backup left under its names, the next one to the same target is complete and leaves nothing."""
    folder = tmp_path / "backups"
    folder.mkdir()
    target = folder / "copy.db"
    killed_at(step, race, target, monkeypatch)
    assert len(list(folder.iterdir())) > 0
    backup(race.held.database, target, 1)
    assert sorted(path.name for path in folder.iterdir()) == ["copy.db", "copy.db.packs"]
    assert not (packs_beside(target) / UNFINISHED).exists()
    got, database = restored(race, target)
    database.close()
    assert got == race.held.expected()


@pytest.mark.parametrize("kind", ["a folder", "a complete backup", "a link to an unfinished one"])
def test_packs_that_are_not_those_of_a_killed_backup_stay(race: Race, tmp_path: Path, kind: str) -> None:
    """A folder that stands beside the target is refused and stays as it is, unless a killed backup left it there."""
    target = tmp_path / "copy.db"
    packs = packs_beside(target)
    if kind == "a complete backup":
        backup(race.held.database, target, 1)
        target.rename(tmp_path / "moved.db")
    elif kind == "a folder":
        packs.mkdir()
        (packs / "letter.txt").write_text("precious")
    else:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / UNFINISHED).touch()
        packs.symlink_to(tmp_path / "other")
    before = sorted(packs.rglob("*"))
    with pytest.raises(InvalidRequest, match="is there already"):
        backup(race.held.database, target, 1)
    assert sorted(packs.rglob("*")) == before
    assert not target.exists()


def test_packs_go_if_the_database_does_not_get_its_name(
    race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a file appears under the name of the target, it stays, and no packs are left beside it."""
    target = tmp_path / "copy.db"
    link = os.link

    def late(part: Path, to: Path) -> None:
        to.write_bytes(b"precious")
        link(part, to)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(InvalidRequest, match="is there already"):
        backup(race.held.database, target, 1)
    assert target.read_bytes() == b"precious"
    assert not packs_beside(target).exists()


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

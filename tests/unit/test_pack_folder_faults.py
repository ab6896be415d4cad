"""A folder of packs whose disk is mounted again, that has files which cannot be deleted, or links within it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.attachment import attach
from smsevents.catalog.markers import MARKER_KEY
from smsevents.catalog.objects import State, count_objects
from smsevents.errors import StoreUnavailable
from smsevents.storage.files import FileStore
from smsevents.upkeep import collecting
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.wiping import wipe
from tests.support.lines import date_of
from tests.support.logs import FEW_LINES, Held, filled

if TYPE_CHECKING:
    from pathlib import Path

KEY = "7/20260101/0199.pack"
OTHER = "7/20260101/0200.pack"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder."""
    made = tmp_path / "packs"
    made.mkdir()
    return made


@pytest.fixture
def held(url: str, folder: Path) -> Held:
    """Return a log with packs in the folder, which is opened by its URL whenever it is opened."""
    made = Held(url)
    attach(made.database, folder.as_uri())
    filled(made)
    return made


def mounted_again(folder: Path, away: Path) -> None:
    """Put the same files there on another device or under another inode, as after a disk was mounted again."""
    shutil.copytree(away, folder)


@pytest.mark.parametrize("reads_meanwhile", [True, False])
def test_a_folder_that_was_mounted_again_is_used_again(
    held: Held, folder: Path, tmp_path: Path, *, reads_meanwhile: bool
) -> None:
    """While the disk is away, exports and packing are refused; once it is back, both go on without a restart."""
    away = folder.rename(tmp_path / "away")
    if reads_meanwhile:
        for use in (held.exported, held.collect):
            with pytest.raises(StoreUnavailable, match="cannot be used"):
                use()
        folder.mkdir()  # where the disk is mounted
        for use in (held.exported, held.collect):
            with pytest.raises(StoreUnavailable, match=MARKER_KEY):
                use()
        assert list(folder.iterdir()) == []
        folder.rmdir()
    mounted_again(folder, away)
    assert held.exported() == held.expected()
    held.put([one.replace(b"DELIVERED", b"EXPIRED") for one in sorted(held.lines, key=date_of)[:200]])
    assert held.compact(FEW_LINES).whole
    assert held.collect() is None
    assert held.exported() == held.expected()
    assert held.damages() == []


def test_a_disk_of_another_database_is_refused_while_running(held: Held, folder: Path, tmp_path: Path) -> None:
    """If the packs of another database are mounted there meanwhile, they are neither read nor changed."""
    folder.rename(tmp_path / "away")
    folder.mkdir()
    (folder / MARKER_KEY).write_text('{"identity": "1", "database": "/srv/other.db"}')
    for use in (held.exported, held.collect):
        with pytest.raises(StoreUnavailable, match="belongs to the database"):
            use()
    assert [path.name for path in folder.iterdir()] == [MARKER_KEY]


def test_packs_that_cannot_be_deleted_are_counted_named_and_tried_again(
    held: Held, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked files keep an erasure from being `wiped` until they are unlocked. All others are deleted meanwhile."""
    monkeypatch.setattr(collecting, "OBJECTS_IN_STATEMENT_MAX", 1)
    users = sorted({one.split(b'"userId":"')[1].split(b'"')[0].decode() for one in held.lines})[:40]
    packs = {path.relative_to(folder).as_posix() for path in folder.rglob("*.pack")}
    locked = set(sorted(packs)[:5])
    unlink = os.unlink

    def refusing(path: str | Path, *rest: object, **options: object) -> None:
        if any(str(path).endswith(key) for key in locked):
            raise PermissionError(1, "Operation not permitted")
        unlink(path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", refusing)
    done = forget(held.database, held.trackpoint, users, held.now, block=False)
    left = locked - held.keys_named()
    assert not done.wiped
    assert len(left) > 3
    assert f"{len(left)} of the old packs could not be deleted" in str(done.not_wiped)
    assert sum(key in str(done.not_wiped) for key in left) == 3
    assert packs_in(folder) == left | held.keys_named()
    with held.database.read() as connection:
        assert count_objects(connection, State.DEAD)[0] == len(left)
    assert f"{len(left)} of the old packs" in str(wipe(held.database, held.database.dialect.now_ms()))
    locked.clear()
    assert wipe(held.database, held.database.dialect.now_ms()) is None
    assert packs_in(folder) == held.keys_named()


def packs_in(folder: Path) -> set[str]:
    """Return the keys of the packs in a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.pack")}


@pytest.mark.parametrize("link", ["7", "7/20260101"])
def test_nothing_is_written_or_deleted_through_a_link_in_the_folder(folder: Path, tmp_path: Path, link: str) -> None:
    """A link within the folder may lead anywhere: puts name it, deletions are not confirmed, and nothing changes."""
    outside = tmp_path / "outside"
    store = FileStore(folder)
    store.put(OTHER, [b"other"])
    (folder / link).rename(outside)
    (folder / link).symlink_to(outside)
    before = set(outside.rglob("*"))
    for key in {KEY, f"{link}/20260102/0199.pack"}:
        with pytest.raises(StoreUnavailable, match=f"{folder / link} .* is a link"):
            store.put(key, [b"abc"])
    assert list(store.delete([OTHER])) == []
    assert set(outside.rglob("*")) == before
    assert [path.read_bytes() for path in before if path.is_file()] == [b"other"]
    assert [one.key for one in store.objects()] == []

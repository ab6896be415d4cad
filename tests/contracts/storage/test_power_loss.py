"""Power losses over files: at each call of a put or a delete, with any loss of what was not synced."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from smsevents.errors import StoreUnavailable
from smsevents.storage.files import PART, FileStore
from tests.support.power import Recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.power import Tree

DATA = {key: os.urandom(200) for key in ("7/20260101/a.pack", "7/20260101/b.pack", "7/20260102/c.pack", "8/20260101/d")}
KEY = next(iter(DATA))


def put(store: FileStore, key: str) -> None:
    """Put an object in two parts."""
    store.put(key, [DATA[key][:120], DATA[key][120:]])


def objects_in(tree: Tree) -> set[str]:
    """Return the keys of the objects on a disk. Each must be complete."""
    keys = {name for name in tree if not name.endswith(PART)}
    for key in keys:
        assert tree[key] == DATA[key]
    return keys


def check(recorded: Recorded, seed: int = 0) -> int:
    """Check every disk that a power loss may leave, at each call, against the marks. Return how many there were.

    What was put must be there from when the put returned until its deletion begins; and what was deleted must be gone
    once the deletion returned. Between that, an object is there or not, but never a part of it under its name.
    """
    chance = random.Random(seed)  # noqa: S311 -- no secret
    there: set[str] = set()
    perhaps: set[str] = set()
    checked = 0
    for until in range(len(recorded.calls) + 1):
        for tree in recorded.trees(until, chance):
            found = objects_in(tree)
            assert there <= found <= there | perhaps
            checked += 1
        if until < len(recorded.calls) and (mark := recorded.calls[until].mark):
            what, key = mark
            there.discard(key)
            perhaps.discard(key)
            if what in {"putting", "deleting"}:
                perhaps.add(key)
            elif what == "put":
                there.add(key)
    return checked


def put_marked(recorded: Recorded, store: FileStore, key: str) -> None:
    """Put an object between marks."""
    recorded.mark("putting", key)
    put(store, key)
    recorded.mark("put", key)


def delete_marked(recorded: Recorded, store: FileStore, key: str) -> None:
    """Delete an object between marks."""
    recorded.mark("deleting", key)
    assert list(store.delete([key])) == [key]
    recorded.mark("deleted", key)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder."""
    made = tmp_path / "packs"
    made.mkdir()
    return made


def test_a_put_that_returned_survives_a_power_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a put, the object is complete on every disk; before, it is not there, or complete."""
    recorded = Recorded(folder)
    with recorded.recording(monkeypatch):
        put_marked(recorded, FileStore(folder), KEY)
    assert sum(call.syncs for call in recorded.calls) == 4  # the file, its folder, the one of the shop, the store
    assert check(recorded) > 90


def test_a_folder_that_another_process_made_is_synced_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put makes the folders above it durable, even if another process created them and was killed then."""
    for made in (["7"], ["7", "7/20260101"]):
        recorded = Recorded(folder)
        with recorded.recording(monkeypatch):
            for name in made:
                os.mkdir(folder / name)  # noqa: PTH102 -- as it is recorded
            put_marked(recorded, FileStore(folder), KEY)
        assert check(recorded) > 50
        FileStore(folder).delete([KEY])


def test_a_deletion_that_was_confirmed_survives_a_power_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a confirmed deletion, the object is on no disk; before, it is complete or gone."""
    recorded = Recorded(folder)
    with recorded.recording(monkeypatch):
        store = FileStore(folder)
        for key in DATA:
            put_marked(recorded, store, key)
        for key in DATA:
            delete_marked(recorded, store, key)
    assert list(folder.iterdir()) == []
    assert check(recorded) > 300


def test_a_deletion_is_durable_though_another_process_removes_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another process removes the folder before this one synced it, the object stays gone all the same."""
    recorded = Recorded(folder)
    with recorded.recording(monkeypatch):
        store = FileStore(folder)
        put_marked(recorded, store, KEY)
        recorded.mark("deleting", KEY)
        unlink = os.unlink

        def removing(path: object) -> None:
            unlink(path)  # type: ignore[arg-type]
            if str(path).endswith("a.pack"):
                os.rmdir(folder / "7/20260101")  # noqa: PTH106 -- as it is recorded
                os.rmdir(folder / "7")  # noqa: PTH106

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", removing)
            assert list(store.delete([KEY])) == [KEY]
        recorded.mark("deleted", KEY)
    assert check(recorded) > 50


@pytest.mark.parametrize("step", range(12))
def test_a_put_that_failed_leaves_no_part_under_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A put that fails at any step leaves the complete object or none, on every disk."""
    recorded = Recorded(folder)
    with recorded.recording(monkeypatch):
        store = FileStore(folder)
        steps = 0

        def failing(name: str) -> object:
            real = getattr(os, name)

            def call(*arguments: object, **options: object) -> object:
                nonlocal steps
                steps += 1
                if steps == step + 1:
                    raise OSError(5, "Input/output error")
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("mkdir", "write", "fsync", "rename", "close"):
                patch.setattr(os, name, failing(name))
            recorded.mark("putting", KEY)
            with suppress(StoreUnavailable):
                put(store, KEY)
                recorded.mark("put", KEY)
    check(recorded)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_puts_and_deletes_survives_a_power_loss(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever was put and deleted before, every disk has what was acknowledged."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    recorded = Recorded(folder)
    there: set[str] = set()
    with recorded.recording(monkeypatch):
        store = FileStore(folder)
        for _ in range(12):
            key = chance.choice(sorted(DATA))
            if key in there:
                delete_marked(recorded, store, key)
                there.remove(key)
            else:
                put_marked(recorded, store, key)
                there.add(key)
    assert objects_in({one.key: DATA[one.key] for one in store.objects()}) == there
    assert check(recorded, seed) > 500

"""Power losses over the database and the files of packs together.

A commit of the database is durable when it returns, which other tests show. So after a power loss, the database is as
it was after one of its commits, and the folder has any part of what was not synced until then.
"""

from __future__ import annotations

import random
import shutil
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import Database
from smsevents.catalog.markers import MARKER_KEY
from smsevents.storage.files import FileStore
from smsevents.upkeep import erasure
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.packing import write_stored
from tests.support import kills
from tests.support.databases import query
from tests.support.erasures import USER
from tests.support.kills import FEW
from tests.support.lines import DAY_MS, date_of, line, random_lines
from tests.support.logs import Held, keys_in, log_at, open_with
from tests.support.power import Recorded, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.support.power import Tree

CHECKED_COMPLETELY_EVERY = 40  # opening, exporting and verifying a log takes longer than comparing objects


class Recording(Database):
    """A database that keeps a copy of itself after each commit, and marks it among the calls on the folder."""

    def __init__(self, url: str, recorded: Recorded, copies: Path) -> None:
        """Open a database."""
        super().__init__(url, create=False)
        self._recorded = recorded
        self._copies = copies
        self.commits = 0

    def copy(self) -> None:
        """Keep a copy of the database as it is now."""
        path = self._copies / f"{self.commits}.db"
        path.touch()
        self.dialect.copy_to(path, lambda _: None)

    @contextmanager
    def exclusive(self, *, beside: bool = False) -> Iterator[Connection]:
        """Write, and keep a copy of the outcome."""
        with super().exclusive(beside=beside) as connection:
            yield connection
            self._recorded.mark("committing")
        self.commits += 1
        self.copy()
        self._recorded.mark("committed")


def named_by(copy: Path) -> dict[str, int]:
    """Return the objects that a copy of the database names, with their sizes."""
    return dict(query(copy, "SELECT objects.key, objects.bytes FROM objects JOIN packs ON packs.key = objects.key"))


def check_completely(held: Held, copy: Path, tree: Tree, folder: Path) -> None:
    """Open what a power loss left, as the next process would, and check it before and after a collection."""
    shutil.rmtree(folder)
    folder.mkdir()
    write_tree(tree, folder)
    for path in folder.parent.glob("log.db*"):
        path.unlink()
    shutil.copy(copy, held.path)
    held.database = open_with(held.url, FileStore(folder))
    held.log = log_at(held.database, lambda: held.now)
    left = held.exported().splitlines()
    without_user = {one for one in held.lines if USER.encode() not in one}
    assert without_user <= set(left) <= held.lines
    assert left == sorted(set(left), key=lambda one: (date_of(one), one))
    assert held.damages() == []
    collect(held.database, held.database.dialect.now_ms() + 10 * DAY_MS)
    assert held.exported().splitlines() == left
    assert keys_in(FileStore(folder)) == held.keys_named()
    held.database.close()


@pytest.mark.slow
@pytest.mark.parametrize("action", ["pack", "compact", "collect_all", "unpack", "forget"])
def test_what_the_catalog_names_survives_a_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Whenever the power fails, each object that the durable catalog names is complete on every possible disk.

    And whatever else is on the disk is deleted by a collection.
    """
    monkeypatch.setattr(erasure, "write_stored", partial(write_stored, sizes=FEW.packs))
    folder, copies = tmp_path / "packs", tmp_path / "copies"
    folder.mkdir()
    copies.mkdir()
    recorded = Recorded(folder)
    with recorded.recording(monkeypatch):
        held = Held(f"sqlite:///{tmp_path / 'log.db'}", FileStore(folder))
        chance = random.Random(5)  # noqa: S311 -- invented data
        held.put(random_lines(chance, held.trackpoint, 40, held.now - 15 * DAY_MS, held.now - 3 * DAY_MS))
        held.put([line(held.trackpoint, held.now - day * DAY_MS, USER) for day in (4, 10)])
        held.compact(FEW)
        if action != "pack":
            held.pack(FEW)
            held.put(sorted(held.lines, key=date_of)[::6])
        if action == "collect_all":
            held.compact(FEW)
        began = len(recorded.calls)
        database = Recording(held.url, recorded, copies)
        database.copy()
        kills.ACTIONS[action](database, folder, held.now)
        database.close()
        held.database.close()
    assert len(recorded.calls) > began + 5

    durable = 0
    checked = 0
    for until in range(began, len(recorded.calls) + 1):
        mark = recorded.calls[until - 1].mark if until > began else ()
        if mark == ("committed",):
            durable += 1
        for commit in {durable, durable + 1} if mark == ("committing",) else {durable}:
            copy = copies / f"{commit}.db"
            named = named_by(copy)
            for tree in recorded.trees(until, chance):
                assert MARKER_KEY in tree
                for key, size in named.items():
                    assert len(tree.get(key, b"")) == size, f"{key} at {until}"
                if checked % CHECKED_COMPLETELY_EVERY == 0:
                    check_completely(held, copy, tree, folder)
                checked += 1
    assert durable >= 1
    assert checked > 50

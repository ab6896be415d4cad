"""Kills (SIGKILL) at every step of what is done with packs: nothing is lost, duplicated or left over."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.markers import MARKER_KEY, is_pack
from smsevents.errors import DamagedSegment
from smsevents.storage.files import FileStore
from smsevents.upkeep.collecting import collect
from smsevents.wire.limits import HISTORY_MS
from tests.support.databases import query
from tests.support.erasures import USER, pending
from tests.support.kills import ACTIONS, FEW, killed_at
from tests.support.lines import DAY_MS, line, random_lines
from tests.support.logs import Held, keys_in, log_at, open_with

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 14
AGAIN_EVERY = 3  # steps
STEPS_MIN = {
    "attach_and_pack": 60,
    "compact": 40,
    "collect_all": 10,
    "unpack": 30,
    "forget": 40,
    "retire": 15,
    "rescue": 10,
}


class Scene:
    """A log in a folder that can be put back to how it was before an action."""

    def __init__(self, folder: Path, action: str) -> None:
        """Prepare a log for an action."""
        self.action = action
        self.packs = folder / "packs"
        self.packs.mkdir()
        self._before = folder / "before"
        store = None if action == "attach_and_pack" else FileStore(self.packs)
        self.held = Held(f"sqlite:///{folder / 'log.db'}", store)
        self._prepare()
        self.held.database.close()
        shutil.copytree(self.packs, self._before)
        shutil.copy(self.held.path, folder / "log.before")

    def _prepare(self) -> None:
        held = self.held
        chance = random.Random(5)  # noqa: S311 -- invented data
        held.put(random_lines(chance, held.trackpoint, 60, held.now - (DAYS + 3) * DAY_MS, held.now - 3 * DAY_MS))
        if self.action == "forget":
            held.put([line(held.trackpoint, held.now - day * DAY_MS, USER) for day in (4, 10, 11)])
        held.compact(FEW)
        if self.action in {"attach_and_pack", "pack"}:
            return
        held.pack(FEW)
        assert len(held.packs()) > 2
        if self.action in {"compact", "collect_all", "forget"}:
            held.put(random_lines(chance, held.trackpoint, 4, held.now - DAYS * DAY_MS, held.now - 5 * DAY_MS))
        if self.action in {"collect_all", "forget"}:
            held.compact(FEW)  # leaves objects of packs that were replaced
        if self.action == "retire":
            held.now += HISTORY_MS - (DAYS // 2) * DAY_MS
        if self.action == "rescue":
            damaged = held.packs()[1]
            path = self.packs / damaged.place.key
            data = bytearray(path.read_bytes())
            data[5] ^= 1
            path.write_bytes(data)

    def put_back(self) -> None:
        """Put everything back to how it was before the action."""
        for path in self.packs.parent.glob("log.db*"):
            path.unlink()
        shutil.copy(self.packs.parent / "log.before", self.held.path)
        for path in self.packs.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self._before, self.packs, dirs_exist_ok=True)

    def open(self) -> Held:
        """Open the log again, as the next process would."""
        self.held.database = open_with(self.held.url, FileStore(self.packs))
        self.held.log = log_at(self.held.database, lambda: self.held.now)
        return self.held


def check_nothing_is_lost(held: Held, action: str) -> None:
    """Check that the log has exactly the events that it must have, and that nothing is damaged."""
    if action == "forget":  # of the user's events, any may be gone
        left = set(held.exported().splitlines())
        assert len(left) == held.exported().count(b"\n")
        theirs = {one for one in held.lines if USER.encode() in one}
        assert held.lines - theirs <= left <= held.lines
    elif action == "rescue":
        try:
            left = set(held.exported().splitlines())
        except DamagedSegment:
            return  # it is not quarantined yet
        assert left < held.lines
        assert len(left) >= len(held.lines) - 15
    else:
        assert held.exported() == held.expected()
    assert held.damages() == []


def check_nothing_is_left_over(held: Held, folder: Path) -> None:
    """Check that the folder has exactly the objects that the catalog names, and each has one live row.

    Records of erasures stay, and so does their folder.
    """
    store = FileStore(folder)
    assert keys_in(store) == held.keys_named()
    assert query(held.path, "SELECT key, state FROM objects ORDER BY key") == [
        (key, "live") for key in sorted(held.keys_named())
    ]
    paths = [path for path in folder.rglob("*") if is_pack(f"{path.relative_to(folder).as_posix()}/")]
    files = {path.relative_to(folder).as_posix() for path in paths if not path.is_dir()}
    assert files == held.keys_named() | {MARKER_KEY}
    assert all(any(path.iterdir()) for path in paths if path.is_dir())


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("action", sorted(ACTIONS.keys() - {"pack"}))  # it is the second half of another one
def test_a_kill_at_any_step_loses_nothing(tmp_path: Path, action: str, every: int) -> None:
    """Wherever a process is killed, the log is complete at once, and nothing is left over after a collection."""
    scene = Scene(tmp_path, action)
    killed: list[str] = []
    while (step := killed_at(scene.held, scene.packs, action, len(killed) * every)) is not None:
        killed.append(step)
        held = scene.open()
        check_nothing_is_lost(held, action)
        lasting = 8 * DAY_MS if action == "rescue" else 2 * DAY_MS
        assert collect(held.database, held.database.dialect.now_ms() + lasting) is None
        check_nothing_is_lost(held, action)
        check_nothing_is_left_over(held, scene.packs)
        held.database.close()
        scene.put_back()
    assert len(killed) >= STEPS_MIN[action] // every, killed
    assert every > 1 or any(name.startswith("after the commit") for name in killed)


@pytest.mark.campaign
@pytest.mark.parametrize("action", ["attach_and_pack", "compact", "unpack", "forget"])
def test_what_was_killed_can_be_done_again(tmp_path: Path, action: str) -> None:
    """After a kill at a step, the next process does the work to the end, and at once, without a later collection."""
    scene = Scene(tmp_path, action)
    number = 0
    while killed_at(scene.held, scene.packs, action, number) is not None:
        assert killed_at(scene.held, scene.packs, action, 10_000) is None
        held = scene.open()
        if action == "forget":
            assert pending(held) == set()
            lines = held.lines
            held.lines = {one for one in lines if USER.encode() not in one}
            check_nothing_is_lost(held, "")
            check_nothing_is_left_over(held, scene.packs)
            held.lines = lines
        else:
            check_nothing_is_lost(held, action)
        if action == "unpack":
            assert held.packs() == []
        held.database.close()
        scene.put_back()
        number += AGAIN_EVERY
    assert number >= STEPS_MIN[action]

"""Erasure, step by step: what is found, what is pending after a kill at any step, and that it ends."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.dialects.sqlite import files
from smsevents.errors import UnknownShop
from smsevents.upkeep import erasure
from smsevents.upkeep.erasure import erase, forget
from smsevents.upkeep.groups import Sizes
from smsevents.upkeep.quarantining import quarantine
from smsevents.upkeep.verification import verify
from smsevents.upkeep.wiping import wipe
from smsevents.worker.worker import UpkeepWorker
from tests.support.databases import query
from tests.support.erasures import SMALL, USER, Beside, files_of, fill, pending
from tests.support.lines import HOUR_MS, line
from tests.support.logs import Held


class Killed(BaseException):
    """The process was killed: nothing catches this."""


@pytest.mark.slow
@pytest.mark.parametrize("wipes_between", [False, True], ids=["alone", "beside an upkeep worker that wipes"])
def test_a_kill_at_any_step_leaves_the_wipe_owed(url: str, *, wipes_between: bool) -> None:
    """Wherever an erasure is killed, whatever it has erased by then is wiped by the next upkeep worker."""
    step = 0
    killed = True
    while killed:
        held = Held(f"{url}-{step}")
        theirs = fill(held, 5)
        killed = killed_at(held, step, wipes_between=wipes_between)
        assert round_of_a_worker(held)
        left = {one for one in theirs if one in set(held.exported().splitlines())}
        held.lines -= theirs - left
        assert held.exported() == held.expected()
        assert pending(held) == set()
        if not left:
            assert files_of(held.path).count(USER.encode()) == 0
        assert forget(held.database, held.trackpoint, [USER], held.now, block=False).wiped
        assert files_of(held.path).count(USER.encode()) == 0
        held.database.close()
        step += 1
    assert step > 10


def round_of_a_worker(held: Held) -> bool:
    """Have an upkeep worker that was just started do a round."""
    return UpkeepWorker(held.database, lambda: held.now).round()


def killed_at(held: Held, step: int, *, wipes_between: bool) -> bool:
    """Erase the user and be killed at a step. Return whether there was such a step."""
    steps = 0

    def happens() -> None:
        nonlocal steps
        if steps == step:
            raise Killed
        steps += 1
        if wipes_between:
            wipe(held.database, held.now)

    database = Beside(held.url, happens)
    try:
        erase(database, held.trackpoint, [USER], held.now, block=False)
    except Killed:
        return True
    finally:
        database.close()
    return False


def test_what_is_rewritten_is_owed_at_once(held: Held) -> None:
    """A wipe is pending from the transaction that rewrites a segment, even if an upkeep worker has just wiped."""
    fill(held, 6)
    seen: list[tuple[int, set[str]]] = []

    def happens() -> None:
        gone = 6 - query(held.path, "SELECT count(*) FROM segments WHERE id <= 6")[0][0]
        seen.append((gone, pending(held)))
        assert wipe(held.database, held.now) is None

    database = Beside(held.url, happens)
    erase(database, held.trackpoint, [USER], held.now, block=False)
    database.close()

    before = 0
    for gone, chores in seen:
        assert chores == ({"vacuum"} if gone > before else set())
        before = gone
    assert before == 6


def test_an_erasure_ends_beside_imports_and_compactions_at_every_step(held: Held) -> None:
    """However fast others import and compact, an erasure examines only what was there when it began."""
    theirs = fill(held, 12)
    held.compact(SMALL)
    there = len(held.headers())
    chance = random.Random(3)  # noqa: S311 -- invented data
    steps = 0

    def happens() -> None:
        nonlocal steps
        steps += 1
        assert steps < 20 * there
        held.put([line(held.trackpoint, held.now - chance.randrange(HOUR_MS), f"new-{steps}-{n}") for n in range(3)])
        held.compact(SMALL)

    database = Beside(held.url, happens)
    done = erase(database, held.trackpoint, [USER], held.now, block=False)
    database.close()

    held.lines -= theirs
    assert done.events == len(theirs)
    assert held.exported() == held.expected()
    assert not held.compact(SMALL).gave_way
    assert held.exported() == held.expected()


WORK = st.sampled_from(["import", "compact", "flatten", "wipe", "expire", "other erasure", "quarantine"])


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(work=st.lists(WORK, max_size=40), seed=st.integers(0, 1000), compacted=st.booleans())
def test_whatever_runs_beside_it_exactly_the_user_is_erased(
    tmp_path_factory: pytest.TempPathFactory, work: list[str], seed: int, *, compacted: bool
) -> None:
    """In any order of steps, all events of the user that were there are erased and counted once, and no others."""
    held = Held(f"sqlite:///{tmp_path_factory.mktemp('erased') / 'log.db'}")
    theirs = fill(held, 6, seed)
    if compacted:
        held.compact(SMALL)
    chance = random.Random(seed)  # noqa: S311 -- invented data
    left = list(work)

    def happens() -> None:
        if left:
            do(held, left.pop(), chance)

    database = Beside(held.url, happens)
    done = erase(database, held.trackpoint, [USER], held.now, block=False)
    database.close()

    held.lines -= theirs
    assert done.events == len(theirs)
    assert held.exported() == held.expected()
    assert wipe(held.database, held.now) is None
    assert files_of(held.path).count(USER.encode()) == 0
    assert held.damages() == []
    held.database.close()


def do(held: Held, work: str, chance: random.Random) -> None:
    """Do something beside an erasure."""
    if work == "import":
        held.put([line(held.trackpoint, held.now - chance.randrange(HOUR_MS), f"new-{n}") for n in range(3)])
    elif work in {"compact", "flatten"}:
        held.compact(SMALL if work == "compact" else Sizes(500, 2500))
    elif work == "wipe":
        wipe(held.database, held.now)
    elif work == "expire":
        UpkeepWorker(held.database, lambda: held.now).round()
    elif work == "quarantine":
        for one in verify(held.database, None):
            assert one.damage is None
    else:
        third = {one for one in held.lines if b'"third"' in one}
        with pytest.MonkeyPatch.context() as patch, suppress(Busy):
            patch.setattr(erasure, "ERASURE_PATIENCE_SECONDS", 0)
            erase(held.database, held.trackpoint, ["third"], held.now, block=False)
            held.lines -= third


@pytest.mark.parametrize("user", ["nobody", "erase-m"])
def test_an_erasure_of_nobody_owes_nothing(held: Held, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that removes nothing rewrites no file, even with `block`, and counts as wiped."""
    fill(held, 4)
    vacuumed: list[object] = []
    monkeypatch.setattr(files, "vacuum", vacuumed.append)
    before = [one.id for one in held.headers()]

    for block in (False, True):
        done = forget(held.database, held.trackpoint, [user], held.now, block=block)
        assert (done.events, done.segments, done.wiped) == (0, 0, True)

    assert vacuumed == []
    assert pending(held) == set()
    assert [one.id for one in held.headers()] == before
    assert query(held.path, "SELECT count(*) FROM blocked_users") == [(1,)]


def test_an_unknown_shop_is_told(held: Held) -> None:
    """An erasure from a shop that does not exist raises `UnknownShop` and leaves no pending wipe."""
    with pytest.raises(UnknownShop):
        erase(held.database, 12, [USER], held.now, block=True)
    assert pending(held) == set()


def test_segments_that_are_set_aside_meanwhile_are_counted(held: Held) -> None:
    """A damaged segment quarantined during an erasure is reported, because it was not searched."""
    fill(held, 3)
    query(held.path, "UPDATE segments SET data = x'00' WHERE id = 3")
    damaged = next(one for one in verify(held.database, None) if one.damage)
    waiting = [damaged]

    def happens() -> None:
        if waiting:
            quarantine(held.database, waiting.pop(), held.now)

    database = Beside(held.url, happens)
    assert erase(database, held.trackpoint, [USER], held.now, block=False).quarantined == 1
    database.close()

"""Erasures, compactions and steps of one shop exclude each other, and none of them waits forever."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.accounts.access import Access
from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.dialects.sqlite.locks import shop_alone, shop_step
from smsevents.upkeep import erasure
from smsevents.upkeep.compaction import compact_group
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.groups import groups
from smsevents.worker.worker import UpkeepWorker
from tests.support.erasures import SMALL, USER, Beside, fill, pending

if TYPE_CHECKING:
    from tests.support.logs import Held


def test_a_compaction_gives_way_and_says_so(held: Held) -> None:
    """While somebody is alone with a shop its compaction changes nothing and tells so; that of others goes on."""
    fill(held, 12)
    other = Access(held.database).add_shop(77, "").trackpoint
    before = [one.id for one in held.headers()]

    with shop_alone(held.path, held.trackpoint, 0):
        done = held.compact(SMALL)
        with shop_step(held.path, other), shop_step(held.path, other):
            pass
        with pytest.raises(Busy), shop_step(held.path, held.trackpoint):
            pass

    assert done.gave_way
    assert [one.id for one in held.headers()] == before
    assert held.compact(SMALL).before > 0


def test_the_worker_comes_back_to_a_shop_that_it_left(held: Held) -> None:
    """A shop that was being erased from during a round is compacted in the next one, though nothing new came in."""
    fill(held, 12)
    worker = UpkeepWorker(held.database, lambda: held.now)
    with shop_alone(held.path, held.trackpoint, 0):
        assert worker.round()
    assert len(held.headers()) == 12

    assert worker.round()
    assert len(held.headers()) < 12


def test_an_erasure_waits_for_the_step_that_runs_and_no_further_one_begins(held: Held) -> None:
    """An erasure that is asked for during a step of a compaction comes next, before another step."""
    fill(held, 3)
    done = threading.Event()
    outcome: list[Any] = []

    def run() -> None:
        outcome.append(erase(held.database, held.trackpoint, [USER], held.now, block=False))
        done.set()

    thread = threading.Thread(target=run)
    with shop_step(held.path, held.trackpoint):
        thread.start()
        while waits_not_yet(held):
            assert not done.wait(0.01)
        assert held.compact(SMALL).gave_way
        assert not done.is_set()
    thread.join(60)
    assert outcome[0].segments == 3


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_compaction_does_not_bring_an_erased_user_back(held: Held, step: int) -> None:
    """An erasure that comes between two steps of a compaction makes it give up; what is erased stays so."""
    theirs = fill(held, 30)
    reached, asked = threading.Event(), threading.Event()
    writes = 0

    def happens() -> None:
        nonlocal writes
        writes += 1
        if writes == 3 * step:  # a read, and before and after a write
            reached.set()
            assert asked.wait(60)

    database = Beside(held.url, happens)
    outcome: list[Any] = []
    (group,) = groups(held.headers(), SMALL)
    compaction = threading.Thread(
        target=lambda: outcome.append(compact_group(database, held.trackpoint, group, held.now, SMALL))
    )
    compaction.start()
    assert reached.wait(60)
    eraser = threading.Thread(
        target=erase, args=(held.database, held.trackpoint, [USER], held.now), kwargs={"block": False}
    )
    eraser.start()
    while waits_not_yet(held):
        pass
    asked.set()
    compaction.join(60)
    eraser.join(60)
    database.close()

    held.lines -= theirs
    assert not outcome[0].whole
    assert outcome[0].gave_way
    assert held.exported() == held.expected()


def waits_not_yet(held: Held) -> bool:
    """Return whether a further step could begin, because no process waits for exclusive access."""
    try:
        with shop_step(held.path, held.trackpoint):
            return True
    except Busy:
        return False


def test_a_second_erasure_of_a_shop_is_refused_in_the_end(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that waits too long for another one in its shop changes nothing and says who is in the way."""
    fill(held, 3)
    monkeypatch.setattr(erasure, "ERASURE_PATIENCE_SECONDS", 0.05)
    with shop_alone(held.path, held.trackpoint, 0), pytest.raises(Busy, match="is erasing from this shop"):
        erase(held.database, held.trackpoint, [USER], held.now, block=False)
    assert held.exported() == held.expected()
    assert pending(held) == set()

"""Erasure, step by step: what is found, what is owed after a kill at any step, and that it ends."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.catalog import Database
from smsevents.catalog.dialects.base import Busy
from smsevents.catalog.dialects.sqlite import dialect, files
from smsevents.catalog.dialects.sqlite.locks import shop_alone, shop_step
from smsevents.errors import UnknownShop
from smsevents.upkeep import erasure
from smsevents.upkeep.compaction import Sizes, compact_group, groups
from smsevents.upkeep.distinct import DIGEST_BYTES, Distinct
from smsevents.upkeep.erasure import erase, forget, seconds_to_wipe, wipe, wiped
from smsevents.upkeep.verification import quarantine, verify
from smsevents.worker.worker import UpkeepWorker
from tests.support.lines import DAY_MS, HOUR_MS, line
from tests.support.logs import Held, query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

T = TypeVar("T")

USER = "erase-me"
SMALL = Sizes(2000, 9000)


class Killed(BaseException):
    """The process was killed: nothing catches this."""


class Beside(Database):
    """A database beside which something happens before each transaction, and after each that writes."""

    def __init__(self, url: str, happens: Callable[[], object]) -> None:
        """Have `happens` called at each step."""
        super().__init__(url)
        self._happens = happens

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read, after whatever happens."""
        self._happens()
        with super().read() as connection:
            yield connection

    def write(self, run: Callable[[Connection], T]) -> T:
        """Write, between whatever happens."""
        self._happens()
        outcome = super().write(run)
        self._happens()
        return outcome


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield an empty shop."""
    made = Held(url)
    yield made
    made.database.close()


def fill(held: Held, imports: int, seed: int = 1) -> set[bytes]:
    """Import overlapping events, about a third of them of the user, some twice. Return the user's."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    theirs: set[bytes] = set()
    for _ in range(imports):
        lines = [
            line(held.trackpoint, held.now - chance.randrange(HOUR_MS), chance.choice([USER, "other", "third"]))
            for _ in range(8)
        ]
        repeated = chance.sample(sorted(held.lines), min(3, len(held.lines)))
        held.put([*lines, *repeated])
        theirs |= {one for one in lines if USER.encode() in one}
    return theirs


def files_of(path: Path) -> bytes:
    """Return all bytes of a database's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def pending(held: Held) -> set[str]:
    """Name the chores that are owed."""
    return {name for (name,) in query(held.path, "SELECT name FROM chores")} - {erasure.PAUSE}


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
    """From the transaction on that rewrites a segment the wipe is owed, also where an upkeep worker has just wiped."""
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
    """However fast others import and compact, an erasure looks at no more than what was there when it began."""
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
    """In any order of steps, all events of the user that were there leave, once counted, and no other one does."""
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
    """An erasure that finds another one in its shop for too long changes nothing and says who is in the way."""
    fill(held, 3)
    monkeypatch.setattr(erasure, "ERASURE_PATIENCE_SECONDS", 0.05)
    with shop_alone(held.path, held.trackpoint, 0), pytest.raises(Busy, match="is erasing from this shop"):
        erase(held.database, held.trackpoint, [USER], held.now, block=False)
    assert held.exported() == held.expected()
    assert pending(held) == set()


@pytest.mark.parametrize("user", ["nobody", "erase-m"])
def test_an_erasure_of_nobody_owes_nothing(held: Held, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was erased no file is written anew, also with `block`, and it counts as wiped."""
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
    """An erasure from a shop that is not there raises `UnknownShop`, and owes nothing."""
    with pytest.raises(UnknownShop):
        erase(held.database, 12, [USER], held.now, block=True)
    assert pending(held) == set()


def test_segments_that_are_set_aside_meanwhile_are_counted(held: Held) -> None:
    """A damaged segment that somebody sets aside while an erasure runs is told of, as nothing was looked for in it."""
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


class Watch:
    """A clock that does not step back, in seconds, which a test sets."""

    def __init__(self) -> None:
        """Stand at zero."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time; a wipe takes ten seconds."""
        self.seconds += 10
        return self.seconds


def test_wipes_of_a_large_file_keep_a_distance(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wipe of a large file that took 10 seconds, what shops ask for is wiped 1,000 seconds later."""
    fill(held, 3)
    monkeypatch.setattr(dialect, "SCRUB_BRIEF_MAX_BYTES", 0)
    now = held.now
    erase(held.database, held.trackpoint, [USER], now, block=False)
    assert wipe(held.database, now, Watch()) is None
    assert seconds_to_wipe(held.database, now) == 0  # nothing is owed

    second = erase(held.database, held.trackpoint, ["other"], now, block=False)
    ended = now + 10_000
    told = wiped(second, held.database, ended + 400_000)
    assert (told.wiped, pending(held)) == (False, {"vacuum"})
    assert told.not_wiped is not None
    assert "600 seconds" in told.not_wiped
    later = ended + 999_000
    worker = UpkeepWorker(held.database, lambda: later)
    assert worker.round()
    assert pending(held) == {"vacuum"}

    later = ended + 1_000_001
    assert worker.round()
    assert pending(held) == set()
    assert files_of(held.path).count(b'"other"') == 0


@pytest.mark.parametrize("off_ms", [-DAY_MS, -10_001, 10 * DAY_MS])
def test_a_wrong_clock_does_not_hold_a_wipe_up(held: Held, monkeypatch: pytest.MonkeyPatch, off_ms: int) -> None:
    """A clock that was set back or is ahead ends the distance between two wipes, rather than make it longer."""
    fill(held, 3)
    monkeypatch.setattr(dialect, "SCRUB_BRIEF_MAX_BYTES", 0)
    erase(held.database, held.trackpoint, [USER], held.now, block=False)
    assert wipe(held.database, held.now, Watch()) is None
    erase(held.database, held.trackpoint, ["other"], held.now, block=False)

    assert seconds_to_wipe(held.database, held.now + 10_000 + off_ms) == 0


def test_what_was_erased_is_told_though_the_database_is_gone(held: Held) -> None:
    """An erasure that is done tells what it did also where the database cannot be read any more for the wipe."""
    fill(held, 3)
    erased = erase(held.database, held.trackpoint, [USER], held.now, block=False)
    held.path.rename(held.path.with_name("moved.db"))
    told = wiped(erased, held.database, held.now)
    held.path.with_name("moved.db").rename(held.path)
    assert (told.events, told.wiped) == (erased.events, False)
    assert told.not_wiped is not None
    assert "moved or replaced" in told.not_wiped
    assert pending(held) == {"vacuum"}


def test_an_operator_wipes_at_once(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """`forget`, as the command does it, waits for no distance between wipes."""
    fill(held, 3)
    monkeypatch.setattr(dialect, "SCRUB_BRIEF_MAX_BYTES", 0)
    for user in (USER, "other"):
        assert forget(held.database, held.trackpoint, [user], held.now, block=False).wiped
    assert pending(held) == set()


def test_erasures_of_several_processes_share_a_wipe(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for another one's wipe, which began after its own erasure, does not write the file anew once more."""
    fill(held, 3)
    erase(held.database, held.trackpoint, [USER], held.now, block=False)
    wipes: list[object] = []
    begun, go_on = threading.Event(), threading.Event()

    vacuum = files.vacuum

    def slow(path: Path) -> None:
        wipes.append(path)
        begun.set()
        assert go_on.wait(60)
        vacuum(path)

    monkeypatch.setattr(files, "vacuum", slow)
    outcomes: list[str | None] = []
    threads = [threading.Thread(target=lambda: outcomes.append(wipe(held.database, held.now))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)

    assert outcomes == [None] * 3
    assert len(wipes) == 1


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    batches=st.lists(st.lists(st.binary(max_size=3), max_size=20), max_size=20),
    held_max=st.integers(1, 12 * DIGEST_BYTES),
)
def test_distinct_lines_are_counted_exactly(batches: list[list[bytes]], held_max: int) -> None:
    """However little may be held, the count is that of a set."""
    with Distinct(held_max) as distinct:
        for batch in batches:
            distinct.add(batch)
        assert distinct.count() == len({one for batch in batches for one in batch})

"""Compaction: a log becomes small and sorted, and exports stay the same, whatever else happens meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import pytest

from smsevents.catalog import Database
from smsevents.catalog.leases import LEASE_SECONDS
from smsevents.clock.system import now_ms
from smsevents.upkeep.compaction import compact_group, compact_shop
from smsevents.upkeep.groups import (
    COMPACTION_SMALL_SEGMENTS_MIN,
    COMPACTION_WORTH_RATIO,
    DEFAULT_SIZES,
    Compacted,
    Sizes,
    groups,
)
from smsevents.upkeep.retention import expire
from smsevents.upkeep.statistics import statistics
from smsevents.wire.limits import HISTORY_MS
from smsevents.worker.worker import UpkeepWorker
from tests.support.lines import DAY_MS, HOUR_MS, line, random_lines
from tests.support.logs import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

T = TypeVar("T")

SMALL = Sizes(segment_bytes=4000, held_max_bytes=16_000)
LINE_BYTES = 400  # no line of these tests is longer


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield an empty shop."""
    made = Held(url)
    yield made
    made.database.close()


def put_in_random_order(held: Held, chance: random.Random, bodies: list[int], days: float = 89) -> None:
    """Import bodies of the given line counts, each spread over the last days."""
    for count in bodies:
        held.put(random_lines(chance, held.trackpoint, count, held.now - int(days * DAY_MS), held.now))


def mark_done(held: Held, chance: random.Random) -> set[int]:
    """Fill the shop with compacted segments of SMALL's size. Return their ids."""
    put_in_random_order(held, chance, [400, 400])
    held.compact(SMALL)
    assert len(held.headers()) > 30
    return {member.id for member in held.headers()}


def assert_compact(held: Held, sizes: Sizes) -> None:
    """Segments are sorted and disjoint, none is larger than wanted, and no two neighbours are small."""
    found = held.headers()
    assert all(one.last < following.first for one, following in pairwise(found))
    assert all(member.line_bytes < sizes.segment_bytes + LINE_BYTES for member in found)
    assert not [one for one, following in pairwise(found) if sizes.is_small(one) and sizes.is_small(following)]


@pytest.mark.slow
def test_a_log_in_random_order_becomes_sorted(held: Held) -> None:
    """Many overlapping imports become disjoint segments of 1 MiB, with the same export, in less space."""
    chance = random.Random(1)  # noqa: S311 -- invented data
    put_in_random_order(held, chance, [2000] * 30 + [1] * 100)
    before = statistics(held.database, held.trackpoint)

    done = held.compact()

    after = statistics(held.database, held.trackpoint)
    assert_compact(held, DEFAULT_SIZES)
    assert done == Compacted(before.segments, after.segments)
    assert before.overlapping > 100
    assert (after.overlapping, after.events, after.line_bytes) == (0, len(held.lines), before.line_bytes)
    assert after.segments < 20
    assert after.stored_bytes < before.stored_bytes
    assert held.exported() == held.expected()
    assert held.damages() == []


@pytest.mark.slow
@pytest.mark.parametrize("segment_bytes", [300, 2000, pytest.param(20_000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("held_max_bytes", [600, 5000, 50_000])
def test_many_steps(held: Held, segment_bytes: int, held_max_bytes: int) -> None:
    """Whatever a step may hold, and be it less than a segment, the log ends up sorted and the same."""
    chance = random.Random(segment_bytes + held_max_bytes)  # noqa: S311 -- invented data
    put_in_random_order(held, chance, [60, 1, 150, 1, 7, 1, 60, 30])
    held.put(list(held.lines)[::3])  # equal events lie in several segments

    held.compact(Sizes(segment_bytes, held_max_bytes))

    found = held.headers()
    assert all(one.last < following.first for one, following in pairwise(found))
    assert sum(member.events for member in found) == len(held.lines)
    assert held.exported() == held.expected()
    assert held.damages() == []


def test_a_second_compaction_does_nothing(held: Held) -> None:
    """A compacted log is left unchanged, row by row."""
    put_in_random_order(held, random.Random(2), [300] * 4 + [1] * 20)  # noqa: S311 -- invented data
    held.compact(SMALL)
    rows = held.headers()

    assert held.compact(SMALL) == Compacted(0, 0)
    assert held.headers() == rows


def test_a_group_leaves_nothing_small_beside_its_neighbour(held: Held) -> None:
    """The rest that a group leaves does not stay beside a small segment that the group did not hold."""
    start = held.now - 10 * DAY_MS
    held.put([line(held.trackpoint, start), line(held.trackpoint, start + 7)])
    held.put([line(held.trackpoint, start + 2 * index) for index in range(1, 23)])  # one segment and some
    held.put([line(held.trackpoint, start + HOUR_MS)])

    held.compact(SMALL)

    assert_compact(held, SMALL)
    assert held.compact(SMALL) == Compacted(0, 0)
    assert held.exported() == held.expected()


def test_few_late_events_leave_large_segments_alone(held: Held) -> None:
    """In the background a few late events are not worth the rewriting of the segments that they lie in."""
    chance = random.Random(3)  # noqa: S311 -- invented data
    settled = mark_done(held, chance)
    put_in_random_order(held, chance, [1] * 3)

    held.compact(SMALL, everything=False)

    assert settled < {member.id for member in held.headers()}
    assert held.exported() == held.expected()


def test_enough_late_events_are_merged(held: Held) -> None:
    """In the background a large segment is rewritten once the late events in it are a quarter of it."""
    chance = random.Random(4)  # noqa: S311 -- invented data
    mark_done(held, chance)
    large = held.headers()[10]
    held.put(random_lines(chance, held.trackpoint, 5, large.first[0] + 1, large.last[0] - 1))

    held.compact(SMALL, everything=False)

    assert large.id not in {member.id for member in held.headers()}
    assert_compact(held, SMALL)
    assert held.exported() == held.expected()


def test_late_events_all_over_the_log_are_merged_only_when_they_are_enough(held: Held) -> None:
    """In the background large segments are rewritten for a quarter of their bytes, and not for less."""
    chance = random.Random(5)  # noqa: S311 -- invented data
    settled = mark_done(held, chance)
    bytes_of = {member.id: member.line_bytes for member in held.headers()}
    late = 0
    while settled <= (ids := {member.id for member in held.headers()}):
        some = random_lines(chance, held.trackpoint, 2, held.now - 89 * DAY_MS, held.now)
        held.put(some)
        late += sum(map(len, some))
        held.compact(SMALL, everything=False)
    rewritten = sum(bytes_of[one] for one in settled - ids)

    assert late * COMPACTION_WORTH_RATIO >= rewritten
    assert held.exported() == held.expected()


def test_the_log_stays_small_in_the_background(held: Held) -> None:
    """Under a stream of tiny, somewhat late imports the background keeps the number of segments near the least."""
    chance = random.Random(6)  # noqa: S311 -- invented data
    mark_done(held, chance)
    for _ in range(10):
        held.now += HOUR_MS
        for _ in range(20):
            held.put(random_lines(chance, held.trackpoint, 2, held.now - 2 * HOUR_MS, held.now))
        held.compact(SMALL, everything=False)

    assert len(held.headers()) < 1.5 * statistics(held.database, held.trackpoint).line_bytes / SMALL.segment_bytes
    assert held.exported() == held.expected()


def test_what_is_older_than_the_history_leaves_when_it_is_rewritten(held: Held) -> None:
    """Compaction leaves out the entries of a straddling segment that are older than the history."""
    put_in_random_order(held, random.Random(7), [100, 100])  # noqa: S311 -- invented data
    held.now += 40 * DAY_MS
    assert held.headers()[0].first[0] < held.now - HISTORY_MS

    held.compact(SMALL)

    assert held.headers()[0].first[0] >= held.now - HISTORY_MS
    assert sum(member.events for member in held.headers()) == held.expected().count(b"\n") < 150
    assert held.exported() == held.expected()


def peak_of_compaction(held: Held, sizes: Sizes, segments: int) -> int:
    """Return the memory, in bytes, that it takes to compact that many overlapping segments."""
    chance = random.Random(segments)  # noqa: S311 -- invented data
    put_in_random_order(held, chance, [sizes.segment_bytes // 260] * segments, days=0.5)
    assert statistics(held.database, held.trackpoint).overlapping >= segments - 1
    tracemalloc.start()
    try:
        held.compact(sizes)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(held: Held) -> None:
    """Compaction holds a few times what a step may hold, and not more for twice as many overlapping segments."""
    sizes = Sizes(segment_bytes=64 * 1024, held_max_bytes=1024 * 1024)

    some = peak_of_compaction(held, sizes, 60)
    more = peak_of_compaction(held, sizes, 120)

    assert some < 4 * sizes.held_max_bytes
    assert more < 1.25 * some
    assert held.exported() == held.expected()


class Interrupted(Database):
    """A database where something else happens right before a write."""

    def __init__(self, url: str, meanwhile: Callable[[], object], skip: int) -> None:
        """Let `meanwhile` happen before one write, once `skip` others are done."""
        super().__init__(url)
        self._meanwhile = meanwhile
        self._skip = skip

    def write(self, run: Callable[[Connection], T]) -> T:
        """Write, after what happens meanwhile."""
        self._skip -= 1
        if self._skip == -1:
            self._meanwhile()
        return super().write(run)


@pytest.mark.parametrize("skip", [0, 1, 3])
@pytest.mark.parametrize("what", ["compact", "expire"])
def test_a_group_is_given_up_when_it_was_changed(held: Held, what: str, skip: int) -> None:
    """What was read before somebody compacted or expired it is not written back, also in a later step."""
    chance = random.Random(8)  # noqa: S311 -- invented data
    put_in_random_order(held, chance, [100, 100, 100])
    (group,) = groups(held.headers())

    def meanwhile() -> None:
        if what == "compact":
            held.compact(Sizes(3000, 9000))
        else:
            held.now += 200 * DAY_MS
            expire(held.database, held.now)

    interrupted = Interrupted(held.url, meanwhile, skip)
    done = compact_group(interrupted, held.trackpoint, group, held.now, SMALL)
    interrupted.close()

    assert not done.whole
    assert held.exported() == held.expected()
    assert held.damages() == []
    if what == "expire":
        held.now -= 200 * DAY_MS
        held.lines.clear()
        assert held.exported() == b""
    held.compact(SMALL)
    assert_compact(held, SMALL)
    assert held.exported() == held.expected()


@pytest.mark.slow
def test_compactions_at_a_time_lose_and_double_nothing(held: Held) -> None:
    """Compactions of different sizes in three threads, during imports, leave every event there exactly once."""
    chance = random.Random(9)  # noqa: S311 -- invented data
    put_in_random_order(held, chance, [100] * 5)
    stopping = threading.Event()
    failures: list[BaseException] = []

    def compact_until_stopped(sizes: Sizes) -> None:
        database = Database(held.url)
        try:
            while not stopping.is_set():
                compact_shop(database, held.trackpoint, held.now, sizes=sizes)
        except BaseException as failure:  # noqa: BLE001 -- the test tells it
            failures.append(failure)
        finally:
            database.close()

    choices = [SMALL, Sizes(900, 3000), Sizes(20_000, 60_000)]
    threads = [threading.Thread(target=compact_until_stopped, args=(sizes,)) for sizes in choices]
    for thread in threads:
        thread.start()
    exports = []
    for count in [1, 1, 40, 1, 1, 40, 1, 1]:
        put_in_random_order(held, chance, [count])
        exports.append((held.exported(), held.expected()))
    stopping.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert all(exported == expected for exported, expected in exports)
    held.compact(choices[-1])
    assert_compact(held, choices[-1])
    assert held.exported() == held.expected()
    assert held.damages() == []


@pytest.mark.slow
def test_commands_at_a_time_lose_and_double_nothing(held: Held) -> None:
    """Several concurrent `smsevents compact` succeed and leave every event there exactly once."""
    held.now = now_ms()  # the commands have no other clock
    put_in_random_order(held, random.Random(10), [500] * 20 + [1] * 30)  # noqa: S311 -- invented data
    command = [sys.executable, "-m", "smsevents", "compact", str(held.trackpoint)]
    environment = os.environ | {"SMSEVENTS_DATABASE": held.url}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], errors
    assert statistics(held.database, held.trackpoint).overlapping == 0
    assert held.exported() == held.expected()
    assert held.damages() == []


def test_one_worker_works_at_a_time(held: Held) -> None:
    """Of two upkeep workers the one with the lease works; the other takes over once it was released or expired."""
    first = UpkeepWorker(held.database, lambda: held.now)
    second = UpkeepWorker(held.database, lambda: held.now)
    put_in_random_order(held, random.Random(11), [10] * COMPACTION_SMALL_SEGMENTS_MIN)  # noqa: S311 -- invented data

    assert first.take_lease()
    rows = held.headers()
    assert not second.round()
    assert held.headers() == rows
    assert first.round()
    assert len(held.headers()) == 1

    held.now += LEASE_SECONDS * 1000 - 1
    assert not second.take_lease()
    held.now += 1
    assert second.round()
    assert not first.round()
    second.release_lease()
    assert first.round()
    second.release_lease()
    assert not second.round()
    assert held.exported() == held.expected()

"""The newest events that are kept for exports: the same lines as in the log, or nothing at all."""

from __future__ import annotations

import gc
import random
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.errors import StoreUnavailable
from smsevents.log import recent
from smsevents.log.recent import (
    READ_AFTER_MISSES,
    RECENT_ENTRY_BYTES,
    RECENT_EXPORT_MAX_BYTES,
    RECENT_OF_SHOP_MAX_BYTES,
    RecentEvents,
)
from smsevents.segments.segment import forget_opened
from smsevents.segments.splice import lines_of
from smsevents.upkeep.erasure import forget
from smsevents.wire.window import Window
from tests.support.databases import damage_newest_segment
from tests.support.lines import DAY_MS, date_of, line, model
from tests.support.logs import Held, log_at, store
from tests.support.memory import kept_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.segments.segment import Piece

SHOP = Held.trackpoint
OFTEN = min(READ_AFTER_MISSES)


class Recent:
    """The newest events of a shop, read when a test says so, and counted."""

    def __init__(self, held: Held) -> None:
        """Know nothing yet."""
        self.held = held
        self.reads: list[Callable[[], None]] = []  # asked for, not run yet
        self.events = RecentEvents(held.database, lambda _shop, read: self.reads.append(read))

    def lines(self, start: int, end: int, trackpoint: int = SHOP) -> bytes | None:
        """Return the lines of a window if they are known."""
        return self.events.lines(trackpoint, Window(start, end), self.held.database.commit_mark())

    def ask_often(self, start: int, end: int, trackpoint: int = SHOP) -> bytes | None:
        """Ask until the events are read, if they ever are, and read them. Return what is known then."""
        for _ in range(OFTEN):
            self.lines(start, end, trackpoint)
            while self.reads:
                self.reads.pop()()
        return self.lines(start, end, trackpoint)


@pytest.fixture
def asked(held: Held) -> Recent:
    """Return the newest events of an empty shop."""
    return Recent(held)


def some_lines(held: Held, count: int = 20) -> list[bytes]:
    """Return lines of the last hour, in order, each of another user."""
    return [line(SHOP, held.now - (count - one) * 1000, user=f"user{one}") for one in range(count)]


def test_events_are_read_only_once_they_are_asked_for_often(asked: Recent) -> None:
    """The first exports are answered by the log; after that, nothing is read until something is committed."""
    lines = some_lines(asked.held)
    asked.held.put(lines)
    start, end = asked.held.now - DAY_MS, asked.held.now
    assert [asked.lines(start, end) for _ in range(OFTEN)] == [None] * OFTEN
    (read,) = asked.reads
    read()
    for first in (0, 7, 19):
        since = date_of(lines[first])
        assert asked.lines(since, end) == model(lines, since, end)
    assert len(asked.reads) == 1
    assert asked.lines(start - 1, end) is None, "an earlier event may exist"


STEPS = ("put", "put by another", "erase", "compact", "forget", "ask often")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(STEPS), max_size=12), st.randoms(use_true_random=False))
def test_what_is_known_equals_the_log(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], chance: random.Random
) -> None:
    """Whatever was stored, erased or compacted, by whom, what is known of a window are exactly the lines of the log."""
    held = Held(f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db")
    other = open_catalog(held.url)
    asked = Recent(held)
    with closing(held.database), closing(other):
        since = until = held.now
        for step in steps:
            asked.ask_often(held.now - DAY_MS, held.now)
            since, until = sorted(held.now - chance.randint(-1, 60) * 60_000 for _ in range(2))
            if step == "ask often":
                asked.ask_often(since, until)
            elif step == "compact":
                held.compact()
            elif step == "forget":
                asked.events.forget()
            elif step == "erase":
                user = f"user{chance.randint(0, 3)}"
                forget(chance.choice([held.database, other]), SHOP, [user], held.now, block=False)
                held.lines = {one for one in held.lines if f'"{user}"'.encode() not in one}
            else:
                added = {line(SHOP, held.now - chance.randint(0, 3600) * 1000, f"user{chance.randint(0, 3)}")}
                store(log_at(other if "another" in step else held.database, lambda: held.now), SHOP, added)
                held.lines |= added
            found = asked.lines(since, until)
            assert found is None or found == model(held.lines, since, until)
        asked.events.forget()
        assert asked.ask_often(since, until) == model(held.lines, since, until)


def test_events_that_are_erased_meanwhile_are_not_known(asked: Recent) -> None:
    """Events that were read before an erasure, and are to be kept after it, are never used."""
    held = asked.held
    held.put(some_lines(held))
    for _ in range(OFTEN):
        asked.lines(held.now - DAY_MS, held.now)
    read_by_thread, done = asked.reads.pop(), threading.Barrier(2, timeout=60)
    with stopped_after_reading(done):
        thread = threading.Thread(target=read_by_thread)
        thread.start()
        done.wait()  # all lines are read
        forget(held.database, SHOP, ["user3"], held.now, block=False)
        done.wait()
        thread.join(60)
    assert asked.lines(held.now - DAY_MS, held.now) is None
    after = asked.ask_often(held.now - DAY_MS, held.now)
    assert after is not None
    assert after.count(b"\n") == 19
    assert b"user3" not in after


@contextmanager
def stopped_after_reading(barrier: threading.Barrier) -> Iterator[None]:
    """Let the thread that reads events stop, before it keeps them, until a test has passed the barrier twice."""

    def stopping(pieces: list[Piece]) -> list[bytes]:
        lines = list(lines_of(pieces))
        barrier.wait()
        barrier.wait()
        return lines

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smsevents.log.recent.lines_of", stopping)
        yield


def test_erased_events_leave_the_memory(asked: Recent) -> None:
    """After `forget`, and `forget_opened`, no object of the process has an event of an erased user."""
    held = asked.held
    mark = f"user-{random.Random(1).getrandbits(64):x}"  # noqa: S311 -- invented data
    held.put([*some_lines(held), line(SHOP, held.now, user=mark)])
    assert mark.encode() in (asked.ask_often(held.now - 500, held.now) or b"")
    held.lines.clear()
    forget(held.database, SHOP, [mark], held.now, block=False)
    asked.events.forget()
    forget_opened()
    gc.collect()
    assert not [one for one in kept_bytes() if mark.encode() + b'"' in one]


def test_of_many_events_the_first_are_known(asked: Recent) -> None:
    """Only as many events are kept as there is room for, and a window with many of them is left to the log."""
    held = asked.held
    size = len(line(SHOP, held.now)) + 1
    many = 2 * RECENT_OF_SHOP_MAX_BYTES // size
    # three of each millisecond, so that the last one that is read may be incomplete
    lines = [line(SHOP, held.now - (many - one) // 3, user=f"{one:06}") for one in range(many)]
    held.put(lines)
    first, last = date_of(lines[0]), date_of(lines[-1])
    assert asked.ask_often(first, first) == model(lines, first, first)
    found = {time: asked.lines(time, time) for time in range(first, last + 1)}
    known = [time for time, its_lines in found.items() if its_lines is not None]
    assert known == list(range(first, known[-1] + 1))
    assert b"".join(found[time] or b"" for time in known) == model(lines, first, known[-1])
    assert 0.9 < 3 * len(known) * size / RECENT_OF_SHOP_MAX_BYTES <= 1
    few = RECENT_EXPORT_MAX_BYTES // (3 * size) - 1
    assert asked.lines(first, first + few) == model(lines, first, first + few)
    assert asked.lines(first, first + few + 2) is None


def test_the_memory_for_many_shops_is_limited(asked: Recent, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for the events of another shop, those that were asked for the longest ago are forgotten."""
    held = asked.held
    shops = range(1, 5)
    for shop in shops:
        Access(held.database).add_shop(shop, "")
        store(held.log, shop, [line(shop, held.now)])
    monkeypatch.setattr(recent, "RECENT_KEPT_MAX_BYTES", 2 * (RECENT_ENTRY_BYTES + len(line(4, held.now)) + 1))
    asked.events = RecentEvents(held.database, lambda _shop, read: asked.reads.append(read))
    for shop in shops:
        assert asked.ask_often(held.now, held.now, shop) == line(shop, held.now) + b"\n"
    assert [asked.lines(held.now, held.now, shop) is not None for shop in shops] == [False, False, True, True]


def test_a_log_that_cannot_be_read_is_left_to_the_exports(asked: Recent) -> None:
    """A read that fails keeps nothing and raises nothing: the export that meets the damage reports it."""
    held = asked.held
    held.put(some_lines(held))
    damage_newest_segment(held.path, SHOP)
    assert asked.ask_often(held.now - DAY_MS, held.now) is None


def test_a_database_that_was_replaced_is_refused(asked: Recent) -> None:
    """What is known of a database is not sent once another file is in its place."""
    held = asked.held
    held.put(some_lines(held))
    assert asked.ask_often(held.now, held.now) is not None
    held.path.rename(held.path.with_suffix(".old"))
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        asked.lines(held.now, held.now)

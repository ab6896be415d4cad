"""Small imports of a shop share segments: exactly once, all or none, and in few rows."""

from __future__ import annotations

import gc
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from smsevents.accounts.access import Access
from smsevents.catalog.dialects.sqlite.locks import shop_alone
from smsevents.catalog.shops import block_user
from smsevents.errors import BlockedMeanwhile, StoreUnavailable, UnknownShop
from smsevents.log.joining import JOINED_MAX_BYTES, Joining
from smsevents.segments.segment import forget_opened
from smsevents.upkeep.erasure import erase
from smsevents.wire.events import digest_of
from tests.support.databases import query
from tests.support.examples import examples
from tests.support.lines import DAY_MS, date_of, line
from tests.support.logs import Held
from tests.support.memory import kept_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from sqlalchemy import Connection

    from smsevents.catalog import Database

SHOP = Held.trackpoint
NOBODY: frozenset[bytes] = frozenset()
WAIT_MAX_SECONDS = 60


class Joined:
    """A shop and small imports into it, beside the lines that it must hold."""

    def __init__(self, held: Held) -> None:
        """Use an empty shop."""
        self.held = held
        self.joining = Joining(held.database)

    def append(self, *lines: bytes, blocked: frozenset[bytes] = NOBODY, shop: int = SHOP) -> Future[None]:
        """Hand in an import."""
        return self.joining.append(shop, [(date_of(one), one) for one in lines], blocked)

    def put(self, *lines: bytes) -> None:
        """Store an import."""
        self.append(*lines).result(WAIT_MAX_SECONDS)
        self.held.lines.update(lines)

    def event(self, number: int, user: str = "u") -> bytes:
        """Return an event of the last hour."""
        return line(SHOP, self.held.now - 3_600_000 + number, f"{user}{number}")

    @property
    def ids(self) -> list[int]:
        """The ids of the segments, in order of their first entry."""
        return [header.id for header in self.held.headers()]


@pytest.fixture
def joined(held: Held) -> Joined:
    """Return an empty shop for small imports."""
    return Joined(held)


@contextmanager
def held_writer(database: Database) -> Iterator[None]:
    """Hold the writer within a write, so that what is submitted meanwhile waits, and let it go at the end."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        begun.set()
        assert go_on.wait(WAIT_MAX_SECONDS)

    running = database.submit(hold)
    assert begun.wait(WAIT_MAX_SECONDS)
    try:
        yield
    finally:
        go_on.set()
        running.result(WAIT_MAX_SECONDS)


def test_imports_that_wait_for_one_commit_become_one_segment(joined: Joined) -> None:
    """Imports of a shop that wait are stored together, in order and without what they share, and none before that."""
    lines = [joined.event(number) for number in range(20)]
    with held_writer(joined.held.database):
        waiting = [joined.append(*pair) for pair in zip(lines[::-1], lines, strict=True)]
        assert not any(future.done() for future in waiting)
        assert joined.ids == []
    for future in waiting:
        future.result(WAIT_MAX_SECONDS)
    joined.held.lines.update(lines)
    assert len(joined.ids) == 1
    assert joined.held.exported() == joined.held.expected()
    assert joined.held.damages() == []


def test_shops_do_not_share_a_segment(joined: Joined) -> None:
    """Imports of two shops that wait for one commit are stored apart."""
    other = SHOP + 1
    Access(joined.held.database).add_shop(other, "")
    foreign = line(other, joined.held.now, "other")
    with held_writer(joined.held.database):
        waiting = [joined.append(joined.event(1)), joined.append(foreign, shop=other), joined.append(joined.event(2))]
    for future in waiting:
        future.result(WAIT_MAX_SECONDS)
    joined.held.lines.update({joined.event(1), joined.event(2)})
    assert joined.held.exported() == joined.held.expected()
    assert query(joined.held.path, "SELECT events FROM segments WHERE trackpoint = ?", other) == [(1,)]


def test_rows_grow_with_bytes_and_not_with_imports(joined: Joined) -> None:
    """A segment that is still small is replaced, and one that is full stays as it is."""
    lines = [joined.event(number) for number in range(400)]
    for one in lines:
        joined.put(one)
    size = sum(len(one) + 1 for one in lines)
    assert size / JOINED_MAX_BYTES <= len(joined.ids) <= size / JOINED_MAX_BYTES + 2
    assert all(header.line_bytes <= JOINED_MAX_BYTES for header in joined.held.headers())
    assert joined.held.exported() == joined.held.expected()
    assert joined.held.damages() == []


def test_each_day_has_a_segment_of_its_own(joined: Joined) -> None:
    """No segment spans midnight, and those of several days grow beside each other."""
    now = joined.held.now
    for number in range(5):
        joined.put(*(line(SHOP, now - day * DAY_MS + number, f"{number}") for day in range(3)))
    assert [header.first[0] // DAY_MS for header in joined.held.headers()] == [now // DAY_MS - day for day in (2, 1, 0)]
    assert joined.held.exported() == joined.held.expected()


def test_the_same_event_again_changes_nothing(joined: Joined) -> None:
    """Lines that a growing segment has already are not written again."""
    joined.put(joined.event(1), joined.event(2))
    before = joined.ids
    joined.put(joined.event(2))
    joined.put(joined.event(1), joined.event(1))
    assert joined.ids == before
    assert joined.held.exported() == joined.held.expected()


def test_an_old_view_of_blocked_users_refuses_that_import_alone(joined: Joined) -> None:
    """An import that was checked before a user was blocked is refused, and those that wait with it are stored."""
    digest = digest_of(SHOP, "gone")
    joined.held.database.write(lambda connection: block_user(connection, SHOP, digest, joined.held.now))
    with held_writer(joined.held.database):
        old = joined.append(line(SHOP, joined.held.now, "gone"))
        new = joined.append(joined.event(1), blocked=frozenset({digest}))
    assert isinstance(old.exception(WAIT_MAX_SECONDS), BlockedMeanwhile)
    new.result(WAIT_MAX_SECONDS)
    joined.held.lines.add(joined.event(1))
    assert joined.held.exported() == joined.held.expected()


def test_a_shop_that_is_gone_refuses_its_imports_alone(joined: Joined) -> None:
    """Imports of a shop that does not exist are refused, and those of others in the same commit are stored."""
    with held_writer(joined.held.database):
        bad = [joined.append(joined.event(number), shop=SHOP + 9) for number in range(2)]
        good = joined.append(joined.event(1))
    assert all(isinstance(one.exception(WAIT_MAX_SECONDS), UnknownShop) for one in bad)
    good.result(WAIT_MAX_SECONDS)
    joined.held.lines.add(joined.event(1))
    assert joined.held.exported() == joined.held.expected()


def test_a_cancelled_import_is_not_stored(joined: Joined) -> None:
    """An import that is given up while it waits is not stored, and the others of its shop are."""
    with held_writer(joined.held.database):
        good, given_up = joined.append(joined.event(1)), joined.append(joined.event(2))
        assert given_up.cancel()
    good.result(WAIT_MAX_SECONDS)
    joined.held.lines.add(joined.event(1))
    assert joined.held.exported() == joined.held.expected()


def test_a_commit_that_fails_stores_nothing_and_changes_no_segment(joined: Joined) -> None:
    """If the transaction fails, every import that shared it is refused, the segments stay, and the next one works."""
    joined.put(joined.event(1))
    before = joined.ids
    with held_writer(joined.held.database):
        lost = [joined.append(joined.event(number)) for number in (2, 3)]
        joined.held.database.submit(lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (1)")))
    assert all(isinstance(one.exception(WAIT_MAX_SECONDS), StoreUnavailable) for one in lost)
    assert joined.ids == before
    assert joined.held.exported() == joined.held.expected()
    joined.put(joined.event(4))
    joined.put(joined.event(5))
    assert joined.held.exported() == joined.held.expected()


def test_no_segment_is_replaced_while_an_erasure_has_the_shop(joined: Joined) -> None:
    """During an erasure new events get a segment of their own; the erasure finds all that it saw at its start."""
    joined.put(joined.event(1))
    before = joined.ids
    with shop_alone(joined.held.path, SHOP, 0):
        joined.put(joined.event(2))
        joined.put(joined.event(3))
        assert set(before) < set(joined.ids)
    joined.put(joined.event(4))
    assert set(before) < set(joined.ids)
    assert joined.held.exported() == joined.held.expected()


def test_an_erasure_waits_until_a_replacement_is_committed(joined: Joined) -> None:
    """The shop is shared until the commit: an erasure cannot begin between a replacement and its commit."""
    joined.put(joined.event(1))
    began, go_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        began.set()
        assert go_on.wait(WAIT_MAX_SECONDS)

    outcome: list[int] = []
    with held_writer(joined.held.database):
        growing = joined.append(joined.event(2))
        holding = joined.held.database.submit(hold)  # in the same transaction, after the replacement
    assert began.wait(WAIT_MAX_SECONDS)
    eraser = threading.Thread(
        target=lambda: outcome.append(
            erase(joined.held.database, SHOP, ["u1", "u2"], joined.held.now, block=False).events
        )
    )
    eraser.start()
    go_on.set()
    eraser.join(WAIT_MAX_SECONDS)
    growing.result(WAIT_MAX_SECONDS)
    holding.result(WAIT_MAX_SECONDS)
    assert outcome == [2]
    assert joined.held.exported() == b""


def test_what_was_erased_does_not_come_back(joined: Joined) -> None:
    """After an erasure the next import does not bring back what the growing segment held before."""
    joined.put(joined.event(1, "gone"), joined.event(2))
    erase(joined.held.database, SHOP, ["gone1"], joined.held.now, block=False)
    joined.held.lines.discard(joined.event(1, "gone"))
    joined.put(joined.event(3))
    assert joined.held.exported() == joined.held.expected()


def test_a_damaged_segment_is_left_as_it_is(joined: Joined) -> None:
    """A growing segment whose bytes have changed stays for `verify`, and the import is stored beside it."""
    joined.put(joined.event(1))
    (damaged,) = joined.ids
    query(joined.held.path, "UPDATE segments SET data = zeroblob(length(data))")
    joined.append(joined.event(2)).result(WAIT_MAX_SECONDS)
    assert damaged in joined.ids
    assert len(joined.ids) == 2
    assert len(joined.held.damages()) == 1


def test_what_compaction_replaced_is_not_replaced_again(joined: Joined) -> None:
    """A growing segment that was merged with others since is left out: its events stay where they are now."""
    joined.put(joined.event(1))
    joined.append(joined.event(2)).result(WAIT_MAX_SECONDS)
    joined.held.lines.add(joined.event(2))
    joined.held.put([joined.event(3)])
    joined.held.compact()
    before = joined.ids
    joined.put(joined.event(4))
    assert set(before) < set(joined.ids)
    assert joined.held.exported() == joined.held.expected()


def test_an_event_that_was_erased_is_stored_when_it_comes_again(joined: Joined) -> None:
    """Events in memory are not taken for stored ones: after an erasure, the same event is recorded again."""
    joined.put(joined.event(1), joined.event(2))
    erase(joined.held.database, SHOP, ["u1"], joined.held.now, block=False)
    joined.put(joined.event(1))
    assert joined.held.exported() == joined.held.expected()


def test_a_segment_with_the_id_of_one_that_was_never_committed_is_left_alone(joined: Joined) -> None:
    """An id that was rolled back is used again. What is remembered under it does not replace the other segment."""
    joined.put(joined.event(1))
    with held_writer(joined.held.database):
        lost = joined.append(joined.event(2))
        joined.held.database.submit(lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (1)")))
    assert isinstance(lost.exception(WAIT_MAX_SECONDS), StoreUnavailable)
    joined.held.put([joined.event(3)])  # a segment of its own, with the id that was rolled back
    joined.put(joined.event(4))
    joined.put(joined.event(5))
    assert joined.held.exported() == joined.held.expected()
    assert joined.held.damages() == []


@pytest.mark.parametrize("kept_max_bytes", [0, 1000, 8 * 1024 * 1024])
def test_the_memory_for_growing_segments_changes_nothing(
    joined: Joined, monkeypatch: pytest.MonkeyPatch, kept_max_bytes: int
) -> None:
    """With no, little or much room for entries in memory, and after they are forgotten, the same segments grow."""
    monkeypatch.setattr("smsevents.log.joining.GROWING_KEPT_MAX_BYTES", kept_max_bytes)
    joined.joining = Joining(joined.held.database)
    for number in range(12):
        joined.put(*(line(SHOP, joined.held.now - day * DAY_MS + number, f"{number}") for day in range(2)))
        if number % 5 == 4:
            joined.joining.forget()
    assert len(joined.ids) == 2
    assert joined.held.exported() == joined.held.expected()


def test_erased_events_leave_the_memory(joined: Joined) -> None:
    """After `forget`, no object of the process has an event of an erased user."""
    mark = f"user-{random.Random(2).getrandbits(64):x}"  # noqa: S311 -- invented data
    joined.put(line(SHOP, joined.held.now, mark), joined.event(1))
    joined.held.lines.clear()
    erase(joined.held.database, SHOP, [mark], joined.held.now, block=False)
    joined.joining.forget()
    forget_opened()
    gc.collect()
    assert not [one for one in kept_bytes() if mark.encode() + b'"' in one]


class Numbered:
    """What random tests do to a shop, by number."""

    def __init__(self, joined: Joined) -> None:
        """Use a shop."""
        self.joined = joined
        self.erased: set[bytes] = set()

    def imports(self, batches: Sequence[Sequence[int]]) -> None:
        """Store imports that wait for the same commit, each with the events of some numbers."""
        joined = self.joined
        with held_writer(joined.held.database):
            waiting = [joined.append(*map(self.event, batch)) for batch in batches]
        for future, batch in zip(waiting, batches, strict=True):
            future.result(WAIT_MAX_SECONDS)
            joined.held.lines.update(map(self.event, batch))

    def event(self, number: int) -> bytes:
        """Return an event: numbers near each other lie on the same day, some on the same millisecond."""
        return line(SHOP, self.joined.held.now - number // 20 * DAY_MS - number // 2, f"u{number % 7}", node="n")

    def erase(self, number: int) -> None:
        """Erase a user."""
        held = self.joined.held
        erase(held.database, SHOP, [f"u{number % 7}"], held.now, block=False)
        held.lines = {one for one in held.lines if b'"u%d"' % (number % 7) not in one}


_numbers = st.lists(st.integers(0, 60), min_size=1, max_size=4)
_steps = st.lists(
    st.one_of(
        st.lists(_numbers, min_size=1, max_size=4),
        st.sampled_from(["compact", "restart"]),
        st.integers(0, 6),
    ),
    max_size=12,
)


@settings(max_examples=examples(100))
@given(_steps)
def test_the_log_is_the_set_of_all_lines(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[list[int]] | str | int]
) -> None:
    """Whatever is imported, also again, between compactions, erasures and restarts: each line is there exactly once."""
    folder: Path = tmp_path_factory.mktemp("joined")
    held = Held(f"sqlite:///{folder / 'log.db'}")
    try:
        numbered = Numbered(Joined(held))
        for step in steps:
            if isinstance(step, list):
                numbered.imports(step)
            elif step == "compact":
                held.compact()
            elif step == "restart":
                numbered.joined.joining = Joining(held.database)
            else:
                numbered.erase(int(step))
            assert held.exported() == held.expected()
        assert held.damages() == []
    finally:
        held.database.close()

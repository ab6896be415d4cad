"""Sums of tallies and what is kept of them: they save reading, and never change a number."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, func, update
from structlog.testing import capture_logs

from smsevents.catalog.tables import tallies
from smsevents.catalog.tallies import SUM_START
from smsevents.segments import tally as tally_module
from smsevents.segments.selection import Selection
from smsevents.segments.tally import tally_of
from smsevents.segments.tally_sum import encoded_sum_of
from smsevents.stats import parts
from smsevents.stats.delivery import count_deliveries
from smsevents.stats.events import count_events
from smsevents.stats.kept import KEPT_ENTRY_BYTES, Kept
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.erasure import erase
from tests.support.counting import SIZES, asked, backfill, filled
from tests.support.lines import body_of
from tests.support.logs import Held
from tests.support.statistics import event_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def packed(url: str) -> Iterator[Held]:
    """Yield a shop whose events are in packs with sums."""
    made = Held(url, MemoryStore())
    filled(made)
    made.compact(SIZES)
    made.pack(SIZES)
    assert len(made.packs()) > 1
    yield made
    made.database.close()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Keep what tallies say apart from other tests."""
    monkeypatch.setattr(parts, "KEPT", made := Kept())
    return made


def lose_tallies(held: Held) -> None:
    """Leave the sums alone: without tallies and objects, no segment of a pack can be counted."""
    with held.database.read() as connection:
        store = held.database.packs(connection).store
    store.delete([pack.place.key for pack in held.packs()])
    held.database.write(lambda c: c.execute(delete(tallies).where(tallies.c.start > SUM_START)))


def numbers(held: Held, selection: Selection = Selection()) -> tuple[object, ...]:  # noqa: B008 -- it is immutable
    """Return counts of events and of deliveries."""
    question = asked(held, selection)
    found = count_events(held.database, held.trackpoint, question)
    return found.rows(), count_deliveries(held.database, held.trackpoint, question).total().histogram()


def test_a_pack_that_nothing_overlaps_counts_by_its_sum(packed: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the tallies of its segments nor its object are read."""
    monkeypatch.setattr(parts, "KEPT", Kept(0))
    expected = numbers(packed), numbers(packed, Selection(types=frozenset({"flow"})))
    lose_tallies(packed)
    assert (numbers(packed), numbers(packed, Selection(types=frozenset({"flow"})))) == expected
    assert numbers(packed, Selection(campaigns=frozenset({"nothing"}))) == ([], [])


@pytest.mark.usefixtures("kept")
def test_what_a_tally_said_is_not_read_again(packed: Held) -> None:
    """A second question, also one with another interval, needs no tally and no sum that the first one has read."""
    first = numbers(packed)
    damaged = update(tallies).values(data=func.substr(tallies.c.data, 1, 9))
    packed.database.write(lambda c: c.execute(damaged))
    with capture_logs() as logged:
        assert numbers(packed) == first
        packed.now += 60_000  # the interval of the question moves with it
        assert numbers(packed) == first
    assert logged == []


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("is_packed", [True, False])
def test_an_erasure_changes_the_numbers_at_once(url: str, *, is_packed: bool) -> None:
    """What was kept of erased segments counts no more."""
    held = Held(url, MemoryStore())
    filled(held)
    held.compact(SIZES)
    if is_packed:
        held.pack(SIZES)
    backfill(held)
    assert count_events(held.database, held.trackpoint, asked(held)).events == len(held.lines)
    user = plain(min(held.lines)).user
    assert erase(held.database, held.trackpoint, [user], held.now, block=False).events > 0
    left = [one for one in held.lines if plain(one).user != user]
    assert count_events(held.database, held.trackpoint, asked(held)).events == len(left)
    held.database.close()


@pytest.mark.usefixtures("kept")
def test_late_events_within_a_pack_count_once(packed: Held) -> None:
    """If an import brings events of a pack again, and new ones between them, the sum is set aside for the tallies."""
    numbers(packed)
    lines = random.Random(3).sample(sorted(packed.lines), 40)  # noqa: S311 -- invented data
    late = event_line(packed.trackpoint, plain(lines[0]).date + 1, plain(lines[0]).date, user="late")
    packed.put([*lines, late])
    assert count_events(packed.database, packed.trackpoint, asked(packed)).events == len(packed.lines)


def test_a_sum_that_would_be_too_large_is_not_made(packed: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the tallies count as before."""
    expected = numbers(packed)
    sum_rows = tallies.c.start == SUM_START
    packed.database.write(lambda c: c.execute(delete(tallies).where(sum_rows)))
    monkeypatch.setattr("smsevents.segments.tally_sum.TALLY_RAW_MAX_BYTES", 100)
    backfill(packed)
    with packed.database.read() as connection:
        assert connection.execute(tallies.select().where(sum_rows)).all() == []
    assert numbers(packed) == expected
    each = [tally_of(body_of([event_line(1, n * 900_000, 0, campaign=(f"{n}", ""))])) for n in range(9)]
    assert encoded_sum_of(each) is None
    monkeypatch.undo()
    assert encoded_sum_of(each) is not None
    monkeypatch.setattr(tally_module, "TALLY_RAW_MAX_BYTES", 100)
    assert encoded_sum_of(each) is None  # the limit of what can be read


def test_what_is_kept_is_bounded() -> None:
    """The latest entries that fit are kept, by their size; one that is larger than the room is not."""
    made = Kept(3 * (KEPT_ENTRY_BYTES + 100))
    for number in range(4):
        made.put(number, str(number), 100)
        assert made.get(0) == "0"  # so it is the latest again
    assert [made.get(number) for number in range(5)] == ["0", None, "2", "3", None]
    made.put(5, "", 3 * KEPT_ENTRY_BYTES)
    assert made.get(5) is None
    assert made.get(3) == "3"

"""The messages of settled days on every dialect: they are kept, used, counted again, expire, and leave with a user."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from smsevents.catalog.message_days import all_kept_days
from smsevents.stats import day_counts, keeping
from smsevents.stats.messages import count_messages
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from tests.contracts.dialects.harness import SLOW, harness_of
from tests.support.counting import SIZES, asked, filled, keep_days, last_days
from tests.support.logs import Held
from tests.support.statistics import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.stats.messages import States


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=SLOW)])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Held]:
    """Yield a shop with events of some days in a database of each dialect."""
    harness = harness_of(request.param, request, tmp_path)
    made = Held(harness.url)
    filled(made)
    made.compact(SIZES)
    yield made
    made.database.close()
    harness.close()


def counted(held: Held) -> States:
    """Count all messages."""
    question = replace(asked(held), window=last_days(held, 21), at="send")
    return count_messages(held.database, held.trackpoint, question).total()


def kept(held: Held) -> set[int]:
    """Return the days that are kept."""
    with held.database.read() as connection:
        return {*all_kept_days(connection, held.trackpoint)}


def test_days_are_kept_until_they_expire(held: Held) -> None:
    """What is kept says the same as the lines; it leaves day by day with the history, and verification is content."""
    before = counted(held)
    days = keep_days(held.database, held.trackpoint, held.now)
    assert days == len(kept(held)) > 15
    assert counted(held) == before
    assert held.damages() == []
    first = min(kept(held))
    expire(held.database, (first + 3) * DAY_MS + HISTORY_MS)
    assert min(kept(held)) == first + 3
    expire(held.database, held.now + HISTORY_MS + 3 * DAY_MS)
    assert kept(held) == set()


def test_what_was_kept_of_a_user_leaves_at_once(held: Held) -> None:
    """An erasure deletes the numbers of days on which the user got messages, and counts are right before and after."""
    keep_days(held.database, held.trackpoint, held.now)
    users = Counter(plain(one).user for one in held.lines)
    user = users.most_common()[0][0]
    days = {plain(one).sent // DAY_MS for one in held.lines if plain(one).user == user}
    erase(held.database, held.trackpoint, [user], held.now, block=False)
    assert not kept(held) & days
    after = counted(held)
    assert after.events == len(held.lines) - users[user]
    keep_days(held.database, held.trackpoint, held.now)
    assert kept(held) >= days
    assert counted(held) == after


def test_an_erasure_that_waits_for_a_count_finds_what_it_kept(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that begins while days are counted waits, and then deletes what was kept of the user's days."""
    user = plain(next(iter(held.lines))).user
    days = {plain(one).sent // DAY_MS for one in held.lines if plain(one).user == user}
    begun, erased = Event(), Event()
    counting = day_counts.count_days

    def count_slowly(*args: Any) -> Any:
        begun.set()
        assert not erased.wait(0.3)
        return counting(*args)

    def erase_beside() -> None:
        begun.wait()
        erase(held.database, held.trackpoint, [user], held.now, block=False)
        erased.set()

    monkeypatch.setattr(keeping, "COUNTED_EVENTS_MAX", 10**9)
    monkeypatch.setattr(keeping, "COUNTED_DAYS_MAX", 10**9)
    monkeypatch.setattr(keeping, "count_days", count_slowly)
    eraser = Thread(target=erase_beside)
    eraser.start()
    keep_days(held.database, held.trackpoint, held.now)
    eraser.join()
    assert erased.is_set()
    assert kept(held)
    assert not kept(held) & days
    with held.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM message_days WHERE data IS NULL")).scalar() == 0

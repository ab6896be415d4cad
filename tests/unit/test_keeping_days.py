"""When the messages of a day are counted and kept, and when they are not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from smsevents.accounts.access import Access
from smsevents.catalog.message_days import all_kept_days
from smsevents.catalog.tables import message_days, segments
from smsevents.catalog.tables import tallies as tallies_table
from smsevents.segments import message_day as message_day_module
from smsevents.stats import day_counts, keeping
from smsevents.stats.keeping import DayKeeper
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import DAY_MS, HISTORY_MS, HOUR_MS
from smsevents.wire.window import history_start
from smsevents.worker.worker import UpkeepWorker
from tests.support.counting import SIZES, filled, keep_days
from tests.support.kept import DAYS, count, kept_numbers, of_sending, settled
from tests.support.logs import Held, store
from tests.support.statistics import event_line, plain


@pytest.mark.parametrize("limit", ["DAYS_HELD_MAX_BYTES", "MESSAGE_DAY_RAW_MAX_BYTES", "MESSAGE_DAY_MAX_BYTES"])
def test_a_day_that_is_too_large_is_counted_each_time(held: Held, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """A day with too many different sources is not kept, and is not tried again until its events change."""
    module = day_counts if limit == "DAYS_HELD_MAX_BYTES" else message_day_module
    monkeypatch.setattr(module, limit, 10)
    days = settled(held)
    with held.database.read() as connection:
        assert not any(one.is_worth for one in all_kept_days(connection, held.trackpoint).values())
    count(held, of_sending(held))
    assert days >= DAYS
    assert keep_days(held.database, held.trackpoint, held.now) == 0


def test_days_that_have_no_room_together_are_counted_alone(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the numbers of several days take too much memory, each of them is counted again by itself, and kept."""
    days = settled(held)
    kept = kept_numbers(held)
    before = count(held, of_sending(held, by=("campaign", "node"))).rows()
    held.database.write(lambda c: c.execute(message_days.delete()))
    monkeypatch.setattr(day_counts, "DAYS_HELD_MAX_BYTES", 150_000)
    assert keep_days(held.database, held.trackpoint, held.now) == days
    with held.database.read() as connection:
        assert all(one.is_worth for one in all_kept_days(connection, held.trackpoint).values())
    assert kept_numbers(held) == kept
    assert count(held, of_sending(held, by=("campaign", "node"))).rows() == before


def test_days_are_counted_once_they_are_settled(held: Held) -> None:
    """A day is counted one day after its end, by the second round that finds the same, and not while it changes."""
    filled(held, days=5)
    held.compact(SIZES)
    keeper = DayKeeper()

    def step() -> int:
        return sum(keeper.steps(held.database, held.now))

    assert step() == 0
    day = (held.now - 3 * DAY_MS) // DAY_MS
    held.put([event_line(held.trackpoint, held.now, day * DAY_MS, user="late")])
    counted = step()
    assert counted > 0
    assert day not in kept_numbers(held)
    assert step() == 1
    assert max(kept_numbers(held)) == (held.now - DAY_MS) // DAY_MS - 1
    assert step() == 0


def test_a_day_that_keeps_changing_is_counted_after_longer_and_longer_pauses(held: Held) -> None:
    """A day with late events is counted again only after half of its age, and after a day at most."""
    filled(held, 300, days=5)
    keeper = DayKeeper()
    day = held.now // DAY_MS - 3
    end = (day + 1) * DAY_MS
    counted_ms: list[int] = []
    for number in range(20):
        now = end + DAY_MS + number * 6 * HOUR_MS
        held.put([event_line(held.trackpoint, held.now - number, day * DAY_MS + 1, user=f"late {number}")])
        for _ in range(2):
            assert sum(keeper.steps(held.database, now)) >= 0
        with held.database.read() as connection:
            kept = all_kept_days(connection, held.trackpoint).get(day)
        if kept is not None and kept.counted_ms not in counted_ms:
            counted_ms.append(kept.counted_ms)
    assert [(one - end) // HOUR_MS for one in counted_ms] == [24, 36, 54, 78, 102, 126]


def test_what_changes_while_it_is_counted_is_not_kept(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that arrives while its day is counted keeps the day from being kept; the other days are."""
    filled(held, days=3)
    held.compact(SIZES)
    day = held.now // DAY_MS - 3
    counting = day_counts.count_days

    def count_late(*args: Any) -> Any:
        found = counting(*args)
        held.put([event_line(held.trackpoint, held.now, day * DAY_MS, user="late")])
        return found

    monkeypatch.setattr(keeping, "count_days", count_late)
    assert keep_days(held.database, held.trackpoint, held.now) > 0
    assert day not in kept_numbers(held)
    count(held, of_sending(held))


def test_nobody_erases_while_days_are_counted(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that comes and is erased while its day is counted could not be noticed: so an erasure waits."""
    filled(held, days=3)
    counting = day_counts.count_days
    waited: list[bool] = []

    def count_beside(*args: Any) -> Any:
        monkeypatch.setattr("smsevents.upkeep.erasure.ERASURE_PATIENCE_SECONDS", 0)
        try:
            erase(held.database, held.trackpoint, ["nobody"], held.now, block=False)
        except Exception as error:  # noqa: BLE001 -- the type is checked below
            waited.append("is erasing" in str(error) or "Busy" in type(error).__name__)
        return counting(*args)

    monkeypatch.setattr(keeping, "count_days", count_beside)
    assert keep_days(held.database, held.trackpoint, held.now) > 0
    assert waited
    assert all(waited)


def test_the_upkeep_worker_keeps_and_expires_days(held: Held) -> None:
    """The worker keeps the past days after its second round, and deletes those before the history with their events."""
    filled(held, days=DAYS)
    worker = UpkeepWorker(held.database, lambda: held.now)
    for _ in range(3):
        assert worker.round()
    kept = kept_numbers(held)
    assert len(kept) >= DAYS - 2
    later = held.now + HISTORY_MS - 10 * DAY_MS
    expire(held.database, later)
    with held.database.read() as connection:
        assert all_kept_days(connection, held.trackpoint).keys() == {
            day for day in kept if day >= history_start(later) // DAY_MS
        }


def test_counting_days_gives_way_to_compaction(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """While much arrives, the worker counts one share of days in a round, and goes on in the next one."""
    filled(held, days=5)
    monkeypatch.setattr(keeping, "COUNTED_DAYS_MAX", 1)
    worker = UpkeepWorker(held.database, lambda: held.now)
    monkeypatch.setattr(worker, "is_pressed", lambda: True)
    numbers = []
    for _ in range(4):
        assert worker.round()
        numbers.append(len(kept_numbers(held)))
    assert numbers[0] == 0
    assert numbers[-1] == 2
    assert all(following - one <= 1 for one, following in pairwise(numbers))


def test_days_without_events_are_forgotten(held: Held) -> None:
    """When all events of a day have left, what was kept of it leaves with the next round."""
    settled(held)
    held.database.write(lambda c: c.execute(tallies_table.delete()))
    users = sorted({plain(one).user for one in held.lines})
    later = held.now + DAY_MS
    keeper = DayKeeper()
    for one in range(0, len(users), 1000):
        erase(held.database, held.trackpoint, users[one : one + 1000], held.now, block=False)
    assert list(keeper.steps(held.database, later)) == []
    with held.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(message_days)).scalar() == 0


def test_a_damaged_segment_is_named_once(held: Held) -> None:
    """A shop whose segments cannot be read is left alone until something changes, and the others are counted."""
    other = Access(held.database).add_shop(7, "").trackpoint
    store(held.log, other, [event_line(other, held.now - 3 * DAY_MS, held.now - 3 * DAY_MS)])
    held.put([event_line(held.trackpoint, held.now - 3 * DAY_MS, held.now - 3 * DAY_MS)])
    (header,) = held.headers()
    damage = update(segments).where(segments.c.id == header.id).values(data=b"damaged")
    held.database.write(lambda c: c.execute(damage))
    keeper = DayKeeper()
    with capture_logs() as logged:
        counted = [sum(keeper.steps(held.database, held.now)) for _ in range(3)]
    assert counted == [0, 1, 0]
    assert [(one["event"], one["trackpoint"]) for one in logged] == [("messages not counted", held.trackpoint)]

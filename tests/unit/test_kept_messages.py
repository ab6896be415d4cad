"""The messages that are kept of settled days: they are used where they equal a count of the lines, and only there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, update
from structlog.testing import capture_logs

from smsevents.catalog import sent_days
from smsevents.catalog.message_days import all_kept_days
from smsevents.catalog.packs import packs_of
from smsevents.catalog.tables import message_days
from smsevents.errors import InvalidRequest
from smsevents.segments import tally as tally_module
from smsevents.segments.message_day import (
    MESSAGE_DAY_VERSION,
)
from smsevents.segments.segment import inflate
from smsevents.segments.selection import Selection
from smsevents.stats import messages as messages_of_stats
from smsevents.stats import parts as parts_of_stats
from smsevents.stats.messages import count_messages
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.erasure import erase
from smsevents.upkeep.packing import unpack_shop
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.window import Window
from tests.support.counting import SIZES, keep_days
from tests.support.logs import Held
from tests.support.statistics import QUARTER_MS, event_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.segments.segment import Segment
from tests.support.kept import DAYS, count, kept_numbers, of_sending, settled


@pytest.fixture
def packing(url: str) -> Iterator[Held]:
    """Yield an empty shop with a store of packs."""
    made = Held(url, MemoryStore())
    yield made
    made.database.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many lines each segment has that a count opens."""
    found: list[int] = []

    def noted(segment: Segment) -> bytes:
        lines = inflate(segment)
        found.append(lines.count(b"\n"))
        return lines

    monkeypatch.setattr(parts_of_stats, "inflate", noted)
    return found


def test_kept_days_are_not_counted_again(held: Held, read: list[int]) -> None:
    """What is kept of all days is used for every grouping and filter, in every zone, without opening a segment."""
    assert settled(held) >= DAYS
    read.clear()
    for zone in ("UTC", "Europe/Prague", "Asia/Kathmandu"):
        question = of_sending(held, zone=ZoneInfo(zone))
        for one in (
            question,
            replace(question, by=("campaign", "node")),
            replace(question, step="all", wanted=Selection(statuses=frozenset({"DELIVERED"}))),
            replace(question, step="1w", wanted=Selection(types=frozenset({"flow"}))),
        ):
            assert count_messages(held.database, held.trackpoint, one).total().sent > 0
    first_and_last = read  # the interval begins and ends within a quarter of an hour
    assert len(first_and_last) <= 12 * 2


def test_only_what_is_not_kept_is_counted(held: Held, read: list[int]) -> None:
    """After late events of a few days, only segments with messages of these days are opened."""
    settled(held)
    before = kept_numbers(held)
    day = sorted(before)[5]
    late = day * DAY_MS + 5 * HOUR_MS
    held.put([event_line(held.trackpoint, held.now - HOUR_MS, late, user="late")])
    assert before - kept_numbers(held) == {day}
    read.clear()
    aligned = Window(min(before) * DAY_MS, held.now // QUARTER_MS * QUARTER_MS - 1)
    count(held, of_sending(held, window=aligned))
    assert 0 < sum(read) < len(held.lines)
    assert keep_days(held.database, held.trackpoint, held.now) == 1
    assert kept_numbers(held) == before
    count(held, of_sending(held, window=aligned))


def test_what_tallies_said_of_kept_days_is_not_used_when_they_are_kept_no_more(packing: Held) -> None:
    """A question that is asked again after late events of kept days finds all of their messages, and each once."""
    settled(packing)
    packing.pack(SIZES)
    keep_days(packing.database, packing.trackpoint, packing.now)
    days = sorted(kept_numbers(packing))[2:-2]
    # it ends before now, so that what tallies say to it may be kept in memory
    question = of_sending(packing, window=Window(days[0] * DAY_MS + 1, days[-1] * DAY_MS - 1))
    before = count(packing, question).total().sent
    for number, day in enumerate(days[1:-1:3]):
        late = day * DAY_MS + 5 * HOUR_MS
        packing.put([event_line(packing.trackpoint, packing.now - HOUR_MS, late, user=f"late {number}")])
        assert count(packing, question).total().sent == before + number + 1
    keep_days(packing.database, packing.trackpoint, packing.now)
    assert count(packing, question).total().sent == before + number + 1


def test_packs_keep_what_is_kept(packing: Held) -> None:
    """Moving segments into packs and back changes no event of a day, so what is kept of unchanged ones still counts."""
    days = settled(packing)
    packing.pack(SIZES)
    assert packing.packs()
    assert 0 < len(kept_numbers(packing)) < days  # what is too small for a segment is merged with its neighbours
    keep_days(packing.database, packing.trackpoint, packing.now)
    assert len(kept_numbers(packing)) == days
    with packing.database.read() as connection:
        assert unpack_shop(packing.database, packing.trackpoint, list(packs_of(connection, packing.trackpoint)))
    assert len(kept_numbers(packing)) == days
    count(packing, of_sending(packing))


def test_an_erasure_deletes_what_was_counted_with_the_user(packing: Held) -> None:
    """When an erasure ends, nothing is left that was counted from the user's events; other days stay as they are."""
    settled(packing)
    before = kept_numbers(packing)
    users = Counter(plain(one).user for one in packing.lines)
    user = users.most_common()[-1][0]
    days = {plain(one).sent // DAY_MS for one in packing.lines if plain(one).user == user}
    erase(packing.database, packing.trackpoint, [user], packing.now, block=False)
    with packing.database.read() as connection:
        left = all_kept_days(connection, packing.trackpoint).keys()
    assert not left & days
    assert left == kept_numbers(packing)
    assert left
    packing.lines = {one for one in packing.lines if plain(one).user != user}
    count(packing, of_sending(packing))
    assert keep_days(packing.database, packing.trackpoint, packing.now) == len(before - left)
    count(packing, of_sending(packing))


@pytest.mark.parametrize("length", [0, 5, 60])
def test_what_cannot_be_read_is_counted(held: Held, length: int) -> None:
    """If what is kept is damaged, the lines are counted instead, and the log names the days."""
    settled(held)
    kept = kept_numbers(held)
    before = count(held, of_sending(held, by=("campaign",))).rows()
    held.database.write(
        lambda c: c.execute(update(message_days).values(data=func.substr(message_days.c.data, 1, length)))
    )
    with capture_logs() as logged:
        assert count(held, of_sending(held, by=("campaign",))).rows() == before
    assert {one["event"] for one in logged} == {"messages damaged"}
    assert {one["day"] for one in logged} == kept


def test_another_version_is_counted_again(held: Held, read: list[int]) -> None:
    """What another version kept is not used, and is counted again at once."""
    days = settled(held)
    held.database.write(lambda c: c.execute(update(message_days).values(version=MESSAGE_DAY_VERSION + 1)))
    read.clear()
    count(held, of_sending(held))
    assert read
    assert keep_days(held.database, held.trackpoint, held.now) == days


def test_the_limit_is_for_what_is_not_kept(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop with more events than can be counted has its settled days; beyond, the error says where to end."""
    settled(held)
    kept = kept_numbers(held)
    monkeypatch.setattr(messages_of_stats, "MESSAGES_EVENTS_MAX", 200)
    aligned = Window(min(kept) * DAY_MS, (max(kept) + 1) * DAY_MS - 1)
    assert count(held, of_sending(held, window=aligned)).total().events > 2000
    burst = held.now - HOUR_MS
    held.put([event_line(held.trackpoint, burst + n, burst, user=f"u{n}") for n in range(201)])
    with pytest.raises(InvalidRequest, match=r"more than 200 events.*Most messages sent before .*T\d\d:\d\dZ are"):
        count(held, of_sending(held))


def test_what_rows_and_packs_hold_is_read_once(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tallies are read once for each segment, and again only for those that were forgotten because there are many."""
    settled(held)
    decoded: list[int] = []
    decode = tally_module.decode_tally

    def noted(data: bytes) -> Any:
        decoded.append(len(data))
        return decode(data)

    monkeypatch.setattr(sent_days, "decode_tally", noted)
    count(held, of_sending(held))
    assert decoded == []
    monkeypatch.setattr(sent_days, "DAYS_REMEMBERED_MAX", 1)
    held.database.sent_days.remember("row", {})
    for _ in range(2):
        decoded.clear()
        count(held, of_sending(held))
        assert decoded

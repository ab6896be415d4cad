"""What a count may take: lines, events, memory and rows; and that it ends when it is told to."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.errors import ClientGone, InvalidRequest
from smsevents.log.recorder import append_segments
from smsevents.segments.segment import inflate, pack
from smsevents.segments.selection import Selection
from smsevents.stats import grouping, message_states
from smsevents.stats import messages as messages_of_stats
from smsevents.stats import parts as parts_of_stats
from smsevents.stats.delivery import count_deliveries
from smsevents.stats.events import count_events
from smsevents.stats.messages import count_messages
from smsevents.wire.limits import DAY_MS, HOUR_MS
from tests.support.counting import SIZES, asked, backfill, filled, last_days
from tests.support.statistics import event_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.segments.segment import Segment
    from tests.support.logs import Held


def test_too_many_events_of_messages_are_refused(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages with more events than allowed are refused before their segments are opened, with what to send."""
    filled(held, 2000)
    held.compact(SIZES)
    monkeypatch.setattr(messages_of_stats, "MESSAGES_EVENTS_MAX", 1999)
    with pytest.raises(InvalidRequest, match=r"more than 1999 events.*shorter interval"):
        count_messages(held.database, held.trackpoint, asked(held))
    few = asked(held, Selection(types=frozenset({"flow"})))
    assert 0 < count_messages(held.database, held.trackpoint, few).total().events < 2000


@pytest.mark.parametrize("is_tallied", [True, False])
def test_messages_among_too_many_other_events_are_refused(
    held: Held, monkeypatch: pytest.MonkeyPatch, *, is_tallied: bool
) -> None:
    """A campaign with few events is refused if the segments that they are in have too many lines."""
    filled(held, 2000)
    if is_tallied:
        held.compact(SIZES)
    campaign = next(plain(one).campaign[0] for one in held.lines)
    question = asked(held, Selection(campaigns=frozenset({campaign})))
    counted = count_messages(held.database, held.trackpoint, question).total()
    assert 0 < counted.events < 1000
    monkeypatch.setattr(messages_of_stats, "MESSAGES_LINES_MAX", 1000)
    with pytest.raises(InvalidRequest, match=r"more than 1000 events would have to be looked at.*shorter interval"):
        count_messages(held.database, held.trackpoint, question)


def burst(held: Held, messages: int) -> None:
    """Import messages that were all sent at once, each with two events that do not come together."""
    sent = held.now - 2 * DAY_MS
    for shift, status in ((0, "ACCEPTED"), (HOUR_MS, "DELIVERED")):
        held.put(
            event_line(held.trackpoint, sent + shift + n, sent, user=f"u{n}", status=status) for n in range(messages)
        )


def test_shares_of_messages_make_no_difference(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all messages are held at once, or few, in memory or in a file, the numbers are the same."""
    burst(held, 400)
    count = partial(count_messages, held.database, held.trackpoint, asked(held))
    whole = count()
    for share in (100, 9, 2):
        for held_bytes in (1, 10_000, 10_000_000):
            monkeypatch.setattr(message_states, "SHARE_EVENTS", share)
            monkeypatch.setattr(message_states, "RECORDS_HELD_MAX_BYTES", held_bytes)
            assert count().total() == whole.total()
    assert (whole.total().delivered, whole.total().events) == (400, 800)


@pytest.mark.parametrize("is_tallied", [True, False])
def test_each_line_of_a_burst_is_read_twice_at_most(
    held: Held, monkeypatch: pytest.MonkeyPatch, *, is_tallied: bool
) -> None:
    """However many shares messages are divided into, their segments are opened once to count and once to read."""
    burst(held, 2000)
    if is_tallied:
        held.compact(SIZES)
        backfill(held)
    read: list[int] = []

    def noted(segment: Segment) -> bytes:
        lines = inflate(segment)
        read.append(lines.count(b"\n"))
        return lines

    monkeypatch.setattr(parts_of_stats, "inflate", noted)
    monkeypatch.setattr(message_states, "SHARE_EVENTS", 20)
    assert count_messages(held.database, held.trackpoint, asked(held)).total().delivered == 2000
    assert 4000 <= sum(read) <= (5000 if is_tallied else 8000)


def test_a_count_ends_when_it_is_told_to(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every count asks before each part whether to go on, and leaves no temporary file behind."""
    filled(held, 2000)
    monkeypatch.setattr(message_states, "SHARE_EVENTS", 100)
    monkeypatch.setattr(message_states, "RECORDS_HELD_MAX_BYTES", 1000)
    room = vars(message_states)["_room"]
    for kind in (count_events, count_deliveries, count_messages):
        asks: list[int] = []
        kind(held.database, held.trackpoint, asked(held), lambda asks=asks: asks.append(1))  # type: ignore[misc]  # a default
        assert asks
        for last in range(len(asks)):
            left = iter(range(last))

            def check(left: Iterator[int] = left) -> None:
                if next(left, None) is None:
                    raise ClientGone("gone")

            with pytest.raises(ClientGone):
                kind(held.database, held.trackpoint, asked(held), check)
            assert vars(room)["_taken"] == 0


LONG = "\u0159" * 900


def many_groups(held: Held, groups: int) -> None:
    """Import events, each of a campaign and a node of its own, with long ids and names."""
    held.put(
        event_line(
            held.trackpoint,
            held.now - DAY_MS,
            held.now - DAY_MS,
            campaign=(f"{LONG}{n}",) * 2,
            node=(f"{n}{LONG}",) * 2,
        )
        for n in range(groups)
    )


@pytest.mark.parametrize("count", [count_events, count_messages])
def test_groups_that_take_too_much_memory_are_refused(
    held: Held, monkeypatch: pytest.MonkeyPatch, count: Callable[..., Any]
) -> None:
    """Long ids and names count by their bytes, once each; without groups, the same events are counted."""
    many_groups(held, 200)
    monkeypatch.setattr(grouping, "COUNT_MEMORY_MAX_BYTES", 500_000)
    monkeypatch.setattr(grouping, "KNOWN_MAX_BYTES", 10_000)
    grouped = replace(asked(held), by=("campaign", "node"))
    with pytest.raises(InvalidRequest, match=r"ids and names take more than.*`by`, or a filter"):
        count(held.database, held.trackpoint, grouped)
    assert len(count(held.database, held.trackpoint, asked(held)).rows()) == 1
    monkeypatch.setattr(grouping, "COUNT_MEMORY_MAX_BYTES", 2_000_000)
    assert len(count(held.database, held.trackpoint, grouped).rows()) == 200


@pytest.mark.parametrize("count", [count_events, count_messages])
def test_counts_that_take_too_much_memory_are_refused(
    held: Held, monkeypatch: pytest.MonkeyPatch, count: Callable[..., Any]
) -> None:
    """Many buckets of few groups are refused, too."""
    filled(held, 2000)
    monkeypatch.setattr(grouping, "COUNT_MEMORY_MAX_BYTES", 20_000)
    with pytest.raises(InvalidRequest, match="Send a longer step"):
        count(held.database, held.trackpoint, replace(asked(held), window=last_days(held, 20), step="1h"))
    assert count(held.database, held.trackpoint, replace(asked(held), window=last_days(held, 20))).rows()


@pytest.mark.parametrize("count", [count_events, count_messages])
def test_too_many_rows_are_refused(held: Held, monkeypatch: pytest.MonkeyPatch, count: Callable[..., Any]) -> None:
    """A result with more rows than allowed is refused with what to send, one with as many is not."""
    filled(held, 500)
    found = count(held.database, held.trackpoint, replace(asked(held), window=last_days(held, 20), step="1d"))
    rows = len(found.rows())
    monkeypatch.setattr(grouping, "ROWS_MAX", rows)
    assert len(found.rows()) == rows
    monkeypatch.setattr(grouping, "ROWS_MAX", rows - 1)
    with pytest.raises(InvalidRequest, match=f"has {rows} rows; at most {rows - 1}.*longer step"):
        found.rows()


@pytest.mark.parametrize("count", [count_events, count_messages])
def test_too_long_rows_are_refused(held: Held, monkeypatch: pytest.MonkeyPatch, count: Callable[..., Any]) -> None:
    """Ids and names count in each row, because the response repeats them."""
    many_groups(held, 20)
    found = count(held.database, held.trackpoint, replace(asked(held), by=("campaign", "node")))
    text_bytes = sum(
        len(one.id.encode()) + len(one.name.encode()) for row in found.rows() for one in (row.campaign, row.node)
    )
    monkeypatch.setattr(grouping, "ROWS_TEXT_MAX_BYTES", text_bytes)
    assert len(found.rows()) == 20
    monkeypatch.setattr(grouping, "ROWS_TEXT_MAX_BYTES", text_bytes - 1)
    with pytest.raises(InvalidRequest, match=r"ids and names in the 20 rows.*`top`, or a filter"):
        found.rows()


@pytest.mark.parametrize("sent", [-(2**63), 2**63 - 1, 0])
def test_messages_with_impossible_times_of_sending_count(held: Held, sent: int) -> None:
    """Events of earlier versions may have any send date of 64 bits; by the time of the event, each one counts."""
    dates = held.now - 2, held.now - 1
    lines = event_line(held.trackpoint, dates[0], sent), event_line(held.trackpoint, dates[1], held.now - 3)
    append_segments(held.database, held.trackpoint, pack(list(zip(dates, lines, strict=True)))).result()
    total = count_messages(held.database, held.trackpoint, asked(held)).total()
    assert (total.sent, total.delivered, total.events) == (2, 2, 2)


def test_messages_are_counted_by_the_name_of_a_campaign_or_node(held: Held) -> None:
    """A filter takes names as well as ids."""
    held.put(
        event_line(held.trackpoint, held.now - n, held.now - 9, campaign=(f"c{n}", f"C {n}"), node=(f"n{n}", f"N {n}"))
        for n in range(1, 4)
    )
    for selection in (Selection(campaigns=frozenset({"C 2"})), Selection(nodes=frozenset({"N 2"}))):
        question = replace(asked(held, selection), by=("campaign",))
        [row] = count_messages(held.database, held.trackpoint, question).rows()
        assert (row.sent, row.campaign) == (1, grouping.Named("c2", "C 2"))
        assert count_events(held.database, held.trackpoint, question).events == 1


@pytest.mark.parametrize("share_events", [1, 100])
def test_the_state_of_a_message_follows_the_rules(
    held: Held, monkeypatch: pytest.MonkeyPatch, share_events: int
) -> None:
    """docs/api.md, "The state of a message": each pair of events has the state that the rules name, in any order."""
    monkeypatch.setattr(message_states, "SHARE_EVENTS", share_events)
    pairs = [
        (("ACCEPTED", 2), ("EXPIRED", 1)),  # a final status beats ACCEPTED, which is newer
        (("DELIVERED", 1), ("EXPIRED", 2)),  # the newest final status wins
        (("EXPIRED", 1), ("DELIVERED", 1)),  # DELIVERED beats the others of the same time
        (("EXPIRED", 1), ("UNDELIVERABLE", 1)),  # the last one in byte order
    ]
    states = ["EXPIRED", "EXPIRED", "DELIVERED", "UNDELIVERABLE"]
    start = held.now - DAY_MS
    for number, pair in enumerate([*pairs, *(one[::-1] for one in pairs)]):
        user = f"u{number}"
        for status, after in pair:
            held.put([event_line(held.trackpoint, start + after, start, user=user, status=status)])
    total = count_messages(held.database, held.trackpoint, asked(held)).total()
    assert (total.sent, total.events) == (8, 16)
    for status in set(states):
        assert getattr(total, status.lower()) == 2 * states.count(status)

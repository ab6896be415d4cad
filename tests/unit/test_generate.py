"""Invented events: as many as asked for, in the form and order of an export, like those of a real shop."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsevents.demo.generate import generate
from smsevents.errors import InvalidRequest
from smsevents.wire.events import INT64_MAX, Event, Flow, OneOff, decode
from tests.support.lines import DAY_MS, HOUR_MS, MINUTE_MS, date_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

TRACKPOINT = 4541245641234564
END_MS = 1_763_942_399_999  # 2025-11-23 23:59:59.999 UTC
AT_ONCE = ("REJECTED", "SKIPPED")


@pytest.fixture(scope="module")
def month() -> list[Event]:
    """Return the events of thirty days."""
    lines = generate(TRACKPOINT, events=60_000, days=30, seed=3, end_ms=END_MS)
    return [decode(line)[0] for line in lines]


def check(lines: Sequence[bytes], trackpoint: int, days: float, end_ms: int) -> None:
    """Check all that holds for every line and for their order."""
    decoded = [decode(line) for line in lines]
    assert [canonical for _, canonical in decoded] == list(lines)
    events = [event for event, _ in decoded]
    assert {event.smsEvent.trackpoint for event in events} <= {trackpoint}
    dates = [event.smsEvent.date for event in events]
    assert all(0 <= end_ms - date <= days * DAY_MS for date in dates)
    assert all(event.source.sendDate <= event.smsEvent.date for event in events)
    entries = list(zip(dates, lines, strict=True))
    assert entries == sorted(set(entries))


def message(event: Event) -> Hashable:
    """Return the values that identify the message of an event."""
    return event.smsEvent.userId, event.source


def share(events: Sequence[Event], *statuses: str) -> float:
    """Return the share of the events that have one of the statuses."""
    return sum(event.smsEvent.status in statuses for event in events) / len(events)


@pytest.mark.slow
@settings(deadline=None)
@given(
    trackpoint=st.integers(1, INT64_MAX),
    events=st.integers(0, 400),
    days=st.floats(0, 120, exclude_min=True),
    seed=st.integers(),
    end_ms=st.integers(-INT64_MAX + 120 * DAY_MS, INT64_MAX),
)
@example(trackpoint=1, events=0, days=90, seed=0, end_ms=END_MS)
@example(trackpoint=1, events=1, days=90, seed=0, end_ms=END_MS)
@example(trackpoint=1, events=7, days=0.01, seed=0, end_ms=END_MS)
@example(trackpoint=INT64_MAX, events=100, days=3650, seed=-1, end_ms=END_MS)
@example(trackpoint=1, events=400, days=1e-9, seed=1, end_ms=0)
@example(trackpoint=1, events=5, days=1e-9, seed=1, end_ms=-INT64_MAX + 120 * DAY_MS)
@example(trackpoint=1, events=5000, days=3 / DAY_MS, seed=1, end_ms=END_MS)
def test_small_logs_are_right(trackpoint: int, events: int, days: float, seed: int, end_ms: int) -> None:
    """Any small number of events in any window gives so many canonical, sorted, different lines within it."""
    lines = list(generate(trackpoint, events=events, days=days, seed=seed, end_ms=end_ms))

    assert len(lines) == events
    check(lines, trackpoint, days, end_ms)


@pytest.mark.parametrize(("events", "days"), [(60_001, 90), (60_000, 1), (60_000, 0.01), (60_000, 0.000_01)])
def test_larger_logs_are_right(events: int, days: float) -> None:
    """The same holds where a slice of time has thousands of events, down to a window below a second."""
    lines = list(generate(TRACKPOINT, events=events, days=days, seed=11, end_ms=END_MS))

    assert len(lines) == events
    check(lines, TRACKPOINT, days, END_MS)


def test_the_first_lines_of_a_huge_log_come_at_once() -> None:
    """A hundred million events can be asked for, and nothing but what is read of them is made."""
    lines = list(islice(generate(TRACKPOINT, events=100_000_000, days=90, seed=1, end_ms=END_MS), 2000))

    assert len(lines) == 2000
    check(lines, TRACKPOINT, 90, END_MS)


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    """Only a slice of time and the receipts on their way are in memory, not the log."""
    tracemalloc.start()
    line_bytes = sum(map(len, generate(TRACKPOINT, events=100_000, days=90, seed=1, end_ms=END_MS)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < line_bytes / 4


def test_the_same_arguments_give_the_same_lines() -> None:
    """Two calls with equal arguments give equal lines, also when their reading is interleaved."""
    one = generate(TRACKPOINT, events=3000, days=30, seed=5, end_ms=END_MS)
    other = generate(TRACKPOINT, events=3000, days=30, seed=5, end_ms=END_MS)

    assert all(line == same for line, same in zip(one, other, strict=True))


def test_another_seed_gives_other_lines() -> None:
    """Two seeds have no line in common."""
    one = set(generate(TRACKPOINT, events=3000, days=30, seed=5, end_ms=END_MS))

    assert one.isdisjoint(generate(TRACKPOINT, events=3000, days=30, seed=6, end_ms=END_MS))


def test_shares_of_types_and_statuses(month: list[Event]) -> None:
    """Campaigns make most of the events, messages have about two each, and nearly all are delivered."""
    statuses = Counter(event.smsEvent.status for event in month)
    messages = len({message(event) for event in month})

    assert 0.6 < sum(isinstance(event.source, OneOff) for event in month) / len(month) < 0.8
    assert 1.9 < len(month) / messages < 2.1
    assert 0.92 < statuses["DELIVERED"] / messages < 1  # some count twice, with two parts
    assert 0.95 < statuses["ACCEPTED"] / messages < 1
    for status in ("EXPIRED", "UNDELIVERABLE", "REJECTED", "SKIPPED"):
        assert 0.002 < statuses[status] / messages < 0.05
    assert 0 < statuses["DELETED"] / messages < 0.005


def test_the_life_of_a_message(month: list[Event]) -> None:
    """A message is refused at once, or accepted and then ended by one status, at a credible time.

    A few have one more event: the receipt of a second part, or the delivery of a message that was reported as expired.
    """
    lives: dict[Hashable, list[Event]] = {}
    for event in month:
        lives.setdefault(message(event), []).append(event)
    delays: list[int] = []
    thirds: Counter[str] = Counter()
    for first, *rest in lives.values():
        assert first.smsEvent.date - first.source.sendDate < MINUTE_MS
        if first.smsEvent.status in AT_ONCE:
            assert not rest
            continue
        assert first.smsEvent.status == "ACCEPTED"
        assert len(rest) <= 2
        ends = [last.smsEvent.status for last in rest]
        if len(rest) == 2:
            assert ends in (["DELIVERED", "DELIVERED"], ["EXPIRED", "DELIVERED"])
            thirds[ends[0]] += 1
            after = rest[1].smsEvent.date - rest[0].smsEvent.date
            assert 0 < after <= (2000 if ends[0] == "DELIVERED" else 6 * HOUR_MS)
        for last in rest[:1]:
            delay = last.smsEvent.date - first.smsEvent.date
            assert last.smsEvent.status not in ("ACCEPTED", *AT_ONCE)
            assert (last.smsEvent.status == "EXPIRED") == (delay >= 24 * HOUR_MS)
            assert delay <= 72 * HOUR_MS
            if last.smsEvent.status == "DELIVERED":
                delays.append(delay)
    delays.sort()
    assert 2000 < delays[len(delays) // 2] < MINUTE_MS
    assert delays[-1] > HOUR_MS
    assert 0.03 < thirds["DELIVERED"] / len(delays) < 0.07
    assert thirds["EXPIRED"] > 10


def test_campaigns_are_bursts_at_daytime(month: list[Event]) -> None:
    """A month has some campaigns; each sends hundreds of messages or more within an hour, by day."""
    sent: dict[str, list[int]] = {}
    for event in month:
        if isinstance(event.source, OneOff):
            sent.setdefault(event.source.campaign.id, []).append(event.source.sendDate)

    assert 8 <= len(sent) <= 20
    for dates in sent.values():
        assert len(dates) > 200
        assert max(dates) - min(dates) < HOUR_MS
        assert 6 <= min(dates) % DAY_MS // HOUR_MS < 20
    sizes = sorted(map(len, sent.values()))
    assert sizes[-1] > 4 * sizes[0]


def test_campaigns_differ_in_quality(month: list[Event]) -> None:
    """A campaign that is sent to an old list has several times as many undeliverable messages as the median one."""
    sent: Counter[str] = Counter()
    undeliverable: Counter[str] = Counter()
    for event in month:
        if isinstance(event.source, OneOff):
            sent[event.source.campaign.id] += event.smsEvent.status == "ACCEPTED"
            undeliverable[event.source.campaign.id] += event.smsEvent.status == "UNDELIVERABLE"
    shares = sorted(undeliverable[id_] / sent[id_] for id_ in sent)

    assert shares[len(shares) // 2] < 0.03
    assert shares[-1] > 3 * shares[len(shares) // 2]


def test_arrival_changes_only_the_order() -> None:
    """In the order of arrival the lines are the same, and a few percent come later than their date says, by hours."""
    by_date = list(generate(TRACKPOINT, events=20_000, days=30, seed=3, end_ms=END_MS))
    by_arrival = list(generate(TRACKPOINT, events=20_000, days=30, seed=3, end_ms=END_MS, by_arrival=True))
    newest = 0
    late: list[int] = []
    for line in by_arrival:
        date = date_of(line)
        if date < newest:
            late.append(newest - date)
        newest = max(newest, date)

    assert by_arrival != by_date
    assert sorted(by_arrival) == sorted(by_date)
    assert 0.02 < len(late) / len(by_arrival) < 0.035
    assert 2 * HOUR_MS < sum(late) / len(late) < 7 * HOUR_MS


def test_flows_are_a_trickle_with_a_daily_rhythm(month: list[Event]) -> None:
    """Flows send on every day of the window, by several nodes, and far more by day than by night."""
    sources = [event.source for event in month if isinstance(event.source, Flow)]
    hours = Counter(source.sendDate % DAY_MS // HOUR_MS for source in sources)
    days = Counter((END_MS - source.sendDate) // DAY_MS for source in sources)

    assert len({source.node.id for source in sources}) > 5
    assert set(days) == set(range(30))
    assert max(days.values()) < 3 * min(days.values())
    assert sum(hours[hour] for hour in range(9, 15)) > 30 * sum(hours[hour] for hour in range(6))


def test_users_get_several_messages_and_share_milliseconds(month: list[Event]) -> None:
    """There are fewer users than messages, their ids are digits, and bursts put events on one millisecond."""
    users = {event.smsEvent.userId for event in month}
    messages = {message(event) for event in month}
    dates = Counter(event.smsEvent.date for event in month)

    assert all(user.isascii() and user.isdigit() for user in users)
    assert 2 * len(users) < len(messages)
    assert max(dates.values()) > 1


def test_names_are_hard_to_handle(month: list[Event]) -> None:
    """Ids are 32 hex digits; names hold quotes, diacritics, an emoji and U+2028, which lines show escaped."""
    nodes = [event.source.node for event in month if isinstance(event.source, Flow)]
    names = {event.source.campaign.name for event in month} | {node.name for node in nodes}
    ids = {event.source.campaign.id for event in month} | {node.id for node in nodes}
    text = "".join(names)
    lines = b"\n".join(generate(TRACKPOINT, events=2000, days=30, seed=3, end_ms=END_MS))

    assert all(len(id_) == 32 and set(id_) <= set("0123456789abcdef") for id_ in ids)
    assert {'"', "ě", "\u2028"} <= set(text)
    assert max(text) > "\uffff"
    assert rb"\u2028" in lines
    assert "\u2028".encode() not in lines


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"events": -1}, "number of events is -1"),
        ({"days": 0}, "number of days is 0"),
        ({"days": -1.5}, "number of days is -1.5"),
        ({"days": 3650.1}, "at most 3650"),
        ({"days": float("nan")}, "number of days is nan"),
        ({"days": float("inf")}, "number of days is inf"),
        ({"trackpoint": 0}, "trackpoint is 0"),
        ({"trackpoint": 2**63}, f"1 to {INT64_MAX}"),
        ({"end_ms": 2**63}, "fit into 64 bits"),
        ({"end_ms": -(2**63)}, "fit into 64 bits"),
    ],
)
def test_a_wrong_argument_is_told_before_the_first_line(wrong: dict[str, Any], told: str) -> None:
    """An argument out of its range is refused by the call itself, with a text that names it."""
    arguments: dict[str, Any] = {"trackpoint": 1, "events": 10, "days": 1, "seed": 1, "end_ms": END_MS}

    with pytest.raises(InvalidRequest, match=told):
        generate(**(arguments | wrong))

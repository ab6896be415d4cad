"""`pull --messages`: files with one row per message and its state, right after every pull."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client import ConfigurationError, Filter
from smsevents.client.pull.days import Split, start_of
from smsevents.client.pull.formats import FormatName
from smsevents.client.pull.message_files import MessageFiles
from tests.support.lines import DAY_MS, HOUR_MS, MINUTE_MS, date_of
from tests.support.messages import message_line, messages_of, ordered_rows
from tests.support.pulling import DAYS, NOW, TRACKPOINT, Site, batch_of
from tests.support.standin import Account

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from smsevents.client.lines import Batch

STATUSES = ["DELIVERED", "ACCEPTED", "EXPIRED", "DELETED", "UNDELIVERABLE", "REJECTED", "SKIPPED"]
START = start_of(DAYS[0])


def source_of(lines: list[bytes]) -> Any:
    """Return a source of lines, as `Site.pull` takes it."""

    def batches(start: int, end: int) -> Generator[Batch]:
        """Yield the lines of an interval, in the order in which they are."""
        some = [one for one in lines if start <= date_of(one) <= end]
        if some:
            yield batch_of(some)

    return batches


def rows_of(site: Site) -> list[dict[str, Any]]:
    """Return the rows of all files of messages in one order."""
    return ordered_rows(chain.from_iterable(site.messages().values()))


def is_table(site: Site) -> bool:
    """Return whether the format has columns."""
    return site.wish.get("format", FormatName.JSONL) is not FormatName.JSONL


# few users, sources, times of sending and times, so that events share messages and times
events = st.builds(
    message_line,
    st.just(TRACKPOINT),
    st.sampled_from(["1", 'a"b\\', "=ž\n,;'", '","date":5}']),
    st.sampled_from(STATUSES),
    st.integers(0, 9).map(lambda half_days: START + half_days * DAY_MS // 2 - half_days % 2),
    st.sampled_from([START, START + DAY_MS // 3, START + DAY_MS, START - 40 * DAY_MS, 0, -5, 2**62]),
    st.none() | st.sampled_from(["", "n1"]),
    st.sampled_from(["Sale", '=1;"x"']),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(events, max_size=12), min_size=1, max_size=4),
    st.sampled_from(list(Split)),
    st.sampled_from(list(FormatName)),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_messages_are_those_of_a_plain_model(  # noqa: PLR0913, PLR0917 -- drawn by hypothesis
    tmp_path_factory: pytest.TempPathFactory,
    arrivals: list[list[bytes]],
    split: Split,
    format_: FormatName,
    compressed: bool,
    chance: Any,
) -> None:
    """After each pull, the files hold exactly the messages of all events ever, however these arrived."""
    site = Site(tmp_path_factory.mktemp("pull"))
    site.wish = {"split": split, "format": format_, "compressed": compressed}
    known: list[bytes] = []
    for some in arrivals:
        known += some
        sent = [*known, *some]
        chance.shuffle(sent)

        summary = site.pull(source_of(sent), messages=True, lookback_days=30)

        assert summary.is_complete
        assert rows_of(site) == messages_of(known, as_table=is_table(site))
        assert site.state() == []
    assert all(site.messages().values())


MINUTE_END = START + 14 * HOUR_MS
CASES: dict[str, tuple[list[tuple[str, int]], dict[str, Any]]] = {
    "accepted after whole minutes": (
        [("ACCEPTED", MINUTE_END + 30_000), ("DELIVERED", MINUTE_END)],
        {
            "state": "DELIVERED",
            "state_date": MINUTE_END,
            "first_date": MINUTE_END,
            "accepted_date": MINUTE_END + 30_000,
        },
    ),
    "a correction": (
        [("ACCEPTED", START), ("EXPIRED", START + 2 * DAY_MS), ("DELIVERED", START + 3 * DAY_MS)],
        {"state": "DELIVERED", "state_date": START + 3 * DAY_MS, "delivered_date": START + 3 * DAY_MS},
    ),
    "delivered, then expired": (
        [("DELIVERED", START), ("EXPIRED", START + DAY_MS)],
        {"state": "EXPIRED", "state_date": START + DAY_MS, "delivered_date": None},
    ),
    "a tie with a delivery": (
        [("EXPIRED", START), ("DELIVERED", START), ("UNDELIVERABLE", START)],
        {"state": "DELIVERED", "delivered_date": START},
    ),
    "a tie without a delivery": ([("EXPIRED", START), ("REJECTED", START), ("DELETED", START)], {"state": "REJECTED"}),
    "several parts": (
        [("ACCEPTED", START), ("ACCEPTED", START + 9), ("DELIVERED", START + 20), ("DELIVERED", START + DAY_MS)],
        {
            "state": "DELIVERED",
            "state_date": START + DAY_MS,
            "event_count": 4,
            "accepted_date": START,
            "delivered_date": START + 20,
        },
    ),
    "only accepted": ([("ACCEPTED", START)], {"state": "ACCEPTED", "accepted_date": START, "delivered_date": None}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_late_event_decides(tmp_path: Path, name: str) -> None:
    """The state follows the rule for each pair of events, whichever of them arrives last."""
    history, expected = CASES[name]
    lines = [message_line(TRACKPOINT, "1", status, at, START - 500) for status, at in history]
    for last in lines:
        site = Site(tmp_path / str(lines.index(last)))
        before = [one for one in lines if one != last]
        site.pull(source_of(before), messages=True, lookback_days=30)

        summary = site.pull(source_of(lines), lookback_days=30)

        [row] = rows_of(site)
        assert row | expected == row
        assert summary.messages is not None
        assert summary.messages.files_written == 1


def some_messages(count: int) -> list[bytes]:
    """Return the events of messages: each accepted at once, and delivered up to three days later."""
    found = []
    for number in range(count):
        sent = START + number * 7 * DAY_MS // count
        found += [
            message_line(TRACKPOINT, f"user {number}", "ACCEPTED", sent + 200, sent),
            message_line(TRACKPOINT, f"user {number}", "DELIVERED", sent + number % 4 * 20 * HOUR_MS + 900, sent),
        ]
    return sorted(found, key=date_of)


def state_of(site: Site) -> dict[str, tuple[int, int]]:
    """Return what tells whether a file was replaced, for each file of messages."""
    folder = site.path / "_messages"
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def test_a_message_stays_in_the_file_of_its_sending(site: Site) -> None:
    """A late event replaces only the file of the day on which its message was sent."""
    lines = some_messages(100)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull(messages=True)
    assert list(site.messages()) == [f"{day}.jsonl.gz" for day in DAYS[:7]]
    assert rows_of(site) == messages_of(lines, as_table=False)
    before = state_of(site)

    late = message_line(TRACKPOINT, "user 50", "EXPIRED", NOW - MINUTE_MS, START + 50 * 7 * DAY_MS // 100)
    account.lines = [*lines, late]
    summary = site.pull()

    assert rows_of(site) == messages_of(account.lines, as_table=False)
    assert {name for name, state in state_of(site).items() if state != before[name]} == {f"{DAYS[3]}.jsonl.gz"}
    assert summary.messages is not None
    assert summary.messages.files_written == 1
    assert [name for name, changed in site.heard.messages.items() if changed] == [f"_messages/{DAYS[3]}.jsonl.gz"]


def test_nothing_new_reads_and_writes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no file of events has changed, none of them is read for the messages."""
    site.standin.answers(Account(lines=some_messages(30)))
    site.pull(messages=True)
    before = state_of(site)
    read: list[str] = []
    monkeypatch.setattr(MessageFiles, "_read", lambda _files, part, *_: read.append(part))

    site.pull(first=DAYS[-1])

    assert read == []
    assert state_of(site) == before


@pytest.mark.parametrize("split", Split)
def test_a_directory_gets_messages_later(site: Site, split: Split) -> None:
    """A directory pulled without messages gets those of all of its events, also of days that the server lost."""
    site.wish = {"split": split}
    lines = some_messages(60)
    account = Account(lines=lines)
    site.standin.answers(account)
    assert site.pull().messages is None
    assert site.messages() == {}
    account.lines = []

    site.pull(messages=True, first=DAYS[-1], now=NOW + 85 * DAY_MS)

    assert rows_of(site) == messages_of(lines, as_table=False)
    assert site.lines() == lines


def test_messages_belong_to_the_directory_until_they_are_refused(site: Site) -> None:
    """Later pulls keep messages right without the option; `--no-messages` removes their files and nothing else."""
    lines = some_messages(40)
    account = Account(lines=lines[::2])
    site.standin.answers(account)
    site.pull(messages=True)
    account.lines = lines
    site.pull(lookback_days=30)
    assert rows_of(site) == messages_of(lines, as_table=False)

    assert site.pull(messages=False).messages is None

    assert not (site.path / "_messages").exists()
    assert not (site.path / ".smsevents" / "messages.json").exists()
    assert site.lines() == lines
    assert site.pull().messages is None
    site.pull(messages=True)
    assert rows_of(site) == messages_of(lines, as_table=False)


def test_replacing_replaces_messages_too(site: Site) -> None:
    """A message whose events were all erased at the server is gone, and so is a file without messages."""
    lines = some_messages(40)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull(messages=True)
    kept = [one for one in lines if b'"user 1' not in one and b'"user 2' not in one]
    account.lines = [one for one in kept if json.loads(one)["source"]["sendDate"] >= START + DAY_MS]

    site.pull(replace=True)

    assert site.lines() == account.lines
    assert rows_of(site) == messages_of(account.lines, as_table=False)
    assert f"{DAYS[0]}.jsonl.gz" not in site.messages()
    assert f"_messages/{DAYS[0]}.jsonl.gz" in site.heard.gone


def test_retention_keeps_messages(site: Site) -> None:
    """What the server no longer has stays in the messages, and late events are added to it."""
    lines = some_messages(60)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull(messages=True)
    later = NOW + 86 * DAY_MS
    late = message_line(TRACKPOINT, "user 5", "EXPIRED", later - HOUR_MS, START + 5 * 7 * DAY_MS // 60)
    account.lines = [one for one in [*lines, late] if date_of(one) >= later - 90 * DAY_MS]

    site.pull(now=later, first=None, last=None)

    assert rows_of(site) == messages_of([*lines, late], as_table=False)


def test_files_that_were_removed_are_made_again(site: Site) -> None:
    """A lost file of messages, or a lost or damaged state, is made again from the files of events."""
    lines = some_messages(40)
    site.standin.answers(Account(lines=lines))
    site.pull(messages=True)
    right = site.messages()
    folder, state = site.path / "_messages", site.path / ".smsevents" / "messages.json"

    (folder / f"{DAYS[2]}.jsonl.gz").unlink()
    (folder / f"{DAYS[3]}.jsonl.gz").write_bytes(b"")
    site.pull()
    assert site.messages() == right

    state.write_bytes(b"{")
    (folder / "2026-01-01.jsonl.gz").write_bytes(b"left over")
    (folder / "notes.jsonl.gz").write_bytes(b"of another program")
    site.pull()
    assert (folder / "notes.jsonl.gz").read_bytes() == b"of another program"
    (folder / "notes.jsonl.gz").unlink()
    assert site.messages() == right

    state.unlink()
    (folder / f"{DAYS[2]}.jsonl.gz").write_bytes(b"")
    site.pull()
    assert site.messages() == right
    state.unlink()
    site.pull(messages=False)
    assert not folder.exists()


def test_events_whose_file_was_removed_have_no_messages(site: Site) -> None:
    """If a user removes the file of a day, as to erase it, its events do not stay in the messages."""
    lines = some_messages(40)
    site.standin.answers(Account(lines=lines))
    site.pull(messages=True)
    (site.path / f"{DAYS[1]}.jsonl.gz").unlink()

    site.pull(first=DAYS[-1])

    assert rows_of(site) == messages_of(site.lines(), as_table=False)
    assert len(rows_of(site)) < 40


def test_a_damaged_file_of_events_is_told(site: Site) -> None:
    """If a file of events cannot be read, the message names it, and the files of messages stay as they were."""
    site.standin.answers(Account(lines=some_messages(40)))
    site.pull(messages=True)
    before, events = site.messages(), site.lines()
    path = site.path / f"{DAYS[1]}.jsonl.gz"
    right = path.read_bytes()
    path.write_bytes(b"\x1f\x8b" + right[2:-4])
    site.wish = {}

    summary = site.pull(first=DAYS[-1])

    assert summary.messages is not None
    assert path.name in str(summary.messages.error)
    assert not summary.is_complete
    assert site.messages() == before
    path.write_bytes(right)
    assert site.pull(first=DAYS[-1]).is_complete
    assert (site.messages(), site.lines()) == (before, events)


def test_a_filter_that_makes_states_wrong_is_refused(site: Site) -> None:
    """A filter by status is refused with messages, in a new directory and in one that has that filter."""
    site.standin.answers(Account(lines=some_messages(10)))
    site.wish = {"filter": Filter(status="DELIVERED")}
    site.pull()
    before = site.lines()

    with pytest.raises(ConfigurationError, match="Omit --messages; or omit --status"):
        site.pull(messages=True)

    assert site.lines() == before
    assert site.messages() == {}
    assert not (site.path / ".smsevents" / "messages.json").exists()


@pytest.mark.parametrize(
    "where",
    [
        Filter(userId="user 3"),
        Filter(type="one-off"),
        Filter(campaign="Sale", sentFrom=START + DAY_MS),
    ],
)
def test_filters_by_what_a_message_has_are_right(site: Site, where: Filter) -> None:
    """All other filters match all events of a message or none, so the messages of the matching ones are right."""
    lines = some_messages(40)
    site.standin.answers(Account(lines=lines))
    site.wish = {"filter": where}

    site.pull(messages=True)

    everything = messages_of(lines, as_table=False)
    assert rows_of(site)
    assert [row for row in everything if row in rows_of(site)] == rows_of(site)
    assert rows_of(site) == messages_of(site.lines(), as_table=False)

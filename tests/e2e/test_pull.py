"""`Pull` over HTTP against a stand-in: whatever the server sends, the files hold each of its events exactly once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.client.pull.days import Split, day_of, part_of, start_of
from smsevents.client.pull.directory import Directory, DirectoryOptions
from smsevents.client.pull.errors import DirectoryInUse, DirectoryUnusable, OtherOptions
from smsevents.client.pull.formats import FormatName, format_named
from tests.support.lines import DAY_MS, HOUR_MS, body_of, date_of
from tests.support.pulling import DAYS, TRACKPOINT, Site, ordered, some_lines
from tests.support.standin import Account

if TYPE_CHECKING:
    from datetime import date


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("format_", FormatName)
@pytest.mark.parametrize("compressed", [True, False])
def test_files_hold_the_servers_events(site: Site, split: Split, format_: FormatName, compressed: bool) -> None:
    """Unordered and duplicate events are sorted and deduplicated in every format and split; nothing else is left."""
    lines = some_lines(2000)
    site.standin.answers(Account(lines=lines, copies=3))
    site.wish = {"split": split, "format": format_, "compressed": compressed}

    summary = site.pull()

    assert site.lines() == lines
    assert summary.missing == []
    assert (summary.events_received, summary.events_new) == (2000, 2000)
    assert site.state() == []
    suffix = format_named(format_, compressed=compressed).suffix
    assert site.names() == sorted({part_of(day, split) + suffix for day in DAYS})


def test_a_second_pull_fetches_what_may_have_changed(site: Site) -> None:
    """Days before the look-back are not fetched again; within it, late receipts are merged and deduplicated."""
    lines = some_lines(300)
    account = Account(lines=lines[::2])
    site.standin.answers(account)
    site.pull()
    asked = len(site.standin.requests)
    account.lines = lines

    summary = site.pull()

    again = [day_of(request.interval["from"]) for request in site.standin.requests[asked:]]
    assert sorted(again) == DAYS[-4:]  # today, and the three days whose look-back has not ended
    assert summary.plan.final == DAYS[:-4]
    expected = [one for one in lines if day_of(date_of(one)) in DAYS[-4:] or one in lines[::2]]
    assert site.lines() == ordered(expected)
    assert site.pull(lookback_days=30).plan.fetch == DAYS
    assert site.lines() == lines


def test_a_file_is_left_alone_if_nothing_is_new(site: Site) -> None:
    """A day that is read again without new events leaves its file unchanged, including the modification time."""
    site.standin.answers(Account(lines=some_lines(100)))
    site.pull()

    def files() -> dict[str, tuple[int, int, bytes]]:
        paths = [site.path / name for name in site.names()]
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

    before = files()

    summary = site.pull()

    assert summary.files_written == 0
    assert len(summary.fetched) == 4
    assert not any(site.heard.files.values())
    assert files() == before


def test_a_day_becomes_final_in_time(site: Site) -> None:
    """Each day is read every night until its look-back has ended, and then never again."""
    site.standin.answers(Account(lines=[]))
    reads: dict[date, int] = dict.fromkeys(DAYS, 0)
    for night in range(len(DAYS)):
        for day in site.pull(now=start_of(DAYS[night]) + 2 * HOUR_MS, last=None).fetched:
            reads[day] += 1

    assert [reads[day] for day in DAYS[:6]] == [5] * 6


@pytest.mark.parametrize("split", Split)
def test_expired_events_stay(site: Site, split: Split) -> None:
    """Events that the server has expired stay in the files, even on a day that it holds only in part."""
    site.wish = {"split": split}
    lines = some_lines(400)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull()
    later = start_of(DAYS[5]) + 90 * DAY_MS + 12 * HOUR_MS
    account.lines = [one for one in lines if date_of(one) >= later - 90 * DAY_MS]

    summary = site.pull(now=later, lookback_days=200)

    assert summary.plan.expired == DAYS[:5]
    assert DAYS[5] in summary.fetched
    assert site.lines() == lines


@pytest.mark.parametrize("split", Split)
def test_replacing_drops_what_the_server_lost(site: Site, split: Split) -> None:
    """`replace` refetches final days and drops erased events, but never those that the server has only expired."""
    site.wish = {"split": split}
    lines = some_lines(400)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull()
    later = start_of(DAYS[2]) + 90 * DAY_MS + 12 * HOUR_MS
    account.lines = [one for one in lines[::2] if date_of(one) >= later - 90 * DAY_MS]

    site.pull(now=later, replace=True)

    # the two oldest days are only merged, in case the clocks differ
    assert site.lines() == [one for one in lines if day_of(date_of(one)) <= DAYS[3] or one in lines[::2]]


def test_without_replacing_nothing_is_dropped(site: Site) -> None:
    """Without `replace`, an event that vanished from the server stays in its file."""
    lines = some_lines(100)
    site.standin.answers(Account(lines=lines))
    site.pull()
    site.standin.answers(Account(lines=[]))

    summary = site.pull(lookback_days=30)

    assert summary.files_written == 0
    assert site.lines() == lines


def test_the_oldest_day_comes_first(site: Site) -> None:
    """Days are requested oldest first, because the oldest is the next to expire, each as a closed interval."""
    site.standin.answers(Account(lines=[]))

    site.pull(jobs=1)

    assert [request.interval for request in site.standin.requests] == [
        {"from": start_of(day), "to": start_of(day) + DAY_MS - 1} for day in DAYS
    ]


def test_a_lost_file_is_fetched_again(site: Site) -> None:
    """A file that was removed, or whose size differs from the recorded one, is fetched again and merged."""
    lines = some_lines(300)
    site.standin.answers(Account(lines=lines))
    site.wish = {"compressed": False}
    site.pull()
    (site.path / f"{DAYS[0]}.jsonl").unlink()
    kept = [one for one in lines if day_of(date_of(one)) == DAYS[1]][:5]
    (site.path / f"{DAYS[1]}.jsonl").write_bytes(body_of(kept))

    summary = site.pull()

    assert {DAYS[0], DAYS[1]} <= set(summary.fetched)
    assert DAYS[2] not in summary.fetched
    assert site.lines() == lines


def test_a_lost_manifest_loses_no_event(site: Site) -> None:
    """A directory without its manifest is read again and merged; events that only the files have stay."""
    lines = some_lines(300)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull()
    (site.path / ".smsevents" / "manifest.json").unlink()
    account.lines = lines[150:]

    summary = site.pull()

    assert sorted(summary.fetched) == DAYS
    assert site.lines() == lines
    assert site.pull().plan.final == DAYS[:-4]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"format": FormatName.CSV}, "format jsonl, not csv"),
        ({"split": Split.MONTH}, "split day, not month"),
        ({"compressed": False}, "compressed true, not false"),
    ],
)
def test_other_options_are_refused(site: Site, other: dict[str, Any], told: str) -> None:
    """A directory keeps its options; a pull with other options is refused and changes nothing."""
    site.standin.answers(Account(lines=some_lines(20)))
    site.pull()
    before, manifest = site.names(), (site.path / ".smsevents" / "manifest.json").read_bytes()
    site.wish = other

    with pytest.raises(OtherOptions, match=told):
        site.pull()

    assert site.names() == before
    assert (site.path / ".smsevents" / "manifest.json").read_bytes() == manifest


def test_another_shop_or_server_is_refused(site: Site) -> None:
    """One directory never mixes shops or servers."""
    site.standin.answers(Account(lines=[]))
    site.pull()

    for wish in (
        DirectoryOptions(trackpoint=8, url="http://server"),
        DirectoryOptions(trackpoint=TRACKPOINT, url="http://other"),
    ):
        with pytest.raises(OtherOptions, match="was created with"):
            Directory(site.path, wish)


def test_a_manifest_that_cannot_be_read_is_refused(site: Site) -> None:
    """A manifest that is damaged or of a newer version is reported and not overwritten."""
    site.standin.answers(Account(lines=[]))
    site.pull()
    path = site.path / ".smsevents" / "manifest.json"
    good = json.loads(path.read_bytes())

    for text, told in (("{", "cannot be read"), (json.dumps(good | {"version": 3}), "newer smsevents")):
        path.write_text(text)
        with pytest.raises(DirectoryUnusable, match=told):
            site.pull()
        assert path.read_text() == text


def test_two_pulls_do_not_meet(site: Site) -> None:
    """While one pull runs in a directory, another is refused; afterwards the directory is free."""
    wish = DirectoryOptions(trackpoint=TRACKPOINT, url="http://server")
    with Directory(site.path, wish), pytest.raises(DirectoryInUse, match="Another pull is already running in"):
        Directory(site.path, wish)

    with Directory(site.path, wish):
        pass

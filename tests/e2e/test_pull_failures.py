"""`Pull` when something fails: truncation, bad lines, limits, damage, stops; what is on disk is always correct."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client import Client, Retry, TruncatedStream
from smsevents.client import lines as client_lines
from smsevents.client.pull.days import Split, day_of, start_of
from smsevents.client.pull.fetch import PULL_DAY_TRIES_MAX
from smsevents.client.pull.formats import FormatName
from smsevents.client.pull.schedule import PULL_FAILED_DAYS_MAX
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line
from tests.support.pulling import DAYS, TRACKPOINT, PlainSource, Site, batch_of, ordered, some_lines
from tests.support.standin import Account, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from smsevents.client.lines import Batch
    from tests.support.standin import Request

CUTS = 200
WAIT_MAX_SECONDS = 30


@pytest.mark.parametrize("split", Split)
def test_a_cut_stream_is_fetched_again(site: Site, split: Split) -> None:
    """A day whose stream is truncated is fetched again in full; what came of it before is discarded."""
    lines = some_lines(500)
    account = Account(lines=lines)
    tries: dict[int, int] = {}

    def cut_twice(request: Request) -> Answer:
        start = request.interval["from"]
        tries[start] = tries.get(start, 0) + 1
        return Answer(lines=account(request).lines, cut_at=900 * tries[start] if tries[start] < 3 else None)

    site.standin.answers(cut_twice)
    site.wish = {"split": split}

    summary = site.pull()

    assert summary.missing == []
    assert site.lines() == lines
    assert {day for day, _ in site.heard.retries} == set(DAYS)


def only(day: date, bad: Answer, account: Account) -> Callable[[Request], Answer]:
    """Respond badly for one day, and as an account does for the others."""
    return lambda request: bad if request.interval["from"] == start_of(day) else account(request)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Answer(lines=some_lines(50, DAYS[3], DAYS[3]), cut_at=2000), "truncated after"),
        (Answer(lines=some_lines(50, DAYS[3], DAYS[3]), tail=b"terminated early\n"), "terminated early"),
        (Answer(lines=[*some_lines(5, DAYS[3], DAYS[3]), b'{"exception":"timeout"}']), "Line 6 of the export"),
        (Answer(lines=some_lines(50, DAYS[4], DAYS[4])), "Line 1: its date"),
        (Answer(lines=[line(8, start_of(DAYS[3]))]), "trackpoint is 8"),
        (Answer(lines=[b"<html>"], content_type="text/html"), "text/html"),
        (Answer(status=500), "500"),
    ],
    ids=["cut", "text", "error", "day", "shop", "page", "500"],
)
@pytest.mark.parametrize("split", Split)
def test_one_bad_day_leaves_the_others_good(site: Site, bad: Answer, told: str, split: Split) -> None:
    """A day that keeps failing is named with its reason and gets no file; others are done, the next pull fixes it."""
    lines = some_lines(500)
    site.wish = {"split": split}
    site.standin.answers(only(DAYS[3], bad, Account(lines=lines)))

    summary = site.pull()

    assert summary.missing == [DAYS[3]]
    assert list(summary.failed) == [DAYS[3]]
    assert told in str(summary.failed[DAYS[3]])
    assert site.lines() == [one for one in lines if day_of(date_of(one)) != DAYS[3]]
    assert f"{DAYS[3]}.jsonl.gz" not in site.names()
    assert [day for day, _ in site.heard.retries] == [DAYS[3]] * (PULL_DAY_TRIES_MAX - 1)

    site.standin.answers(Account(lines=lines))
    assert DAYS[3] in site.pull().fetched
    assert site.lines() == lines


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_ends_the_pull(site: Site, status: int) -> None:
    """An error that every other day would meet too ends the pull."""
    site.standin.answers(Answer(status=status))

    summary = site.pull(jobs=2)

    assert 1 <= len(site.standin.requests) <= 2
    assert summary.missing == DAYS
    assert site.names() == []


def test_a_server_that_is_down_ends_the_pull(site: Site) -> None:
    """When many consecutive days fail, the rest is left to the next pull."""
    site.standin.answers(Answer(drop=True))

    summary = site.pull(first=date(2026, 9, 1), jobs=3)

    assert PULL_FAILED_DAYS_MAX <= len(summary.failed) <= PULL_FAILED_DAYS_MAX + 2
    assert len(summary.missing) == 86


def test_rate_limits_mean_fewer_at_a_time(site: Site) -> None:
    """A server that limits concurrent exports gets fewer at the same time, and no day is lost."""
    lines = some_lines(200)
    account = Account(lines=lines)
    busy, refused = threading.Lock(), threading.Event()

    def one_at_a_time(request: Request) -> Answer:
        if not busy.acquire(blocking=False):
            refused.set()
            return Answer(status=429)
        try:
            assert refused.wait(WAIT_MAX_SECONDS)  # the first one is served after another one was refused
            return account(request)
        finally:
            busy.release()

    site.standin.answers(one_at_a_time)
    patient = Retry(tries_max=6, first_wait_seconds=0.02)

    with Client(TRACKPOINT, "key", url=site.standin.url, retry=patient) as client:
        summary = site.pull(client.export_received, jobs=8)

    assert len(site.standin.requests) > len(DAYS)
    assert summary.missing == []
    assert site.lines() == lines


def test_a_rate_limit_that_stays_ends_the_pull(site: Site) -> None:
    """If even a single export at a time is refused, the pull ends; the next one continues."""
    site.standin.answers(Answer(status=429, headers={"Retry-After": "3600"}))

    summary = site.pull(jobs=3)

    assert len(site.standin.requests) == 3
    assert len(summary.failed) == 1
    assert summary.missing == DAYS


def test_a_damaged_file_is_not_overwritten(site: Site) -> None:
    """A file that cannot be read back fails its day and stays as it is, and the message says what to do."""
    lines = some_lines(300)
    site.standin.answers(Account(lines=lines))
    site.pull()
    path = site.path / f"{DAYS[-1]}.jsonl.gz"
    damaged = path.read_bytes()[:-9]
    path.write_bytes(damaged)

    summary = site.pull()

    assert list(summary.failed) == [DAYS[-1]]
    assert "Move it away" in str(summary.failed[DAYS[-1]])
    assert path.read_bytes() == damaged
    assert site.state() == [], "what could not be put in place is left"
    path.unlink()
    site.pull()
    assert site.lines() == lines


def test_a_file_damaged_without_a_change_of_size_is_not_overwritten(site: Site) -> None:
    """A day that arrives with the recorded contents is only taken for unchanged if its file has them, too."""
    site.standin.answers(Account(lines=some_lines(300)))
    site.pull()
    path = site.path / f"{DAYS[-1]}.jsonl.gz"
    good = path.read_bytes()
    damaged = good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]
    path.write_bytes(damaged)

    summary = site.pull()

    assert list(summary.failed) == [DAYS[-1]]
    assert "Move it away" in str(summary.failed[DAYS[-1]])
    assert path.read_bytes() == damaged
    assert site.state() == []


def test_what_was_complete_before_a_defect_is_recorded(site: Site) -> None:
    """When an unexpected exception ends the pull, the days that were complete by then are in the manifest."""
    lines = some_lines(100)

    def broken(from_: int, to: int, /) -> Generator[Batch]:
        if from_ == start_of(DAYS[3]):
            raise Failing
        yield batch_of([one for one in lines if from_ <= date_of(one) <= to])

    with pytest.raises(Failing):
        site.pull(broken, jobs=1)

    manifest = json.loads((site.path / ".smsevents" / "manifest.json").read_bytes())
    assert list(manifest["days"]) == [str(day) for day in DAYS[:3]]
    assert site.lines() == [one for one in lines if day_of(date_of(one)) in DAYS[:3]]
    assert site.state() == []


@pytest.mark.parametrize("format_", [FormatName.JSONL, FormatName.CSV, FormatName.PARQUET])
@pytest.mark.parametrize("split", [Split.DAY, Split.NONE])
def test_what_is_out_of_order_at_the_end_is_sorted(site: Site, format_: FormatName, split: Split) -> None:
    """A day that begins in order, and then repeats or goes back, holds the same as one in order, and leaves nothing."""
    lines = some_lines(400)
    site.wish = {"format": format_, "split": split}

    def late(from_: int, to: int, /) -> Generator[Batch]:
        chosen = [one for one in lines if from_ <= date_of(one) <= to]
        yield batch_of(chosen[10:30])
        yield batch_of(chosen[30:])
        yield batch_of(chosen[:12])

    summary = site.pull(late)

    assert summary.missing == []
    assert site.lines() == lines
    assert site.state() == []


def test_what_a_killed_pull_left_is_removed(site: Site) -> None:
    """Files that were being written when a pull was killed are removed by the next one."""
    site.standin.answers(Account(lines=[]))
    site.pull()
    (site.path / ".smsevents" / "new-17").write_bytes(b"half a file")

    site.pull()

    assert site.state() == []


def test_a_full_disk_ends_the_pull(site: Site) -> None:
    """If a file cannot be written, the pull ends, says why, and leaves all files as they were."""
    site.standin.answers(Account(lines=some_lines(20)))

    def filled(_from: int, _to: int, /) -> Generator[Batch]:
        yield from ()
        raise OSError(28, "No space left on device")

    summary = site.pull(filled, jobs=1)

    assert len(summary.failed) == 1
    assert "No space left" in str(summary.failed[DAYS[0]])
    assert site.names() == []


def test_stopping_ends_between_blocks(site: Site) -> None:
    """A pull that is asked to stop ends in the middle of a day; that day is missing, the days before it are kept."""
    lines = some_lines(100)

    def stopping(from_: int, to: int, /) -> Generator[Batch]:
        if from_ == start_of(DAYS[2]):
            site.waits.stop()
        chosen = [one for one in lines if from_ <= date_of(one) <= to]
        yield batch_of(chosen)

    summary = site.pull(stopping, jobs=1)

    assert summary.missing == DAYS[2:]
    assert summary.failed == {}
    assert site.lines() == [one for one in lines if day_of(date_of(one)) in DAYS[:2]]


@pytest.mark.parametrize("format_", [FormatName.JSONL, FormatName.PARQUET])
def test_random_cuts(site: Site, monkeypatch: pytest.MonkeyPatch, format_: FormatName) -> None:
    """After 200 streams truncated at random bytes, the files equal the server's events exactly, however they come."""
    monkeypatch.setattr(client_lines, "ARROW_BLOCK_MIN_BYTES", 0)
    site.wish = {"format": format_}
    chance = random.Random(5)  # noqa: S311 -- test data, not a secret
    lines = some_lines(3000)
    account = Account(lines=lines)
    cuts = [0]

    def cutting(request: Request) -> Answer:
        answered = list(account(request).lines)
        chosen = answered if chance.random() < 0.5 else ordered(answered)
        framing: Literal["chunked", "length"] = "chunked" if chance.random() < 0.5 else "length"
        size = len(b"".join(chosen))
        if cuts[0] == CUTS or chance.random() < 0.3:
            return Answer(lines=chosen, gzip=chance.random() < 0.5, framing=framing)
        cuts[0] += 1
        zipped = chance.random() < 0.5
        return Answer(
            lines=chosen, gzip=zipped, framing=framing, cut_at=-chance.randint(1, size // (20 if zipped else 1))
        )

    site.standin.answers(cutting)
    pulls = 0
    while site.pull(lookback_days=30 if cuts[0] < CUTS else 3).missing or cuts[0] < CUTS:
        assert set(site.lines()) <= set(lines)
        pulls += 1

    assert cuts[0] == CUTS
    assert site.lines() == lines
    assert site.state() == []
    assert pulls > 1


class Failing(RuntimeError):
    """An unexpected exception, not an error of the client."""


def test_defects_are_not_hidden(site: Site) -> None:
    """An unexpected exception ends the pull and is raised unchanged, and no file is touched."""

    def broken(_from: int, _to: int, /) -> Generator[Batch]:
        yield from ()
        raise Failing

    with pytest.raises(Failing):
        site.pull(broken)

    assert site.names() == []


@dataclass
class Night:
    """What a server has at the time of one pull, and which days it truncates."""

    added: list[bytes]
    hours: int
    bad: set[int]
    killed_after: int


nights = st.lists(
    st.builds(
        Night,
        added=st.lists(
            st.builds(
                lambda day, ms, user: line(TRACKPOINT, start_of(DAYS[day]) + ms, str(user)),
                st.integers(0, 4),
                st.sampled_from([0, 1, 1, DAY_MS - 1]),
                st.integers(0, 3),
            ),
            max_size=12,
        ),
        hours=st.integers(1, 40),
        bad=st.sets(st.integers(0, 4), max_size=2),
        killed_after=st.integers(1, 30),
    ),
    min_size=1,
    max_size=5,
)


@dataclass
class Nightly:
    """A server that grows from night to night, and knows which days it returned completely in the last one."""

    site: Site
    lines: set[bytes] = field(default_factory=set)
    given: dict[date, set[bytes]] = field(default_factory=dict)

    def source(self, night: Night, number: int) -> PlainSource:
        """Return a source for one night: duplicates, no order, bad days truncated, and a stop after some exports."""
        chance, asked = random.Random(number), count()  # noqa: S311 -- test data, not a secret
        self.given = {}

        def export(from_: int, to: int, /) -> Generator[Batch]:
            if next(asked) == night.killed_after:
                self.site.waits.stop()
            chosen = [one for one in self.lines for _ in range(chance.randint(1, 2)) if from_ <= date_of(one) <= to]
            chance.shuffle(chosen)
            for at in range(0, len(chosen), 3):
                yield batch_of(chosen[at : at + 3])
            if DAYS.index(day_of(from_)) in night.bad:
                raise TruncatedStream("the night is dark", lines=1, body_bytes=1)
            self.given[day_of(from_)] = set(chosen)

        return export


@settings(deadline=None, max_examples=60)
@given(nights=nights, split=st.sampled_from(Split), format_=st.sampled_from([FormatName.JSONL, FormatName.CSV]))
def test_nights(
    tmp_path_factory: pytest.TempPathFactory, nights: list[Night], split: Split, format_: FormatName
) -> None:
    """Night after night, with failing days and stops, each day holds exactly what its complete streams brought."""
    site = Site(tmp_path_factory.mktemp("nights") / "events", wish={"split": split, "format": format_})
    server = Nightly(site)
    now = start_of(DAYS[4])
    held: set[bytes] = set()
    last_night = Night([], 1, set(), 100)

    for number, night in enumerate([*nights, last_night]):
        now += night.hours * HOUR_MS
        server.lines |= set(night.added)
        summary = site.pull(server.source(night, number), now=now, last=DAYS[4], jobs=1 + number % 3)
        held |= {one for day in summary.fetched for one in server.given[day]}

        if not summary.missing:
            assert site.lines() == ordered(list(held))
            assert site.state() == []

    assert not summary.missing

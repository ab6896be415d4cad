"""`Pull` over HTTP against a stand-in: whatever the server does, the files hold its events, each once."""

from __future__ import annotations

import json
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client import NEVER, Client, CutStream, Retry
from smsevents.client.lines import Batch
from smsevents.client.pull.days import Split, bounds_of, day_of, end_of, part_of, start_of
from smsevents.client.pull.directory import Directory, Wish
from smsevents.client.pull.errors import DirectoryInUse, DirectoryUnusable, OtherOptions
from smsevents.client.pull.formats import FormatName, format_named
from smsevents.client.pull.lines import Checker
from smsevents.client.pull.run import Choice, Pull, Report, Stopping, Summary
from smsevents.events import decode
from smsevents.settings import PULL_DAY_TRIES_MAX, PULL_FAILED_IN_A_ROW_MAX
from tests.standin import Account, Answer, StandIn
from tests.support import DAY_MS, HOUR_MS, body_of, date_of, line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from smsevents.client.errors import ClientError
    from smsevents.client.pull.run import Source
    from tests.standin import Request

TRACKPOINT = 7
TODAY = date(2026, 11, 25)
NOW = start_of(TODAY) + 14 * HOUR_MS
DAYS = [date(2026, 11, number) for number in range(16, 26)]
CUTS = 200


class Waits(Stopping):
    """Waits for nothing, and remembers for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Do not wait."""
        self.seconds.append(seconds)
        self.check()


class Heard(Report):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.retries: list[tuple[date, str]] = []
        self.files: dict[str, bool] = {}

    def retried(self, day: date, error: ClientError, wait_seconds: float) -> None:
        """Remember a retry."""
        assert wait_seconds > 0
        self.retries.append((day, str(error)))

    def written(self, name: str, record: object, new: int, *, changed: bool) -> None:
        """Remember a file."""
        assert record is not None
        assert new >= 0 or changed
        self.files[name] = changed


@dataclass
class Site:
    """A directory that is pulled into, and the server that it is pulled from."""

    path: Path
    standin: Any = None  # the tests that bring a source of their own need none
    wish: dict[str, Any] = field(default_factory=dict)
    now: int = NOW
    heard: Heard = field(default_factory=Heard)
    waits: Waits = field(default_factory=Waits)

    def pull(self, source: Source | None = None, *, now: int | None = None, **choice: Any) -> Summary:
        """Pull once."""
        self.now = now or self.now
        self.heard, self.waits = Heard(), Waits()
        wish = Wish(trackpoint=TRACKPOINT, url="http://server", **self.wish)
        choice = {"first": DAYS[0], "last": DAYS[-1]} | choice
        with Directory(self.path, wish) as opened, self._source(source) as asked:
            one = Pull(
                asked,
                opened,
                Choice(**choice),
                clock=lambda: self.now,
                report=self.heard,
                stopping=self.waits,
            )
            return one.run()

    @contextmanager
    def _source(self, source: Source | None) -> Iterator[Source]:
        if source:
            yield source
            return
        with Client(TRACKPOINT, "key", url=self.standin.url, retry=NEVER, sleep=self.waits.sleep) as client:
            yield client.export_batches

    def names(self) -> list[str]:
        """Give the names of the files."""
        return sorted(path.name for path in self.path.iterdir() if path.name != ".smsevents")

    def lines(self) -> list[bytes]:
        """Give all lines of all files, as the formats read them, file by file."""
        name = self.wish.get("format", FormatName.JSONL)
        split = self.wish.get("split", Split.DAY)
        format_ = format_named(name, compressed=self.wish.get("compressed", True))
        return [
            entry[1]
            for file in self.names()
            for batch in format_.read(
                self.path / file, Checker(TRACKPOINT, *bounds_of(file.removesuffix(format_.suffix), split))
            )
            for entry in batch
        ]

    def state(self) -> list[str]:
        """Give what lies in the folder of the state, apart from what is always there."""
        state = self.path / ".smsevents"
        found = [str(path.relative_to(state)) for path in state.rglob("*")]
        return sorted(set(found) - {"lock", "manifest.json", "staged"})


def batch_of(lines: list[bytes]) -> Batch:
    """Give lines as the client gives them."""
    return Batch(body_of(lines), lines, [decode(one)[0] for one in lines])


def ordered(lines: list[bytes]) -> list[bytes]:
    """Give what all files together must hold: a plain sorted set."""
    return [one for _, one in sorted({(date_of(one), one) for one in lines})]


def some_lines(count: int, first: date = DAYS[0], last: date = DAYS[-1], seed: int = 1) -> list[bytes]:
    """Give lines of a window, in order, many of them at the same time."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    start, end = start_of(first), min(end_of(last), NOW)
    return ordered(
        [
            line(TRACKPOINT, chance.randrange(start, end, 1000), f"user {number}", node="VIP" if number % 2 else None)
            for number in range(count)
        ]
    )


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Give a stand-in that listens."""
    with StandIn() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, standin: StandIn) -> Site:
    """Give a directory that is not there yet, and its server."""
    return Site(tmp_path / "events", standin)


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("format_", FormatName)
@pytest.mark.parametrize("compressed", [True, False])
def test_files_hold_the_servers_events(site: Site, split: Split, format_: FormatName, compressed: bool) -> None:
    """Unordered and doubled events come out sorted and once, in every format and split; nothing else is left."""
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
    """Behind the look-back nothing is fetched again; within it late receipts are merged, each once."""
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
    """A day that is read again and brings nothing new leaves its file as it is, to the last byte and the time."""
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
    """Night after night each day is read until its look-back has ended, and then never again."""
    site.standin.answers(Account(lines=[]))
    reads: dict[date, int] = dict.fromkeys(DAYS, 0)
    for night in range(len(DAYS)):
        for day in site.pull(now=start_of(DAYS[night]) + 2 * HOUR_MS, last=None).fetched:
            reads[day] += 1

    assert [reads[day] for day in DAYS[:6]] == [5] * 6


@pytest.mark.parametrize("split", Split)
def test_expired_events_stay(site: Site, split: Split) -> None:
    """What the server has forgotten stays in the files, also of a day that it has forgotten in part."""
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
    """`replace` fetches final days too and drops erased events, but never one that the server only forgot."""
    site.wish = {"split": split}
    lines = some_lines(400)
    account = Account(lines=lines)
    site.standin.answers(account)
    site.pull()
    later = start_of(DAYS[2]) + 90 * DAY_MS + 12 * HOUR_MS
    account.lines = [one for one in lines[::2] if date_of(one) >= later - 90 * DAY_MS]

    site.pull(now=later, replace=True)

    # two days at the edge are only merged, in case the clocks differ
    assert site.lines() == [one for one in lines if day_of(date_of(one)) <= DAYS[3] or one in lines[::2]]


def test_without_replacing_nothing_is_dropped(site: Site) -> None:
    """An event that vanished from the server stays in its file."""
    lines = some_lines(100)
    site.standin.answers(Account(lines=lines))
    site.pull()
    site.standin.answers(Account(lines=[]))

    summary = site.pull(lookback_days=30)

    assert summary.files_written == 0
    assert site.lines() == lines


@pytest.mark.parametrize("split", Split)
def test_a_cut_stream_is_fetched_again(site: Site, split: Split) -> None:
    """A day whose stream is cut is tried again as a whole; what came of it before is not taken."""
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
    """Answer one day badly, the others as an account does."""
    return lambda request: bad if request.interval["from"] == start_of(day) else account(request)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Answer(lines=some_lines(50, DAYS[3], DAYS[3]), cut_at=2000), "cut after"),
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
    """A day that stays bad is named with the reason and gets no file; all others are done, the next pull mends it."""
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
    """What every other day would meet too is not asked again and again."""
    site.standin.answers(Answer(status=status))

    summary = site.pull(jobs=2)

    assert 1 <= len(site.standin.requests) <= 2
    assert summary.missing == DAYS
    assert site.names() == []


def test_a_server_that_is_down_ends_the_pull(site: Site) -> None:
    """When many days fail one after the other, the rest is left to the next pull."""
    site.standin.answers(Answer(drop=True))

    summary = site.pull(first=date(2026, 9, 1), jobs=3)

    assert PULL_FAILED_IN_A_ROW_MAX <= len(summary.failed) <= PULL_FAILED_IN_A_ROW_MAX + 2
    assert len(summary.missing) == 86


def test_rate_limits_mean_fewer_at_a_time(site: Site) -> None:
    """A server that takes few exports at a time gets fewer at a time, and no day is lost."""
    lines = some_lines(200)
    account = Account(lines=lines)
    latest = [0.0]

    def seldom(request: Request) -> Answer:
        now = time.monotonic()
        if now - latest[0] < 0.06:
            return Answer(status=429)
        latest[0] = now
        return account(request)

    site.standin.answers(seldom)
    patient = Retry(tries_max=6, first_wait_seconds=0.02)

    with Client(TRACKPOINT, "key", url=site.standin.url, retry=patient) as client:
        summary = site.pull(client.export_batches, jobs=8)

    assert len(site.standin.requests) > len(DAYS)
    assert summary.missing == []
    assert site.lines() == lines


def test_a_rate_limit_that_stays_ends_the_pull(site: Site) -> None:
    """If even one export at a time is refused, the pull ends; the next one goes on."""
    site.standin.answers(Answer(status=429, headers={"Retry-After": "3600"}))

    summary = site.pull(jobs=3)

    assert len(site.standin.requests) == 3
    assert len(summary.failed) == 1
    assert summary.missing == DAYS


def test_the_oldest_day_comes_first(site: Site) -> None:
    """Days are asked for oldest first, as the oldest is the next that the server forgets, each as closed interval."""
    site.standin.answers(Account(lines=[]))

    site.pull(jobs=1)

    assert [request.interval for request in site.standin.requests] == [
        {"from": start_of(day), "to": start_of(day) + DAY_MS - 1} for day in DAYS
    ]


def test_a_lost_file_is_fetched_again(site: Site) -> None:
    """A file that was removed, or that has not the size that was recorded, is fetched again and merged."""
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
    """Without its manifest a directory is read again and merged; what only the files have stays."""
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


def test_a_damaged_file_is_not_overwritten(site: Site) -> None:
    """A file that cannot be read back fails its day, stays as it is, and the message tells what to do."""
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


def test_what_a_killed_pull_left_is_removed(site: Site) -> None:
    """Files that were being written when a pull was killed are removed by the next one."""
    site.standin.answers(Account(lines=[]))
    site.pull()
    (site.path / ".smsevents" / "new-17").write_bytes(b"half a file")

    site.pull()

    assert site.state() == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"format": FormatName.CSV}, "format jsonl, not csv"),
        ({"split": Split.MONTH}, "split day, not month"),
        ({"compressed": False}, "compressed true, not false"),
    ],
)
def test_other_options_are_refused(site: Site, other: dict[str, Any], told: str) -> None:
    """A directory stays what it was begun as; a pull with other options is refused and changes nothing."""
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

    for wish in (Wish(trackpoint=8, url="http://server"), Wish(trackpoint=TRACKPOINT, url="http://other")):
        with pytest.raises(OtherOptions, match="was begun with"):
            Directory(site.path, wish)


def test_a_manifest_that_cannot_be_read_is_refused(site: Site) -> None:
    """A damaged manifest, or one of a newer version, is told and not overwritten."""
    site.standin.answers(Account(lines=[]))
    site.pull()
    path = site.path / ".smsevents" / "manifest.json"
    good = json.loads(path.read_bytes())

    for text, told in (("{", "cannot be read"), (json.dumps(good | {"version": 2}), "newer smsevents")):
        path.write_text(text)
        with pytest.raises(DirectoryUnusable, match=told):
            site.pull()
        assert path.read_text() == text


def test_two_pulls_do_not_meet(site: Site) -> None:
    """While one pull works in a directory, another is refused; afterwards it is free."""
    wish = Wish(trackpoint=TRACKPOINT, url="http://server")
    with Directory(site.path, wish), pytest.raises(DirectoryInUse, match="Another pull works in"):
        Directory(site.path, wish)

    with Directory(site.path, wish):
        pass


def test_a_full_disk_ends_the_pull(site: Site) -> None:
    """If a file cannot be written, the pull ends, tells why, and leaves all files as they were."""
    site.standin.answers(Account(lines=some_lines(20)))

    def filled(_from: int, _to: int, /) -> Generator[Batch]:
        yield from ()
        raise OSError(28, "No space left on device")

    summary = site.pull(filled, jobs=1)

    assert len(summary.failed) == 1
    assert "No space left" in str(summary.failed[DAYS[0]])
    assert site.names() == []


def test_stopping_ends_between_blocks(site: Site) -> None:
    """A pull that is asked to stop ends in the middle of a day; that day is missing, those before it are there."""
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


def test_random_cuts(site: Site) -> None:
    """After 200 streams that were cut at random bytes, the files equal the server's events exactly."""
    chance = random.Random(5)  # noqa: S311 -- a test, not a secret
    lines = some_lines(3000)
    account = Account(lines=lines)
    cuts = [0]

    def cutting(request: Request) -> Answer:
        chosen = account(request).lines
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
    """A defect, not an error of ours."""


def test_defects_are_not_hidden(site: Site) -> None:
    """What is none of our errors ends the pull with that very error, and no file is touched."""

    def broken(_from: int, _to: int, /) -> Generator[Batch]:
        yield from ()
        raise Failing

    with pytest.raises(Failing):
        site.pull(broken)

    assert site.names() == []


@dataclass
class Night:
    """What a server has at the time of one pull, and which days it cuts."""

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
    """A server that grows from night to night, and knows which days it has given whole in the last one."""

    site: Site
    lines: set[bytes] = field(default_factory=set)
    given: dict[date, set[bytes]] = field(default_factory=dict)

    def source(self, night: Night, number: int) -> Source:
        """Give what is asked in one night: doubled, unordered, cut on bad days; stop after some exports."""
        chance, asked = random.Random(number), count()  # noqa: S311 -- a test, not a secret
        self.given = {}

        def export(from_: int, to: int, /) -> Generator[Batch]:
            if next(asked) == night.killed_after:
                self.site.waits.stop()
            chosen = [one for one in self.lines for _ in range(chance.randint(1, 2)) if from_ <= date_of(one) <= to]
            chance.shuffle(chosen)
            for at in range(0, len(chosen), 3):
                yield batch_of(chosen[at : at + 3])
            if DAYS.index(day_of(from_)) in night.bad:
                raise CutStream("the night is dark", lines=1, body_bytes=1)
            self.given[day_of(from_)] = set(chosen)

        return export


@settings(deadline=None, max_examples=60)
@given(nights=nights, split=st.sampled_from(Split), format_=st.sampled_from([FormatName.JSONL, FormatName.CSV]))
def test_nights(
    tmp_path_factory: pytest.TempPathFactory, nights: list[Night], split: Split, format_: FormatName
) -> None:
    """Night after night, with bad days and stops: each day holds exactly what its whole streams brought."""
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

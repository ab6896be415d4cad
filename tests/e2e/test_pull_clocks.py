"""`Pull` with wrong local or server clocks: no event is missed, none is dropped, and the error is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client.head import ExportHead
from smsevents.client.pull.days import Split, day_of, start_of
from smsevents.client.pull.gaps import ranges_text
from tests.support.lines import DAY_MS, HOUR_MS, date_of, line
from tests.support.pulling import DAYS, NOW, TRACKPOINT, Site, batch_of, ordered, some_lines
from tests.support.standin import Account, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from smsevents.client.head import OnHead
    from smsevents.client.lines import Batch
    from smsevents.client.pull.terms import Source
    from tests.support.standin import Request

HISTORY_MS = 90 * DAY_MS
OLDEST = day_of(NOW - HISTORY_MS)


def forgetful(account: Account, now: Callable[[], int]) -> Callable[[Request], Answer]:
    """Respond as smsevents does: only the last 90 days, and the effective interval in the headers."""

    def answer(request: Request) -> Answer:
        start = max(request.interval["from"], now() - HISTORY_MS)
        lines = [one for one in account(request).lines if date_of(one) >= start]
        return Answer(lines=lines, headers={"X-Export-From": str(start), "X-Export-To": str(request.interval["to"])})

    return answer


@pytest.mark.parametrize("days_later", [5, 12])
@pytest.mark.parametrize("split", Split)
def test_a_clock_that_is_ahead_makes_no_day_final(site: Site, split: Split, days_later: int) -> None:
    """After a pull with a clock ten days ahead, everything recorded later is fetched, and the clock is reported.

    It is so while that fetch still lies in the future, and when it does not any more.
    """
    site.wish = {"split": split}
    lines = some_lines(300)
    account = Account(lines=lines[::2])
    site.standin.answers(account)
    site.server_ahead_ms = -10 * DAY_MS
    ahead = site.pull(now=NOW + 10 * DAY_MS, first=None, last=None)

    assert site.lines() == lines[::2]
    assert any("10 days ahead of the server's" in text for text in ahead.warnings)
    assert len(site.heard.warnings) == 1

    site.server_ahead_ms = 0
    later = NOW + days_later * DAY_MS
    new = [line(TRACKPOINT, NOW + hours * HOUR_MS, "new") for hours in range(1, 120, 7)]
    late = [one for one in lines[1::2] if day_of(date_of(one)) in DAYS[-4:]]
    account.lines = [*lines[::2], *late, *new]
    right = site.pull(now=later, first=None, last=None)

    assert right.warnings == []
    assert site.lines() == ordered([*lines[::2], *late, *new])


def test_a_clock_that_is_ahead_misses_no_old_day(site: Site) -> None:
    """Days that a clock ten days ahead considers expired are fetched all the same, because the server has them."""
    lines = ordered([line(TRACKPOINT, start_of(OLDEST) + day * DAY_MS + DAY_MS - 1) for day in range(20)])
    site.standin.answers(Account(lines=lines))
    site.server_ahead_ms = -10 * DAY_MS

    summary = site.pull(now=NOW + 10 * DAY_MS, first=None, last=None)

    assert site.lines() == lines
    assert summary.is_complete
    assert summary.plan.expired == []


@pytest.mark.parametrize("split", Split)
def test_replacing_with_a_clock_that_is_behind_empties_nothing(site: Site, split: Split) -> None:
    """With a clock 20 days behind, `replace` drops no events of days that the server has expired."""
    site.wish = {"split": split}
    lines = some_lines(300)
    account = Account(lines=lines)
    site.standin.answers(forgetful(account, lambda: NOW))
    site.pull()
    true_now = NOW + 95 * DAY_MS
    site.standin.answers(forgetful(account, lambda: true_now))
    site.server_ahead_ms = 20 * DAY_MS

    summary = site.pull(now=true_now - 20 * DAY_MS, replace=True, last=DAYS[-1])

    assert site.lines() == lines
    assert any("20 days behind the server's" in text for text in summary.warnings)
    assert summary.plan.expired == DAYS


@pytest.mark.parametrize("header", ["X-Export-From", "X-Export-To", "Date"])
def test_replacing_needs_the_servers_word(site: Site, header: str) -> None:
    """A day is merged, not replaced, unless the server confirms that it is complete; that is reported as a failure."""
    lines = some_lines(300)
    site.standin.answers(Account(lines=lines))
    site.pull()
    kept = Account(lines=lines[::2])

    def answer(request: Request) -> Answer:
        start, end = request.interval["from"], request.interval["to"]
        heads = {"X-Export-From": {"X-Export-From": str(start + 1)}, "X-Export-To": {"X-Export-To": str(end - 1)}}
        return Answer(lines=kept(request).lines, headers=heads.get(header, {}))

    site.standin.answers(answer)
    site.server_ahead_ms = None if header == "Date" else 0
    summary = site.pull(replace=True)

    assert site.lines() == lines
    assert summary.kept == DAYS
    assert not summary.is_complete


def test_replacing_drops_what_the_server_says_is_gone(site: Site) -> None:
    """A day that the server returns from its beginning is replaced; a file left empty by that is removed."""
    lines = some_lines(300)
    account = Account(lines=lines)
    site.standin.answers(forgetful(account, lambda: NOW))
    site.pull()
    account.lines = [one for one in lines[::2] if day_of(date_of(one)) != DAYS[3]]

    summary = site.pull(replace=True)

    assert site.lines() == account.lines
    assert site.heard.gone == [f"{DAYS[3]}.jsonl.gz"]
    assert f"{DAYS[3]}.jsonl.gz" not in site.names()
    assert summary.is_complete
    assert DAYS[3] in site.pull().plan.final


def test_a_server_that_is_ahead_makes_nothing_final_or_forgotten(site: Site) -> None:
    """If the server's clock jumps 100 days ahead, nothing is dropped, and its days are read again once it is right."""
    lines = some_lines(300)
    account = Account(lines=lines)
    site.standin.answers(forgetful(account, lambda: NOW))
    site.pull(last=DAYS[4])
    site.standin.answers(forgetful(account, lambda: NOW + 100 * DAY_MS))
    site.server_ahead_ms = 100 * DAY_MS

    wrong = site.pull(replace=True)

    assert any("100 days behind the server's" in text for text in wrong.warnings)
    assert not wrong.is_complete
    assert site.lines() == [one for one in lines if day_of(date_of(one)) <= DAYS[4]]
    site.standin.answers(forgetful(account, lambda: NOW))
    site.server_ahead_ms = 0
    assert site.pull().is_complete
    assert site.lines() == lines


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("behind_days", [1, 10, 200])
def test_a_clock_that_is_behind_misses_no_new_day(site: Site, split: Split, behind_days: int) -> None:
    """Days that have begun only by the server's clock are fetched, then read by the next pull, and it is reported."""
    site.wish = {"split": split}
    lines = some_lines(300)
    account = Account(lines=lines[::2])
    site.standin.answers(forgetful(account, lambda: NOW))
    site.server_ahead_ms = behind_days * DAY_MS

    after = site.pull(now=NOW - behind_days * DAY_MS, first=None, last=None)

    assert site.lines() == lines[::2]
    assert any("behind the server's" in text for text in after.warnings)
    account.lines = lines
    site.server_ahead_ms = 0
    assert site.pull(now=NOW, first=None, last=None).is_complete
    late = [one for one in lines if one in lines[::2] or day_of(date_of(one)) in DAYS[-4:]]
    assert set(late) <= set(site.lines())


def test_an_interval_of_a_clock_that_was_never_set_tells_no_time(site: Site) -> None:
    """`X-Export-To` before 2000 or after 2099 is ignored; the days are fetched and none is left out."""
    lines = some_lines(100)
    account = Account(lines=lines)
    for to in (0, -1, 10**17):
        account.options = {"headers": {"X-Export-To": str(to)}}
        site.standin.answers(account)
        summary = site.pull()
        assert summary.is_complete
        assert summary.plan.fetch[-3:] == DAYS[-3:]
    assert site.lines() == lines


def test_an_interval_that_is_only_repeated_replaces_nothing(site: Site) -> None:
    """A server that echoes the requested interval, though by its `Date` that has expired, empties no file."""
    lines = some_lines(100)
    site.standin.answers(Account(lines=lines))
    site.pull()

    def repeats(request: Request) -> Answer:
        start, end = request.interval["from"], request.interval["to"]
        return Answer(headers={"X-Export-From": str(start), "X-Export-To": str(end)})

    site.standin.answers(repeats)
    site.server_ahead_ms = 95 * DAY_MS
    summary = site.pull(replace=True)

    assert site.lines() == lines
    assert summary.kept == DAYS
    assert not summary.is_complete


@pytest.mark.parametrize("date", [None, "Mon, 01 Jan 1990 00:00:00 GMT", "Mon, 01 Jan 2400 00:00:00 GMT", "soon"])
def test_without_a_servers_clock_events_tell_the_time(site: Site, date: str | None) -> None:
    """Without a server clock, events show which days are final; without events, days are read again with a warning."""
    headers = {} if date is None else {"Date": date}
    site.server_ahead_ms = None
    account = Account(lines=some_lines(300), options={"headers": headers})
    site.standin.answers(account)
    assert site.pull().warnings == []
    assert site.pull().plan.final == DAYS[:-4]

    account.lines = []
    quiet = Site(site.path.with_name("quiet"), site.standin, server_ahead_ms=None)
    told = quiet.pull(first=OLDEST)
    assert any("does not send its time" in text for text in told.warnings)
    assert quiet.pull(first=OLDEST).plan.final[-1] == day_of(NOW - 34 * DAY_MS)


@pytest.mark.parametrize("offset", [-119_000, 0, 119_000])
def test_clocks_that_differ_a_little_are_not_told(site: Site, offset: int) -> None:
    """A difference of two minutes is not reported, even with whole seconds and slow proxies."""
    site.standin.answers(Account(lines=some_lines(20)))
    site.server_ahead_ms = offset

    assert site.pull().warnings == []


@pytest.mark.parametrize("minutes", [-3, 3])
def test_clocks_that_differ_by_minutes_are_told(site: Site, minutes: int) -> None:
    """A difference of more than two minutes is reported once."""
    site.standin.answers(Account(lines=some_lines(20)))
    site.server_ahead_ms = minutes * 60_000

    assert len(site.pull().warnings) == 1


def test_lost_days_are_named_once(site: Site) -> None:
    """After a break of more than 90 days, the days that can no longer be fetched are named, and only once."""
    account = Account(lines=some_lines(300))
    site.standin.answers(account)
    site.pull(first=None, last=None)
    back = NOW + 100 * DAY_MS
    first_gone, last_gone = DAYS[-1], day_of(back - HISTORY_MS - DAY_MS)

    summary = site.pull(now=back, first=None, last=None)

    assert (summary.lost[0], summary.lost[-1], len(summary.lost)) == (first_gone, last_gone, 10)
    assert ranges_text(summary.lost) == f"{first_gone} to {last_gone}"
    assert not summary.is_complete
    again = site.pull(now=back, first=None, last=None)
    assert again.lost == []
    assert again.is_complete
    assert site.lines() == account.lines


def test_a_first_pull_and_a_pull_in_time_lose_nothing(site: Site) -> None:
    """A new directory, or one that is pulled into within 90 days, has lost nothing."""
    site.standin.answers(Account(lines=[]))

    assert site.pull(first=None, last=None).lost == []
    assert site.pull(now=NOW + 89 * DAY_MS, first=None, last=None).lost == []


def test_days_that_only_a_wrong_clock_calls_lost_are_not(site: Site) -> None:
    """If the local clock is 60 days ahead, no day is lost by the server's clock, and none is reported as lost."""
    site.standin.answers(Account(lines=some_lines(300)))
    site.pull(first=None, last=None)
    site.server_ahead_ms = -60 * DAY_MS

    assert site.pull(now=NOW + 100 * DAY_MS, first=None, last=None).lost == []


@dataclass
class Night:
    """One pull: the hours since the last one, the error of the local clock, and what is recorded before it."""

    hours: int
    off_hours: int
    late_days: list[int]


nights = st.lists(
    st.builds(
        Night,
        hours=st.integers(1, 60) | st.integers(60, 400),
        off_hours=st.sampled_from([0, 0, 0, 5, -5]) | st.integers(-40 * 24, 40 * 24),
        late_days=st.lists(st.integers(0, 2), max_size=4),
    ),
    min_size=1,
    max_size=6,
)


def source_at(lines: list[bytes], true_now: int, own: int) -> Source:
    """Export as smsevents does at a given time, to a client whose clock shows another."""

    def export(from_: int, to: int, /, *, on_head: OnHead, **_: bool) -> Generator[Batch]:
        start = max(from_, true_now - HISTORY_MS)
        on_head(ExportHead(own, own, true_now // 1000 * 1000, start, to))
        if chosen := [one for one in lines if start <= date_of(one) <= to]:
            yield batch_of(chosen)

    return export


@settings(deadline=None, max_examples=20)
@given(some=nights, split=st.sampled_from(Split), replace=st.booleans())
def test_wrong_clocks_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, some: list[Night], split: Split, replace: bool
) -> None:
    """Whatever the local clock said in earlier nights, once it is right again, nothing that was recorded is missing."""
    site = Site(tmp_path_factory.mktemp("clocks") / "events", wish={"split": split})
    true_now = NOW
    lines: list[bytes] = []
    for number, night in enumerate([*some, Night(1, 0, [])]):
        true_now += night.hours * HOUR_MS
        for late in night.late_days:
            # recorded now, within the look-back
            lines.append(line(TRACKPOINT, true_now - late * DAY_MS - number, f"user {len(lines)}"))
        own = true_now + night.off_hours * HOUR_MS
        last = replace and number == len(some)
        site.pull(source_at(lines, true_now, own), now=own, first=None, last=None, replace=last, jobs=1 + number % 3)

    assert site.lines() == ordered(lines)

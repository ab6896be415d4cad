"""How far a sync came, by two clocks: never past what was surely loaded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smsevents.client.dlt_source import interval_of
from smsevents.client.head import UNCONFIRMED_MAX_MS, ExportHead
from smsevents.client.reached import Reached
from tests.support.lines import DAY_MS, HOUR_MS

NOW = 1_795_600_000_000
offsets = st.integers(-60 * 24, 60 * 24).map(lambda hours: hours * HOUR_MS)


def run(before: int | None, own: int, server: int | None) -> Reached:
    """Run once from a state, by two clocks."""
    reached = Reached()
    reached.begin(*interval_of(before, own, 3, None), own)
    reached.heard(ExportHead(own, own, server))
    return reached


@given(st.lists(st.tuples(st.integers(1, 80), offsets), min_size=1, max_size=8))
def test_syncs_with_wrong_clocks_leave_no_gap(nights: list[tuple[int, int]]) -> None:
    """Whatever this machine's clock said: a sync with the right clock begins no later than where all was read."""
    true_now, state = NOW, None
    read_until = NOW - 90 * DAY_MS  # by when everything was surely read
    for hours, offset in [*nights, (1, 0)]:
        true_now += hours * HOUR_MS
        start, end = interval_of(state, true_now + offset, 3, None)
        assert offset or start <= max(read_until, true_now - 90 * DAY_MS)
        reached = run(state, true_now + offset, true_now)
        if missed := reached.missed():
            assert missed[0] == true_now - 90 * DAY_MS
            assert missed[1] == min(start - 1, true_now)
            start = missed[0]
        state = reached.by_both_clocks(state)
        if start <= max(read_until, true_now - 90 * DAY_MS):
            read_until = max(read_until, min(end, true_now))
        assert state <= true_now


def test_the_earlier_clock_counts() -> None:
    """The end is that of the earlier clock, whichever it is, and a difference is told."""
    ahead, after = run(None, NOW + 10 * DAY_MS, NOW), run(None, NOW, NOW + 10 * DAY_MS)

    assert ahead.by_both_clocks(None) == after.by_both_clocks(None) == NOW
    assert ahead.warning is not None
    assert "10 days ahead" in ahead.warning
    assert after.warning is not None
    assert "10 days behind" in after.warning
    assert run(None, NOW, NOW + 60_000).warning is None


def test_without_a_servers_clock_events_tell_the_time() -> None:
    """Without a clock of the server the end is the newest event, or a month ago, and never before the last end."""
    quiet = run(None, NOW, None)
    assert quiet.by_both_clocks(None) == NOW - UNCONFIRMED_MAX_MS
    assert quiet.by_both_clocks(NOW - DAY_MS) == NOW - UNCONFIRMED_MAX_MS

    busy = run(None, NOW, None)
    busy.newest([NOW - HOUR_MS])
    busy.newest([NOW - 2 * HOUR_MS])
    assert busy.by_both_clocks(None) == NOW - HOUR_MS


def test_what_is_lost_counts_by_the_earlier_clock() -> None:
    """The history begins 90 days before the earlier clock, so a clock that is ahead makes nothing lost."""
    for own, server in ((NOW, NOW), (NOW + 99 * DAY_MS, NOW), (NOW, NOW + 99 * DAY_MS), (NOW, None)):
        assert run(None, own, server).history_start == NOW - 90 * DAY_MS

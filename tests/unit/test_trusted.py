"""Trusted time, as a pure function of readings: never early, whatever the clocks do, and never in doubt for good."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smsevents.clock.trusted import (
    NO_EVIDENCE,
    UNATTENDED_MAX_MS,
    Doubt,
    Evidence,
    Judgement,
    Mark,
    Memory,
    evidence_of,
    first_mark,
    judgement_of,
    noted,
    reset,
    span,
)
from tests.support.clocks import FakeMachine
from tests.support.lines import DAY_MS, HOUR_MS, MINUTE_MS

SECOND_MS = 1000
PROCESSES = 3
ENOUGH = 10_000  # imports that outvote whatever was said before


class Site:
    """A machine, a mark, and processes that note the time."""

    def __init__(self) -> None:
        """Begin with right clocks, and events that were recorded just now."""
        self.machine = FakeMachine()
        self.mark = first_mark(self.machine.clocks.read(), self.machine.true_ms, has_events=True)
        self.memories: dict[int, Memory] = {}

    def note(self, process: int = 0, *, evidence: Evidence = NO_EVIDENCE, worked: bool = False) -> Judgement:
        """Let a process note the time."""
        now = self.machine.clocks.read()
        self.mark = noted(self.mark, now, self.memories.get(process), evidence, worked=worked)
        self.memories[process] = Memory(now, self.mark.trusted_ms, self.mark.generation)
        return judgement_of(self.mark, now)

    def restart(self, off_ms: int) -> None:
        """Start the machine again after a while, and with it all processes."""
        self.machine.restart(off_ms)
        self.memories.clear()

    def live_import(self, delay_ms: int = 0) -> Evidence:
        """Return the evidence of an import whose newest event happened that long ago."""
        return evidence_of(self.machine.true_ms - delay_ms, self.machine.clocks.read())

    def late_ms(self) -> int:
        """Return by how much the mark is late, in milliseconds."""
        return self.machine.true_ms - self.mark.trusted_ms

    def runs(self, length_ms: int, *, live: bool = True) -> Judgement:
        """Let the machine run, and a process note the time each hour, with live imports or without."""
        for _ in range(length_ms // HOUR_MS):
            self.machine.passes(HOUR_MS)
            judgement = self.note(evidence=self.live_import(5 * SECOND_MS) if live else NO_EVIDENCE)
        return judgement


@pytest.fixture
def site() -> Site:
    """Return a site with correct clocks, where a process has noted the time."""
    made = Site()
    made.note()
    return made


OFFSETS = (
    st.integers(-3, 3).map(lambda seconds: seconds * SECOND_MS)
    | st.integers(-200, 200).map(lambda hours: hours * HOUR_MS)
    | st.integers(-60_000, 60_000).map(lambda days: days * DAY_MS)
)
LENGTHS = (
    st.integers(0, 5000)
    | st.integers(0, 300).map(lambda minutes: minutes * MINUTE_MS)
    | st.integers(0, 200).map(lambda hours: hours * HOUR_MS)
)


class Clockwork(RuleBasedStateMachine):
    """Clocks that are set at random, restarts, old copies, and several processes: the mark is never early."""

    def __init__(self) -> None:
        """Begin with right clocks."""
        super().__init__()
        self.site = Site()
        self.copies: list[Mark] = [self.site.mark]

    @rule(length=LENGTHS)
    def time_passes(self, length: int) -> None:
        """Let time pass while no process notes it."""
        self.site.machine.passes(length)

    @rule(offset=OFFSETS)
    def clock_is_set(self, offset: int) -> None:
        """Set the wall clock, wrongly perhaps."""
        self.site.machine.wrong_ms = offset

    @rule(process=st.integers(0, PROCESSES - 1))
    def process_notes(self, process: int) -> None:
        """Let a process note the time, which may be its first look."""
        self.site.note(process)

    @rule(process=st.integers(0, PROCESSES - 1), delay=LENGTHS, count=st.integers(1, 3))
    def events_come_in(self, process: int, delay: int, count: int) -> None:
        """Import events that happened at some time in the past."""
        evidence = NO_EVIDENCE
        for _ in range(count):
            evidence += self.site.live_import(delay)
        self.site.note(process, evidence=evidence)

    @rule(process=st.integers(0, PROCESSES - 1), hours=st.integers(1, 30))
    def a_process_runs(self, process: int, hours: int) -> None:
        """Let a process run for hours, with live events."""
        for _ in range(hours):
            self.site.machine.passes(HOUR_MS)
            self.site.note(process, evidence=self.site.live_import(MINUTE_MS))

    @rule(process=st.integers(0, PROCESSES - 1))
    def process_ends(self, process: int) -> None:
        """Let a process end, so that the next is a new one."""
        self.site.memories.pop(process, None)

    @rule(off=LENGTHS | st.integers(0, 100).map(lambda days: days * DAY_MS))
    def machine_restarts(self, off: int) -> None:
        """Start the machine again after a while."""
        self.site.restart(off)

    @rule()
    def copy_is_taken(self) -> None:
        """Take a backup."""
        self.copies.append(self.site.mark)

    @rule(number=st.integers(0, 1000))
    def copy_is_restored(self, number: int) -> None:
        """Put an older state of the database in place."""
        self.site.memories.clear()
        self.site.mark = self.copies[number % len(self.copies)]

    @invariant()
    def the_mark_is_never_early(self) -> None:
        """Nothing that is newer than 90 true days is old by the mark."""
        assert self.site.late_ms() >= 0

    def teardown(self) -> None:
        """Set the clock right and let live events come in: after a day nothing is in doubt, nor late."""
        self.site.machine.wrong_ms = 0
        self.site.note(evidence=Evidence(agreed=ENOUGH))
        judgement = self.site.runs(26 * HOUR_MS)
        assert judgement.doubt is None
        assert judgement.is_certain
        assert 0 <= self.site.late_ms() <= MINUTE_MS


Clockwork.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestClockwork = Clockwork.TestCase


@pytest.mark.parametrize("wrong_ms", [-30 * SECOND_MS, 2 * SECOND_MS, 50 * MINUTE_MS, -50 * MINUTE_MS])
def test_small_steps_are_no_doubt(site: Site, wrong_ms: int) -> None:
    """A small step of the clock, as NTP makes it, causes no doubt and does not move the mark."""
    site.machine.passes(MINUTE_MS)
    site.machine.wrong_ms = wrong_ms
    judgement = site.note()

    assert judgement.doubt is None
    assert judgement.is_certain
    assert judgement.trusted_ms == site.machine.true_ms
    assert judgement.old_by_ms == site.machine.true_ms + min(wrong_ms, 0)


@pytest.mark.parametrize("wrong_ms", [2 * HOUR_MS, 5 * DAY_MS, 100 * DAY_MS, -2 * HOUR_MS, -100 * DAY_MS])
def test_a_jump_while_a_process_looks_on_is_doubt_until_it_is_undone(site: Site, wrong_ms: int) -> None:
    """A clock that jumps is in doubt, for new processes too; set back, it is trusted at once, and nothing was lost."""
    site.machine.passes(MINUTE_MS)
    site.machine.wrong_ms = wrong_ms

    assert site.note().doubt == Doubt.JUMPED
    assert site.note(1).doubt == Doubt.JUMPED
    assert site.note().old_by_ms == 0
    site.machine.passes(10 * SECOND_MS)
    site.machine.wrong_ms = 0
    judgement = site.note(2)
    assert judgement.doubt is None
    assert judgement.trusted_ms == site.machine.true_ms


def test_a_start_within_a_week_is_no_doubt(site: Site) -> None:
    """A machine that was off for six days is not in doubt; the mark is late, and catches up with an hour of events."""
    site.restart(6 * DAY_MS)
    judgement = site.note(1)

    assert judgement.doubt is None
    assert judgement.late_ms == 6 * DAY_MS
    assert not judgement.is_certain
    assert site.runs(30 * HOUR_MS, live=False).late_ms == 6 * DAY_MS
    judgement = site.runs(2 * HOUR_MS)
    assert judgement.late_ms == 0
    assert judgement.is_certain
    assert site.late_ms() == 5 * SECOND_MS


def test_the_mark_catches_up_to_events_not_to_the_clock(site: Site) -> None:
    """Where the clock is a little ahead, within what counts as right, the mark is still not early."""
    site.machine.wrong_ms = 50 * MINUTE_MS
    site.restart(3 * DAY_MS)
    site.note(1, evidence=site.live_import(SECOND_MS))
    site.machine.passes(HOUR_MS + MINUTE_MS)

    assert site.note(1).is_certain
    assert site.late_ms() == SECOND_MS


def test_a_machine_that_was_off_for_a_month_is_in_doubt_for_a_day(site: Site) -> None:
    """It says so, deletes nothing, and trusts the clock again after a day with live events, not before."""
    site.restart(30 * DAY_MS)
    judgement = site.note(1)

    assert judgement.doubt == Doubt.AHEAD
    assert "which is 30 days past the time that is trusted" in judgement.explain()
    assert site.runs(48 * HOUR_MS, live=False).doubt == Doubt.AHEAD
    site.restart(0)
    assert site.note(1).doubt == Doubt.AHEAD
    assert site.runs(23 * HOUR_MS).doubt == Doubt.AHEAD
    assert site.runs(2 * HOUR_MS).doubt is None
    assert site.late_ms() <= HOUR_MS + 5 * SECOND_MS


def test_an_old_copy_is_in_doubt_though_the_machine_never_stopped(site: Site) -> None:
    """What an old copy says of a steady clock and of events is as old as the copy, so it does not count."""
    site.runs(20 * HOUR_MS)
    site.note(evidence=Evidence(agreed=ENOUGH, witness_ms=0))
    copy = site.mark
    site.machine.passes(UNATTENDED_MAX_MS + 1)
    site.mark, site.memories = copy, {}

    assert site.note().doubt == Doubt.AHEAD
    site.machine.passes(HOUR_MS)
    assert site.note().doubt == Doubt.AHEAD


def test_a_weekly_job_is_no_doubt(site: Site) -> None:
    """A command that runs once a week on a machine that runs is enough, and the mark is not late."""
    for week in range(1, 20):
        site.machine.passes(7 * DAY_MS + MINUTE_MS)
        judgement = site.note(week)
        assert judgement.doubt is None
        assert judgement.trusted_ms == site.machine.true_ms


def test_a_machine_that_slept_is_no_doubt(site: Site) -> None:
    """A process that goes on after the machine slept for a month knows how long that was."""
    site.machine.passes(30 * DAY_MS)
    assert site.note(1).doubt == Doubt.AHEAD  # a new process cannot tell
    assert site.note(0).doubt is None
    assert site.late_ms() == 0


def test_a_process_for_which_no_clock_is_right(site: Site) -> None:
    """What a process noted whose every clock was wrong does not stop the others."""
    now = site.machine.clocks.read()
    wrong = type(now)(now.wall_ms + 100 * DAY_MS, now.start, now.since_start_ms + 100 * DAY_MS)
    site.mark = noted(site.mark, wrong)
    assert site.mark.doubt == Doubt.AHEAD
    site.machine.passes(MINUTE_MS)
    assert site.note(1).doubt is None
    site.machine.passes(MINUTE_MS)
    assert site.note(1).doubt is None
    assert 0 <= site.late_ms() <= MINUTE_MS


def test_a_look_that_was_overtaken_changes_nothing(site: Site) -> None:
    """A process that was slow from its look at the clock to its note does not set the mark back, or forward."""
    early = site.machine.clocks.read()
    site.machine.passes(10 * SECOND_MS)
    site.note(1)
    site.mark = noted(site.mark, early)
    site.machine.passes(10 * SECOND_MS)
    site.note(1)
    assert site.late_ms() == 0


def test_a_clock_before_the_mark_is_doubt(site: Site) -> None:
    """A machine that starts with a clock of last year is in doubt until the clock is set."""
    site.restart(MINUTE_MS)
    site.machine.wrong_ms = -365 * DAY_MS
    assert site.note(1).doubt == Doubt.BEHIND
    site.machine.passes(MINUTE_MS)
    site.machine.wrong_ms = 0
    assert site.note(2).doubt is None


def test_events_that_contradict_the_clock_keep_the_doubt(site: Site) -> None:
    """A wrong clock is not trusted however long it is steady: the events that come in are not of its time."""
    for wrong_ms in (100 * DAY_MS, -100 * DAY_MS):
        site.machine.wrong_ms = wrong_ms
        assert site.note().doubt == Doubt.JUMPED
        assert site.runs(72 * HOUR_MS).doubt == Doubt.JUMPED
        # one sender whose clock is as wrong as ours does not outvote the others
        now = site.machine.clocks.read()
        site.note(evidence=evidence_of(now.wall_ms, now))
        assert site.runs(30 * HOUR_MS).doubt == Doubt.JUMPED
        assert site.late_ms() == 0
        site.machine.wrong_ms = 0
        assert site.note().doubt is None


def test_each_day_is_judged_by_itself(site: Site) -> None:
    """A replay of old events on one day does not outvote the live events of the next for long."""
    site.restart(30 * DAY_MS)
    site.note(1)
    site.machine.passes(HOUR_MS)
    site.note(1, evidence=Evidence(contradicted=ENOUGH))
    assert site.runs(24 * HOUR_MS).doubt == Doubt.AHEAD
    assert site.runs(26 * HOUR_MS).doubt is None
    assert site.late_ms() <= HOUR_MS + 5 * SECOND_MS


def test_a_mark_a_little_past_the_clock_stays_with_it(site: Site) -> None:
    """Where the clock is some seconds behind the mark, the mark follows the clock, not the delay of events."""
    site.machine.wrong_ms = -5 * SECOND_MS
    site.note()
    site.machine.passes(2 * HOUR_MS)
    judgement = site.note(evidence=site.live_import(30 * MINUTE_MS))
    assert judgement.trusted_ms == judgement.clock_ms == site.machine.true_ms - 5 * SECOND_MS


def test_a_mark_that_a_wrong_clock_made_is_corrected(site: Site) -> None:
    """A database that was made under a clock that was ahead trusts the right clock after a day with live events."""
    site.machine.wrong_ms = 100 * DAY_MS
    site.mark = first_mark(site.machine.clocks.read(), None, has_events=False)
    site.machine.wrong_ms = 0
    assert site.note(1).doubt == Doubt.BEHIND
    assert site.runs(26 * HOUR_MS).doubt is None
    assert 0 <= site.late_ms() <= MINUTE_MS


@pytest.mark.parametrize("since_newest_ms", [0, MINUTE_MS, 6 * DAY_MS, -DAY_MS])
def test_the_first_mark_of_a_log_in_use_is_no_doubt(since_newest_ms: int) -> None:
    """A log that is upgraded trusts the clock as far as its own newest times bear it out."""
    machine = FakeMachine()
    now = machine.clocks.read()
    mark = first_mark(now, machine.true_ms - since_newest_ms, has_events=True)
    assert mark.trusted_ms == machine.true_ms - max(since_newest_ms, 0)
    assert noted(mark, now).doubt is None


@pytest.mark.parametrize(("since_newest_ms", "doubt"), [(30 * DAY_MS, Doubt.AHEAD), (-2 * DAY_MS, Doubt.BEHIND)])
def test_the_first_mark_of_a_log_that_contradicts_the_clock_is_doubt(since_newest_ms: int, doubt: Doubt) -> None:
    """A log whose newest times are far from the clock begins in doubt."""
    machine = FakeMachine()
    now = machine.clocks.read()
    assert noted(first_mark(now, machine.true_ms - since_newest_ms, has_events=True), now).doubt == doubt


@pytest.mark.parametrize(
    ("since_newest_ms", "doubt"),
    [(100 * DAY_MS, Doubt.AHEAD), (5 * DAY_MS, None), (0, None), (None, None), (-2 * DAY_MS, Doubt.BEHIND)],
)
def test_the_first_mark_of_an_empty_log(since_newest_ms: int | None, doubt: Doubt | None) -> None:
    """A log without events trusts a clock that is near to when its shop was made; a log without shops trusts any."""
    machine = FakeMachine()
    now = machine.clocks.read()
    newest_ms = None if since_newest_ms is None else machine.true_ms - since_newest_ms
    mark = first_mark(now, newest_ms, has_events=False)
    assert noted(mark, now).doubt == doubt
    assert mark.trusted_ms == (newest_ms if doubt else now.wall_ms)


def test_a_person_ends_the_doubt(site: Site) -> None:
    """Once a person has said that the clock is right, it is trusted by all processes, also by those that run."""
    site.restart(30 * DAY_MS)
    site.note(1)
    site.note(2)
    now = site.machine.clocks.read()
    site.mark = reset(site.mark, now, now.wall_ms)

    site.machine.passes(MINUTE_MS)
    for process in (1, 2, 3):
        judgement = site.note(process)
        assert judgement.doubt is None
        assert judgement.is_certain
        assert judgement.trusted_ms == site.machine.true_ms


def test_a_person_sets_a_mark_back(site: Site) -> None:
    """A mark that was ahead stays where a person set it, though processes run that remember it as it was."""
    site.machine.wrong_ms = -10 * DAY_MS
    site.note(1)
    now = site.machine.clocks.read()
    site.mark = reset(site.mark, now, now.wall_ms)

    assert site.note(1).doubt is None
    assert site.mark.trusted_ms == now.wall_ms


def test_upkeep_that_does_not_work_is_counted_in_time_that_passed(site: Site) -> None:
    """What the wall clock does, and what is set right, does not change since when the upkeep did not work."""
    site.note(worked=True)
    site.machine.passes(20 * MINUTE_MS)
    site.machine.wrong_ms = 100 * DAY_MS
    assert site.note().idle_ms == 20 * MINUTE_MS
    now = site.machine.clocks.read()
    site.mark = reset(site.mark, now, now.wall_ms)
    assert site.note().idle_ms == 20 * MINUTE_MS
    assert site.note(worked=True).idle_ms == 0


def test_processes_of_which_none_knows_the_start_of_the_machine() -> None:
    """Where a process cannot tell whether the machine was started again, it goes by what itself saw."""
    site = Site()
    starts = [FakeMachine(), FakeMachine()]
    for _ in range(100):
        for process, machine in enumerate(starts):
            machine.passes(HOUR_MS)
            machine.wrong_ms = 0
            now = machine.clocks.read()
            own = type(now)(now.wall_ms, f"process {process}", now.since_start_ms)
            site.mark = noted(site.mark, own, site.memories.get(process))
            site.memories[process] = Memory(own, site.mark.trusted_ms, site.mark.generation)
    assert site.mark.doubt is None
    assert starts[0].true_ms - site.mark.trusted_ms == HOUR_MS  # before the first look, of which nobody knew


@pytest.mark.parametrize(
    ("length_ms", "shown"),
    [
        (100 * DAY_MS, "100 days"),
        (47 * HOUR_MS, "47 hours"),
        (119 * MINUTE_MS, "119 minutes"),
        (6 * DAY_MS - SECOND_MS, "6 days"),
        (5000, "5 seconds"),
    ],
)
def test_lengths_are_shown_in_a_fitting_unit(length_ms: int, shown: str) -> None:
    """A length of time is shown in the largest unit of which it has two."""
    assert span(length_ms) == shown

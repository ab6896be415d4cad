"""Trusted time: no single reading of the clock can delete data or refuse a client permanently.

A **mark** in the database holds the trusted time. It advances by the time that passes on the clock that cannot be
set, never by what the wall clock says. So it may be late, by as long as the machine was off, but not early. Events
may be deleted once they are older than the history both by the mark *and* by the wall clock.

The wall clock is compared with the mark. Time is **in doubt** when the wall clock

    AHEAD    is more than UNATTENDED_MAX_MS past the mark: it is wrong, the machine was off for a long time, or the
             database is an old copy
    BEHIND   is more than STEP_MAX_MS before the mark
    JUMPED   moved differently from the clock that cannot be set, while a process was watching

While time is in doubt, nothing is deleted. Doubt ends when the clock is back where it is expected, when a person
confirms that it is right, or when it was steady for a day and the imported events agree with it. An event that
happened is a **witness**: the time cannot be earlier than its date, so the mark may catch up to it.

Everything here is a pure function of a mark and of readings. `timekeeper.py` keeps the mark in the database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from smsevents.wire.limits import DAY_MS, FUTURE_MAX_MS, HOUR_MS

if TYPE_CHECKING:
    from smsevents.clock.system import Reading

STEP_MAX_MS = HOUR_MS  # how far the clock may step or drift without causing doubt: NTP adjusts it by seconds
# How long the clock may go unread: a week, with slack for a weekly job that runs a little late.
UNATTENDED_MAX_MS = 7 * DAY_MS + HOUR_MS
OVERTAKEN_MAX_MS = 60 * 1000  # how long a process may take between reading the clock and using the reading
AGREES_MAX_MS = HOUR_MS  # an import agrees with the clock if its newest event is this close to it
# An import contradicts the clock if its newest event is older by more than this, which live events are not, or is dated
# further ahead than FUTURE_MAX_MS.
DISAGREES_MIN_MS = DAY_MS
DOUBT_ENDS_AFTER_MS = DAY_MS  # of a steady clock that agrees with events
CATCHES_UP_AFTER_MS = HOUR_MS  # the same when there is no doubt and the mark is only late


class Doubt(StrEnum):
    """Why time is in doubt."""

    AHEAD = "ahead"
    BEHIND = "behind"
    JUMPED = "jumped"


@dataclass(frozen=True)
class Evidence:
    """What imports revealed about the time since it was last noted.

    `agreed` and `contradicted` count imports. `witness_ms` is the newest date of an import that agreed, minus the time
    since the machine started at that moment. Add the current time since the start to get a time that has surely passed.
    """

    agreed: int = 0
    contradicted: int = 0
    witness_ms: int | None = None

    def __add__(self, other: Evidence) -> Evidence:
        """Combine two periods: add the counts and keep the later witness."""
        return Evidence(
            self.agreed + other.agreed,
            self.contradicted + other.contradicted,
            _later(self.witness_ms, other.witness_ms),
        )


NO_EVIDENCE = Evidence()


def evidence_of(newest_ms: int, now: Reading) -> Evidence:
    """Return what an import reveals about the time, from the date of its newest event (Unix ms)."""
    if abs(newest_ms - now.wall_ms) <= AGREES_MAX_MS:
        return Evidence(agreed=1, witness_ms=newest_ms - now.since_start_ms)
    contradicts = newest_ms > now.wall_ms + FUTURE_MAX_MS or newest_ms < now.wall_ms - DISAGREES_MIN_MS
    return Evidence(contradicted=1) if contradicts else NO_EVIDENCE


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What the database believes about the time, as of the `noted` reading. Times are Unix ms.

    `expected_ms` is what the wall clock should say; it is later than `trusted_ms` by the time that no process counted.
    The clock has been steady since `steady`; `evidence` is what imports revealed since then, its witness as a time.
    `generation` counts how often the trusted time was set rather than advanced. `worked_ms` is the trusted time of the
    last upkeep. After a start of the machine, or with a clock that was behind at first, the mark is not `settled` until
    events have shown that the clock is right.
    """

    trusted_ms: int
    expected_ms: int
    noted: Reading
    steady: Reading
    evidence: Evidence
    doubt: Doubt | None
    generation: int
    worked_ms: int
    settled: bool


@dataclass(frozen=True)
class Memory:
    """What a process saw when it last noted the time. It continues from there if the mark alone is not enough."""

    reading: Reading
    trusted_ms: int
    generation: int


@dataclass(frozen=True)
class Judgement:
    """What is known about the time at one moment, and whether it is in doubt."""

    clock_ms: int
    trusted_ms: int
    expected_ms: int
    doubt: Doubt | None
    idle_ms: int  # since the upkeep last worked
    settled: bool

    @property
    def is_certain(self) -> bool:
        """Whether a date far ahead of the clock is certainly wrong.

        Just after a start it is not: a machine without a clock battery starts with the time of its last stop.
        """
        return self.settled and self.doubt is None

    @property
    def old_by_ms(self) -> int:
        """The time (Unix ms) from which the age of events is counted for deletion; 0 in doubt, so no event is old."""
        return 0 if self.doubt else min(self.clock_ms, self.trusted_ms)

    @property
    def late_ms(self) -> int:
        """How late trusted time is, in milliseconds; 0 if that is less than the clock may drift."""
        late = self.clock_ms - self.trusted_ms
        return late if late > STEP_MAX_MS else 0

    def explain(self) -> str:
        """Return a sentence that explains the doubt."""
        clock = f"The clock says {utc(self.clock_ms)}"
        gap = span(abs(self.clock_ms - self.trusted_ms))
        if self.doubt == Doubt.JUMPED:
            return f"{clock}, but by the time that passed it should be about {utc(self.expected_ms)}: it jumped."
        side = "before" if self.clock_ms < self.trusted_ms else "past"
        return f"{clock}, which is {gap} {side} the time that is trusted, {utc(self.trusted_ms)}."


def first_mark(now: Reading, newest_ms: int | None, *, has_events: bool) -> Mark:
    """Return the first mark for a database that has none.

    `newest_ms` is the newest time stored in the database, or None. A clock that is far from it is not trusted. If the
    database has events, which could be lost, the mark is never later than `newest_ms`. If the clock is before it, the
    mark is not settled: events may be dated ahead of a right clock, but a clock may also be late.
    """
    trusted = now.wall_ms
    is_behind = False
    if newest_ms is not None:
        late_ms = now.wall_ms - newest_ms
        is_behind = late_ms < -STEP_MAX_MS
        if not -FUTURE_MAX_MS <= late_ms <= (0 if has_events else UNATTENDED_MAX_MS):
            trusted = newest_ms
    return Mark(
        trusted_ms=trusted,
        expected_ms=trusted,
        noted=now,
        steady=now,
        evidence=NO_EVIDENCE,
        doubt=None,
        generation=0,
        worked_ms=trusted,
        settled=not is_behind,
    )


def noted(
    mark: Mark, now: Reading, memory: Memory | None = None, evidence: Evidence = NO_EVIDENCE, *, worked: bool = False
) -> Mark:
    """Advance a mark to now, compare the clock with it, and let it catch up if the evidence agrees.

    `memory` belongs to the calling process; None if it has just started. `evidence` is what the process collected since
    it last noted the time.
    """
    moved = _with_evidence(_moved_on(mark, now, memory), now, evidence)
    doubt = _doubt(moved, now, memory)
    moved = replace(moved, doubt=doubt, expected_ms=moved.expected_ms if doubt else now.wall_ms)
    moved = _caught_up(moved, now)
    return replace(moved, worked_ms=moved.trusted_ms) if worked else moved


def _caught_up(mark: Mark, now: Reading) -> Mark:
    """Let the mark catch up with the clock if the clock was steady for long enough and events agree with it."""
    heard = mark.evidence
    needed_ms = DOUBT_ENDS_AFTER_MS if mark.doubt else CATCHES_UP_AFTER_MS
    is_steady = now.since_start_ms - mark.steady.since_start_ms >= needed_ms
    if not is_steady or heard == NO_EVIDENCE:
        return mark
    if heard.witness_ms is None or heard.agreed <= heard.contradicted:
        return replace(mark, steady=now, evidence=NO_EVIDENCE)  # the next day may bring better evidence
    # the clock proved right, so a mark that is far past it was wrong
    was_wrong = mark.trusted_ms > now.wall_ms + STEP_MAX_MS
    sure = heard.witness_ms if was_wrong else max(mark.trusted_ms, heard.witness_ms)
    return reset(mark, now, min(sure, now.wall_ms))


def reset(mark: Mark, now: Reading, trusted_ms: int) -> Mark:
    """Set the trusted time instead of advancing it. The clock is trusted from now on."""
    return replace(
        mark,
        trusted_ms=trusted_ms,
        expected_ms=now.wall_ms,
        noted=now,
        steady=now,
        evidence=NO_EVIDENCE,
        doubt=None,
        generation=mark.generation + 1,
        worked_ms=mark.worked_ms + trusted_ms - mark.trusted_ms,
        settled=True,
    )


def judgement_of(mark: Mark, now: Reading) -> Judgement:
    """Return the judgement for a mark that was already advanced to now."""
    return Judgement(
        clock_ms=now.wall_ms,
        trusted_ms=mark.trusted_ms,
        expected_ms=mark.expected_ms,
        doubt=mark.doubt,
        idle_ms=mark.trusted_ms - mark.worked_ms,
        settled=mark.settled,
    )


def _moved_on(mark: Mark, now: Reading, memory: Memory | None) -> Mark:
    """Advance the mark by the time that passed since it was noted, as far as that is known."""
    passed = now.since_start_ms - mark.noted.since_start_ms if now.start == mark.noted.start else None
    if passed is not None and -OVERTAKEN_MAX_MS <= passed < 0:
        return mark  # another process noted a later time first
    if passed is not None and not 0 <= passed <= UNATTENDED_MAX_MS:
        passed = None  # no process was watching for that long: the database may be an old copy, put in place today
    own = None
    if memory is not None and memory.generation == mark.generation:
        own = memory.trusted_ms + now.since_start_ms - memory.reading.since_start_ms - mark.trusted_ms
    if passed is None and own is None:
        # the time that passed is unknown, so what the mark says about a steady clock and about events is out of date
        mark = replace(mark, steady=now, evidence=NO_EVIDENCE, settled=False)
    witness = mark.evidence.witness_ms
    if witness is not None:  # it is never from another start of the machine, see `_with_evidence`
        witness += now.since_start_ms - mark.noted.since_start_ms
    passed = max(passed or 0, own or 0)
    return replace(
        mark,
        trusted_ms=mark.trusted_ms + passed,
        expected_ms=mark.expected_ms + passed,
        noted=now,
        evidence=replace(mark.evidence, witness_ms=witness),
    )


def _with_evidence(mark: Mark, now: Reading, evidence: Evidence) -> Mark:
    """Add evidence if the clock is still steady. Otherwise start again: the evidence was about a different clock."""
    if mark.steady.start != now.start or abs(_stray_ms(mark.steady, now)) > STEP_MAX_MS:
        return replace(mark, steady=now, evidence=NO_EVIDENCE)
    witness = evidence.witness_ms
    at_now = replace(evidence, witness_ms=None if witness is None else witness + now.since_start_ms)
    return replace(mark, evidence=mark.evidence + at_now)


def _doubt(mark: Mark, now: Reading, memory: Memory | None) -> Doubt | None:
    jumped = mark.doubt == Doubt.JUMPED or (memory is not None and abs(_stray_ms(memory.reading, now)) > STEP_MAX_MS)
    if jumped and abs(now.wall_ms - mark.expected_ms) > STEP_MAX_MS:
        return Doubt.JUMPED
    if now.wall_ms < mark.trusted_ms - STEP_MAX_MS:
        return Doubt.BEHIND
    return Doubt.AHEAD if now.wall_ms > mark.trusted_ms + UNATTENDED_MAX_MS else None


def _stray_ms(before: Reading, now: Reading) -> int:
    """Return how many ms the wall clock gained on the clock that cannot be set, since a reading of the same start."""
    return (now.wall_ms - before.wall_ms) - (now.since_start_ms - before.since_start_ms)


def _later(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def utc(time_ms: int) -> str:
    """Format a time (Unix ms) for people: `2026-01-31 12:00:00 UTC`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(length_ms: int) -> str:
    """Format a duration (ms) for people, rounded, in the largest unit that it has two of: `100 days`, `47 hours`."""
    for unit_ms, name in ((DAY_MS, "days"), (HOUR_MS, "hours"), (HOUR_MS // 60, "minutes")):
        if length_ms >= 2 * unit_ms:
            return f"{(length_ms + unit_ms // 2) // unit_ms} {name}"
    return f"{length_ms // 1000} seconds"

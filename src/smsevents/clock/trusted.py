"""Trusted time: nothing is deleted, and nobody is refused for good, on the word of one reading of the clock.

A **mark** in the database holds the time that is trusted. It moves on by the time that passes, as the clock that
cannot be set counts it, never by what the wall clock says. So it may be late, by as long as the machine was off,
but not early. What is older than the history by the mark *and* by the wall clock may be deleted.

The wall clock is held to the mark. Time is **in doubt** when the wall clock

    AHEAD    is more than UNATTENDED_MAX_MS past the mark: it is wrong, or the machine was off for long, or the
             database is an old copy
    BEHIND   is before the mark
    JUMPED   went another way than the clock that cannot be set, while a process looked on

and then nothing is deleted at all. Doubt ends when the clock is again where it is expected, when a person says that
it is right, or when it was steady for a day and the events that came in agree with it. An event that happened is a
**witness**: it cannot be later than its own date, so the mark may catch up to it.

Everything here is a pure function of a mark and of readings. `timekeeper.py` keeps the mark in the database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from smsevents.wire.limits import DAY_MS, FUTURE_MAX_MS

if TYPE_CHECKING:
    from smsevents.clock.system import Reading

HOUR_MS = 60 * 60 * 1000

STEP_MAX_MS = HOUR_MS  # how far the clock may step or drift without a doubt: NTP sets it by seconds
# How long nobody may have looked at the clock; with what makes a weekly job a little late.
UNATTENDED_MAX_MS = 7 * DAY_MS + HOUR_MS
OVERTAKEN_MAX_MS = 60 * 1000  # how long a process may take from a look at the clock to its use
AGREES_MAX_MS = HOUR_MS  # an import whose newest event is that near to the clock agrees with it
DISAGREES_MIN_MS = DAY_MS  # and one that is older by more than that does not, as live events are not
DOUBT_ENDS_AFTER_MS = DAY_MS  # of a steady clock that events agree with
CATCHES_UP_AFTER_MS = HOUR_MS  # the same where there is no doubt, and the mark is only late


class Doubt(StrEnum):
    """Why time is in doubt."""

    AHEAD = "ahead"
    BEHIND = "behind"
    JUMPED = "jumped"


@dataclass(frozen=True)
class Evidence:
    """What imports said of the time since it was noted last.

    `agreed` and `contradicted` count imports. `witness_ms` is the newest date of one that agreed, less the time since
    the machine started then: with that time added it tells a time that is surely past.
    """

    agreed: int = 0
    contradicted: int = 0
    witness_ms: int | None = None

    def __add__(self, other: Evidence) -> Evidence:
        """Put two together."""
        return Evidence(
            self.agreed + other.agreed,
            self.contradicted + other.contradicted,
            _later(self.witness_ms, other.witness_ms),
        )


NO_EVIDENCE = Evidence()


def evidence_of(newest_ms: int, now: Reading) -> Evidence:
    """Tell what an import says of the time, by the date of its newest event (Unix ms)."""
    if abs(newest_ms - now.wall_ms) <= AGREES_MAX_MS:
        return Evidence(agreed=1, witness_ms=newest_ms - now.since_start_ms)
    contradicts = newest_ms > now.wall_ms + FUTURE_MAX_MS or newest_ms < now.wall_ms - DISAGREES_MIN_MS
    return Evidence(contradicted=1) if contradicts else NO_EVIDENCE


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What the database believes about the time, as it was `noted` last. Times are Unix ms.

    `expected_ms` is what the wall clock should say; it is later than `trusted_ms` by what nobody counted. The clock is
    steady since `steady`; what imports said since then is in `evidence`, its witness as a time. `generation` counts
    how often the trusted time was set rather than moved on. `worked_ms` is the trusted time of the last upkeep. It is
    not `settled` from a start of the machine on until events have shown that the clock is right.
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
    """What a process saw when it noted the time last. It goes on from there if others cannot."""

    reading: Reading
    trusted_ms: int
    generation: int


@dataclass(frozen=True)
class Judgement:
    """What to think of the time at one moment."""

    clock_ms: int
    trusted_ms: int
    expected_ms: int
    doubt: Doubt | None
    idle_ms: int  # since the upkeep worked last
    settled: bool

    @property
    def is_certain(self) -> bool:
        """Tell whether a date that is far ahead of the clock is surely wrong.

        After a start of the machine it is not yet: a machine without a battery begins with the time of its last stop.
        """
        return self.settled and self.doubt is None

    @property
    def old_by_ms(self) -> int:
        """Give the time (Unix ms) by which events may be taken for old and deleted; in doubt 1970, so none is."""
        return 0 if self.doubt else min(self.clock_ms, self.trusted_ms)

    @property
    def late_ms(self) -> int:
        """Tell by how much trusted time is late, if that is worth a word; else 0."""
        late = self.clock_ms - self.trusted_ms
        return late if late > STEP_MAX_MS else 0

    def explain(self) -> str:
        """Say in a sentence what is doubted."""
        clock = f"The clock says {utc(self.clock_ms)}"
        gap = span(abs(self.clock_ms - self.trusted_ms))
        if self.doubt == Doubt.JUMPED:
            return f"{clock}, but by the time that passed it should be about {utc(self.expected_ms)}: it jumped."
        side = "before" if self.clock_ms < self.trusted_ms else "past"
        return f"{clock}, which is {gap} {side} the time that is trusted, {utc(self.trusted_ms)}."


def first_mark(now: Reading, newest_ms: int | None, *, has_events: bool) -> Mark:
    """Make the mark of a database that has none yet.

    `newest_ms` is the newest time that the database itself knows, None if none. A clock that is far from it is not
    believed. If there are events, which could be lost, the mark is not past it at all.
    """
    trusted = now.wall_ms
    if newest_ms is not None:
        late_ms = now.wall_ms - newest_ms
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
        settled=True,
    )


def noted(
    mark: Mark, now: Reading, memory: Memory | None = None, evidence: Evidence = NO_EVIDENCE, *, worked: bool = False
) -> Mark:
    """Move a mark on to now, hold the clock to it, and let it catch up if all agrees.

    `memory` is that of the process that looks, None if it only starts; `evidence` is what came in since its last look.
    """
    moved = _with_evidence(_moved_on(mark, now, memory), now, evidence)
    doubt = _doubt(moved, now, memory)
    moved = replace(moved, doubt=doubt, expected_ms=moved.expected_ms if doubt else now.wall_ms)
    moved = _caught_up(moved, now)
    return replace(moved, worked_ms=moved.trusted_ms) if worked else moved


def _caught_up(mark: Mark, now: Reading) -> Mark:
    """Let the mark catch up to the clock if that was steady for long enough, and events agree with it."""
    heard = mark.evidence
    needed_ms = DOUBT_ENDS_AFTER_MS if mark.doubt else CATCHES_UP_AFTER_MS
    is_steady = now.since_start_ms - mark.steady.since_start_ms >= needed_ms
    if not is_steady or heard == NO_EVIDENCE:
        return mark
    if heard.witness_ms is None or heard.agreed <= heard.contradicted:
        return replace(mark, steady=now, evidence=NO_EVIDENCE)  # the next day may tell more
    # a mark that is far past a clock which proved right was wrong itself
    was_wrong = mark.trusted_ms > now.wall_ms + STEP_MAX_MS
    sure = heard.witness_ms if was_wrong else max(mark.trusted_ms, heard.witness_ms)
    return reset(mark, now, min(sure, now.wall_ms))


def reset(mark: Mark, now: Reading, trusted_ms: int) -> Mark:
    """Set the trusted time rather than move it on; the clock is believed from now on."""
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
    """Give the judgement that a mark which was moved on to now stands for."""
    return Judgement(
        clock_ms=now.wall_ms,
        trusted_ms=mark.trusted_ms,
        expected_ms=mark.expected_ms,
        doubt=mark.doubt,
        idle_ms=mark.trusted_ms - mark.worked_ms,
        settled=mark.settled,
    )


def _moved_on(mark: Mark, now: Reading, memory: Memory | None) -> Mark:
    """Move the mark on by the time that passed since it was noted, as far as somebody can tell how long that was."""
    passed = now.since_start_ms - mark.noted.since_start_ms if now.start == mark.noted.start else None
    if passed is not None and -OVERTAKEN_MAX_MS <= passed < 0:
        return mark  # another process was quicker
    if passed is not None and not 0 <= passed <= UNATTENDED_MAX_MS:
        passed = None  # nobody looked on for that long: it may be an old copy, put in place today
    own = None
    if memory is not None and memory.generation == mark.generation:
        own = memory.trusted_ms + now.since_start_ms - memory.reading.since_start_ms - mark.trusted_ms
    if passed is None and own is None:
        # nobody knows how long it was; what is known of a steady clock and of events is of another time
        mark = replace(mark, steady=now, evidence=NO_EVIDENCE, settled=False)
    witness = mark.evidence.witness_ms
    if witness is not None:  # there is none from another start of the machine, see `_with_evidence`
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
    """Take evidence in if the clock is still steady; else begin again, as it was for another clock."""
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
    """Tell how much further the wall clock went than the clock that cannot be set, since a reading of one start."""
    return (now.wall_ms - before.wall_ms) - (now.since_start_ms - before.since_start_ms)


def _later(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def utc(time_ms: int) -> str:
    """Show a time (Unix ms) to a person."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(length_ms: int) -> str:
    """Show a length of time to a person, about, in the largest unit of which it has two: `100 days`, `47 hours`."""
    for unit_ms, name in ((DAY_MS, "days"), (HOUR_MS, "hours"), (HOUR_MS // 60, "minutes")):
        if length_ms >= 2 * unit_ms:
            return f"{(length_ms + unit_ms // 2) // unit_ms} {name}"
    return f"{length_ms // 1000} seconds"

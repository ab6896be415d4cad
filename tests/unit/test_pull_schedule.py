"""The schedule of a pull, without HTTP and files: what is next, who leaves, and when a pull gives up."""

from __future__ import annotations

from datetime import date, timedelta

from smsevents.client.errors import ServerFault, TooSlow, Unauthorized
from smsevents.client.pull.schedule import PULL_FAILED_DAYS_MAX, SLOW_DAYS_MAX, Part, Schedule, Work
from smsevents.client.pull.terms import Stopping

FIRST = date(2026, 1, 1)


def parts(count: int) -> list[Part]:
    """Return files of a day each."""
    made = [Part(str(number)) for number in range(count)]
    for number, part in enumerate(made):
        part.add(FIRST + timedelta(number))
    return made


def test_days_come_oldest_first_and_each_is_handed_out_once() -> None:
    """Threads get the days in order; one that gets none has left."""
    schedule = Schedule(parts(3), 2, Stopping())
    assert schedule.threads == 2
    works = [schedule.next() for _ in range(3)]
    assert [work and work.day for work in works] == [FIRST + timedelta(number) for number in range(3)]
    assert (schedule.next(), schedule.threads) == (None, 1)
    assert (schedule.next(), schedule.threads) == (None, 0)


def test_a_day_that_is_put_back_is_never_left_without_a_thread() -> None:
    """When one thread has just found nothing to do, the last one keeps its day however the server limits it."""
    schedule = Schedule(parts(2), 2, Stopping())
    first, second = schedule.next(), schedule.next()
    assert isinstance(first, Work)
    assert isinstance(second, Work)
    assert schedule.next() is None
    assert not schedule.leave_to_others(second)
    schedule = Schedule(parts(2), 2, Stopping())
    first, second = schedule.next(), schedule.next()
    assert isinstance(second, Work)
    assert schedule.leave_to_others(second)
    assert (schedule.threads, schedule.next()) == (1, second)


def test_what_fails_all_days_ends_the_pull_at_once() -> None:
    """A refused key ends a pull at once; slow days and faults end it once too many come in a row."""
    for error, most in (
        (Unauthorized("x", status=401), 1),
        (TooSlow("x", lines=0, body_bytes=0), SLOW_DAYS_MAX),
        (ServerFault("x", status=500), PULL_FAILED_DAYS_MAX),
    ):
        stopping = Stopping()
        schedule = Schedule(parts(20), 1, stopping)
        for _ in range(most - 1):
            schedule.failed(error)
        schedule.succeeded()
        for number in range(most):
            assert not stopping.is_set, number
            schedule.failed(error)
        assert stopping.is_set
        assert schedule.next() is None

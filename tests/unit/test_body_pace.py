"""The pace of a body: pauses are allowed, but being slow overall is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smsevents.web.body_pace import BodyPace

PAUSE, RATE = 60.0, 256.0


class Clock:
    """A clock that a test moves."""

    seconds = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def seconds_until_refused(chunk: int, every: float) -> float | None:
    """Send `chunk` bytes every `every` seconds, for an hour. Return the seconds until refusal, or None."""
    clock = Clock()
    pace = BodyPace(PAUSE, RATE, clock)
    while clock.seconds < 4600:
        if every > pace.seconds_left:
            return clock.seconds + pace.seconds_left - 1000
        clock.seconds += every
        pace.received(chunk)
    return None


def test_a_byte_now_and_then_is_refused() -> None:
    """One byte every nine seconds, which never pauses for long, is refused after the first minute."""
    refused = seconds_until_refused(1, 9)
    assert refused is not None
    assert refused < PAUSE + 5


def test_a_slow_line_and_long_pauses_are_fine() -> None:
    """A modem, and a client that sends much after each pause, are never refused; a pause that is too long is."""
    assert seconds_until_refused(3000, 10) is None
    assert seconds_until_refused(16_000, 59) is None
    assert seconds_until_refused(10_000_000, 61) == PAUSE


def test_the_cause_is_known() -> None:
    """A client that kept up has paused when its time is up; one that did not was slow."""
    clock = Clock()
    pace = BodyPace(PAUSE, RATE, clock)
    assert pace.is_in_time
    states = []
    for seconds, count in ((9, 1), (0, 9 * 256)):
        clock.seconds += seconds
        pace.received(count)
        states.append(pace.is_in_time)
    assert states == [False, True]


@given(steps=st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.001, 59)), max_size=50))
def test_time_is_bounded_on_both_sides(steps: list[tuple[int, float]]) -> None:
    """A client never has more time than one pause, and what it took is never longer than it earned and a pause."""
    clock = Clock()
    pace = BodyPace(PAUSE, RATE, clock)
    sent = 0
    for count, wait in steps:
        if wait > pace.seconds_left:
            break
        clock.seconds += wait
        pace.received(count)
        sent += count
        assert 0 <= pace.seconds_left <= PAUSE + 0.001
    assert clock.seconds - 1000 <= PAUSE + sent / RATE + 0.001

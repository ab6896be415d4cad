"""The recorder: its caller says feed and finish, and need not know who is blocked, nor what the time is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.shops import block_user
from smsevents.clock.trusted import Judgement
from smsevents.errors import InvalidLines, StoreUnavailable, UnknownShop
from smsevents.log.log import Log
from smsevents.wire.events import digest_of
from smsevents.wire.results import ImportResult
from tests.support.lines import DAY_MS, body_of, line
from tests.support.logs import Held

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOP = Held.trackpoint


class Witnessed:
    """A clock that is right, and remembers what it was told as evidence."""

    def __init__(self, now: int) -> None:
        """Stand still at a time (Unix ms)."""
        self._now = now
        self.judged = 0
        self.evidence: list[int | None] = []

    def judge(self) -> Judgement:
        """Return a judgement that is certain."""
        self.judged += 1
        now = self._now
        return Judgement(clock_ms=now, trusted_ms=now, expected_ms=now, doubt=None, idle_ms=0, settled=True)

    def witness(self, newest_ms: int | None) -> None:
        """Remember the newest date of an import."""
        self.evidence.append(newest_ms)


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Return an empty shop."""
    made = Held(url)
    yield made
    made.database.close()


@pytest.fixture
def time(held: Held) -> Witnessed:
    """Return the time source of the log."""
    return Witnessed(held.now)


@pytest.fixture
def log(held: Held, time: Witnessed) -> Log:
    """Return a log of the same database that asks the time source."""
    return Log(held.database, lambda: held.now, time)


def block(held: Held, user: str) -> None:
    """Block a user."""
    digest = digest_of(SHOP, user)
    held.database.write(lambda connection: block_user(connection, SHOP, digest, held.now))


def test_blocked_users_are_not_recorded(held: Held, log: Log) -> None:
    """Lines of a blocked user are counted and dropped, beside others and alone."""
    block(held, "gone")
    good = line(SHOP, held.now, "stays")
    with log.recording(SHOP, gzip=False) as recorder:
        recorder.feed(body_of([good, line(SHOP, held.now, "gone")]))
        result, durable = recorder.finish()
        durable.result()
    assert result == ImportResult(received=2, expired=0, blocked=1)
    assert held.exported() == good + b"\n"


def test_a_user_who_is_blocked_meanwhile_is_not_recorded(held: Held, log: Log) -> None:
    """An import that began before a user was blocked is refused at its end, and nothing of it is stored."""
    with log.recording(SHOP, gzip=False) as recorder:
        recorder.feed(body_of([line(SHOP, held.now, "gone")]))
        block(held, "gone")
        _, durable = recorder.finish()
        with pytest.raises(StoreUnavailable, match="blocked or unblocked meanwhile"):
            durable.result()
    assert held.exported() == b""


def test_a_shop_that_is_unknown_gets_no_lines(log: Log) -> None:
    """Lines of a shop that does not exist are refused once they are to be stored."""
    with log.recording(SHOP + 1, gzip=False) as recorder:
        _, durable = recorder.finish()
        with pytest.raises(UnknownShop):
            durable.result()


def test_nothing_is_asked_before_the_first_bytes(log: Log, time: Witnessed) -> None:
    """A recorder that gets no bytes reads nothing and provides no evidence of the time."""
    with log.recording(SHOP, gzip=False) as recorder:
        recorder.steps(b"")  # the first step is not taken
    assert (time.judged, time.evidence) == (0, [])


def test_the_time_is_judged_once(held: Held, log: Log, time: Witnessed) -> None:
    """All lines of an import are held to the same time, and its newest date is evidence when it is closed."""
    with log.recording(SHOP, gzip=False) as recorder:
        for age in (2, 1, 3):
            recorder.feed(body_of([line(SHOP, held.now - age)]))
        recorder.finish()[1].result()
        assert (time.judged, time.evidence) == (1, [])
    assert time.evidence == [held.now - 1]


def test_refused_lines_are_evidence_too(held: Held, log: Log, time: Witnessed) -> None:
    """A date too far ahead is refused, and still told to who judges the time: the clock may be what is wrong."""
    ahead = held.now + 2 * DAY_MS
    with log.recording(SHOP, gzip=False) as recorder:
        recorder.feed(body_of([line(SHOP, ahead)]))
        with pytest.raises(InvalidLines):
            recorder.finish()
    assert time.evidence == [ahead]
    assert held.exported() == b""


def test_what_is_closed_before_its_end_is_not_stored(held: Held, log: Log, time: Witnessed) -> None:
    """An abandoned import stores no line, and is evidence of the time all the same."""
    with log.recording(SHOP, gzip=False) as recorder:
        recorder.feed(body_of([line(SHOP, held.now)]))
    assert held.exported() == b""
    assert time.evidence == [held.now]

"""Small imports without another thread: the same outcome as any other import, or nothing at all."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.catalog.shops import block_user
from smsevents.errors import BlockedMeanwhile, SmsEventsError
from smsevents.log.blocked import BLOCKED_KNOWN_SECONDS, BlockedUsers
from smsevents.log.joining import Joining
from smsevents.log.small import SMALL_BODY_MAX_BYTES, SmallImports
from smsevents.wire.events import digest_of
from smsevents.wire.results import ImportResult
from tests.support.examples import examples
from tests.support.ingests import certain
from tests.support.lines import DAY_MS, body_of, line
from tests.support.logs import Held

if TYPE_CHECKING:
    from smsevents.clock.trusted import Judgement

SHOP = Held.trackpoint


class Known:
    """A clock that is right and stands still, or of which nothing is known."""

    def __init__(self, held: Held) -> None:
        """Know the time of a shop."""
        self._held = held
        self.is_known = True
        self.evidence: list[int | None] = []

    def judge_known(self) -> Judgement | None:
        """Return the judgement."""
        return certain(self._held.now) if self.is_known else None

    def witness(self, newest_ms: int | None) -> None:
        """Remember the newest date of an import."""
        self.evidence.append(newest_ms)


class Small:
    """Small imports of a shop by clocks that a test sets."""

    def __init__(self, held: Held) -> None:
        """Know nothing of blocked users yet."""
        self.held, self.time, self.seconds = held, Known(held), 0.0
        self.blocked = BlockedUsers(held.database, lambda: self.seconds)
        self.imports = SmallImports(self.time, self.blocked, Joining(held.database), lambda: self.seconds)

    def record(self, body: bytes) -> ImportResult | None:
        """Record a body, and return its counts once it is durable."""
        outcome: Future[None] = Future()
        found = self.imports.record(SHOP, body, outcome)
        if found is not None:
            outcome.result(60)
        return found


@pytest.fixture
def small(held: Held) -> Small:
    """Return an empty shop whose blocked users are known."""
    made = Small(held)
    made.blocked.read(SHOP)
    return made


def test_nothing_is_done_before_the_blocked_users_are_known(held: Held) -> None:
    """Without a look at the blocked users, or with one that is too old, nothing is recorded and nothing is evidence."""
    small = Small(held)
    body = body_of([line(SHOP, held.now)])
    assert small.record(body) is None
    small.blocked.read(SHOP)
    small.seconds += BLOCKED_KNOWN_SECONDS
    assert small.record(body) is None
    assert (held.exported(), small.time.evidence) == (b"", [])
    small.blocked.read(SHOP)
    assert small.record(body) == ImportResult(received=1, expired=0, blocked=0)
    assert held.exported() == body


def test_nothing_is_done_before_the_time_is_known(small: Small) -> None:
    """If the database must be read to judge the time, nothing is recorded."""
    small.time.is_known = False
    assert small.record(body_of([line(SHOP, small.held.now)])) is None
    assert (small.held.exported(), small.time.evidence) == (b"", [])


def test_an_old_view_of_the_blocked_users_is_noticed(small: Small) -> None:
    """A user who was blocked since the last look is not recorded: the import can be tried again with a new look."""
    held = small.held
    body = body_of([line(SHOP, held.now, "gone"), line(SHOP, held.now, "stays")])
    held.database.write(lambda connection: block_user(connection, SHOP, digest_of(SHOP, "gone"), held.now))
    with pytest.raises(BlockedMeanwhile):
        small.record(body)
    assert held.exported() == b""
    small.blocked.read(SHOP)
    assert small.record(body) == ImportResult(received=2, expired=0, blocked=1)
    assert held.exported() == body_of([line(SHOP, held.now, "stays")])


_NOW = 1_790_000_000_000
_PIECES = st.sampled_from(
    [
        line(SHOP, _NOW),
        line(SHOP, _NOW - 1, "ž", node="n"),
        line(SHOP, _NOW - 200 * DAY_MS),  # expired
        line(SHOP, _NOW, "gone"),  # blocked
        line(SHOP + 1, _NOW),
        line(SHOP, _NOW + 2 * DAY_MS),
        line(SHOP, _NOW).replace(b":", b" : "),
        b"",
        b" ",
        b"{",
        b"\xff",
        b"x" * 700,
    ]
)


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(_PIECES, max_size=5), end=st.sampled_from([b"", b"\n", b"\r\n"]))
def test_the_outcome_is_that_of_any_import(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], end: bytes
) -> None:
    """Counts, refusals, evidence of the time and what is stored are those of an import that is read in threads."""
    body = b"\n".join(pieces) + end
    assert len(body) <= SMALL_BODY_MAX_BYTES
    outcomes = []
    for way in ("small", "any"):
        held = Held(f"sqlite:///{tmp_path_factory.mktemp(way) / 'log.db'}")
        try:
            held.database.write(lambda connection: block_user(connection, SHOP, digest_of(SHOP, "gone"), _NOW))
            small = Small(held)
            small.blocked.read(SHOP)
            try:
                if way == "small":
                    counts: object = small.record(body)
                else:
                    with held.log.recording(SHOP, gzip=False) as recorder:
                        recorder.feed(body)
                        result, stored = recorder.finish()
                        stored.result()
                    counts = result
            except SmsEventsError as error:
                counts = (type(error), str(error))
            outcomes.append((counts, held.exported()))
        finally:
            held.database.close()
    assert outcomes[0] == outcomes[1]


def test_shops_are_known_apart(small: Small) -> None:
    """The blocked users of one shop say nothing of another."""
    other = Access(small.held.database).add_shop(SHOP + 1, "").trackpoint
    assert small.imports.record(other, body_of([line(other, small.held.now)]), Future()) is None

"""Sessions on every dialect: what opens one, what ends one, and what is at rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from smsevents.accounts.access import Access
from smsevents.accounts.sessions import SESSION_MAX_HOURS, TICKET_MAX_MINUTES, Sessions
from smsevents.catalog.sessions import SESSIONS_OF_KEY_MAX
from smsevents.errors import Forbidden, Unauthorized
from smsevents.wire.limits import HOUR_MS
from tests.contracts.dialects.harness import SLOW, Harness, harness_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.accounts.access import Scope

NOW = 1_795_478_400_000
MINUTE_MS = 60_000


class Desk:
    """The sessions of a database with one shop, by a clock that is moved by hand."""

    def __init__(self, harness: Harness) -> None:
        """Add the shop."""
        self.harness = harness
        self.now = NOW
        database = harness.opened()
        self.access = Access(database, lambda: self.now)
        self.sessions = Sessions(database, self.access)
        self.access.add_shop(7, "Seven")

    def key(self, *scopes: Scope, expires_ms: int | None = None) -> str:
        """Create a key."""
        return self.access.create_key(7, scopes or ["stats"], expires_ms=expires_ms)

    def is_open(self, session_id: str) -> bool:
        """Return whether a session is open."""
        try:
            self.sessions.find(session_id)
        except Unauthorized:
            return False
        return True


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=SLOW)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Make a database of each dialect."""
    harness = harness_of(request.param, request, tmp_path)
    yield Desk(harness)
    harness.close()


def test_a_session_is_its_key_for_twelve_hours(desk: Desk) -> None:
    """A session names its key, has only its scopes for reading, and ends after SESSION_MAX_HOURS to the millisecond."""
    key = desk.key("stats", "export", "import", "admin")
    session_id, session = desk.sessions.open(key)

    assert session.scopes == ["export", "stats"]
    assert session.key.id == key.split("_")[1]
    assert session.expires_ms == NOW + SESSION_MAX_HOURS * HOUR_MS
    desk.now = session.expires_ms - 1
    assert desk.sessions.find(session_id) == session
    desk.now += 1
    assert not desk.is_open(session_id)


def test_only_a_digest_is_at_rest(desk: Desk) -> None:
    """Neither the id of a session, nor a ticket, nor the key is in the files of the database."""
    key = desk.key()
    session_id, _ = desk.sessions.open(key)
    ticket = desk.sessions.issue_ticket(key)

    stored = desk.harness.bytes_stored()

    assert key.split("_")[1].encode() in stored
    assert [secret for secret in (key, session_id, ticket) if secret.encode() in stored] == []


def test_a_session_ends_with_its_key(desk: Desk) -> None:
    """A session is over once its key is revoked or has expired, and other keys keep theirs."""
    short, revoked = desk.key(expires_ms=NOW + HOUR_MS), desk.key()
    (of_short, session), (of_revoked, _), (of_other, _) = (
        desk.sessions.open(key) for key in (short, revoked, desk.key())
    )
    assert session.expires_ms == NOW + HOUR_MS

    desk.access.revoke_key(revoked.split("_")[1])

    assert [desk.is_open(one) for one in (of_short, of_revoked, of_other)] == [True, False, True]
    desk.now += HOUR_MS
    assert [desk.is_open(one) for one in (of_short, of_revoked, of_other)] == [False, False, True]


def test_a_sign_out_ends_one_session(desk: Desk) -> None:
    """Signing out ends this session and no other; signing in again ends the one before."""
    key = desk.key()
    first, second = (desk.sessions.open(key)[0] for _ in range(2))

    third, _ = desk.sessions.open(key, first)
    assert [desk.is_open(one) for one in (first, second, third)] == [False, True, True]
    desk.sessions.close(second)
    desk.sessions.close(second)

    assert [desk.is_open(one) for one in (first, second, third)] == [False, False, True]


def test_a_key_that_reads_nothing_opens_no_session(desk: Desk) -> None:
    """A key without `stats` and `export` is refused, and so is one that is unknown."""
    with pytest.raises(Forbidden, match="neither the scope `stats` nor `export`"):
        desk.sessions.open(desk.key("import", "admin"))
    for wrong in (None, "", "sms_0123456789ab_" + "x" * 43):
        with pytest.raises(Unauthorized):
            desk.sessions.open(wrong)


def test_a_key_has_a_bounded_number_of_sessions(desk: Desk) -> None:
    """Signing in again and again ends the oldest sessions, so the table does not grow without limit."""
    key = desk.key()
    opened = []
    for _ in range(SESSIONS_OF_KEY_MAX + 2):
        opened.append(desk.sessions.open(key)[0])
        desk.now += 1

    assert [desk.is_open(one) for one in opened] == [False] * 2 + [True] * SESSIONS_OF_KEY_MAX


def test_a_ticket_opens_one_session(desk: Desk) -> None:
    """A ticket works once and within its minutes; of two who use it at the same moment, one is signed in."""
    key = desk.key()
    late, good = (desk.sessions.issue_ticket(key) for _ in range(2))
    both = Barrier(2)

    def use() -> str | None:
        both.wait(30)
        try:
            return desk.sessions.open_by_ticket(good)[0]
        except Unauthorized:
            return None

    with ThreadPoolExecutor(2) as threads:
        opened = [one.result() for one in [threads.submit(use) for _ in range(2)]]

    [session_id] = [one for one in opened if one]
    assert desk.is_open(session_id)
    desk.now += TICKET_MAX_MINUTES * MINUTE_MS
    for used in (late, late, "", "made up"):
        with pytest.raises(Unauthorized, match="used already, or is older than ten minutes"):
            desk.sessions.open_by_ticket(used)

"""Rows that left without an erasure, on every dialect: a later erasure wipes them although no row names the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.pending_scrubs import pending
from smsevents.upkeep import wiping
from smsevents.upkeep.erasure import erase, forget
from smsevents.upkeep.receipt_rows import WAITING_MAX_MS, expire_receipts
from smsevents.upkeep.retention import expire
from smsevents.upkeep.wiping import wipe
from smsevents.wire.limits import DAY_MS
from smsevents.wire.reference import encode_reference
from tests.support.erasures import is_marked
from tests.support.receipts import START_MS, ReceiptSite, one_off, sent_line

if TYPE_CHECKING:
    from tests.contracts.dialects.harness import Harness

SENT = one_off(START_MS - 60_000)
USER = "user-that-has-left"


def register(site: ReceiptSite, message_id: str, user_id: str) -> None:
    """Register a message of a user."""
    site.sent(sent_line({"gateway": "kannel"}, message_id, user_id, SENT))


def test_an_erasure_wipes_what_left_before(site: ReceiptSite, direct: Harness) -> None:
    """An erasure wipes rows of the register that were replaced or have expired, although no row names the user now."""
    users = ["user-that-was-replaced", "user-that-expired"]
    site.receiver()
    register(site, "1", users[1])
    expire_receipts(site.database, site.now_ms + 8 * DAY_MS)
    for user in (users[0], "u2"):
        register(site, "2", user)

    assert forget(site.database, 7, users, site.now_ms, block=True).wiped

    assert [user for user in users if user.encode() in direct.bytes_stored()] == []
    assert not is_marked(site.database)


def test_an_erasure_wipes_events_that_expired_before(site: ReceiptSite, direct: Harness) -> None:
    """An erasure wipes what is left of events that expired: at least the bounds of their segment are readable."""
    receiver = site.receiver()
    site.receive(receiver, {"d": 1, "T": START_MS // 1000}, encode_reference(USER, SENT))
    expire(site.database, START_MS + 200 * DAY_MS)
    assert site.lines() == []
    assert is_marked(site.database)

    assert forget(site.database, 7, [USER], site.now_ms, block=True).wiped

    assert USER.encode() not in direct.bytes_stored()


def test_only_what_leaves_is_marked(site: ReceiptSite) -> None:
    """Messages that are registered, again and again, leave nothing, and neither do upkeep rounds without old rows."""
    receiver = site.receiver()
    for _ in range(2):
        register(site, "1", USER)
    site.receive(receiver, {"d": 1, "F": "1"})
    expire_receipts(site.database, site.now_ms)
    expire(site.database, site.now_ms)
    assert not is_marked(site.database)

    site.receive(receiver, {"d": 1, "F": "2"})
    expire_receipts(site.database, site.now_ms + WAITING_MAX_MS + 1)
    assert is_marked(site.database)


def test_two_users_of_a_message_in_one_call(site: ReceiptSite, direct: Harness) -> None:
    """If a call registers a message twice, the files never hold the user of the line that does not count."""
    site.receiver()
    lines = [sent_line({"gateway": "kannel"}, "1", user, SENT) for user in (USER, "u2")]
    site.sent(*lines)

    assert USER.encode() not in direct.bytes_stored()
    assert not is_marked(site.database)


def test_what_leaves_during_a_wipe_stays_marked(site: ReceiptSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is replaced while the files are rewritten may be in the new ones, so the next erasure wipes again."""
    site.receiver()
    for user in (USER, "u2"):
        register(site, "1", user)
    erase(site.database, 7, ["nobody"], site.now_ms, block=False)
    dialect = site.database.dialect
    real, step = dialect.scrub, dialect.scrub_steps[0]

    def scrub(name: str) -> object:
        done = real(name)
        if name == step:
            register(site, "1", "u3")
        return done

    monkeypatch.setattr(type(dialect), "scrub", lambda _, name: scrub(name))
    assert wipe(site.database, site.now_ms) is None

    assert is_marked(site.database)
    erased = erase(site.database, 7, ["nobody"], site.now_ms, block=False)
    with site.database.read() as connection:
        assert step in pending(connection)
    assert not erased.wiped


def test_nobody_waits_for_a_mark(site: ReceiptSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark alone makes nobody rewrite the files: neither a wipe of its own nor the worker does."""
    site.receiver()
    for user in (USER, "u2"):
        register(site, "1", user)
    monkeypatch.setattr(type(site.database.dialect), "scrub", lambda *_: pytest.fail("the files were rewritten"))

    assert wipe(site.database, site.now_ms) is None
    assert wiping.seconds_to_wipe(site.database, site.now_ms) == 0
    assert is_marked(site.database)

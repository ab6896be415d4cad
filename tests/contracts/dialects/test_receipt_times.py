"""When what a receipt reports happened, where its own time cannot be true, on every dialect."""

from __future__ import annotations

import pytest

from smsevents.upkeep.erasure import forget
from smsevents.upkeep.receipt_rows import WAITING_MAX_MS, expire_receipts
from smsevents.wire.limits import HOUR_MS
from smsevents.wire.reference import encode_reference
from tests.support.receipts import START_MS, ReceiptSite, line_of, one_off, sent_line

MINUTE_MS = 60_000
SENT = one_off(START_MS - MINUTE_MS)
REF = encode_reference("u1", SENT)


def register(site: ReceiptSite, message_id: str) -> None:
    """Register a message of u1."""
    site.sent(sent_line({"gateway": "kannel"}, message_id, "u1", SENT))


@pytest.mark.parametrize("before_ms", [5 * HOUR_MS, 2 * MINUTE_MS])
def test_before_it_was_sent_the_first_arrival_counts(site: ReceiptSite, before_ms: int) -> None:
    """Nothing is delivered before it was sent: such a receipt is the event at its first arrival, also if repeated."""
    receiver = site.receiver()
    fields = {"d": 1, "T": (SENT.sendDate - before_ms) // 1000}

    for _ in range(3):
        assert site.receive(receiver, fields, REF) == ["recorded"]
        site.now_ms += HOUR_MS

    assert site.lines() == [line_of(7, "u1", "DELIVERED", START_MS, SENT)]


def test_a_minute_before_it_was_sent_is_a_difference_of_clocks(site: ReceiptSite) -> None:
    """A time that is before the message by no more than its resolution and a minute stays as it is."""
    receiver = site.receiver()
    at_ms = (SENT.sendDate - MINUTE_MS) // 1000 * 1000

    site.receive(receiver, {"d": 1, "T": at_ms // 1000}, REF)

    assert site.lines() == [line_of(7, "u1", "DELIVERED", at_ms, SENT)]


def test_a_receipt_that_waited_and_is_from_before_it_was_sent(site: ReceiptSite) -> None:
    """Where only the message tells that the time is wrong, the first arrival counts, and repeats change nothing."""
    receiver = site.receiver()
    fields = {"d": 1, "F": "1", "T": (SENT.sendDate - 5 * HOUR_MS) // 1000}

    for expected in ("waiting", "waiting", "recorded", "recorded"):
        if expected == "recorded":
            register(site, "1")
        assert site.receive(receiver, fields) == [expected]
        site.now_ms += HOUR_MS

    assert site.lines() == [line_of(7, "u1", "DELIVERED", START_MS, SENT)]


def test_the_first_arrival_gets_its_user_when_that_is_known(site: ReceiptSite) -> None:
    """If a receipt waited in vain, and came again once its message was registered, an erasure finds the arrival."""
    receiver = site.receiver()
    fields = {"d": 8, "F": "1"}
    site.receive(receiver, fields)
    site.now_ms += WAITING_MAX_MS + 1
    expire_receipts(site.database, site.now_ms)
    register(site, "1")
    assert site.receive(receiver, fields) == ["recorded"]

    assert forget(site.database, 7, ["u1"], site.now_ms, block=True).wiped

    with site.database.read() as connection:
        assert not connection.exec_driver_sql("SELECT 1 FROM first_arrivals").all()

"""A real Kannel, before a simulated SMSC: its own receipts become exactly the expected events."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest

from smsevents.client import encode_reference
from smsevents.wire.events import Event
from tests.e2e.test_receipts_http import Receiver
from tests.support.campaigns import few_or_many
from tests.support.kannel import Kannel
from tests.support.receipts import one_off
from tests.support.servers import Server, eventually
from tests.support.smsc import Smsc

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Shop

pytestmark = pytest.mark.slow

ESCAPES = "?d=%d&A=%A&F=%F&T=%T"  # as docs/receipts.md recommends

# What the SMSC reports, and the statuses of the events. Kannel itself reports that the SMSC took the message.
OUTCOMES = {
    "DELIVRD": ["ACCEPTED", "DELIVERED"],
    "UNDELIV": ["ACCEPTED", "UNDELIVERABLE"],
    "EXPIRED": ["ACCEPTED", "EXPIRED"],
    "REJECTD": ["ACCEPTED", "REJECTED"],
    "DELETED": ["ACCEPTED", "DELETED"],
    "SKIPPED": ["ACCEPTED", "SKIPPED"],
    "UNKNOWN": ["ACCEPTED"],
    "REFUSE": ["REJECTED"],
    "ENROUTE.DELIVRD": ["ACCEPTED", "DELIVERED"],
    "ACCEPTD.UNDELIV": ["ACCEPTED", "UNDELIVERABLE"],
}


def statuses(shop: Shop) -> Counter[tuple[str, str]]:
    """Return how often each user has each status in the export."""
    lines = shop.export().content.splitlines()
    events = [msgspec.json.decode(line, type=Event).smsEvent for line in lines]
    return Counter((event.userId, event.status) for event in events)


def intermediate(user: str, status: str) -> bool:
    """Return whether a user's message has two receipts that become ACCEPTED: one event if in the same second."""
    return status == "ACCEPTED" and "." in user


@pytest.mark.parametrize("messages", few_or_many(60, 200))
def test_every_outcome_while_the_server_is_killed(tmp_path: Path, messages: int) -> None:
    """With Kannel's retries on, nothing is missing and nothing is there twice, although the server was killed."""
    server = Server(tmp_path)
    try:
        shop = server.shop()
        receiver = Receiver(server, shop, "kannel")
        expected: set[tuple[str, str]] = set()
        with Smsc() as smsc:
            kannel = Kannel(tmp_path, smsc.port)
            try:
                for at in range(messages):
                    outcome = list(OUTCOMES)[at % len(OUTCOMES)]
                    user = f"{at} {outcome}"
                    reference = encode_reference(user, one_off(int(time.time() * 1000), "Černý pátek"))
                    # the text is not UTF-8 in the receipt: its first characters come back in the SMSC's encoding
                    kannel.send(f"+420777{at:06}", f"P\xe1 stat={outcome} \xfe", f"{receiver.url}/{reference}{ESCAPES}")
                    expected |= {(user, status) for status in OUTCOMES[outcome]}
                    if at == messages // 2:
                        server.kill()
                assert eventually(lambda: smsc.submitted == messages)
                server.start()
                assert eventually(lambda: set(statuses(shop)) == expected), expected ^ set(statuses(shop))
                assert eventually(lambda: smsc.confirmed == smsc.receipts >= messages)
            finally:
                kannel.stop()
        found = statuses(shop)
        assert set(found) == expected
        assert {pair for pair, times in found.items() if times > 1 and not intermediate(*pair)} == set()
        assert max(found.values()) <= 2
    finally:
        server.stop()


def test_a_long_message_and_a_bit_mask(tmp_path: Path, server: Server) -> None:
    """A message of several parts has one receipt of each kind; with `dlr-mask=19` only final ones come."""
    shop = server.shop()
    receiver = Receiver(server, shop, "kannel")
    with Smsc() as smsc:
        kannel = Kannel(tmp_path, smsc.port)
        try:
            for user, text, mask in (("long", "x" * 700, 31), ("final", "x", 19)):
                reference = encode_reference(user, one_off(int(time.time() * 1000)))
                kannel.send("+420777123456", text, f"{receiver.url}/{reference}{ESCAPES}", mask)
            expected = Counter({("long", "ACCEPTED"): 1, ("long", "DELIVERED"): 1, ("final", "DELIVERED"): 1})
            assert eventually(lambda: statuses(shop) == expected), statuses(shop)
            assert smsc.submitted == 6
        finally:
            kannel.stop()

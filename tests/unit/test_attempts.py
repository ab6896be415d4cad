"""The limit of wrong keys and tokens, by a clock that is moved by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import TooManyAttempts
from smsevents.web.attempts import WRONG_PER_MINUTE_MAX, Attempts


class Door:
    """Attempts, and which of them were too many."""

    def __init__(self) -> None:
        """Start the clock."""
        self.seconds = 1000.0
        self.attempts = Attempts("keys", "Check the key.", lambda: self.seconds)

    def is_too_much(self, client: str | None, times: int = 1) -> bool:
        """Count wrong keys of a client. Return whether the last one was too many."""
        for _ in range(times - 1):
            self.is_too_much(client)
        try:
            self.attempts.count(client)
        except TooManyAttempts:
            return True
        return False


@given(st.lists(st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.integers(0, 40)), max_size=150))
def test_an_address_has_a_number_of_wrong_keys_a_minute(tries: list[tuple[str, int]]) -> None:
    """A wrong key is too many exactly if its address sent as many as allowed in its minute, which the first begins."""
    door = Door()
    minutes: dict[str, tuple[float, int]] = {}
    for client, pause_seconds in tries:
        door.seconds += pause_seconds / 10
        began, sent = minutes.get(client, (door.seconds, 0))
        if door.seconds >= began + 60:
            began, sent = door.seconds, 0
        minutes[client] = (began, sent + 1)
        assert door.is_too_much(client) == (sent >= WRONG_PER_MINUTE_MAX)


def test_the_error_says_what_was_wrong_and_what_to_do() -> None:
    """The text of the error has the limit, what was wrong, and the advice."""
    door = Door()
    door.is_too_much(None, WRONG_PER_MINUTE_MAX)
    with pytest.raises(TooManyAttempts, match=r"more than 30 wrong keys .* within a minute\. Check the key\."):
        door.attempts.count(None)


def test_the_addresses_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys from ever new addresses take a bounded amount of memory: the first addresses are forgotten."""
    monkeypatch.setattr("smsevents.web.attempts._CLIENTS_MAX", 3)
    door = Door()
    for client in "abcd":
        door.is_too_much(client, WRONG_PER_MINUTE_MAX)
    assert [door.is_too_much(client) for client in "bcda"] == [True, True, True, False]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:DB8:1:2::1", "2001:db8:1:2::1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unix", "other", False),
    ],
)
def test_ipv6_addresses_of_a_network_count_together(one: str, other: str, together: bool) -> None:
    """A client cannot go on by changing its IPv6 address within its /64; IPv4 addresses count for themselves."""
    door = Door()
    door.is_too_much(one, WRONG_PER_MINUTE_MAX)

    assert door.is_too_much(other) == together

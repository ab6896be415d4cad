"""The limit of wrong keys at the sign-in, by a clock that is moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import Forbidden, TooManyAttempts, Unauthorized
from smsevents.web.attempts import WRONG_KEYS_PER_MINUTE_MAX, Attempts

if TYPE_CHECKING:
    import pytest


class Door:
    """Attempts, and what became of each."""

    def __init__(self) -> None:
        """Start the clock."""
        self.seconds = 1000.0
        self.attempts = Attempts(lambda: self.seconds)

    def try_key(self, client: str | None, error: Exception | None) -> bool:
        """Try once; the key is good if there is no error. Return whether the attempt was let through."""
        try:
            with self.attempts.counted(client):
                if error is not None:
                    raise error
        except TooManyAttempts:
            return False
        except (Unauthorized, Forbidden):
            return True
        return True


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.booleans(), st.integers(0, 40)), max_size=120))
def test_an_address_has_a_number_of_wrong_keys_a_minute(tries: list[tuple[str, bool, int]]) -> None:
    """An attempt is let through exactly if its address sent fewer wrong keys than the limit in the last minute."""
    door = Door()
    wrong: list[tuple[str, float]] = []
    for client, is_good, pause_seconds in tries:
        door.seconds += pause_seconds
        recent = sum(who == client and at > door.seconds - 60 for who, at in wrong)
        let_through = door.try_key(client, None if is_good else Unauthorized("wrong"))
        assert let_through == (recent < WRONG_KEYS_PER_MINUTE_MAX)
        if let_through and not is_good:
            wrong.append((client, door.seconds))


def test_only_wrong_keys_count() -> None:
    """Good keys, and keys that lack a right, never lock an address out."""
    door = Door()
    for _ in range(WRONG_KEYS_PER_MINUTE_MAX * 2):
        assert door.try_key(None, None)
        assert door.try_key(None, Forbidden("lacks a right"))


def test_the_addresses_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys from ever new addresses take a bounded amount of memory: the first addresses are forgotten."""
    monkeypatch.setattr("smsevents.web.attempts._CLIENTS_MAX", 3)
    door = Door()
    for client in "abcd":
        for _ in range(WRONG_KEYS_PER_MINUTE_MAX):
            door.try_key(client, Unauthorized("wrong"))
    assert [door.try_key(client, None) for client in "abcd"] == [True, False, False, False]

"""References of messages: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client import Campaign, Flow, Node, OneOff, encode_reference
from smsevents.wire.reference import (
    NotAReference,
    Reference,
    decode_reference,
    decode_source,
    encode_source,
)

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_campaigns = st.builds(Campaign, _texts, _texts)
_times = st.integers(-(2**63), 2**63 - 1)
_sources = st.builds(Flow, _campaigns, st.builds(Node, _texts, _texts), _times) | st.builds(OneOff, _campaigns, _times)
_users = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
VALUES: list[Any] = ["u", "flow", "c", "C", "n", "N", 1]


def encoded(values: object) -> str:
    """Return any JSON value as a reference would have it."""
    return urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


@given(user=_users, source=_sources)
def test_a_reference_comes_back(user: str, source: Flow | OneOff) -> None:
    """Any user and source come back from their reference, which consists of characters that no gateway changes."""
    text = encode_reference(user, source)

    assert re.fullmatch("[A-Za-z0-9_-]+", text)
    assert decode_reference(text) == Reference(user, source)
    assert decode_reference(text + "=" * (-len(text) % 4)) == Reference(user, source)
    assert decode_source(encode_source(source)) == source


def test_the_form_is_the_documented_one() -> None:
    """The array has the documented order, and other spellings of its JSON mean the same."""
    source = Flow(Campaign("c", "Č"), Node("n", "N"), 5)
    text = encode_reference("u", source)

    assert json.loads(urlsafe_b64decode(text + "==")) == ["u", "flow", "c", "Č", "n", "N", 5]
    assert decode_reference(encoded(["u", "flow", "c", "Č", "n", "N", 5])) == Reference("u", source)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "====",
        "ab cd",
        "ab/cd",
        "Žofie",
        "x" * 40_000,
        encoded({}),
        encoded([]),
        encoded(VALUES[:-1]),
        encoded([*VALUES, 1]),
        encoded(["", *VALUES[1:]]),
        encoded([1, *VALUES[1:]]),
        encoded(["u", "other", *VALUES[2:]]),
        encoded([*VALUES[:-1], "1"]),
        encoded([*VALUES[:-1], 1.5]),
        encoded([*VALUES[:-1], 2**63]),
        encoded(["u", "flow", "c", "C", None, None, 1]),
        encoded(["u", "one-off", "c", "C", "n", "N", 1]),
        urlsafe_b64encode(b"[" * 3000).decode(),
    ],
)
def test_what_is_not_a_reference(text: str) -> None:
    """Anything else is refused, with a reason that has nothing of it."""
    with pytest.raises(NotAReference) as refused:
        decode_reference(text)

    assert str(refused.value).startswith("it ") or str(refused.value).startswith("a ")
    assert len(text) < 3 or text not in str(refused.value)


def test_a_user_that_no_event_can_have_is_refused() -> None:
    """The sender learns at once that a user id is empty or too long."""
    for user in ("", "x" * 1025):
        with pytest.raises(ValueError, match="length"):
            encode_reference(user, OneOff(Campaign("c", "C"), 1))

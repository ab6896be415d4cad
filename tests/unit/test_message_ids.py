"""The spellings of message ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.receipts.message_ids import HEX_DIGITS_MIN, digests_of, normalized, other_spellings

SPELLINGS = (str, "{:x}".format, "{:X}".format, "0x{:x}".format, "000{}".format, "0{:X}".format, " {}\t".format)


@given(number=st.integers(2**32, 2**128 - 1), one=st.sampled_from(SPELLINGS), other=st.sampled_from(SPELLINGS))
def test_every_spelling_of_a_number_leads_to_it(number: int, one: object, other: object) -> None:
    """A large number is found by any of its spellings, whichever of them was registered."""
    assert callable(one)
    assert callable(other)
    assert digests_of(one(number))[0] in digests_of(other(number))


@given(text=st.text(st.sampled_from("0123456789abcdefABCDEFxX-g "), min_size=1, max_size=45))
def test_spellings_are_mutual(text: str) -> None:
    """An id is another spelling of its other spellings, so it does not matter which of them comes first."""
    own = normalized(text)
    assert normalized(own) == own
    for other in other_spellings(text):
        assert own in other_spellings(other)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("807EF9E4-02E8-4f9a", "807ef9e4-02e8-4f9a", True),  # C34
        ("000123", "123", True),  # C33
        ("0", "000", True),
        ("1a2b3c00", "439041024", True),  # C32
        ("FFFFFFFFFFFFFFFF", str(2**64 - 1), True),  # C35
        ("10", "16", False),
        ("1234567", str(0x1234567), False),
        ("12345678", str(0x12345678), True),
        ("12", "21", False),
        ("ab-1", "ab1", False),
    ],
)
def test_which_ids_are_the_same(one: str, other: str, *, is_same: bool) -> None:
    """Ids differ unless they are spellings of one number, which short numbers without letters are not."""
    assert (digests_of(one)[0] in digests_of(other)) is is_same
    assert HEX_DIGITS_MIN == 8

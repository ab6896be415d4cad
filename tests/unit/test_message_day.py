"""The stored form of the messages of a day."""

from __future__ import annotations

import pytest

from smsevents.segments.message_day import (
    QUARTERS_IN_DAY,
    InState,
    MessageDay,
    Sent,
    UnreadableMessageDay,
    decode_message_day,
    encode_message_day,
)


@pytest.mark.parametrize(
    "wrong",
    [
        Sent(1, 0, [0], []),
        Sent(0, -1, [0], []),
        Sent(0, QUARTERS_IN_DAY, [0], []),
        Sent(0, 0, [0], [InState("DELIVERED", [1, 1], [1])]),
        Sent(0, 0, [0], [InState("DELIVERED", [1], [])]),
    ],
)
def test_an_impossible_day_is_unreadable(wrong: Sent) -> None:
    """Numbers that do not fit together are not used."""
    sound = MessageDay(5, [b"{"], [Sent(0, 95, [95], [InState("DELIVERED", [1], [2])])])
    encoded = encode_message_day(sound)
    assert encoded is not None
    assert decode_message_day(encoded) == sound
    damaged = encode_message_day(MessageDay(5, [b"{"], [wrong]))
    assert damaged is not None
    with pytest.raises(UnreadableMessageDay):
        decode_message_day(damaged)

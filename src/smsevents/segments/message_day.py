r"""The messages of one day of sending (UTC), in numbers: by source, quarter of an hour of `sendDate`, and state.

They are to the messages of a day what a tally is to the events of a segment. They name sources as tallies do, and no
users. Quarters of an hour are enough for the hours and days of every time zone.

The encoded form is MessagePack of `MessageDay`, deflated with a zlib header. MESSAGE_DAY_VERSION is stored beside it:
days of another version do not count, and are counted again.
"""

from __future__ import annotations

import zlib

import msgspec

from smsevents.segments.tally import QUARTER_MS
from smsevents.wire.limits import DAY_MS

MESSAGE_DAY_VERSION = 1
QUARTERS_IN_DAY = DAY_MS // QUARTER_MS
# A larger day is counted from its lines each time: hardly any two of its messages have the same source.
MESSAGE_DAY_MAX_BYTES = 1024 * 1024
MESSAGE_DAY_RAW_MAX_BYTES = 8 * 1024 * 1024  # inflated


class InState(msgspec.Struct, array_like=True, gc=False):
    """How many messages of one source are in a state, and the events that they have: an item for each quarter."""

    status: str
    messages: list[int]
    events: list[int]


class Sent(msgspec.Struct, array_like=True, gc=False):
    """The messages of one source. All lists have an item for each quarter from `first`, which is one of the day.

    `newest` are the quarters of the newest `date` of their events, counted from the first quarter of the day. Where no
    message was sent, it is the least of them.
    """

    source: int  # its position in the day's sources
    first: int
    newest: list[int]
    states: list[InState]


class MessageDay(msgspec.Struct, array_like=True):
    """The messages of a day. `first_date` is the earliest `date` of their events, in Unix milliseconds."""

    first_date: int
    sources: list[bytes]
    sent: list[Sent]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MessageDay)


class UnreadableMessageDay(ValueError):
    """Stored bytes are not the messages of a day."""


def encode_message_day(day: MessageDay) -> bytes | None:
    """Return the stored form of a day, or None if it is too large to be worth storing."""
    raw = _encoder.encode(day)
    if len(raw) > MESSAGE_DAY_RAW_MAX_BYTES:
        return None
    encoded = zlib.compress(raw, 6)
    return encoded if len(encoded) <= MESSAGE_DAY_MAX_BYTES else None


def decode_message_day(data: bytes) -> MessageDay:
    """Return a day from its stored form. Raises `UnreadableMessageDay`."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, MESSAGE_DAY_RAW_MAX_BYTES)
        day = _decoder.decode(raw)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise UnreadableMessageDay(str(error)) from error
    if not inflater.eof or not all(_is_possible(sent, len(day.sources)) for sent in day.sent):
        raise UnreadableMessageDay("it is not complete")
    return day


def _is_possible(sent: Sent, sources: int) -> bool:
    quarters = len(sent.newest)
    return (
        0 <= sent.source < sources
        and 0 <= sent.first <= sent.first + quarters <= QUARTERS_IN_DAY
        and all(len(one.messages) == len(one.events) == quarters for one in sent.states)
    )

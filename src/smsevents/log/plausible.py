"""Plausibility: values that are well-formed and of the right type, and still cannot be true.

They are refused when events are recorded, and nowhere else. Stored events stay as they are: exports, compaction,
verification and erasure do not check them for this.

    date, sendDate   lie in the years 2000 to 2099, independent of any clock
    userId           has at least one visible character
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from smsevents.wire.events import Event, Flow, OneOff, SmsEvent, decode_block
from smsevents.wire.times import TIME_MAX_MS, TIME_MIN_MS, is_time, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_Time = Annotated[int, Meta(ge=TIME_MIN_MS, le=TIME_MAX_MS)]

_NOT_SEEN = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # Unicode's categories of control, format and separator characters
# Invisible characters of other categories: fillers and selectors (Default_Ignorable_Code_Point in Unicode's
# DerivedCoreProperties.txt), and the braille pattern without dots.
_BLANKS = frozenset(
    [*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"]
    + [chr(code) for selectors in (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)) for code in selectors]
)


def why_impossible(event: Event) -> str | None:
    """Return why an event cannot be true, or None. The text names the field."""
    sms, source = event.smsEvent, event.source
    for name, time in (("date", sms.date), ("sendDate", source.sendDate)):
        if not is_time(time):
            unit = unit_of(time)
            guess = "" if unit is None else f" (is it {unit}?)"
            return f"`{name}` {time} is not a time in the years 2000 to 2099{guess}; send Unix milliseconds, UTC"
    if not _is_seen(sms.userId):
        return "`userId` is blank: it has no character that can be seen"
    return None


def _is_seen(text: str) -> bool:
    return any(unicodedata.category(character) not in _NOT_SEEN and character not in _BLANKS for character in text)


class _SmsEvent(SmsEvent, frozen=True, gc=False, forbid_unknown_fields=True):
    date: _Time


class _Flow(Flow, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="type", tag="flow"):
    sendDate: _Time  # noqa: N815 -- the name on the wire


class _OneOff(OneOff, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="type", tag="one-off"):
    sendDate: _Time  # noqa: N815 -- the name on the wire


class _Event(Event, frozen=True, gc=False, forbid_unknown_fields=True):
    smsEvent: _SmsEvent  # noqa: N815 -- the name on the wire
    source: _Flow | _OneOff


# Decodes only events with possible times. Within the decoder, these comparisons cost next to nothing.
_decoder = msgspec.json.Decoder(_Event)


def decode_possible(block: bytes) -> tuple[list[Event], list[bytes]] | None:
    """Do what `decode_block` does, and return None also if an event of the block is impossible."""
    decoded = decode_block(block, _decoder.decode)
    return decoded if decoded and _are_seen([event.smsEvent.userId for event in decoded[0]]) else None


def _are_seen(users: Sequence[str]) -> bool:
    return _are_plain(users) or all(map(_is_seen, users))


def _are_plain(users: Sequence[str]) -> bool:
    """Return True if every user id surely has a visible character, because all are ASCII, as nearly all are.

    This check is fast. False means that the ids must be checked one by one.
    """
    together = "".join(users)
    if not together.isascii() or "\x7f" in together:
        return False
    # JSON escapes control characters, so a text that keeps its length in JSON has none
    is_visible = " " not in together and len(msgspec.json.encode(together)) == len(together) + 2
    return is_visible or min(users) >= "!"

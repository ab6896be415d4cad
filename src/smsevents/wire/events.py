r"""The wire model: an event from a line, and the canonical line of an event.

A line is one JSON object. Its canonical form is UTF-8 without white space, with keys in the order of the classes
below. Only the characters that JSON requires are escaped, and three characters that many clients take for the end of a
line (U+0085, U+2028, U+2029), which are written as `\uXXXX`. An event *is* its canonical line: two events are the same
if their canonical lines are equal.

The statuses are the `message_state` names of SMPP 5.0, section 4.7.15, that end or mark a delivery.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from smsevents.wire.limits import LINE_MAX_BYTES, TEXT_MAX_CHARACTERS
from smsevents.wire.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INT64_MAX = 2**63 - 1

Status = Literal["DELIVERED", "ACCEPTED", "EXPIRED", "DELETED", "UNDELIVERABLE", "REJECTED", "SKIPPED"]
STATUSES: tuple[Status, ...] = get_args(Status)
Trackpoint = Annotated[int, Meta(ge=1, le=INT64_MAX, description="The number of the shop.")]
Milliseconds = Annotated[int, Meta(ge=-INT64_MAX - 1, le=INT64_MAX, description="Unix milliseconds, UTC.")]
Text = Annotated[str, Meta(max_length=TEXT_MAX_CHARACTERS)]


class Campaign(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The campaign that the message belongs to."""

    id: Text
    name: Text


class Node(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The SMS node of an automated flow."""

    id: Text
    name: Text


class Flow(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="type", tag="flow"):
    """The message was sent by a node of an automated flow."""

    campaign: Campaign
    node: Node
    sendDate: Milliseconds  # noqa: N815 -- the name on the wire


class OneOff(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="type", tag="one-off"):
    """The message was sent by a one-off campaign."""

    campaign: Campaign
    sendDate: Milliseconds  # noqa: N815 -- the name on the wire


class SmsEvent(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What happened to the message of one user, and when."""

    trackpoint: Trackpoint
    userId: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX_CHARACTERS)]  # noqa: N815 -- the name on the wire
    status: Status
    date: Milliseconds


class Event(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line of an export or an import."""

    smsEvent: SmsEvent  # noqa: N815 -- the name on the wire
    source: Flow | OneOff


def digest_of(trackpoint: int, user_id: str) -> bytes:
    """Return the digest that is stored for a blocked user: SHA-256, keyed by the shop."""
    return hashlib.sha256(b"%d\0%b" % (trackpoint, encode_text(user_id))).digest()


class NotJson(ValueError):
    """The line is not JSON. The text says where."""


class NotAnEvent(ValueError):
    """The line is JSON but not a valid event. The text says which field is wrong."""


_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()

_TOO_DEEP = "the JSON is nested too deep"
_ADVICE = {
    "trailing characters": "; a line holds one object and nothing else",
    "Input data was truncated": "; an object begins and ends on one line",
    "object keys must be strings": "; names and texts stand in double quotes",
}
_KEYS_OF_ONE_OFF = 11
_KEYS_OF_FLOW = 14
_key_end = re.compile(rb'"\s*:')

# U+2028 and U+2029 in UTF-8. They and U+0085 differ in the first byte, and a search for one byte is fast.
_separator = re.compile(rb"\xe2\x80[\xa8\xa9]")
_SEPARATORS = {b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}


def encode(event: Event) -> bytes:
    r"""Return the canonical line of an event, without the `\n` that ends it on the wire."""
    return _escaped(_encoder.encode(event))


def encode_lines(events: Sequence[Event]) -> bytes:
    r"""Return the canonical lines of events, each ended by `\n`: the same as `encode` for each, but faster."""
    return _escaped(_encoder.encode_lines(events))


def encode_text(text: str) -> bytes:
    """Return a string as it appears in canonical lines, with its quotes."""
    return _escaped(_encoder.encode(text))


def _escaped(lines: bytes) -> bytes:
    """Escape the characters that many clients take for the end of a line. `lines` is one line or several."""
    if b"\xe2" in lines:
        lines = _separator.sub(lambda found: _SEPARATORS[found[0]], lines)
    if b"\xc2" in lines:
        lines = lines.replace(b"\xc2\x85", rb"\u0085")
    return lines


def decode(line: bytes) -> tuple[Event, bytes]:
    """Read one line, in any valid JSON spelling. Return the event and its canonical line.

    Raises `NotJson` or `NotAnEvent`. The text of either says what to fix.
    """
    if len(line) > LINE_MAX_BYTES:
        raise NotAnEvent(f"the line is longer than {LINE_MAX_BYTES} bytes; no event needs that many")
    try:
        event = _decoder.decode(line)
    except msgspec.ValidationError as error:
        _refuse_bad_json(line)
        raise NotAnEvent(reason_of(str(error), line, STATUSES)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(_json_reason(line, error)) from error
    except RecursionError as error:
        raise NotJson(_TOO_DEEP) from error
    canonical = encode(event)
    if line != canonical:
        _refuse_repeated_keys(line, event)
    return event, canonical


def decode_block(
    block: bytes, event_of: Callable[[bytes], Event] = _decoder.decode
) -> tuple[list[Event], list[bytes]] | None:
    """Read many lines at once, each ended by a line feed. Return their events and canonical lines, in order.

    `event_of` decodes one line. Return None if `decode` must read each line, because at least one of them is blank or
    bad, or may be bad.
    """
    lines = block[:-1].split(b"\n")
    try:
        events = list(map(event_of, lines))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    canonical = encode_lines(events)
    if canonical == block:  # as an export or a careful client sends it: these lines are canonical already
        return events, lines
    # Each key of an object is followed by a colon. All other colons are in strings, and in those of the canonical line
    # too. So a repeated key shows as an extra colon, unless a string spells one of its own colons as an escape.
    if max(map(len, lines)) > LINE_MAX_BYTES or block.count(b":") != canonical.count(b":") or rb"\u003" in block:
        return None
    return events, canonical[:-1].split(b"\n")


def _refuse_bad_json(line: bytes) -> None:
    """Read a line that is not an event again, as any JSON, to distinguish bad JSON from a bad event."""
    try:
        msgspec.json.decode(line)
    except RecursionError as error:
        raise NotJson(_TOO_DEEP) from error
    except msgspec.ValidationError:
        return  # it is JSON, with a number beyond any range
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(_json_reason(line, error)) from error


def _json_reason(line: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: {error.reason} (byte {_first_bad_byte(line)} of the line)"
    if line.startswith(b"\xef\xbb\xbf"):
        return "starts with a byte order mark; save the file as UTF-8 without one"
    if line.startswith(b"\x1e"):
        return "starts with a record separator (0x1E); send plain lines without it"
    reason = str(error).removeprefix("JSON is malformed: ")
    more = next((help_ for start, help_ in _ADVICE.items() if reason.startswith(start)), "")
    return f"not JSON: {_lower_first(reason)}{more}"


def _first_bad_byte(line: bytes) -> int:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _refuse_repeated_keys(line: bytes, event: Event) -> None:
    """Refuse a repeated key in an object, because JSON parsers differ in which value they take.

    A valid event has a fixed number of keys, so counting `":` is enough for nearly every line. Only if a string
    contains `":` too must the line be read a second time.
    """
    expected = _KEYS_OF_FLOW if isinstance(event.source, Flow) else _KEYS_OF_ONE_OFF
    if len(_key_end.findall(line)) != expected:
        json.loads(line, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise NotAnEvent(f"the key `{repeated}` stands twice in one object")
    return members


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]

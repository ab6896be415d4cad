"""The reference of a message: who got it and what sent it, in a form that fits into a URL.

A sender puts it into the address of a message's delivery receipts, so that nothing has to be looked up when they come.
It is base64url, without padding, of a JSON array in UTF-8:

    [userId, "flow" | "one-off", campaignId, campaignName, nodeId, nodeName, sendDate]

For a one-off, `nodeId` and `nodeName` are null. `sendDate` is in Unix milliseconds. A reference is neither secret nor
signed: the token before it in the address is what a receiver trusts.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from smsevents.wire.events import Campaign, Flow, Milliseconds, Node, OneOff, Text
from smsevents.wire.limits import TEXT_MAX_CHARACTERS

REFERENCE_MAX_CHARACTERS = 32 * 1024  # five texts of TEXT_MAX_CHARACTERS, each character in four bytes of UTF-8

_UserId = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX_CHARACTERS)]
_Kind = Literal["flow", "one-off"]
_Source: TypeAlias = tuple[_Kind, Text, Text, Text | None, Text | None, Milliseconds]
_Values: TypeAlias = tuple[_UserId, _Kind, Text, Text, Text | None, Text | None, Milliseconds]

_values = msgspec.json.Decoder(_Values)
_source = msgspec.json.Decoder(_Source)
_shape = re.compile(r"[A-Za-z0-9_-]+={0,2}")


class NotAReference(ValueError):
    """The text is not a reference. The message says why, without what the text holds."""


class Reference(NamedTuple):
    """The recipient of a message, as events name it, and its source."""

    user_id: str
    source: Flow | OneOff


def encode_reference(user_id: str, source: Flow | OneOff) -> str:
    """Return the reference of a message to a user, for the address of its delivery receipts.

    It consists of the characters `A-Z a-z 0-9 - _`. Raises `ValueError` for a user id or a source that no event can
    have.
    """
    values = (user_id, *_flat(source))
    msgspec.convert(values, _Values)
    return urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode()


def decode_reference(text: str) -> Reference:
    """Return what a reference says. Raises `NotAReference`."""
    if len(text) > REFERENCE_MAX_CHARACTERS:
        raise NotAReference(f"it is longer than {REFERENCE_MAX_CHARACTERS} characters")
    if not _shape.fullmatch(text):
        raise NotAReference("it has characters other than A-Z, a-z, 0-9, - and _")
    bare = text.rstrip("=")
    try:
        values = _values.decode(urlsafe_b64decode(bare + "=" * (-len(bare) % 4)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise NotAReference(
            "it is not base64url of a JSON array [userId, type, campaignId, campaignName, nodeId, nodeName, sendDate]"
        ) from error
    user_id, *source = values
    return Reference(user_id, _source_of(tuple(source)))


def encode_source(source: Flow | OneOff) -> bytes:
    """Return a source as a JSON array: a reference without the user."""
    return msgspec.json.encode(_flat(source))


def decode_source(data: bytes) -> Flow | OneOff:
    """Return the source that `encode_source` encoded. Raises `NotAReference`."""
    try:
        return _source_of(_source.decode(data))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotAReference("it is not a JSON array of a source") from error


def _flat(source: Flow | OneOff) -> _Source:
    campaign = source.campaign
    if isinstance(source, Flow):
        return ("flow", campaign.id, campaign.name, source.node.id, source.node.name, source.sendDate)
    return ("one-off", campaign.id, campaign.name, None, None, source.sendDate)


def _source_of(values: _Source) -> Flow | OneOff:
    kind, campaign_id, campaign_name, node_id, node_name, send_date = values
    campaign = Campaign(campaign_id, campaign_name)
    if kind == "one-off":
        if node_id or node_name:
            raise NotAReference("a one-off has no node; put null in its place")
        return OneOff(campaign, send_date)
    if node_id is None or node_name is None:
        raise NotAReference("a flow has a node, with an id and a name")
    return Flow(campaign, Node(node_id, node_name), send_date)

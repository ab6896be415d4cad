"""A delivery receipt, and what must be known of a gateway to read its receipts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.receipts.times import Reported
    from smsevents.wire.events import Status

OTHER = "other"
# A value may only be shown if it cannot be a phone number or a text: words without spaces, or short numbers.
_SHOWN = re.compile(r"[A-Za-z_]{1,32}|-?[0-9]{1,4}(?: [A-Z]{1,10})?")


class NotAReceipt(ValueError):
    """The call, or a part of it, is not a receipt of the gateway. The message says why, without what was sent."""


@dataclass(frozen=True, kw_only=True)
class DeliveryReceipt:
    """What a gateway reports about a message.

    `value` is the status as the gateway writes it. `status` is ours, or None for a value that must not become an event.
    `message_id` is the gateway's. `time` is None if the gateway did not report one. `reference` is what the receipt has
    where a reference may be, in addition to that of the address.
    """

    value: str
    status: Status | None
    message_id: str | None = None
    time: Reported | None = None
    reference: str | None = None


class Gateway(Protocol):
    """How a gateway reports. It has no state."""

    @property
    def name(self) -> str:
        """The name under which receivers are created."""

    @property
    def statuses(self) -> Mapping[str, Status | None]:
        """The documented values and what they mean; None for those that never become an event."""

    @property
    def done(self) -> bytes:
        """The body of the response with which the gateway regards a receipt as delivered. The status is 200."""

    def __hash__(self) -> int: ...

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt | NotAReceipt]:
        """Read the receipts in the fields of a call. `zone` is that of times without an offset.

        Yields `NotAReceipt` for one of several that is none, and raises it if there is nothing else.
        """


def text_of(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a field as a text without surrounding space, or None if it is missing, empty, or not a single value."""
    return as_text(fields.get(name))


def required(fields: Mapping[str, Any], name: str) -> str:
    """Return a field as `text_of` does. Raises `NotAReceipt` if there is none."""
    value = text_of(fields, name)
    if value is None:
        raise NotAReceipt(f"the field `{name}` is missing")
    return value


def as_text(value: object) -> str | None:
    """Return a JSON value as a text without surrounding space, or None for null, an empty text, and structures."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value).strip() or None
    return None


def shown(value: str) -> str:
    """Return an undocumented value as it may be logged: as it is, or `other` if it could be personal data."""
    return value if _SHOWN.fullmatch(value) else OTHER

r"""The mapping of a gateway that smsevents does not know: where its fields are, and what its statuses mean.

It is a JSON object. Places are JSON pointers (RFC 6901). The fields of a query or a form are the members of one object.

    {
      "status": "/result",                        where the status is
      "statuses": {"ok": "DELIVERED", "?": null}, what its values mean; null: known, and never an event
      "messageId": "/id",                         optional, for the register of sent messages
      "reference": "/custom",                     optional, if the gateway returns the reference in a field
      "time": "/at",                              optional
      "timeFormat": "iso",                        iso, unix, unix-ms, or a format of strptime such as %Y%m%d%H%M
      "receipts": "/results",                     optional: the array of receipts within an object
      "response": "OK"                            optional: the body of the response that the gateway expects
    }
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from smsevents.errors import InvalidRequest
from smsevents.receipts import times
from smsevents.receipts.receipt import NotAReceipt
from smsevents.wire.events import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.receipts.times import Reported

MAPPING_MAX_BYTES = 64 * 1024
RESPONSE_MAX_CHARACTERS = 200

_pointer = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_UNIX_UNITS_MS = {"unix": times.SECOND_MS, "unix-ms": 1}
_EXAMPLE_TIME = datetime(2026, 11, 25, 23, 44, 59, tzinfo=UTC)


class Mapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A mapping. Create it with `parse_mapping`, which checks it."""

    status: str
    statuses: dict[str, Status | None]
    message_id: str | None = None
    reference: str | None = None
    time: str | None = None
    time_format: str | None = None
    receipts: str | None = None
    response: str = field(default="OK")

    def documents(self, fields: AnyMapping[str, Any]) -> Iterator[Any]:
        """Go through the objects that are a receipt each. Raises `NotAReceipt`."""
        if self.receipts is None:
            yield fields
            return
        found = self.value_at(self.receipts, fields)
        if not isinstance(found, list):
            raise NotAReceipt("there is no array of receipts at the place that the mapping names")
        yield from found

    @staticmethod
    def value_at(pointer: str | None, document: Any) -> Any:  # noqa: ANN401 -- JSON
        """Return the value at a JSON pointer, or None if there is none."""
        if pointer is None:
            return None
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(document, AnyMapping):
                document = document.get(name)
            elif isinstance(document, list) and re.fullmatch("0|[1-9][0-9]{0,5}", name):
                document = document[int(name)] if int(name) < len(document) else None
            else:
                return None
        return document

    def read_time(self, text: str, zone: tzinfo) -> Reported | None:
        """Return the time that a text means, or None if it does not have the format."""
        form = self.time_format or "iso"
        if form in _UNIX_UNITS_MS:
            return times.unix(text, _UNIX_UNITS_MS[form])
        return times.iso(text, zone) if form == "iso" else times.written(text, form, zone)


def parse_mapping(data: bytes) -> Mapping:
    """Read and check a mapping. Raises `InvalidRequest`, with the field and what to change."""
    if len(data) > MAPPING_MAX_BYTES:
        raise InvalidRequest(f"The mapping has {len(data)} bytes; it may have {MAPPING_MAX_BYTES}.")
    try:
        found = msgspec.json.decode(data, type=Mapping)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The mapping cannot be used: {error}. docs/receipts.md has an example.") from error
    if not found.statuses:
        raise InvalidRequest("The mapping has no `statuses`, so no receipt would become an event. Name at least one.")
    for name in ("status", "message_id", "reference", "time", "receipts"):
        pointer = getattr(found, name)
        if pointer is not None and not _pointer.fullmatch(pointer):
            shown = msgspec.structs.fields(Mapping)
            encoded = next(one.encode_name for one in shown if one.name == name)
            raise InvalidRequest(
                f"The mapping's `{encoded}` is {pointer!r}; write a JSON pointer such as /data/status."
            )
    _check_time(found)
    if len(found.response) > RESPONSE_MAX_CHARACTERS or not found.response.isprintable():
        raise InvalidRequest(f"The mapping's `response` is a text of at most {RESPONSE_MAX_CHARACTERS} characters.")
    return found


def _check_time(mapping: Mapping) -> None:
    form = mapping.time_format
    if form is None:
        return
    if mapping.time is None:
        raise InvalidRequest("The mapping has a `timeFormat`, but no `time`: say where the time is, or leave it out.")
    if form == "iso" or form in _UNIX_UNITS_MS:
        return
    sample = _EXAMPLE_TIME.strftime(form)
    if "%" not in form or times.written(sample, form, UTC) is None or "%M" not in form:
        raise InvalidRequest(
            f"The mapping's `timeFormat` is {form!r}; write iso, unix, unix-ms, or a format with a date, hours and"
            " minutes, such as %Y-%m-%d %H:%M:%S."
        )


def encode_mapping(mapping: Mapping) -> bytes:
    """Return a mapping as it is stored."""
    return msgspec.json.encode(mapping)

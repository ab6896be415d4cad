"""The fields of a call, whichever way the gateway sends them: in the query, as a form, or as JSON.

Texts in queries may be any bytes: gateways pass on parts of messages in the encoding of the network. So queries and
forms are read as Latin-1, which every byte has. What smsevents reads of them is ASCII.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import ChainMap
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from smsevents.errors import BodyTooLarge
from smsevents.receipts.receipt import DeliveryReceipt, NotAReceipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sized
    from datetime import tzinfo

    from smsevents.receipts.receipt import Gateway

FIELDS_IN_CALL_MAX = 1000  # of a query or a form
RECEIPTS_IN_CALL_MAX = 1000  # more would keep other requests waiting; gateways send up to 100


def read_call(query: bytes, body: bytes, content_type: str) -> list[Mapping[str, Any]]:
    """Return the fields of each object in a call: several for a JSON array, otherwise one.

    Fields of the query are added to each. Of a field that is repeated, the first value counts. Raises `NotAReceipt`.
    """
    shared = _pairs(query)
    body = without_mark(body)
    if not (is_json(body) or (body.strip() and "json" in content_type.lower())):
        return [_pairs(body) | shared]
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAReceipt("the body is not JSON") from error
    objects = found if isinstance(found, list) else [found]
    if objects and not any(isinstance(one, dict) for one in objects):
        raise NotAReceipt("the body is JSON, but not an object or an array of objects")
    objects = [one if isinstance(one, dict) else {} for one in objects]  # the gateway refuses one without fields
    # not copied for each object: a kilobyte of query times thousands of objects would be gigabytes
    return [ChainMap(one, shared) for one in objects] if shared else objects


def without_mark(body: bytes) -> bytes:
    """Return a body without the byte order mark that some programs write before UTF-8."""
    return body.removeprefix(BOM_UTF8)


def is_json(body: bytes) -> bool:
    """Return whether a body can only be JSON, whatever its Content-Type says."""
    return without_mark(body).lstrip()[:1] in {b"{", b"["}


def read_receipts(
    gateway: Gateway, calls: Iterable[Mapping[str, Any]], zone: tzinfo
) -> tuple[list[DeliveryReceipt], list[NotAReceipt]]:
    """Return the receipts in the objects of a call, and why others could not be read. One does not spoil the rest.

    Raises `BodyTooLarge` if there are more than RECEIPTS_IN_CALL_MAX.
    """
    found: list[DeliveryReceipt] = []
    refused: list[NotAReceipt] = []
    for fields in calls:
        try:
            for one in gateway.receipts(fields, zone):
                (found if isinstance(one, DeliveryReceipt) else refused).append(one)  # type: ignore[arg-type]
                _check_number(found, refused)
        except NotAReceipt as error:
            refused.append(error)
            _check_number(found, refused)
    return found, refused


def _check_number(found: Sized, refused: Sized) -> None:
    if len(found) + len(refused) > RECEIPTS_IN_CALL_MAX:
        raise BodyTooLarge(
            f"Nothing was stored. A call has at most {RECEIPTS_IN_CALL_MAX} delivery receipts. Send fewer at a time."
        )


def _pairs(text: bytes) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=FIELDS_IN_CALL_MAX
        )
    except ValueError as error:
        raise NotAReceipt(f"there are more than {FIELDS_IN_CALL_MAX} fields") from error
    return dict(reversed(pairs))

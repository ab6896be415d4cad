"""The gateways, by name: one file and one table of statuses each.

kannel.py   Kannel
jasmin.py   Jasmin
generic.py  any other, by a mapping
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.errors import InvalidRequest
from smsevents.receipts.gateways.generic import Generic
from smsevents.receipts.gateways.jasmin import Jasmin
from smsevents.receipts.gateways.kannel import Kannel
from smsevents.receipts.mapping import parse_mapping

if TYPE_CHECKING:
    from smsevents.receipts.receipt import Gateway

_KNOWN: dict[str, Gateway] = {gateway.name: gateway for gateway in (Kannel(), Jasmin())}
GATEWAYS = (*_KNOWN, Generic.name)


def gateway_of(name: str, mapping: bytes | None = None) -> Gateway:
    """Return a gateway by its name and, for `generic`, its mapping. Raises `InvalidRequest`."""
    if name == Generic.name:
        if mapping is None:
            raise InvalidRequest(f"The gateway `{name}` needs a mapping; docs/receipts.md has an example.")
        return Generic(parse_mapping(mapping))
    if name not in _KNOWN:
        raise InvalidRequest(f"There is no gateway {name!r}. Use one of {', '.join(GATEWAYS)}.")
    if mapping is not None:
        raise InvalidRequest(f"The gateway `{name}` has its own fields; a mapping is for `{Generic.name}` only.")
    return _KNOWN[name]

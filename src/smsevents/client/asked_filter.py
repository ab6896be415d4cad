"""What a request says of a filter, to a server that knows filters. Others get the interval alone.

A server may know filters, ignore them, or refuse a request that has them. So nothing of a filter is sent unless the
server said, in the response to OPTIONS, that it takes it. That only saves work: the client filters all events itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from smsevents.wire.event_filter import FILTERS_HEADER, MEMBERS, REQUEST_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsevents.client.filters import Filter


def known_filters(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the members that a server takes, by the headers of its response to OPTIONS."""
    names = headers.get(FILTERS_HEADER.lower(), "").split(",")
    return frozenset(name.strip() for name in names) & frozenset(MEMBERS)


def body_of(interval: bytes, where: Filter, known: frozenset[str]) -> bytes:
    """Return the body of a request: the interval, and what the server knows of the filter.

    It is the interval alone if the body would be larger than a server takes.
    """
    members: dict[str, Any] = {
        name: value for name, value in msgspec.to_builtins(where).items() if name in known and value is not None
    }
    if not members:
        return interval
    body = msgspec.json.encode(msgspec.json.decode(interval, type=dict[str, int]) | members)
    return body if len(body) <= REQUEST_MAX_BYTES else interval

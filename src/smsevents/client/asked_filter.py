"""What a request says of a filter, to a server that knows filters. Others get the interval alone.

A server may know filters, ignore them, or refuse a request that has them. So nothing of a filter is sent unless the
server said, in the response to OPTIONS, that it takes it. That only saves work: the client filters all events itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

from smsevents.client.transport import timeout_extension, url_of
from smsevents.wire.event_filter import FILTERS_HEADER, MEMBERS, REQUEST_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsevents.client.account import Account
    from smsevents.client.filters import Filter
    from smsevents.client.retry import Timeouts

OPTIONS_SILENCE_MAX_SECONDS = 10  # asking only saves work, so it must not take long


def options_request(account: Account, timeouts: Timeouts, user_agent: str) -> httpx2.Request:
    """Return the request that asks a server which filters it takes. It has no key: the response is public."""
    url = url_of(account.address("export"))
    limits = timeout_extension(timeouts)
    limits["read"] = min(limits["read"], OPTIONS_SILENCE_MAX_SECONDS)
    headers = {"Host": url.netloc.decode(), "User-Agent": user_agent, "Accept-Encoding": "identity"}
    return httpx2.Request("OPTIONS", url, headers=headers, extensions={"timeout": limits})


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

"""The client: exports and imports over HTTP. It works with smsevents and with Samba accounts, which share one API.

    from smsevents.client import Client

    with Client(4541245641234564, url="http://127.0.0.1:8080") as client:
        for event in client.export():
            print(event.smsEvent.status)

The client does not import the server, only the wire model (`smsevents.wire.events`) and its dependencies.

account.py     the server, the shop and the API key
filters.py     which events the caller wants
asked_filter.py  what a request says of a filter
interval.py    the caller's times → the body of the request
core.py        exports and imports; the core that both clients share
transport.py   sends requests and reads responses, blocking or on an event loop; translates the HTTP library's errors
head.py        what the headers of an export say about time
pace.py        how slow a server may be
lines.py       chunks → complete lines → checked events
arrow.py       the events as Arrow columns; needs pyarrow
arrow_lines.py canonical lines → Arrow columns, many at once; needs pyarrow and numpy
line_parts.py  where the parts of canonical lines are, many at once; needs numpy
event_parts.py events as columns, before it is decided in which types; needs pyarrow and numpy
gathered.py    small batches → larger ones
frames.py      DataFrames of pandas and polars; needs pyarrow
responses.py   an error response → the error that is raised
retry.py       timeouts, retries, waits
clients.py     `Client`, `AsyncClient`
errors.py      the error hierarchy
messages.py    the columns of messages, and which filters leave their states right
pull/          downloads the events of a window into files, day by day
dlt_source.py  the events as a dlt source, for warehouses; needs the extra `sync`
warehouse_rows.py  the rows of the warehouse's table, in Arrow
warehouse_messages.py  the table of messages, which the warehouse makes from that of events
sync.py        runs of dlt: from the warehouse's position to now
sync_step.py   the rows of one of these runs, and how they are loaded
reached.py     how far a sync got, by two clocks
locks.py       locks between processes
platforms.py   what operating systems do differently
"""

from __future__ import annotations

import warnings

from smsevents.client.account import ACCOUNTS
from smsevents.client.clients import AsyncClient, Client
from smsevents.client.errors import (
    BadLine,
    BadRequest,
    ClientError,
    ConfigurationError,
    Forbidden,
    IncompleteExport,
    MissingExtra,
    RateLimited,
    Recovery,
    Refused,
    RefusedLine,
    RefusedLines,
    ServerFault,
    ServerUnavailable,
    SyncFailed,
    TooSlow,
    TruncatedStream,
    Unauthorized,
    UnexpectedResponse,
    Unreachable,
)
from smsevents.client.filters import Filter
from smsevents.client.head import ExportHead
from smsevents.client.lines import Batch
from smsevents.client.retry import NEVER, Retry, Timeouts
from smsevents.wire.events import Campaign, Event, Flow, Node, OneOff, SmsEvent
from smsevents.wire.reference import encode_reference
from smsevents.wire.results import ImportResult

__all__ = [
    "ACCOUNTS",
    "NEVER",
    "AsyncClient",
    "BadLine",
    "BadRequest",
    "Batch",
    "Campaign",
    "Client",
    "ClientError",
    "ConfigurationError",
    "Event",
    "ExportHead",
    "Filter",
    "Flow",
    "Forbidden",
    "ImportResult",
    "IncompleteExport",
    "MissingExtra",
    "Node",
    "OneOff",
    "RateLimited",
    "Recovery",
    "Refused",
    "RefusedLine",
    "RefusedLines",
    "Retry",
    "ServerFault",
    "ServerUnavailable",
    "SmsEvent",
    "SyncFailed",
    "Timeouts",
    "TooSlow",
    "TruncatedStream",
    "Unauthorized",
    "UnexpectedResponse",
    "Unreachable",
    "encode_reference",
]

# The names of earlier versions.
_RENAMED = {
    "CutStream": TruncatedStream,
    "NotWhole": IncompleteExport,
    "Receipt": ImportResult,
    "UnexpectedAnswer": UnexpectedResponse,
}


def __getattr__(name: str) -> type:
    """Return a renamed class, with a warning that names its new name."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind = _RENAMED[name]
    warnings.warn(f"{name} is called {kind.__name__} now.", DeprecationWarning, stacklevel=2)
    return kind

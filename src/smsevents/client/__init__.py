"""The client: exports and imports over HTTP, from smsevents or from a Samba account, which answer the same contract.

    from smsevents.client import Client

    with Client(4541245641234564, url="http://127.0.0.1:8080") as client:
        for event in client.export():
            print(event.smsEvent.status)

It imports nothing of the server: the wire model (`smsevents.wire.events`) and what lies beneath it.

account.py     whom to ask, for which shop, with which key
interval.py    the caller's times → the body of the request
core.py        an export, an import; the one core of both clients
transport.py   sends and reads: blocking, or on an event loop; translates what the HTTP library raises
head.py        what the head of an export tells about time
pace.py        how slow a server may be
lines.py       chunks → whole lines → checked events
responses.py   an error response → the error that is raised
retry.py       timeouts, tries, waits
clients.py     `Client`, `AsyncClient`
errors.py      the tree of errors
pull/          the events of a window into files, day by day
dlt_source.py  the events as a source of dlt, for warehouses; needs the extra `sync`
sync.py        a run of dlt: from where the warehouse is to now
reached.py     how far a sync came, by two clocks
locks.py       locks between processes
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
from smsevents.client.head import ExportHead
from smsevents.client.lines import Batch
from smsevents.client.retry import NEVER, Retry, Timeouts
from smsevents.wire.events import Campaign, Event, Flow, Node, OneOff, SmsEvent
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
]

# The names of earlier versions.
_RENAMED = {
    "CutStream": TruncatedStream,
    "NotWhole": IncompleteExport,
    "Receipt": ImportResult,
    "UnexpectedAnswer": UnexpectedResponse,
}


def __getattr__(name: str) -> type:
    """Return what was renamed, with a warning that says how."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind = _RENAMED[name]
    warnings.warn(f"{name} is called {kind.__name__} now.", DeprecationWarning, stacklevel=2)
    return kind

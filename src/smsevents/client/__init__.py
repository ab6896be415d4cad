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
answers.py     an error answer → the error that is raised
patience.py    timeouts, tries, waits
clients.py     `Client`, `AsyncClient`
errors.py      the tree of errors
pull/          the events of a window into files, day by day
dlt_source.py  the events as a source of dlt, for warehouses; needs the extra `sync`
sync.py        a run of dlt: from where the warehouse is to now
reached.py     how far a sync came, by two clocks
locks.py       locks between processes
"""

from __future__ import annotations

from smsevents.client.account import ACCOUNTS
from smsevents.client.clients import AsyncClient, Client
from smsevents.client.errors import (
    BadLine,
    BadRequest,
    ClientError,
    ConfigurationError,
    CutStream,
    Forbidden,
    MissingExtra,
    NotWhole,
    RateLimited,
    Refused,
    RefusedLine,
    RefusedLines,
    ServerFault,
    ServerUnavailable,
    SyncFailed,
    TooSlow,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from smsevents.client.head import ExportHead
from smsevents.client.lines import Batch
from smsevents.client.patience import NEVER, Retry, Timeouts
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
    "CutStream",
    "Event",
    "ExportHead",
    "Flow",
    "Forbidden",
    "ImportResult",
    "MissingExtra",
    "Node",
    "NotWhole",
    "OneOff",
    "RateLimited",
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
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
]

"""The server's memory with many clients that hardly read, and how a fast one fares among them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.grown import grown
from bench.load import slow_readers
from bench.measure import download, memory_bytes, peak_memory
from bench.peers.smsevents import served
from bench.results import ReadersResult, about

if TYPE_CHECKING:
    from socket import socket

    from bench.plan import Plan

READ_BYTES = 4096
PAUSE_SECONDS = 0.25


def measure(plan: Plan) -> ReadersResult:
    """Let clients read a large export slowly, plain and gzip, from a new server each time."""
    made = grown(plan)
    shop = made.shops[-1]
    slow: dict[str, int] = {}
    fast: dict[str, float] = {}
    idle = alone = 0
    for encoding in ("gzip", "identity"):
        with served(made.store) as server:
            request = shop.request(shop.everything, gzip=encoding == "gzip")
            full = server.export(shop.key, shop.everything, gzip=True, trackpoint=shop.trackpoint)
            idle = memory_bytes(server.pid)
            with peak_memory(server.pid) as peak:
                fast[f"alone, before {encoding}"] = download(full, server.pid).seconds
            alone = max(alone, peak[0])
            with slow_readers(server.port, request, plan.slow_readers) as sockets:
                slow[encoding] = _read_slowly(sockets, server.pid, plan.slow_seconds)
                fast[f"among slow {encoding}"] = download(full, server.pid).seconds
    return ReadersResult(
        about=about(),
        shop_events=shop.events,
        readers=plan.slow_readers,
        idle_bytes=idle,
        one_export_bytes=alone,
        slow_bytes=slow,
        fast_export_seconds=fast,
    )


def _read_slowly(sockets: list[socket], server: int, seconds: float) -> int:
    """Read a little from each, again and again; give the most memory that the server had meanwhile."""
    most = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for one in sockets:
            one.recv(READ_BYTES)
        most = max(most, memory_bytes(server))
        time.sleep(PAUSE_SECONDS)
    return most

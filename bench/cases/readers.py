"""The server's memory with many clients that hardly read, and how a fast one fares among them."""

import time
from functools import partial
from socket import socket

from bench.load import slow_readers
from bench.measure import forget_peak, memory_bytes, take_turns
from bench.peers.smsevents import grown, served
from bench.plan import DAY_MS, ENCODINGS, SPAN_DAYS, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row

_READ_BYTES, _PAUSE_SECONDS = 4096, 0.25


def _measure(plan: Plan) -> list[Row]:
    store, shops = grown(plan)
    shop = shops[-1]
    found = []
    for encoding in ENCODINGS:
        with served(store) as server:
            fast = partial(server.export, shop, "gzip")
            idle = memory_bytes(server.pid)
            forget_peak(server.pid)
            alone = take_turns([fast], plan.rounds)[0]["seconds"]
            peak = memory_bytes(server.pid, "VmHWM")
            request = shop.request(encoding, SPAN_DAYS * DAY_MS)
            with slow_readers(server.port, request, plan.slow_readers) as sockets:
                most = _read_slowly(sockets, server.pid, plan.slow_seconds)
                among = take_turns([fast], plan.rounds)[0]["seconds"]
        memory = {"idle_bytes": idle, "one_export_bytes": peak, "all_readers_bytes": most}
        each = (most - peak) // plan.slow_readers
        labels: Labels = {"shop_events": shop.events, "readers": plan.slow_readers, "encoding": encoding}
        times = {"fast_alone_seconds": alone, "fast_among_them_seconds": among}
        found.append(row(labels, **memory, each_reader_bytes=each, **times))
    return found


def _read_slowly(sockets: list[socket], server: int, seconds: float) -> int:
    """Read a little from each, again and again; return the most memory that the server had meanwhile."""
    most = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for one in sockets:
            one.recv(_READ_BYTES)
        most = max(most, memory_bytes(server))
        time.sleep(_PAUSE_SECONDS)
    return most


CASE = Case(
    _measure,
    "Memory of the server, with a shop of {shop_events:,} events; the last columns are whole exports by a fast client.",
    (
        *("readers encoding", "idle_bytes", "one_export_bytes", "all_readers_bytes", "each_reader_bytes"),
        *("fast_alone_seconds", "fast_among_them_seconds"),
    ),
    Bars(
        "Memory of the server with slow readers that export {shop_events:,} events, and for each of them",
        *("readers encoding", "all_readers_bytes", "all_readers_bytes each_reader_bytes"),
    ),
)

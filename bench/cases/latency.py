"""Small exports of a large shop: how long until the first byte, one at a time and many at a time."""

import time
from itertools import product, repeat

from bench.load import quantiles, send
from bench.measure import Figures, bytes_read, cpu_seconds, stopwatch
from bench.peers.smsevents import Server, Shop, grown, served
from bench.plan import ENCODINGS, MS, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row

_PACES = ((1, "without a pause", 0), (50, "without a pause", 0), (50, "each every second", 1))
_WARM_UP_REQUESTS = 100


def _measure(plan: Plan) -> list[Row]:
    store, shops = grown(plan)
    shop = shops[-1]
    found = []
    for processes in (1, 2):
        with served(store, workers=processes) as server:
            for encoding, (clients, pace, pause_seconds) in product(ENCODINGS, _PACES):
                labels: Labels = {"shop_events": shop.events, "clients": clients, "pace": pace}
                requests = plan.requests if clients > 1 else plan.requests // 4
                figures = small_exports(server, shop, encoding, requests, (clients, pause_seconds))
                found.append(row(labels | {"encoding": encoding, "processes": processes}, **figures))
    return found


def small_exports(server: Server, shop: Shop, encoding: str, requests: int, pace: tuple[int, float]) -> Figures:
    """Export the newest minutes by so many clients, with a pause; return times, and what each took and read."""
    request, (clients, pause_seconds) = shop.request(encoding), pace
    read = bytes_read(server.pid)
    send(server.port, iter([request]), 1)
    read = bytes_read(server.pid) - read
    send(server.port, repeat(request, _WARM_UP_REQUESTS), clients)
    client_cpu, server_cpu = time.process_time(), cpu_seconds(server.pid)
    with stopwatch() as taken:
        times = send(server.port, repeat(request, requests), clients, pause_seconds)
    used = {"client_cpu_ms": time.process_time() - client_cpu, "server_cpu_ms": cpu_seconds(server.pid) - server_cpu}
    figures = {name: round(seconds / requests * MS, 3) for name, seconds in used.items()}
    rate = {"exports_per_second": round(requests / taken["seconds"], 1), "server_read_bytes": read}
    return quantiles(times) | figures | rate


CASE = Case(
    _measure,
    "A shop of {shop_events:,} events. The last two columns are for one request.",
    (
        *("clients pace", "encoding", "processes", "exports_per_second", "first_byte_p50_ms", "first_byte_p99_ms"),
        *("last_byte_p50_ms", "last_byte_p99_ms", "server_cpu_ms", "client_cpu_ms"),
    ),
    Bars(
        "First byte, p50 and p99, of a small export: clients, encoding, server processes. Shorter is better",
        *("clients pace encoding processes", "first_byte_p50_ms", "first_byte_p50_ms first_byte_p99_ms"),
    ),
)

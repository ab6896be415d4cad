"""Small exports of a large shop: how long until the first byte, one at a time and many at a time."""

from __future__ import annotations

import time
from itertools import repeat
from typing import TYPE_CHECKING

from bench.grown import grown
from bench.load import ask
from bench.measure import cpu_seconds, quantile
from bench.peers.smsevents import served
from bench.results import Latency, LatencyResult, about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load import Answer
    from bench.peers.smsevents import Server
    from bench.plan import Plan

MANY = 50
PAUSE_MS = 1000
WARM_UP = 100
_MS = 1000


def measure(plan: Plan) -> LatencyResult:
    """Export the newest minutes of the shop, again and again, from one server process and from two."""
    made = grown(plan)
    shop = next((shop for shop in made.shops if shop.events >= plan.latency_events), made.shops[-1])
    found: list[Latency] = []
    for workers in (1, 2):
        with served(made.store, workers=workers) as server:
            for encoding in ("gzip", "identity"):
                request = shop.small_request(gzip=encoding == "gzip")
                ask(server.port, repeat(request, WARM_UP), MANY)
                for clients, pause_ms in ((1, 0), (MANY, 0), (MANY, PAUSE_MS)):
                    requests = plan.requests if clients > 1 else plan.requests // 4
                    one = _measure_one(server, repeat(request, requests), clients, pause_ms)
                    one.encoding, one.workers = encoding, workers
                    found.append(one)
    return LatencyResult(about=about(), shop_events=shop.events, latencies=found)


def _measure_one(server: Server, requests: Iterator[bytes], clients: int, pause_ms: int) -> Latency:
    """Send requests, and tell beside the times what server and clients used of the processor."""
    started, client_cpu, server_cpu = time.perf_counter(), time.process_time(), cpu_seconds(server.pid)
    answers = ask(server.port, requests, clients, pause_ms / _MS)
    one = latency(answers, time.perf_counter() - started)
    one.clients, one.pause_ms = clients, pause_ms
    one.client_cpu_ms = round((time.process_time() - client_cpu) / len(answers) * _MS, 3)
    one.server_cpu_ms = round((cpu_seconds(server.pid) - server_cpu) / len(answers) * _MS, 3)
    lines = answers[0].body
    one.events = lines.count(b"\n") - lines.count(b"\r\n")  # of plain lines; those of chunks are not counted
    return one


def latency(answers: list[Answer], seconds: float) -> Latency:
    """Give the quantiles of answers that took so many seconds together."""
    first = [answer.first_byte_seconds * _MS for answer in answers]
    whole = [answer.seconds * _MS for answer in answers]
    return Latency(
        encoding="",
        clients=1,
        workers=1,
        pause_ms=0,
        requests=len(answers),
        per_second=round(len(answers) / seconds, 1),
        first_byte_p50_ms=round(quantile(first, 0.5), 3),
        first_byte_p99_ms=round(quantile(first, 0.99), 3),
        whole_p50_ms=round(quantile(whole, 0.5), 3),
        whole_p99_ms=round(quantile(whole, 0.99), 3),
    )

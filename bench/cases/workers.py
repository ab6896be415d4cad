"""How many processes a server should have: small requests and both kinds at once, by one worker, two and four.

Each number of workers has a database of its own, and all take turns in one run. The clients are in one more process,
on the same cores.
"""

import statistics
from contextlib import ExitStack
from functools import partial
from itertools import chain, cycle, islice

from bench.cases.requests import CLIENTS, SHOPS, export_request, filled, imports, turn
from bench.dataset import dataset
from bench.measure import memory_bytes, take_turns
from bench.peers.smsevents import Store, add_shops, served
from bench.plan import TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row

_WORKERS = (1, 2, 4)
_SHOP_EVENTS = 2000


def _measure(plan: Plan) -> list[Row]:
    data = dataset(plan.folder, plan.events)
    ways = {}
    with plan.workplace("workers") as folder, ExitStack() as stack:
        servers = {}
        for workers in _WORKERS:
            store = Store(folder / f"{workers}.db")
            keys = add_shops(store, range(TRACKPOINT, TRACKPOINT + SHOPS))
            server = servers[workers] = stack.enter_context(served(store, workers=workers))
            interval = filled(server, keys, _SHOP_EVENTS)
            exports = cycle([export_request(shop, keys, interval, "gzip") for shop in range(SHOPS)])
            events = imports(data, keys)
            both = chain.from_iterable(zip(exports, events, strict=False))
            for what, requests in (("small export", exports), ("import of one event", events), ("both in turn", both)):
                ways[what, workers] = partial(turn, server, partial(islice, requests, plan.requests))
        turns = take_turns(list(ways.values()), plan.rounds)
        memory = {workers: memory_bytes(server.pid) for workers, server in servers.items()}
    found = []
    seconds = {way: figures["seconds"] for way, figures in zip(ways, turns, strict=True)}
    for (what, workers), figures in zip(ways, turns, strict=True):
        rates = [round(plan.requests / one, 1) for one in figures["seconds"]]
        pairs = zip(seconds[what, 1], figures["seconds"], strict=True)
        ratios = [round(alone / ours, 4) for alone, ours in pairs]
        labels: Labels = {"what": what, "workers": workers, "clients": CLIENTS}
        found.append(row(labels, **figures, requests_per_second=rates, rate_by_one_ratio=ratios))
        found[-1].figures["memory_bytes"] = [memory[workers]]
        print(f"  {what}, {workers}: {statistics.median(ratios):.2f}", flush=True)
    return sorted(found, key=lambda one: str(one.labels["what"]))


CASE = Case(
    _measure,
    "{clients} clients without a pause, gzip. The processor time is that of one request, of all processes.",
    (
        *("what", "workers", "requests_per_second", "rate_by_one_ratio", "rate_by_one_ratio~"),
        *("response_p50_ms", "response_p99_ms", "server_cpu_ms", "memory_bytes"),
    ),
    Bars(
        "Requests a second by {clients} clients, by the number of workers: longer is better",
        *("what workers", "requests_per_second", "requests_per_second rate_by_one_ratio"),
    ),
)

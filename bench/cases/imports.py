"""Imports: how many events a second become durable, in large bodies beside the peers, and one event a request.

A single client that sends one event a request waits for a flush of its own each time, many share a flush.
"""

from functools import partial
from itertools import islice

from bench import peers
from bench.dataset import Dataset
from bench.load import post, quantiles, send
from bench.measure import Figures, cpu_seconds, stopwatch, take_turns
from bench.peers.smsevents import IMPORT_PATH, Store, served_anew
from bench.plan import Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row

_CLIENTS = (1, 50)


def _measure(plan: Plan) -> list[Row]:
    with peers.opened(plan, "import") as (systems, data, folder):
        ways = {(peer.system, *way): do for peer in systems for way, do in peer.imports.items()}
        turns = take_turns(list(ways.values()), plan.rounds, plan.way_max_seconds)
        store = Store(folder / "single.db")
        of_single = [partial(_import_singly, store, data, plan.requests, clients) for clients in _CLIENTS]
        turns += take_turns(of_single, plan.rounds, plan.way_max_seconds)
    singles = [("smsevents", f"one event a request, {clients} at a time", "plain") for clients in _CLIENTS]
    found = []
    for (system, variant, encoding), figures in zip([*ways, *singles], turns, strict=True):
        labels: Labels = {"events": plan.events, "system": system, "variant": variant, "encoding": encoding}
        found.append(row(labels, **figures))
        events = plan.requests if "response_p50_ms" in figures else plan.events
        found[-1].figures["events_per_second"] = [round(events / seconds) for seconds in figures["seconds"]]
    return sorted(found, key=lambda one: -one.median("events_per_second"))


def _import_singly(store: Store, data: Dataset, requests: int, clients: int) -> Figures:
    with served_anew(store) as (server, key), data.path.open("rb") as lines:
        posts = [post(IMPORT_PATH, {"X-Api-Key": key}, line) for line in islice(lines, requests)]
        before = cpu_seconds(server.pid)
        with stopwatch() as taken:
            times = send(server.port, iter(posts), clients)
        used = {"cpu_seconds": cpu_seconds(server.pid) - before}
    return taken | used | {"response_p50_ms": quantiles(times)["last_byte_p50_ms"]}


CASE = Case(
    _measure,
    "{events:,} events.",
    ("system variant", "encoding", "events_per_second", "seconds", "seconds~", "cpu_seconds", "response_p50_ms"),
    Bars(
        "Import of {events:,} events, and of one event a request, durable with the response: longer is better",
        *("system variant encoding", "events_per_second", "events_per_second"),
    ),
    together="events",
)

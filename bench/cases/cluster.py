"""PostgreSQL and S3: whole exports beside one GET of the same bytes, and large imports beside SQLite.

The store is SeaweedFS with three volume servers, on the same machine. Two processes are two servers of one database, as
on two machines.
"""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from os import devnull
from pathlib import Path

import httpx2

from bench.cluster.weed import BUCKET, started
from bench.dataset import Dataset, dataset
from bench.load import post, send
from bench.measure import CommandFailed, Figures, cpu_seconds, curl, stopwatch, take_turns
from bench.peers.databases import POSTGRES, SQLITE, Databases, databases
from bench.peers.smsevents import IMPORT_PATH, Shop, served
from bench.plan import TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row

EXPORT, GET, IMPORT = "export", "GET of the same bytes", "import"
_IMPORTERS = 4  # clients, divided between the servers
_IMPORT_ROUNDS_MAX = 5
_IMPORTED_EVENTS_MAX = 2_000_000  # of larger shops, only the export is measured
_IMPORTS = ((SQLITE, 1), (POSTGRES, 1), (POSTGRES, 2))  # databases and processes
_TRANSFER_MAX_SECONDS = 600


def _measure(plan: Plan) -> list[Row]:
    data = dataset(plan.folder, plan.events)
    with plan.workplace("cluster") as folder, databases(plan, folder) as made:
        found = _exports(plan, data, folder, made)
        if plan.events <= _IMPORTED_EVENTS_MAX:
            found += _imports(plan, data, made)
    return found


def _exports(plan: Plan, data: Dataset, folder: Path, made: Databases) -> list[Row]:
    """Move all packs into the bucket, and export them."""
    with ExitStack() as stack:
        weed = stack.enter_context(started(folder))
        store = made.empty(made.kinds[-1], "exported", ("SMSEVENTS_UPKEEP", "off"), *weed.variables.items())
        shop = Shop(store.add_shop(), data.end_ms)
        store.command("import", str(TRACKPOINT), str(data.path))
        store.command("compact", "--rewrite")
        packs = sum(json.loads(one)["packs"] for one in store.command("stats", "--json").splitlines())
        server = stack.enter_context(served(store))
        whole = folder / "whole.gz"
        server.export(shop, "gzip", whole)
        _check(whole, plan.events)
        url = f"{weed.endpoint}/{BUCKET}/whole"
        with whole.open("rb") as content:
            httpx2.put(url, content=content, timeout=_TRANSFER_MAX_SECONDS).raise_for_status()
        ways = {
            ("SeaweedFS", GET): partial(curl, weed.pid, url, "plain", Path(devnull)),
            ("smsevents", EXPORT): partial(server.export, shop, "gzip"),
        }
        turns = take_turns(list(ways.values()), plan.rounds, plan.way_max_seconds)
        size = whole.stat().st_size
    found = []
    for (system, what), figures in zip(ways, turns, strict=True):
        if set(figures["bytes"]) != {size}:
            raise CommandFailed(f"{system} sent {figures['bytes']} bytes and not {size}")
        pairs = zip(turns[0]["seconds"], figures["seconds"], strict=False)
        ratios = [round(seconds / of_get, 4) for of_get, seconds in pairs]
        labels: Labels = {"shop_events": plan.events, "system": system, "what": what, "database": made.kinds[-1]}
        labels |= {"packs": packs} if what == EXPORT else {}
        rates = [round(plan.events / seconds) for seconds in figures["seconds"]]
        found.append(row(labels, **figures, events_per_second=rates, time_by_get_ratio=ratios))
    return found


def _check(path: Path, events: int) -> None:
    """Raise `CommandFailed` unless a file has all events."""
    with gzip.open(path) as lines:
        found = sum(1 for _ in lines)
    if found != events:
        raise CommandFailed(f"the export has {found} events and not {events}")


def _imports(plan: Plan, data: Dataset, made: Databases) -> list[Row]:
    """Import the events into empty databases."""
    bodies = data.bodies()
    kinds = [(kind, processes) for kind, processes in _IMPORTS if kind in made.kinds]
    ways = [partial(_import_anew, made, kind, processes, bodies) for kind, processes in kinds]
    turns = take_turns(ways, min(plan.rounds, _IMPORT_ROUNDS_MAX), plan.way_max_seconds)
    found = []
    for (kind, processes), figures in zip(kinds, turns, strict=True):
        labels: Labels = {"shop_events": plan.events, "system": "smsevents", "what": IMPORT, "database": kind}
        rates = [round(plan.events / seconds) for seconds in figures["seconds"]]
        ratios: dict[str, list[float]] = {}
        for name, other in (("rate_by_sqlite_ratio", 0), ("rate_by_one_ratio", 1)):
            if other < len(turns) and kind == POSTGRES:
                pairs = zip(turns[other]["seconds"], figures["seconds"], strict=False)
                ratios[name] = [round(of_other / seconds, 4) for of_other, seconds in pairs]
        found.append(row(labels | {"processes": processes}, **figures, events_per_second=rates, **ratios))
    return found


def _import_anew(made: Databases, kind: str, processes: int, bodies: list[bytes]) -> Figures:
    """Import bodies into an empty database, with so many servers."""
    store = made.empty(kind, "imported")
    key = store.add_shop()
    requests = [post(IMPORT_PATH, {"X-Api-Key": key}, body) for body in bodies]
    with ExitStack() as stack:
        servers = [stack.enter_context(served(store)) for _ in range(processes)]
        pool = stack.enter_context(ThreadPoolExecutor(processes))
        before = sum(cpu_seconds(server.pid) for server in servers)
        with stopwatch() as taken:
            sending = [
                pool.submit(send, server.port, iter(requests[number::processes]), _IMPORTERS // processes)
                for number, server in enumerate(servers)
            ]
            for one in sending:
                one.result()
        return taken | {"cpu_seconds": sum(cpu_seconds(server.pid) for server in servers) - before}


CASE = Case(
    _measure,
    f"Bodies of 100,000 lines by {_IMPORTERS} clients. The processor time is that of smsevents, or of the server of S3,"
    " without the other servers.",
    (
        *(
            "shop_events",
            "what",
            "system",
            "database",
            "processes",
            "seconds",
            "seconds~",
            "events_per_second",
            "time_by_get_ratio",
        ),
        *("rate_by_sqlite_ratio", "rate_by_one_ratio", "cpu_seconds"),
    ),
    Bars(
        "Events a second from S3, and into PostgreSQL and SQLite: longer is better",
        *("shop_events what database processes", "events_per_second", "events_per_second"),
    ),
    together="shop_events",
)

"""The systems that are measured, one file each: it opens the system, with the events in it, and gives a `Peer`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.dataset import Dataset, dataset
from bench.peers import clickhouse, duckdb, nginx, postgres, smsevents
from bench.plan import Plan
from bench.systems import Peer

_SLOW_PEERS_EVENTS_MAX = 2_000_000  # a service on PostgreSQL takes minutes for so many
_BY_NAME = {"clickhouse": clickhouse.opened, "duckdb": duckdb.opened, "postgres": postgres.opened}


@contextmanager
def opened(plan: Plan, case: str) -> Iterator[tuple[list[Peer], Dataset, Path]]:
    """Yield smsevents and the peers of the plan, with the events in them; the events; and a folder."""
    data = dataset(plan.folder, plan.events)
    with plan.workplace(case) as folder, ExitStack() as stack:
        ours = stack.enter_context(smsevents.opened(data, folder / "smsevents"))
        found = [ours]
        if "nginx" in plan.peers:
            found.append(stack.enter_context(nginx.opened(ours, folder / "nginx")))
        for name, peer in _BY_NAME.items():
            if name in plan.peers and (name != "postgres" or plan.events <= _SLOW_PEERS_EVENTS_MAX):
                found.append(stack.enter_context(peer(data, folder / name)))
        yield found, data, folder

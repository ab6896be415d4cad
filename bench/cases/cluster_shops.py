"""What grows with the number of shops on PostgreSQL and S3, and what must not.

Beside the small shops, there is a large one that is in packs. The store is SeaweedFS with three volume servers.
"""

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice

import msgspec
import psycopg
from sqlalchemy import func, select

from bench.cluster.weed import started
from bench.dataset import dataset, generated, now_ms
from bench.load import post, quantiles, send
from bench.measure import Figures, memory_bytes, run
from bench.peers.databases import POSTGRES, Databases, databases
from bench.peers.smsevents import Store, add_shops, served
from bench.plan import DAY_MS, TRACKPOINT, Plan
from bench.render import Case, Lines
from bench.results import Labels, Row, row
from smsevents.catalog import open_catalog
from smsevents.catalog.tables import objects, segments

_SHOP_EVENTS, _SHOP_DAYS = 200, 20
_EVERY = 2  # of the numbers of shops of the plan, so many steps are one here
_BUSY_SHOPS_MAX = 100  # of which the busy round of the upkeep has news
_IMPORTERS, _WARM_UP_REQUESTS = 64, 50
_LARGE_IMPORTERS, _BODY_LINES = 8, 500
_SAMPLE_SECONDS = 0.1


class _Shops:
    """Small shops, and the large one, which is the first."""

    def __init__(self, plan: Plan, store: Store, server: str | None) -> None:
        """Add the large one, in packs. `server` says how to connect to PostgreSQL."""
        self._store, self._server = store, server
        self._end_ms = now_ms()
        self._keys = add_shops(store, [TRACKPOINT])
        events = plan.events // _EVERY
        before = self._wal_bytes()
        with dataset(plan.folder, events).path.open("rb") as lines, served(store) as serving:
            bodies = iter(lambda: b"".join(islice(lines, _BODY_LINES)), b"")
            send(serving.port, (self.request("import", 0, body) for body in bodies), _LARGE_IMPORTERS)
        store.command("move", "packs")
        self.wal_bytes_per_event = (self._wal_bytes() - before) / events
        self._lines = b"".join(generated(TRACKPOINT, _SHOP_EVENTS, self._end_ms, _SHOP_DAYS))

    def _wal_bytes(self) -> int:
        """Return how many bytes of write-ahead log PostgreSQL has written, or 0 without it."""
        if self._server is None:
            return 0
        with psycopg.connect(self._server) as connection:
            ((found,),) = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchall()
        return int(found)

    def grow(self, shops: int) -> None:
        """Add small shops, with their events, until there are so many."""
        new = range(len(self._keys), shops + 1)
        self._keys += add_shops(self._store, [TRACKPOINT + shop for shop in new])
        old = b":%d," % TRACKPOINT
        bodies = ((shop, self._lines.replace(old, b":%d," % (TRACKPOINT + shop))) for shop in new)
        with served(self._store) as server:
            send(server.port, (self.request("import", shop, body) for shop, body in bodies), _IMPORTERS)

    def request(self, action: str, shop: int, body: bytes) -> bytes:
        """Return a request as it stands on the wire."""
        headers = {"X-Api-Key": self._keys[shop], "Accept-Encoding": "gzip"}
        return post(f"/shop/{TRACKPOINT + shop}/{action}-sms-events", headers, body)

    def export(self, shop: int) -> bytes:
        """Return the request of an export of the last two days."""
        return self.request("export", shop, b'{"from":%d,"to":%d}' % (self._end_ms - 2 * DAY_MS, self._end_ms))


def _measure(plan: Plan) -> list[Row]:
    found = []
    picks = random.Random(1)  # noqa: S311 -- the same shops in every run
    with plan.workplace("cluster_shops") as folder, databases(plan, folder) as made, started(folder) as weed:
        store = made.empty(made.kinds[-1], "many", ("SMSEVENTS_UPKEEP", "off"), *weed.variables.items())
        shops = _Shops(plan, store, made.server)
        for count in sorted(plan.shops)[::_EVERY]:
            shops.grow(count)
            exports = [shops.export(1 + picks.randrange(count)) for _ in range(plan.requests)]
            with served(store) as server, _connections(made) as connections:
                send(server.port, iter(exports[:_WARM_UP_REQUESTS]), 1)
                figures = quantiles(send(server.port, iter(exports), 1))
                send(server.port, iter(exports), _IMPORTERS)  # for the connections
                figures["server_bytes"] = memory_bytes(server.pid)
            figures |= _upkeep(store, min(count, _BUSY_SHOPS_MAX))
            figures |= _stored(store) | {"connections": max(connections, default=0)}
            figures["wal_bytes_per_event"] = shops.wal_bytes_per_event
            labels: Labels = {"shops": count, "of_shop": _SHOP_EVENTS, "database": made.kinds[-1]}
            found.append(row(labels, **figures))
            print(f"  {count} shops", flush=True)
    return found


@contextmanager
def _connections(made: Databases) -> Iterator[list[int]]:
    """Count the connections to PostgreSQL while the block runs, but the one that counts. Yield the counts."""
    counts: list[int] = []
    ended = threading.Event()

    def count(server: str) -> None:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'many'"
        with psycopg.connect(server, autocommit=True) as connection:
            while not ended.wait(_SAMPLE_SECONDS):
                counts.extend(number for (number,) in connection.execute(statement))

    counting = threading.Thread(target=count, args=(made.server,))
    if made.kinds[-1] == POSTGRES:
        counting.start()
    try:
        yield counts
    finally:
        ended.set()
        if counting.ident is not None:
            counting.join()


def _upkeep(store: Store, busy_shops: int) -> Figures:
    """Do rounds of the upkeep in a process of their own."""
    url = store.environment["SMSEVENTS_DATABASE"]
    command = [sys.executable, "-m", "bench.peers.upkeep_rounds", url, str(busy_shops)]
    output, _ = run(command, store.environment)
    figures = msgspec.json.decode(output.splitlines()[-1], type=dict[str, float])
    return {("worker_bytes" if name == "peak_bytes" else name): value for name, value in figures.items()}


def _stored(store: Store) -> Figures:
    """Return how many rows of events and objects in the store there are, of all shops."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database, database.read() as connection:
        counts = [select(func.count()).select_from(table) for table in (segments, objects)]
        rows, found = (connection.execute(one).scalar_one() for one in counts)
    return {"rows": rows, "objects": found}


CASE = Case(
    _measure,
    "{of_shop} events in each shop, beside one that is in packs, on {database} and SeaweedFS.",
    (
        *("shops", "first_byte_p50_ms", "first_byte_p99_ms", "rows", "objects", "connections", "server_bytes"),
        *("worker_bytes", "first_round_seconds", "idle_round_seconds", "busy_round_seconds"),
        "wal_bytes_per_event",
    ),
    Lines(
        "As shops are added on {database} and S3, {of_shop} events each: flat is good",
        "shops",
        ("first_byte_p50_ms first_byte_p99_ms", "first_round_seconds idle_round_seconds", "server_bytes worker_bytes"),
    ),
    together="shops",
)

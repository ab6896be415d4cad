"""smsevents itself, by its own commands and over HTTP: the server as `smsevents serve` starts it, on a new database.

Only `add_shops` reaches into the program: ten thousand shops by the command would take hours.
"""

import gzip
import http.client
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from bench.dataset import Dataset, generate_into
from bench.load import post
from bench.measure import CommandFailed, Figures, cpu_seconds, curl, run, stopwatch
from bench.plan import DAY_MS, ENCODINGS, SPAN_DAYS, TRACKPOINT, Encoding, Plan
from bench.systems import Export, Peer, free_port, running
from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.receipts.receivers import Receivers
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.events import INT64_MAX

COMMAND = (sys.executable, "-m", "smsevents")
IMPORT_PATH = f"/shop/{TRACKPOINT}/import-sms-events"
_SMALL_EXPORT_MS = 5 * 60 * 1000


@dataclass(frozen=True)
class Store:
    """A database; `settings` are further environment variables of the commands that use it."""

    path: Path
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command that uses it."""
        return os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{self.path}"} | dict(self.settings)

    def command(self, *words: str) -> str:
        """Run a `smsevents` command and return its output."""
        return run([*COMMAND, *words], self.environment)[0]

    def add_shop(self, trackpoint: int = TRACKPOINT) -> str:
        """Add a shop and return a key to it."""
        self.command("shop", "add", str(trackpoint))
        return self.command("key", "create", str(trackpoint), "--scope", "export", "--scope", "import").strip()

    def bytes_on_disk(self) -> int:
        """Return what the files of the database take."""
        return sum(path.stat().st_size for path in self.path.parent.glob(f"{self.path.name}*"))


@dataclass(frozen=True)
class Shop:
    """A shop, its key, the time of its newest event, how many it has and what it took to import them."""

    key: str
    end_ms: int
    trackpoint: int = TRACKPOINT
    events: int = 0
    figures: Figures = field(default_factory=dict)

    def request(self, encoding: str, span_ms: int = _SMALL_EXPORT_MS) -> bytes:
        """Return the request of an export, of the newest minutes or more, as it stands on the wire."""
        headers = {"X-Api-Key": self.key} | ({"Accept-Encoding": "gzip"} if encoding == "gzip" else {})
        body = b'{"from":%d,"to":%d}' % (self.end_ms - span_ms, self.end_ms)
        return post(f"/shop/{self.trackpoint}/export-sms-events", headers, body)


@dataclass(frozen=True)
class Server:
    """A running server of a store."""

    port: int
    pid: int

    def export(
        self, shop: Shop, encoding: str, output: Path = Path(os.devnull), *, wanted: Mapping[str, str] | None = None
    ) -> Figures:
        """Export all of a shop with curl, or only what members of the request leave."""
        url = f"http://127.0.0.1:{self.port}/shop/{shop.trackpoint}/export-sms-events"
        # an interval that none of the events leaves in the middle of a run
        interval = json.dumps({"from": shop.end_ms - (SPAN_DAYS + 1) * DAY_MS, "to": shop.end_ms, **(wanted or {})})
        return curl(self.pid, url, encoding, output, "--header", f"X-Api-Key: {shop.key}", "--data", interval)

    def statistics(self, shop: Shop, path: str, asked: Mapping[str, str | int], output: Path) -> Figures:
        """Request statistics of a shop with curl, without an ETag: they are counted each time."""
        url = f"http://127.0.0.1:{self.port}/shop/{shop.trackpoint}/{path}?{urlencode(asked)}"
        return curl(self.pid, url, "plain", output, "--header", f"X-Api-Key: {shop.key}")


@contextmanager
def served(store: Store, *, workers: int = 1) -> Iterator[Server]:
    """Serve a store while the block runs."""
    port = free_port()
    command = [*COMMAND, "serve", "--port", str(port), "--workers", str(workers)]
    with running(command, store.path.with_suffix(".log"), f"{port}/health/ready", store.environment) as pid:
        yield Server(port, pid)


@contextmanager
def served_anew(store: Store) -> Iterator[tuple[Server, str]]:
    """Serve a new database, with nothing but one shop, in place of the store; yield the server and a key."""
    for old in store.path.parent.glob(f"{store.path.name}*"):
        old.unlink()
    key = store.add_shop()
    with served(store) as server:
        yield server, key


def import_anew(store: Store, bodies: Sequence[bytes]) -> Figures:
    """Import bodies over HTTP into a new database, one after the other on one connection."""
    with served_anew(store) as (server, key):
        headers = {"X-Api-Key": key} | ({"Content-Encoding": "gzip"} if bodies[0].startswith(b"\x1f\x8b") else {})
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        before = cpu_seconds(server.pid)
        with stopwatch() as taken, closing(connection):
            for body in bodies:
                connection.request("POST", IMPORT_PATH, body, headers)
                response = connection.getresponse()
                if (said := response.read()) and response.status != http.HTTPStatus.OK:
                    raise CommandFailed(f"an import got {response.status}: {said.decode()}")
        return taken | {"cpu_seconds": cpu_seconds(server.pid) - before}


@contextmanager
def opened(data: Dataset, folder: Path) -> Iterator[Peer]:
    """Import the events with the command into a database, and into one with a folder of packs, and serve both.

    What the upkeep worker would do was done before.
    """
    (folder / "packs").mkdir(parents=True)
    packs = (("SMSEVENTS_SEGMENTS", (folder / "packs").as_uri()),)
    empty = Store(folder / "import.db")
    plain = data.bodies()
    bodies: dict[Encoding, list[bytes]] = {"plain": plain, "gzip": [gzip.compress(body, 1) for body in plain]}
    exports: dict[tuple[str, Encoding], Export] = {}
    sizes: dict[str, int] = {}
    with ExitStack() as stack:
        for variant, settings in (("database", ()), ("packs", packs)):
            store = Store(folder / f"{variant}.db", (("SMSEVENTS_UPKEEP", "off"), *settings))
            shop = Shop(store.add_shop(), data.end_ms)
            store.command("import", str(TRACKPOINT), str(data.path))
            store.command("compact", "--rewrite")
            sizes[variant] = store.bytes_on_disk()
            server = stack.enter_context(served(store))
            exports |= {(variant, one): partial(server.export, shop, one) for one in ENCODINGS}
        sizes["packs"] += sum(path.stat().st_size for path in (folder / "packs").rglob("*.pack"))
        imports = {("HTTP", one): partial(import_anew, empty, bodies[one]) for one in ENCODINGS}
        yield Peer("smsevents", exports, imports, lambda: sizes)


def add_receivers(store: Store, trackpoints: Iterable[int]) -> list[str]:
    """Create a receiver of Kannel for each shop; return their tokens."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database:
        return [Receivers(database).create(trackpoint, "kannel") for trackpoint in trackpoints]


def add_shops(store: Store, trackpoints: Sequence[int]) -> list[str]:
    """Add shops; return a key to each."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database:
        access = Access(database)
        for trackpoint in trackpoints:
            access.add_shop(trackpoint, "")
        return [access.create_key(trackpoint, ("export", "import")) for trackpoint in trackpoints]


def with_packs(store: Store, folder: Path) -> Store:
    """Return the store with packs in a new folder."""
    folder.mkdir()
    return _on_packs(store, folder)


def _on_packs(store: Store, folder: Path) -> Store:
    return replace(store, settings=(*store.settings, ("SMSEVENTS_SEGMENTS", folder.as_uri())))


def count_all(store: Store) -> int:
    """Count all segments that have no tally, as the upkeep worker does; return how many."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database:
        return sum(Backfill().steps(database, INT64_MAX))


@cache
def grown(plan: Plan) -> tuple[Store, list[Shop]]:
    """Make a database with the shops of a plan, the smallest first, or return it if it was made in this run.

    What has settled is in packs. `database_bytes` is the database with the tallies, `stored_bytes` that and the packs.
    Shops that an earlier run kept are not made again. They have no figures of time: another run measured those.
    """
    folder = plan.grown
    store = Store(folder / "log.db", (("SMSEVENTS_UPKEEP", "off"),))
    packs = folder / "packs"
    kept = folder / "shops.json"
    if kept.exists():
        shops = msgspec.json.decode(kept.read_bytes(), type=list[Shop])
        if [shop.events for shop in shops] == sorted(plan.shop_events):
            return _on_packs(store, packs), [_without_times(shop) for shop in shops]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = with_packs(store, packs)
    shops = []
    for trackpoint, events in enumerate(sorted(plan.shop_events), TRACKPOINT):
        shops.append(_grown_shop(store, packs, trackpoint, events, shops))
    kept.write_bytes(msgspec.json.encode(shops))
    return store, shops


def _grown_shop(store: Store, packs: Path, trackpoint: int, events: int, before: Sequence[Shop]) -> Shop:
    """Add a shop with so many events, which settle, to a store that has the shops `before`."""
    key = store.add_shop(trackpoint)
    with stopwatch() as importing:
        end_ms = generate_into([*COMMAND, "import", str(trackpoint), "-"], store.environment, trackpoint, events)
    with stopwatch() as settling:
        count_all(store)
        store.command("compact", str(trackpoint), "--rewrite")
    found = [path.stat().st_size for path in packs.rglob("*.pack")]
    sizes = {"database_bytes": store.bytes_on_disk(), "packs": len(found)}
    sizes |= {"stored_bytes": sizes["database_bytes"] + sum(found)}
    figures = {name: size - sum(shop.figures[name] for shop in before) for name, size in sizes.items()}
    figures |= {"import_seconds": importing["seconds"], "upkeep_seconds": settling["seconds"]}
    print(f"  a shop of {events:,} events in {importing['seconds'] + settling['seconds']:.0f} s", flush=True)
    return Shop(key, end_ms, trackpoint, events, figures)


def _without_times(shop: Shop) -> Shop:
    return replace(shop, figures={name: one for name, one in shop.figures.items() if not name.endswith("_seconds")})

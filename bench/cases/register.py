"""The register of sent messages: how many a second it takes, alone and beside imports, and receipts that need it.

The register has messages of all the days that it keeps. All take turns in one run, for each size of the register.
"""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice

import msgspec
from sqlalchemy import func, select

from bench.cases.requests import CLIENTS
from bench.dataset import generated, now_ms
from bench.load import post, quantiles, send
from bench.measure import CommandFailed, Figures, cpu_seconds, stopwatch, take_turns
from bench.peers import registers
from bench.peers.databases import databases
from bench.peers.smsevents import Server, Store, add_receivers, add_shops, served
from bench.plan import MS, TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row
from smsevents.catalog import open_catalog
from smsevents.catalog.tables import waiting_receipts
from smsevents.wire.events import Campaign, Flow, Node

ALONE, BESIDE, MATCHED = "messages", "messages beside imports", "receipts of messages"
_BODY_MESSAGES, _SENDERS = 1000, 4
_IMPORTERS, _IMPORT_PAUSE_SECONDS, _IMPORT_LINES = 8, 0.1, (1, 1000)
_SHOPS = (TRACKPOINT, TRACKPOINT + 1)  # the messages are of the first, imports of both in turn
_ROUNDS_MAX, _REQUESTS_OF_BODY, _REQUESTS_OF_IMPORT = 5, 50, 4
_GATEWAY = "kannel"
_SOURCE = Flow(Campaign("781f9c58d6644fa9", "Abandoned cart"), Node("8a7d43b578634074", "Abandoned cart 24 h"), 0)


@dataclass
class _Site:
    """A server of a database whose register has messages."""

    server: Server
    keys: list[str]
    token: str
    registered: list[str] = field(default_factory=list)  # the ids of messages that the server registered
    numbers: Iterator[int] = field(default_factory=count)
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 -- invented data

    def messages(self) -> bytes:
        """Make a request that registers messages."""
        ids = [f"{self.chance.getrandbits(128):032x}" for _ in range(_BODY_MESSAGES)]
        self.registered += ids
        body = b"\n".join(_line(message_id, number) for message_id, number in zip(ids, self.numbers, strict=False))
        return post(f"/shop/{_SHOPS[0]}/sent-sms", {"X-Api-Key": self.keys[0]}, body)

    def imports(self, many: int) -> list[bytes]:
        """Make imports of one event and of many, into both shops."""
        lines = generated(TRACKPOINT, many * sum(_IMPORT_LINES) // len(_IMPORT_LINES) + 1, now_ms(), days=1)
        found = []
        for number in range(many):
            shop = number // len(_IMPORT_LINES) % len(_SHOPS)
            body = b"".join(islice(lines, _IMPORT_LINES[number % len(_IMPORT_LINES)]))
            body = body.replace(b":%d," % TRACKPOINT, b":%d," % _SHOPS[shop])
            found.append(post(f"/shop/{_SHOPS[shop]}/import-sms-events", {"X-Api-Key": self.keys[shop]}, body))
        return found

    def receipts(self, many: int) -> list[bytes]:
        """Make receipts of messages that the server registered, as Kannel sends them."""
        seconds = now_ms() // MS
        ids = self.chance.sample(self.registered, min(many, len(self.registered)))
        paths = [f"/receipts/{self.token}?d=1&A=stat%3ADELIVRD&F={one}&T={seconds}" for one in ids]
        return [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in paths]


def _line(message_id: str, number: int) -> bytes:
    source = msgspec.structs.replace(_SOURCE, sendDate=now_ms() - number % MS)
    return msgspec.json.encode(
        {"gateway": _GATEWAY, "messageId": message_id, "userId": str(10**8 + number), "source": source}
    )


def _measure(plan: Plan) -> list[Row]:
    found: list[Row] = []
    for registered in plan.registered:
        with plan.workplace("register") as folder, ExitStack() as stack:
            made = stack.enter_context(databases(plan, folder))
            ways: dict[tuple[str, str], Callable[[], Figures]] = {}
            sizes: dict[str, float] = {}
            stores = []
            for kind in made.kinds:
                store = made.empty(kind, kind.lower(), ("SMSEVENTS_UPKEEP", "off"))
                stores.append(store)
                keys, [token] = add_shops(store, _SHOPS), add_receivers(store, _SHOPS[:1])
                sizes[kind] = registers.fill(store, _SHOPS[0], _GATEWAY, _SOURCE, registered)
                print(f"  {registered:,} messages in {kind}, {sizes[kind]:.0f} bytes each", flush=True)
                site = _Site(stack.enter_context(served(store)), keys, token)
                ways[kind, ALONE] = partial(_alone, site, max(1, plan.requests // _REQUESTS_OF_BODY))
                ways[kind, BESIDE] = partial(_beside, site, max(_IMPORTERS, plan.requests // _REQUESTS_OF_IMPORT))
                ways[kind, MATCHED] = partial(_matched, site, plan.requests)
            turns = take_turns(list(ways.values()), min(_ROUNDS_MAX, plan.rounds))
            for store in stores:
                _check_matched(store)
        for (kind, what), figures in zip(ways, turns, strict=True):
            labels: Labels = {"registered": registered, "database": kind, "what": what}
            found.append(row(labels, **figures, message_bytes=round(sizes[kind])))
    return found


def _alone(site: _Site, bodies: int) -> Figures:
    """Register messages, and nothing else."""
    requests = [site.messages() for _ in range(bodies)]
    return _sent(site, requests, _SENDERS, _BODY_MESSAGES)


def _sent(site: _Site, requests: list[bytes], clients: int, messages: int) -> Figures:
    """Send requests about so many messages each. Return what it took."""
    before = cpu_seconds(site.server.pid)
    with stopwatch() as taken:
        times = quantiles(send(site.server.port, iter(requests), clients))
    used = cpu_seconds(site.server.pid) - before
    many = len(requests) * messages
    return taken | {
        "messages_per_second": many / taken["seconds"],
        "server_cpu_ms": used / many * MS,
        "response_p50_ms": times["last_byte_p50_ms"],
        "response_p99_ms": times["last_byte_p99_ms"],
    }


def _beside(site: _Site, imports: int) -> Figures:
    """Register messages without a pause, from the first import to the last."""
    requests = site.imports(imports)
    done = threading.Event()
    before = len(site.registered)

    def messages() -> Iterator[bytes]:
        while not done.is_set():
            yield site.messages()

    with ThreadPoolExecutor(1) as pool, stopwatch() as taken:
        registering = pool.submit(send, site.server.port, messages(), _SENDERS)
        try:
            times = quantiles(send(site.server.port, iter(requests), _IMPORTERS, _IMPORT_PAUSE_SECONDS))
        finally:
            done.set()
        registering.result()
    return taken | {
        "messages_per_second": (len(site.registered) - before) / taken["seconds"],
        "import_p50_ms": times["last_byte_p50_ms"],
        "import_p99_ms": times["last_byte_p99_ms"],
    }


def _matched(site: _Site, many: int) -> Figures:
    """Send receipts of messages that were registered."""
    requests = site.receipts(many)
    return _sent(site, requests, CLIENTS, 1)


def _check_matched(store: Store) -> None:
    """Raise `CommandFailed` if a receipt did not find its message."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database, database.read() as connection:
        waiting = connection.scalar(select(func.count()).select_from(waiting_receipts))
    if waiting:
        raise CommandFailed(f"{waiting} receipts did not find their messages in the register of {store.path.name}")


CASE = Case(
    _measure,
    f"Bodies of {_BODY_MESSAGES:,} messages by {_SENDERS} clients without a pause, one server process. The receipts are"
    f" by {CLIENTS} clients. Beside the messages, {_IMPORTERS} clients send imports of {_IMPORT_LINES[0]} and of"
    f" {_IMPORT_LINES[1]:,} events in turn, with a pause of {_IMPORT_PAUSE_SECONDS:g} s. The processor time is that of"
    " one message or receipt, without the server of PostgreSQL.",
    (
        *("registered", "database", "what", "messages_per_second", "messages_per_second~", "response_p50_ms"),
        *("response_p99_ms", "import_p50_ms", "import_p99_ms", "server_cpu_ms", "message_bytes"),
    ),
    Bars(
        "Messages and receipts a second, with a register of so many messages: longer is better",
        *("registered database what", "messages_per_second", "messages_per_second"),
    ),
    together="registered",
)

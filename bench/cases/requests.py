"""Small requests by many clients: how many a second, beside a bare route of the same framework.

All take turns in one run. The clients are in another process than the servers. What the bare route takes is what any
request takes: the connection, the framework, and the response.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count, cycle, islice, repeat
from pathlib import Path

from bench.dataset import Dataset, dataset, generated, now_ms
from bench.load import post, quantiles, send
from bench.measure import Figures, cpu_seconds, stopwatch, take_turns
from bench.peers.bare_service import PATH
from bench.peers.databases import databases
from bench.peers.smsevents import Server, add_receivers, add_shops, served
from bench.plan import DAY_MS, ENCODINGS, MS, TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row
from bench.systems import free_port, running
from smsevents.client import Campaign, OneOff, encode_reference

BARE = "bare route"
CLIENTS, SHOPS = 50, 4
_SHOP_EVENTS_RATIO, _EXPORTED_EVENTS = 40, 20
_BARE_HEADERS, _BARE_BODY = {"X-Api-Key": "0" * 56}, b'{"from":1790000000000,"to":1790000300000}'
_DATE = re.compile(rb'"date":(\d+)')

Requests = Callable[[], Iterator[bytes]]


def _measure(plan: Plan) -> list[Row]:
    data = dataset(plan.folder, plan.events)
    shop_events = max(plan.events // _SHOP_EVENTS_RATIO, _EXPORTED_EVENTS)
    ways: dict[tuple[str, str, str], Callable[[], Figures]] = {}
    with plan.workplace("requests") as folder, ExitStack() as stack:
        bare = stack.enter_context(_bare(folder / "bare.log"))
        made = stack.enter_context(databases(plan, folder))
        ways[BARE, "plain", ""] = partial(
            turn, bare, partial(repeat, post(PATH, _BARE_HEADERS, _BARE_BODY), plan.requests)
        )
        for kind in made.kinds:
            store = made.empty(kind, kind.lower(), ("SMSEVENTS_UPKEEP", "off"))  # its processor time is not counted
            keys = add_shops(store, range(TRACKPOINT, TRACKPOINT + SHOPS))
            tokens = add_receivers(store, range(TRACKPOINT, TRACKPOINT + SHOPS))
            server = stack.enter_context(served(store))
            interval = filled(server, keys, shop_events)
            found: dict[tuple[str, str], Iterator[bytes]] = {}
            for encoding in ENCODINGS:
                exports = [export_request(shop, keys, interval, encoding) for shop in range(SHOPS)]
                found["small export", encoding] = cycle(exports)
            found["import of one event", "plain"] = imports(data, keys)
            found["delivery receipt", "plain"] = receipts(tokens)
            for way, requests in found.items():
                ways[*way, kind] = partial(turn, server, partial(_some, requests, plan.requests))
        turns = take_turns(list(ways.values()), plan.rounds)
    rows = []
    for (what, coding, kind), figures in zip(ways, turns, strict=True):
        labels: Labels = {"what": what, "encoding": coding, "clients": CLIENTS, "shop_events": shop_events}
        labels |= {"database": kind} if kind else {}
        rates = [round(plan.requests / seconds, 1) for seconds in figures["seconds"]]
        pairs = zip(turns[0]["seconds"], figures["seconds"], strict=True)  # the bare route is the first
        ratios = [round(its_seconds / seconds, 4) for its_seconds, seconds in pairs]
        rows.append(row(labels, **figures, requests_per_second=rates, rate_by_bare_ratio=ratios))
    return rows


@contextmanager
def _bare(log: Path) -> Iterator[Server]:
    """Serve the bare route."""
    port = free_port()
    with running([sys.executable, "-m", "bench.peers.bare_service", str(port)], log, f"{port}{PATH}") as pid:
        yield Server(port, pid)


def _post(shop: int, action: str, keys: Sequence[str], body: bytes, headers: dict[str, str]) -> bytes:
    return post(f"/shop/{TRACKPOINT + shop}/{action}-sms-events", {"X-Api-Key": keys[shop], **headers}, body)


def export_request(shop: int, keys: Sequence[str], interval: bytes, encoding: str) -> bytes:
    """Return the request of an export."""
    return _post(shop, "export", keys, interval, {"Accept-Encoding": "gzip"} if encoding == "gzip" else {})


def _of_shop(shop: int, lines: bytes) -> bytes:
    return lines.replace(b":%d," % TRACKPOINT, b":%d," % (TRACKPOINT + shop))


def filled(server: Server, keys: Sequence[str], events: int) -> bytes:
    """Import events into each shop; return the body that exports the newest of them."""
    lines = list(generated(TRACKPOINT, events, now_ms()))
    body = b"".join(lines)
    send(server.port, (_post(shop, "import", keys, _of_shop(shop, body), {}) for shop in range(SHOPS)), 1)
    dates = [int(found[1]) for line in lines[-_EXPORTED_EVENTS:] if (found := _DATE.search(line))]
    return b'{"from":%d,"to":%d}' % (dates[0], dates[-1])


def imports(data: Dataset, keys: Sequence[str]) -> Iterator[bytes]:
    """Go through imports of one event each, into the shops in turn. Later turns have other events, if there are any."""
    while True:
        with data.path.open("rb") as lines:
            for number, line in enumerate(lines):
                shop = number % SHOPS
                yield _post(shop, "import", keys, _of_shop(shop, line), {})


def receipts(tokens: Sequence[str]) -> Iterator[bytes]:
    """Go through delivery receipts as Kannel sends them, of a message each, to the receivers in turn."""
    sent = (now_ms() - DAY_MS) // MS  # before the newest events, or the exports of those would grow from turn to turn
    for number in count():
        reference = encode_reference(f"user{number}", OneOff(Campaign("b2c8", "Black Friday"), sent * MS))
        answer = f"id%3A{number:x}+sub%3A001+dlvrd%3A001+stat%3ADELIVRD+err%3A000+text%3AAhoj"
        path = f"/receipts/{tokens[number % len(tokens)]}/{reference}?d=1&A={answer}&F={number:x}&T={sent + 5}"
        yield f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def _some(requests: Iterator[bytes], many: int) -> Iterator[bytes]:
    """Make the next requests, before a clock starts."""
    return iter(list(islice(requests, many)))


def turn(server: Server, make: Requests) -> Figures:
    """Send requests by all clients; return what it took."""
    send(server.port, islice(make(), CLIENTS), CLIENTS)  # after its pause, a server is slow at first
    requests = list(make())
    client_cpu, server_cpu = time.process_time(), cpu_seconds(server.pid)
    with stopwatch() as taken:
        times = send(server.port, iter(requests), CLIENTS)
    used = {"client_cpu_ms": time.process_time() - client_cpu, "server_cpu_ms": cpu_seconds(server.pid) - server_cpu}
    response_ms = quantiles(times)
    return (
        taken
        | {name: round(seconds / len(requests) * MS, 3) for name, seconds in used.items()}
        | {f"response_{name}": response_ms[f"last_byte_{name}"] for name in ("p50_ms", "p99_ms")}
    )


CASE = Case(
    _measure,
    "{clients} clients without a pause, one server process, {shop_events:,} events in each shop. The processor time is"
    " that of one request.",
    (
        *("what", "database", "encoding", "requests_per_second", "rate_by_bare_ratio", "rate_by_bare_ratio~"),
        *("response_p50_ms", "response_p99_ms", "server_cpu_ms", "client_cpu_ms"),
    ),
    Bars(
        "Requests a second by {clients} clients: longer is better",
        *("what database encoding", "requests_per_second", "requests_per_second rate_by_bare_ratio"),
    ),
)

"""What late events cost once past days have settled: a log with some against the same log without."""

import json
import re
import time
import urllib.request
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from bench.dataset import generated, now_ms
from bench.load import post, send
from bench.measure import Figures, take_turns
from bench.peers.smsevents import IMPORT_PATH, Server, Shop, Store, served
from bench.plan import ENCODINGS, TRACKPOINT, Encoding, Plan
from bench.render import Bars, Case
from bench.results import Row, row

if TYPE_CHECKING:
    from collections.abc import Callable

_ORDERS = ("date", "arrival")
_BODY_LINES = 2000
_IDLE_SECONDS, _POLL_SECONDS = 50, 5  # three rounds of the upkeep worker without a change
_UNSETTLED = re.compile(r"^smsevents_unsettled_bytes (\S+)$", re.MULTILINE)


def _filled(server: Server, key: str, events: int, order: str) -> Shop:
    """Import the events in many small bodies."""
    end_ms = now_ms()
    lines = generated(TRACKPOINT, events, end_ms, order=order)
    bodies = iter(lambda: b"".join(islice(lines, _BODY_LINES)), b"")
    send(server.port, (post(IMPORT_PATH, {"X-Api-Key": key}, body) for body in bodies), 1)
    return Shop(key, end_ms)


def _settled(store: Store, server: Server) -> float:
    """Wait until the upkeep worker is idle; return the share of the lines that an export must merge."""
    state, since = None, time.monotonic()
    while time.monotonic() < since + _IDLE_SECONDS:
        time.sleep(_POLL_SECONDS)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as response:
            found = _UNSETTLED.search(response.read().decode())
        stats = json.loads(store.command("stats", "--json"))
        if (now := (found and float(found[1]), stats["segments"])) != state:
            state, since = now, time.monotonic()
    if state is None or state[0] is None:
        raise LookupError("the server does not report smsevents_unsettled_bytes")
    return float(state[0]) / float(stats["line_bytes"])


def _measure(plan: Plan) -> list[Row]:
    with plan.workplace("late") as folder, ExitStack() as stack:
        shares: dict[str, float] = {}
        ways: dict[tuple[str, Encoding], Callable[[], Figures]] = {}
        for order in _ORDERS:
            store = Store(folder / f"{order}.db")
            key = store.add_shop()
            server = stack.enter_context(served(store))
            shop = _filled(server, key, plan.events, order)
            shares[order] = _settled(store, server)
            print(f"  by {order}: {shares[order]:.2%} of the lines overlap", flush=True)
            ways |= {(order, encoding): partial(server.export, shop, encoding) for encoding in ENCODINGS}
        turns = take_turns(list(ways.values()), plan.rounds, plan.way_max_seconds)
    found = [
        row({"events": plan.events, "order": order, "encoding": encoding}, overlapping_ratio=shares[order], **figures)
        for (order, encoding), figures in zip(ways, turns, strict=True)
    ]
    without = {one.labels["encoding"]: one.median("seconds") for one in found if one.labels["order"] == "date"}
    for one in found:
        one.figures["time_by_none_late_ratio"] = [round(one.median("seconds") / without[one.labels["encoding"]], 4)]
    return sorted(found, key=lambda one: ENCODINGS.index(one.labels["encoding"]))


CASE = Case(
    _measure,
    "{events:,} events in bodies of 2,000 lines.",
    ("encoding", "order", "seconds", "time_by_none_late_ratio", "overlapping_ratio", "seconds~", "cpu_seconds"),
    Bars(
        "Export of {events:,} events by date and in the order of arrival: equal is good",
        *("order encoding", "seconds", "seconds time_by_none_late_ratio"),
    ),
    together="events",
)

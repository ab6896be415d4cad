"""Imports: how many events a second become durable, in large bodies and one at a time, beside the peers."""

from __future__ import annotations

import gzip
import http.client
import shutil
import time
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from bench.dataset import dataset
from bench.load import ask, post
from bench.measure import CommandFailed, Run, cpu_seconds, flush_ms, quantile
from bench.peers import clickhouse, postgres
from bench.peers.smsevents import NAME, Store, served
from bench.plan import TRACKPOINT
from bench.results import ImportResult, Measured, Rate, about
from smsevents.generate import generate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.peers.smsevents import Server
    from bench.plan import Plan

BODY_LINES = 100_000
MANY = 50
SINGLE_ROUNDS = 3
_PATH = f"/shop/{TRACKPOINT}/import-sms-events"
_MS = 1000


def measure(plan: Plan) -> ImportResult:
    """Import the same lines into every system, in turns, each time into an empty store."""
    data = dataset(plan.folder, plan.events)
    folder = plan.folder / "import"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        plain = _bodies(data.path)
        packed = [gzip.compress(body, 1) for body in plain]
        ways: list[tuple[tuple[str, str, str], Callable[[], Run]]] = [
            ((NAME, "HTTP", "identity"), lambda: _import(folder, plain)),
            ((NAME, "HTTP", "gzip"), lambda: _import(folder, packed)),
        ]
        if "clickhouse" in plan.peers:
            engine = stack.enter_context(clickhouse.engine(folder / "clickhouse"))

            def insert() -> Run:
                clickhouse.make_table(engine)
                return clickhouse.insert(engine, data.path)

            ways.append(((clickhouse.NAME, "insert of JSON lines", "identity"), insert))
        if "postgres" in plan.peers:
            rows = folder / "rows.txt"
            postgres.write_rows(data.path, rows)
            conninfo = stack.enter_context(postgres.cluster(folder))
            ways.append(((postgres.NAME, "COPY of ready rows", "identity"), lambda: postgres.copy(conninfo, rows)))
        runs: list[list[Run]] = [[] for _ in ways]
        for number in range(plan.import_rounds):
            for index in range(len(ways)) if number % 2 == 0 else reversed(range(len(ways))):
                runs[index].append(ways[index][1]())
            print(f"  round {number + 1} of {plan.import_rounds}", flush=True)
        flush = flush_ms(folder)
        single = _single(folder, plan)
    return ImportResult(
        about=about(),
        events=plan.events,
        flush_ms=flush,
        systems=[
            Measured(system=system, variant=variant, encoding=encoding, runs=of_one)
            for ((system, variant, encoding), _), of_one in zip(ways, runs, strict=True)
        ],
        single=single,
    )


def _bodies(lines: Path) -> list[bytes]:
    """Cut the lines into the bodies of requests, which are ready before the clock starts."""
    with lines.open("rb") as source:
        return list(iter(lambda: b"".join(islice(source, BODY_LINES)), b""))


def _import(folder: Path, bodies: Sequence[bytes]) -> Run:
    """Import the bodies over HTTP, one after the other on one connection, into a new database."""
    with _new_server(folder) as (server, key):
        headers = {"X-Api-Key": key} | ({"Content-Encoding": "gzip"} if bodies[0].startswith(b"\x1f\x8b") else {})
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        before, started = cpu_seconds(server.pid), time.perf_counter()
        for body in bodies:
            connection.request("POST", _PATH, body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise CommandFailed(f"an import got {answer.status}: {said.decode()}")
        seconds = time.perf_counter() - started
        connection.close()
        return Run(seconds=seconds, cpu_seconds=round(cpu_seconds(server.pid) - before, 3))


@contextmanager
def _new_server(folder: Path) -> Iterator[tuple[Server, str]]:
    """Serve a new database with one shop while the block runs; give the server and a key."""
    place = folder / "smsevents"
    place.mkdir()
    try:
        store = Store(place / "log.db")
        key = store.add_shop()
        with served(store) as server:
            yield server, key
    finally:
        shutil.rmtree(place)


def _single(folder: Path, plan: Plan) -> list[Rate]:
    """Import single events: one client waits for each flush alone, many share them."""
    rates: dict[int, list[tuple[float, float]]] = {1: [], MANY: []}
    total = (plan.requests + plan.requests // 4) * SINGLE_ROUNDS
    lines = generate(TRACKPOINT, events=total, days=1, seed=2, end_ms=time.time_ns() // 1_000_000)
    with _new_server(folder) as (server, key):
        for _ in range(SINGLE_ROUNDS):
            for clients, taken in rates.items():
                requests = plan.requests if clients > 1 else plan.requests // 4
                posts = [post(_PATH, {"X-Api-Key": key}, line) for line in islice(lines, requests)]
                started = time.perf_counter()
                answers = ask(server.port, iter(posts), clients)
                seconds = time.perf_counter() - started
                taken.append((len(answers) / seconds, quantile([one.seconds * _MS for one in answers], 0.5)))
    return [
        Rate(
            clients=clients,
            requests=plan.requests if clients > 1 else plan.requests // 4,
            events_per_second=[round(rate, 1) for rate, _ in taken],
            p50_ms=[round(p50, 3) for _, p50 in taken],
        )
        for clients, taken in rates.items()
    ]

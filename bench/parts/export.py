"""Whole exports of one shop: every system gives away the same events, plain and gzip, in turns."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.dataset import dataset
from bench.peers import Contender, clickhouse, duckdb, nginx, postgres, smsevents
from bench.plan import SLOW_PEERS_EVENTS_MAX
from bench.results import ExportResult, Measured, about
from bench.same import Different, Digests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Run
    from bench.plan import Plan


def measure(plan: Plan) -> ExportResult:
    """Load every system, compare what they give, and measure them. Raises `Different` if they do not agree."""
    data = dataset(plan.folder, plan.events)
    folder = plan.folder / "export"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ours = stack.enter_context(smsevents.contenders(data, folder / "smsevents"))
        all_contenders = list(ours)
        if "nginx" in plan.peers:
            saved = [folder / f"saved-{contender.encoding}" for contender in ours]
            for contender, path in zip(ours, saved, strict=True):
                contender.save(path)
            all_contenders += stack.enter_context(nginx.contenders(saved[0], saved[1], folder / "nginx"))
        if "clickhouse" in plan.peers:
            all_contenders += stack.enter_context(clickhouse.contenders(data, folder / "clickhouse"))
        if "duckdb" in plan.peers:
            all_contenders += stack.enter_context(duckdb.contenders(data, folder / "duckdb"))
        if "postgres" in plan.peers and plan.events <= SLOW_PEERS_EVENTS_MAX:
            all_contenders += stack.enter_context(postgres.contenders(data, folder / "postgres"))
        digest = compare(all_contenders, folder, plan.events)
        runs = take_turns(all_contenders, plan.rounds_max, plan.contender_max_seconds)
    return ExportResult(
        about=about(),
        events=plan.events,
        line_bytes=data.line_bytes,
        digest=digest,
        systems=[
            Measured(system=one.system, variant=one.variant, encoding=one.encoding, runs=of_one)
            for one, of_one in zip(all_contenders, runs, strict=True)
        ],
    )


def compare(contenders: Sequence[Contender], folder: Path, events: int) -> str:
    """Give the digest of what all contenders export; this is their warming up too."""
    digests = Digests()
    found: dict[str, str] = {}
    for contender in contenders:
        path = folder / "compared"
        contender.save(path)
        found[contender.name] = digests.of(path, contender.encoding)
        path.unlink()
        print(f"  {found[contender.name]}  {contender.name}", flush=True)
    digest = next(iter(found.values()))
    if any(other != digest for other in found.values()) or not digest.startswith(f"{events}:"):
        raise Different(f"not all systems gave the same {events} events: {found}")
    return digest


def take_turns(contenders: Sequence[Contender], rounds_max: int, contender_max_seconds: float) -> list[list[Run]]:
    """Measure all in turns, every second round backwards, so that what else the machine does hits all alike."""
    runs: list[list[Run]] = [[] for _ in contenders]
    for number in range(rounds_max):
        turn = range(len(contenders))
        for index in turn if number % 2 == 0 else reversed(turn):
            if not runs[index] or sum(run.seconds for run in runs[index]) < contender_max_seconds:
                runs[index].append(contenders[index].export())
        print(f"  round {number + 1} of {rounds_max}", flush=True)
    return runs

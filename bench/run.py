"""The command behind `make bench`: measure what was asked for, keep the results, write tables and charts.

    python -m bench.run [--part export …] [--events 20000000] …

A run with fewer events than the documented one is a trial: all of it goes into the folder of the stores, and the
results, the page and the charts in the tree stay as they are.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import deflate, report
from bench.measure import stopwatch
from bench.parts import disk, export, imports, latency, readers, scale, soak
from bench.plan import EVENTS, Plan
from bench.results import ScaleResult, load, merged, save

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
TRIAL_FASTER = 20  # a trial measures so much less
FOLDER = Path("/var/tmp/smsevents-bench")  # noqa: S108 -- on a disk, where PostgreSQL's user may go, too


def _scale(plan: Plan) -> None:
    path = plan.results / "scale.json"
    old = load(path, ScaleResult) or ScaleResult(sizes=[], counts=[])
    save(path, ScaleResult(sizes=merged(old.sizes, scale.sizes(plan), "events"), counts=old.counts))


def _shops(plan: Plan) -> None:
    path = plan.results / "scale.json"
    old = load(path, ScaleResult) or ScaleResult(sizes=[], counts=[])
    save(path, ScaleResult(sizes=old.sizes, counts=merged(old.counts, scale.counts(plan), "shops")))


PARTS: dict[str, Callable[[Plan], None]] = {
    "export": lambda plan: save(plan.results / f"export-{plan.events}.json", export.measure(plan)),
    "import": lambda plan: save(plan.results / f"import-{plan.events}.json", imports.measure(plan)),
    "latency": lambda plan: save(plan.results / "latency.json", latency.measure(plan)),
    "readers": lambda plan: save(plan.results / "readers.json", readers.measure(plan)),
    "scale": _scale,
    "shops": _shops,
    "disk": lambda plan: save(plan.results / f"disk-{plan.events}.json", disk.measure(plan)),
    "deflate": lambda plan: save(plan.results / "deflate.json", deflate.measure(plan)),
    "soak": lambda plan: save(plan.results / "soak.json", soak.measure(plan)),
}
APART = {"soak"}  # takes its time by design, so it is measured when it is asked for


def run(plan: Plan, parts: list[str]) -> None:
    """Measure the parts and write the page, after each of them: what was measured is never lost."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    for name in parts:
        print(name, flush=True)
        with stopwatch() as taken:
            PARTS[name](plan)
        report.write(plan)
        print(f"{name} took {taken[0]:.0f} s", flush=True)
    shutil.rmtree(plan.folder / "grown", ignore_errors=True)


def trial(plan: Plan) -> Plan:
    """Make a plan small and keep it out of the tree."""
    docs = plan.folder / "trial"
    docs.mkdir(parents=True, exist_ok=True)
    shutil.copy(plan.docs / report.PAGE, docs)
    return replace(
        plan,
        results=docs / "results",
        docs=docs,
        rounds_max=3,
        contender_max_seconds=plan.contender_max_seconds / TRIAL_FASTER,
        import_rounds=1,
        shop_events=(plan.events // 10, plan.events),
        shops=(1, 10, 100),
        requests=plan.requests // TRIAL_FASTER,
        slow_seconds=plan.slow_seconds / TRIAL_FASTER,
        deflate_segments=2,
        soak_seconds=min(plan.soak_seconds, 600 // TRIAL_FASTER),
    )


def main(  # noqa: PLR0913, PLR0917 -- the options of a command
    part: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; all but soak if none.")] = None,
    events: Annotated[int, typer.Option(help="Events of the shop that is exported and imported.")] = EVENTS,
    shop_events: Annotated[str, typer.Option(help="Sizes of the shops of the parts scale and latency.")] = "",
    soak_seconds: Annotated[int, typer.Option(help="How long the soak takes.")] = Plan.soak_seconds,
    peer: Annotated[list[str] | None, typer.Option(help="A peer to measure beside; all of them if none.")] = None,
    folder: Annotated[Path, typer.Option(help="Where stores and datasets lie while it runs.")] = FOLDER,
) -> None:
    """Measure, and write the results, the tables of docs/performance.md and its charts."""
    plan = Plan(
        folder=folder,
        results=ROOT / "bench" / "results",
        docs=ROOT / "docs",
        events=events,
        soak_seconds=soak_seconds,
    )
    if peer:
        plan = replace(plan, peers=frozenset(peer))
    if shop_events:
        plan = replace(plan, shop_events=tuple(int(size) for size in shop_events.split(",")))
    if events < EVENTS:
        plan = trial(plan)
    run(plan, part or [name for name in PARTS if name not in APART])
    print(f"see {plan.docs / report.PAGE} and {plan.docs / 'charts'}")


if __name__ == "__main__":
    typer.run(main)

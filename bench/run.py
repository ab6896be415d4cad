"""The command behind `make bench`: measure what was asked for, keep the results, write tables and charts.

A run with fewer events than the documented one is a trial: all of it goes into the folder of the stores, and the
results, the page and the charts in the tree stay as they are.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bench import before, render
from bench.cases import CASES
from bench.plan import EVENTS, Plan
from bench.results import keep

ROOT = Path(__file__).parent.parent
FOLDER = Path("/var/tmp/smsevents-bench")  # noqa: S108 -- on a disk, where PostgreSQL's user may go, too
_TRIAL_FASTER = 20


def run(plan: Plan, parts: list[str]) -> None:
    """Measure the parts and write the page, after each of them: what was measured is never lost."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    for name in parts:
        print(name, flush=True)
        keep(plan.results / f"{name}.json", CASES[name].measure(plan), CASES[name].together)
        render.write(plan, CASES)
    if not plan.keep_shops:
        shutil.rmtree(plan.grown, ignore_errors=True)


def trial(plan: Plan) -> Plan:
    """Make a plan small and keep it out of the tree."""
    docs = plan.folder / "trial"
    docs.mkdir(parents=True, exist_ok=True)
    shutil.copy(plan.docs / render.PAGE, docs)
    return replace(
        plan,
        results=docs / "results",
        docs=docs,
        rounds=3,
        way_max_seconds=plan.way_max_seconds / _TRIAL_FASTER,
        shop_events=(plan.events // 10, plan.events),
        shops=(1, 10, 100),
        requests=plan.requests // _TRIAL_FASTER,
        events_a_day=(plan.events // 10,),
        lived_days=3,
        registered=(plan.events // 2, plan.events * 5),
        slow_seconds=plan.slow_seconds / _TRIAL_FASTER,
        soak_seconds=min(plan.soak_seconds, 600 // _TRIAL_FASTER),
    )


def main(  # noqa: PLR0913, PLR0917 -- the options of a command
    part: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(CASES)}; all but soak if none.")] = None,
    events: Annotated[int | None, typer.Option(help=f"Events of the shop; {EVENTS:,} if not given.")] = None,
    shop_events: Annotated[str, typer.Option(help="Sizes of the shops of scale, latency and readers.")] = "",
    keep_shops: Annotated[
        bool, typer.Option("--keep-shops", help="Keep the shops of scale, latency and readers for the next run.")
    ] = False,
    soak_seconds: Annotated[int, typer.Option(help="How long the soak takes.")] = Plan.soak_seconds,
    peer: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(sorted(Plan.peers))}, or none.")] = None,
    folder: Annotated[Path, typer.Option(help="Where stores and datasets lie while it runs.")] = FOLDER,
    way_max_seconds: Annotated[
        float, typer.Option(help="What has used so much time takes no further turn. Tables show how many there were.")
    ] = Plan.way_max_seconds,
    before_source: Annotated[
        Path | None, typer.Option("--before", help="The `src` of another checkout: compare the processor time of both.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="How often each is measured, with --before.", min=20)] = 20,
) -> None:
    """Measure, and write the results, the tables of docs/performance.md and its charts."""
    parts, peers = part or [name for name in CASES if name != "soak"], frozenset(peer or Plan.peers)
    if unknown := {*parts} - {*CASES} | peers - Plan.peers - {"none"}:
        raise typer.BadParameter(f"There is no part or peer {', '.join(sorted(unknown))}.")
    plan = Plan(
        folder=folder,
        results=ROOT / "bench" / "results",
        docs=ROOT / "docs",
        soak_seconds=soak_seconds,
        way_max_seconds=way_max_seconds,
        keep_shops=keep_shops,
    )
    if before_source:
        raise typer.Exit(before.main(plan, before_source, ROOT / "src", events or before.EVENTS, pairs))
    plan = replace(plan, events=events or EVENTS, peers=peers)
    if shop_events:
        plan = replace(plan, shop_events=tuple(int(size) for size in shop_events.split(",")))
    if plan.events < EVENTS:
        plan = trial(plan)
    run(plan, parts)
    print(f"see {plan.docs / render.PAGE} and {plan.docs / 'charts'}")


if __name__ == "__main__":
    typer.run(main)

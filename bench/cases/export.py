"""Whole exports of one shop: every system exports the same events, plain and gzip, in turns."""

from functools import partial
from os import devnull
from pathlib import Path

from bench import peers
from bench.measure import take_turns
from bench.plan import ENCODINGS, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row
from bench.same import compare


def _measure(plan: Plan) -> list[Row]:
    """Load every system, compare what they export, and measure them. Raises `Different` if they do not agree."""
    with peers.opened(plan, "export") as (systems, data, folder):
        exports = {(peer.system, *way): export for peer in systems for way, export in peer.exports.items()}
        digest = compare(exports, folder, plan.events)
        turns = take_turns([partial(one, Path(devnull)) for one in exports.values()], plan.rounds, plan.way_max_seconds)
        shop: Labels = {"events": plan.events, "line_bytes": data.path.stat().st_size, "digest": digest}
    found = []
    for (system, variant, encoding), figures in zip(exports, turns, strict=True):
        found.append(row(shop | {"system": system, "variant": variant, "encoding": encoding}, **figures))
    ours = {one.labels["encoding"]: one.median("seconds") for one in found if one.labels["variant"] == "packs"}
    for one in found:
        one.figures["time_by_ours_ratio"] = [round(one.median("seconds") / ours[one.labels["encoding"]], 4)]
        one.figures["events_per_second"] = [round(plan.events / one.median("seconds"))]
    return sorted(found, key=lambda one: (ENCODINGS.index(one.labels["encoding"]), one.median("seconds")))


CASE = Case(
    _measure,
    "{events:,} events, {line_bytes:,} bytes of lines; all systems exported the same (digest `{digest:.24}…`).",
    ("encoding", "system variant", "seconds", "events_per_second", "time_by_ours_ratio", "seconds~", "cpu_seconds"),
    Bars(
        "Whole export of one shop of {events:,} events, and the time by ours from packs: shorter is better",
        *("system variant encoding", "seconds", "seconds time_by_ours_ratio"),
    ),
    together="events",
)

"""Bytes on the disk for the same events in every system, after each has merged what it merges."""

from bench import peers
from bench.measure import run
from bench.plan import Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row


def _measure(plan: Plan) -> list[Row]:
    with peers.opened(plan, "disk") as (systems, data, _):
        stored = {(peer.system, variant): size for peer in systems for variant, size in peer.sizes().items()}
        stored["plain lines", ""] = data.path.stat().st_size
        stored["lines", "gzip -6"] = int(run(["sh", "-c", f"gzip -6 --stdout '{data.path}' | wc -c"])[0])
    found = []
    for (system, variant), size in sorted(stored.items(), key=lambda one: one[1]):
        labels: Labels = {"events": plan.events, "system": system, "variant": variant}
        by_ours = {"size_by_ours_ratio": round(size / stored["smsevents", "database"], 4)}
        found.append(row(labels, stored_bytes=size, bytes_per_event=round(size / plan.events, 4), **by_ours))
    return found


CASE = Case(
    _measure,
    "{events:,} events.",
    ("system variant", "bytes_per_event", "size_by_ours_ratio"),
    Bars(
        "On the disk, the same {events:,} events: shorter is better",
        *("system variant", "bytes_per_event", "bytes_per_event"),
    ),
    together="events",
)

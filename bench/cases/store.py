"""What the store of packs is asked for while a shop is recorded day by day, and what it then holds: its cost."""

from bench.plan import DAY_MS, TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Row, row
from bench.store_life import DELETE, GET, LIST, PUT, PUT_OTHER, Life

_MILLION = 1_000_000
_START_MS = 1_790_000_000_000 // DAY_MS * DAY_MS  # the clock is simulated, so every run counts the same


def _measure(plan: Plan) -> list[Row]:
    found = []
    for events_a_day in plan.events_a_day:
        with plan.workplace("store") as folder, Life(folder, _START_MS) as life:
            life.add_shop(TRACKPOINT)
            life.live(TRACKPOINT, events_a_day, plan.lived_days)
            events = events_a_day * plan.lived_days
            asked, written_bytes = life.store.requests.copy(), life.store.written_bytes
            packs = life.packs()
            exported = life.exported_lines(TRACKPOINT)
            if exported != events:
                raise LookupError(f"{exported} of {events} events are exported")
            of_export = life.store.requests[GET] - asked[GET]
        millions = events / _MILLION
        found.append(
            row(
                {"events_a_day": events_a_day, "days": plan.lived_days},
                put_per_million=round(asked[PUT] / millions, 2),
                get_per_million=round(asked[GET] / millions, 2),
                delete_per_million=round(asked[DELETE] / millions, 2),
                list_per_day=round(asked[LIST] / plan.lived_days, 2),
                other_put_per_day=round(asked[PUT_OTHER] / plan.lived_days, 2),
                packs=len(packs),
                get_per_export=of_export,
                packs_bytes=sum(one.size_bytes for one in packs),
                written_bytes=written_bytes,
                written_bytes_per_event=round(written_bytes / events, 2),
            )
        )
        print(f"  {events_a_day:,} events a day", flush=True)
    return found


CASE = Case(
    _measure,
    "{days} days of one shop, 3 % of its events late. Every hour events arrive, and the upkeep works twice.",
    (
        *("events_a_day", "put_per_million", "get_per_million", "delete_per_million", "list_per_day"),
        *("other_put_per_day", "packs", "packs_bytes", "written_bytes", "get_per_export"),
    ),
    Bars(
        "Packs written for a million events: fewer is better",
        *("events_a_day", "put_per_million", "put_per_million"),
    ),
    together="days",
)

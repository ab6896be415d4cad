"""A database with shops of different sizes, made once in a run and used by several cases."""

import shutil
from functools import cache

from bench.dataset import generate_into
from bench.measure import stopwatch
from bench.peers.smsevents import COMMAND, Shop, Store
from bench.plan import TRACKPOINT, Plan


@cache
def grown(plan: Plan) -> tuple[Store, list[Shop]]:
    """Make a database with the shops of a plan, the smallest first, or return it if it was made in this run."""
    folder = plan.folder / "grown"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = Store(folder / "log.db")
    shops: list[Shop] = []
    for trackpoint, events in enumerate(sorted(plan.shop_events), TRACKPOINT):
        key = store.add_shop(trackpoint)
        with stopwatch() as taken:
            end_ms = generate_into([*COMMAND, "import", str(trackpoint), "-"], store.environment, trackpoint, events)
        stored = store.bytes_on_disk() - sum(shop.figures["stored_bytes"] for shop in shops)
        figures = {"stored_bytes": stored, "import_seconds": round(taken["seconds"], 2)}
        shops.append(Shop(key, end_ms, trackpoint, events, figures))
        print(f"  a shop of {events:,} events in {taken['seconds']:.0f} s", flush=True)
    return store, shops

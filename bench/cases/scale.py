"""What grows with the size of a shop, and what must not."""

from functools import partial

from bench.cases.latency import small_exports
from bench.grown import grown
from bench.measure import peak_memory, take_turns
from bench.peers import ENCODINGS
from bench.peers.smsevents import served
from bench.plan import Plan
from bench.render import Case, Lines
from bench.results import Row, row


def _measure(plan: Plan) -> list[Row]:
    """Measure shops of different sizes in one database."""
    store, shops = grown(plan)
    found = []
    for shop in shops:
        with served(store) as server:
            small = small_exports(server, shop, "gzip", plan.requests // 4)
            one = row({"shop_events": shop.events}, **shop.figures, **small)
            for encoding in ENCODINGS:
                with peak_memory(server.pid) as peak:
                    export = partial(server.export, shop, encoding)
                    (turns,) = take_turns([export], plan.rounds, plan.way_max_seconds)
                one.figures |= {f"{encoding}_peak_bytes": [*peak], f"{encoding}_export_seconds": [*turns["seconds"]]}
        found.append(one)
    return found


CASE = Case(
    _measure,
    "Peaks are of the server during a whole export; the import is `smsevents generate | smsevents import`.",
    (
        *("shop_events", "first_byte_p50_ms", "first_byte_p99_ms", "server_cpu_ms", "server_read_bytes"),
        *("catalog_cpu_ms", "catalog_read_bytes", "index_bytes"),  # of runs before those of the server were measured
        *("gzip_peak_bytes", "plain_peak_bytes", "stored_bytes"),
        *("gzip_export_seconds", "plain_export_seconds", "import_seconds"),
    ),
    Lines(
        "As one shop grows: flat is good",
        "shop_events",
        ("first_byte_p50_ms first_byte_p99_ms", "gzip_peak_bytes plain_peak_bytes"),
    ),
    together="shop_events",
)

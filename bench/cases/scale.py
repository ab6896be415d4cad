"""What grows with the size of a shop, and what must not."""

import os
from functools import partial
from pathlib import Path

from bench.cases.latency import small_exports
from bench.measure import forget_peak, memory_bytes, take_turns
from bench.peers.smsevents import grown, served
from bench.plan import DAY_MS, ENCODINGS, Plan
from bench.render import Case, Lines
from bench.results import Row, row

_OVERVIEW_DAYS = 90


def _measure(plan: Plan) -> list[Row]:
    store, shops = grown(plan)
    found = []
    for shop in shops:
        with served(store) as server:
            small = small_exports(server, shop, "gzip", plan.requests // 4, (1, 0.0))
            one = row({"shop_events": shop.events}, **shop.figures, **small)
            for encoding in ENCODINGS:
                forget_peak(server.pid)
                (turns,) = take_turns([partial(server.export, shop, encoding)], plan.rounds, plan.way_max_seconds)
                one.figures[f"{encoding}_export_seconds"] = [*turns["seconds"]]
                one.figures[f"{encoding}_peak_bytes"] = [memory_bytes(server.pid, "VmHWM")]
            asked: dict[str, str | int] = {
                "from": shop.end_ms - _OVERVIEW_DAYS * DAY_MS,
                "to": shop.end_ms,
                "step": "1d",
                "by": "status",
            }
            overview = partial(server.statistics, shop, "sms-stats", asked, Path(os.devnull))
            (turns,) = take_turns([overview], plan.rounds, plan.way_max_seconds)
            one.figures |= {"overview_seconds": [*turns["seconds"]], "overview_cpu_seconds": [*turns["cpu_seconds"]]}
        found.append(one)
    return found


CASE = Case(
    _measure,
    "Peaks are of the server during a whole export; the import is `smsevents generate | smsevents import`.",
    (
        *("shop_events", "first_byte_p50_ms", "first_byte_p99_ms", "server_cpu_ms", "server_read_bytes"),
        *("gzip_peak_bytes", "plain_peak_bytes", "stored_bytes", "database_bytes", "packs"),
        *("gzip_export_seconds", "plain_export_seconds", "overview_seconds", "overview_cpu_seconds"),
        *("import_seconds", "upkeep_seconds"),
    ),
    Lines(
        "As one shop grows: flat is good",
        "shop_events",
        ("first_byte_p50_ms first_byte_p99_ms", "gzip_peak_bytes plain_peak_bytes"),
    ),
    together="shop_events",
)

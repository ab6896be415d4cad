"""The metrics of the process, in the Prometheus text format under `/metrics`.

With several workers, any of them returns the sum of all (`gathering.py`). A gauge is added up only if its
`multiprocess_mode` says so; otherwise the highest value is returned.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from litestar import HttpMethod, Response, route
from litestar.datastructures import State
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from smsevents.web.gathering import ADDRESS_VARIABLE, gather
from smsevents.web.house_metrics import exposition
from smsevents.web.samples import Told

if TYPE_CHECKING:
    from smsevents.web.state import AppState

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

requests = Counter("smsevents_requests", "Requests answered.", ["route", "method", "status"])
# `labels` takes longer than counting. There are few routes and statuses.
requests_of = lru_cache(maxsize=512)(requests.labels)
events_in = Counter("smsevents_events_in", "Events received and stored by imports.")
events_expired = Counter("smsevents_events_expired", "Events of imports dropped as older than the history.")
events_out = Counter("smsevents_events_out", "Events sent by exports.")
import_seconds = Histogram("smsevents_import_seconds", "Imports, from request to answer.", buckets=_SECONDS)
export_bytes = Counter("smsevents_export_bytes", "Bytes of exports as they were sent.", ["encoding"])
export_bytes_gzip = export_bytes.labels("gzip")
export_bytes_identity = export_bytes.labels("identity")
export_seconds = Histogram("smsevents_export_seconds", "Whole exports, from request to end.", buckets=_SECONDS)
export_first_byte_seconds = Histogram(
    "smsevents_export_first_byte_seconds", "Exports, from request to the first byte.", buckets=_SECONDS
)
exports_running = Gauge("smsevents_exports_running", "Exports being sent now.", multiprocess_mode="livesum")
exports_cut = Counter(
    "smsevents_exports_cut",
    "Exports that did not reach their end, by reason: client, damage, store or shutdown.",
    ["reason"],
)


@route("/metrics", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
async def show_metrics(state: State) -> Response[bytes]:
    """Return all metrics in the Prometheus text format: of this process or all workers, and of the database."""
    app: AppState = state.app
    return Response(
        await app.exposition.run(lambda: _numbers() + exposition(app.database, app.timekeeper, app.log.now())),
        headers={"Content-Type": CONTENT_TYPE_LATEST},
    )


def _numbers() -> bytes:
    address = os.environ.get(ADDRESS_VARIABLE)
    return generate_latest(Told(gather(address)) if address else REGISTRY)

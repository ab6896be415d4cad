"""What the process counts, in the Prometheus text format under `/metrics`.

With several workers each writes its numbers to a file in PROMETHEUS_MULTIPROC_DIR (`serve` sets it), and
whichever worker is asked adds them up.
"""

from __future__ import annotations

import os

from litestar import HttpMethod, Response, route
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

requests = Counter("smsevents_requests", "Requests answered.", ["route", "method", "status"])
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


def forget_process() -> None:
    """Take what this process does just now out of the sums of its siblings, as it ends."""
    if os.environ.get(MULTIPROCESS_DIRECTORY):
        mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # the library has no types there


@route("/metrics", http_method=[HttpMethod.GET, HttpMethod.HEAD], sync_to_thread=True, include_in_schema=False)
def show_metrics() -> Response[bytes]:
    """Give all numbers in the Prometheus text format."""
    registry = REGISTRY
    if os.environ.get(MULTIPROCESS_DIRECTORY):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types there
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

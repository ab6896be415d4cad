"""`POST /shop/{trackpointId}/export-sms-events`: a shop's events in a time window, as one stream.

key → body → window and filter → reader → chunks (gzip member or plain lines) → response
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import HttpMethod, Request, route
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from smsevents.errors import UnsupportedEncoding
from smsevents.web import metrics, negotiate, query, tenant_metrics
from smsevents.web.auth import authorized_shop
from smsevents.web.body import stream
from smsevents.web.describe import LINES, TRACKPOINT, WITH_BODY, example_lines, problems, request_schema_of
from smsevents.web.export_chunks import ExportChunks, KnownLines
from smsevents.web.export_pace import ExportPace
from smsevents.web.export_request import ExportRequest, filter_warning, read_request
from smsevents.web.export_response import ExportResponse
from smsevents.wire.event_filter import FILTERS_HEADER, MEMBERS
from smsevents.wire.limits import DAY_MS
from smsevents.wire.window import warning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import Receive, Scope, Send

    from smsevents.web.export_chunks import Chunks
    from smsevents.web.export_request import Asked
    from smsevents.web.state import AppState
    from smsevents.wire.event_filter import EventFilter
    from smsevents.wire.window import Window


KIB = 1024
_MEMBERS = frozenset({"from", "to", *MEMBERS})


@route("/shop/{trackpointId:str}/export-sms-events", http_method=[HttpMethod.POST, HttpMethod.OPTIONS], status_code=200)
async def export_sms_events(request: Request[Any, Any, Any]) -> ASGIApp:
    """Export the events of a shop, or return which filters an export takes."""
    if request.method == HttpMethod.OPTIONS:
        return _options()
    app: AppState = request.app.state.app
    trackpoint = await authorized_shop(request, app, request.path_params["trackpointId"], "export")
    if request.scope["query_string"]:
        query.refuse_members(request.query_params, _MEMBERS)
    with app.exports.limit.enter(trackpoint):  # a request whose body is still arriving holds a connection, too
        window, wanted = await _asked(request, app)
    gzip = negotiate.wants_gzip(negotiate.joined(request, b"accept-encoding"))
    headers = {
        "Content-Type": negotiate.media_type(negotiate.joined(request, b"accept")),
        "Vary": "Accept-Encoding",
        "X-Export-From": str(window.start),
        "X-Export-To": str(window.end),
        "Cache-Control": "no-store",
    }
    if warnings := [one for one in (warning_of(window), filter_warning(wanted)) if one]:
        headers["X-Export-Warning"] = " ".join(warnings)
    if gzip:
        headers["Content-Encoding"] = "gzip"
    return streamed(app, trackpoint, await _chunks(app, trackpoint, window, wanted, gzip=gzip), headers)


async def _chunks(app: AppState, trackpoint: int, window: Window, wanted: EventFilter, *, gzip: bool) -> Chunks:
    """Return the chunks of an export: what is known without the database, or what a reader finds there."""
    counted = counter_of(trackpoint)
    known = None if wanted else app.recent.lines(trackpoint, window, await app.commit_marks.mark())
    if known is not None:
        return KnownLines(known, gzip=gzip, counted=counted)
    reader = app.log.read(trackpoint, window, wanted)
    return ExportChunks(reader, app.exports, trackpoint, gzip=gzip, counted=counted)


def streamed(app: AppState, trackpoint: int, chunks: Chunks, headers: dict[str, str]) -> ASGIApp:
    """Return the response that sends the chunks; it counts towards the exports that may run at the same time."""
    stall_max_seconds = app.settings.stall_max_seconds
    pace = ExportPace(app.exports.direct, trackpoint)
    response = ExportResponse(chunks, pace, headers, stall_max_seconds=stall_max_seconds)

    async def send_within_limit(scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response while it has one of the places for exports."""
        with app.exports.limit.enter(trackpoint), metrics.exports_running.track_inprogress():
            await response.send(scope, receive, send)

    return send_within_limit


def _options() -> ASGIResponse:
    """Return which methods and filters the export takes. This needs no key, because it says nothing about a shop."""
    return ASGIResponse(status_code=204, headers={"Allow": "POST, OPTIONS", FILTERS_HEADER: ", ".join(MEMBERS)})


def counter_of(trackpoint: int) -> Callable[[int], None]:
    """Return the function that counts the exported events of a shop."""
    of_shop = tenant_metrics.events_out_of_shop(tenant_metrics.shop_label(trackpoint))

    def counted(events: int) -> None:
        metrics.events_out.inc(events)
        of_shop.inc(events)

    return counted


async def _asked(request: Request[Any, Any, Any], app: AppState) -> Asked:
    """Read the body and apply the rules of the interval to it."""
    if negotiate.codings(request):
        raise UnsupportedEncoding(
            "Send the request of an export as plain JSON, without Content-Encoding.", supported="identity"
        )
    max_bytes = app.settings.export_body_max_kib * KIB
    body = b"".join(
        [
            part
            async for part in stream(
                request,
                max_bytes,
                app.settings,
                f"The request of an export is at most {max_bytes} bytes: send `from`, `to` and short filters.",
            )
        ]
    )
    return read_request(body, app.log.now())


def operation(now: int) -> dict[str, Any]:
    """Describe the operation for OpenAPI, with examples of the day of `now` (Unix ms)."""
    stream = {"schema": LINES, "examples": {"events": {"value": example_lines(now)}}}
    time = {"type": "integer"}
    return {
        "operationId": "exportSmsEvents",
        "tags": ["Events"],
        "summary": "Export the events of a shop",
        "description": (
            "The interval is closed, in Unix milliseconds. `from` alone: up to 90 days from there; `to` alone: the"
            " 90 days before it; `{}`: the last 90 days. Only the last 90 days exist. The Content-Type is ignored."
            " The other members are filters: an event must match each of them that is sent. A text may be an array of"
            " texts, one of which must match. The key needs the scope `export`."
        ),
        "parameters": [TRACKPOINT],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": request_schema_of(ExportRequest),
                    "examples": {
                        "lastWeek": {"value": {"from": now - 7 * DAY_MS, "to": now}},
                        "last90days": {"value": {}},
                        "failedOfCampaign": {
                            "value": {"status": ["UNDELIVERABLE", "REJECTED"], "campaign": "Black Friday"}
                        },
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": (
                    "The events, ascending by `date`, deduplicated. With `Accept-Encoding: gzip` the same lines as one"
                    " gzip member. If the connection ends without the last chunk, the export was truncated: ask again."
                ),
                "headers": {
                    "X-Export-From": {"schema": time, "description": "The start of the effective interval."},
                    "X-Export-To": {"schema": time, "description": "The end of the effective interval."},
                    "X-Export-Warning": {
                        "schema": {"type": "string"},
                        "description": (
                            "Only if the interval or `sentFrom`, `sentTo` are outside the years 2000 to 2099, or if a"
                            " `status` or `type` is unknown: it says so."
                        ),
                    },
                },
                "content": {negotiate.JSON_SEQ: stream, negotiate.NDJSON: stream},
            },
            **problems("export", WITH_BODY),
        },
    }

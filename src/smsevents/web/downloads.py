"""`GET /shop/{trackpointId}/sms-events`: a shop's events as a file, for the links of a page and for people.

It is the export by another address: query parameters instead of a body, times as people write them, and CSV as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from litestar import Request, get
from litestar.types import ASGIApp

from smsevents.errors import InvalidRequest
from smsevents.log.filtered import in_steps
from smsevents.stats.calendar import local_of, zone_of
from smsevents.stats.interval import interval, meant
from smsevents.web import negotiate, query
from smsevents.web.auth import authorized_shop
from smsevents.web.describe import ALWAYS, LINES, TRACKPOINT, example_lines, problem, problems
from smsevents.web.event_tables import EventTable
from smsevents.web.export_chunks import ExportChunks
from smsevents.web.export_request import KNOWN_TEXTS, checked_filter
from smsevents.web.exports import counter_of, streamed
from smsevents.web.problems import STATUSES
from smsevents.wire.event_filter import MEMBERS, TEXT_MEMBERS, EventFilter
from smsevents.wire.limits import DAY_MS, TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from litestar.datastructures import MultiDict

    from smsevents.web.event_tables import TableFormat
    from smsevents.web.state import AppState
    from smsevents.wire.window import Window

JSON_LINES = "jsonl"
TABLES: dict[str, TableFormat] = {"csv": "csv", "csv-excel-cs": "csv-excel-cs"}
FORMATS = (JSON_LINES, *TABLES)
_KNOWN = frozenset({"from", "to", "tz", "format", *MEMBERS})
_CSV = "text/csv; charset=utf-8; header=present"
EXAMPLE_TRACKPOINT = 4541245641234564  # of `example_lines`
_BAD = "`format` 'xlsx' is unknown. Send one of jsonl, csv, csv-excel-cs."


class _Asked(NamedTuple):
    window: Window
    wanted: EventFilter
    zone: ZoneInfo
    table: TableFormat | None


@get("/shop/{trackpointId:str}/sms-events")
async def download_sms_events(request: Request[Any, Any, Any]) -> ASGIApp:
    """Send the events of a shop as a file."""
    app: AppState = request.app.state.app
    trackpoint = await authorized_shop(request, app, request.path_params["trackpointId"], "export")
    asked = _read(request, app.log.now())
    gzip = negotiate.wants_gzip(negotiate.joined(request, b"accept-encoding"))
    headers = {
        "Content-Type": negotiate.NDJSON if asked.table is None else _CSV,
        "Content-Disposition": f'attachment; filename="{_name_of(trackpoint, asked)}"',
        "Vary": "Accept-Encoding",
        "X-Export-From": str(asked.window.start),
        "X-Export-To": str(asked.window.end),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    if gzip:
        headers["Content-Encoding"] = "gzip"
    reader = app.log.read(trackpoint, asked.window, asked.wanted)
    table = None if asked.table is None else EventTable(trackpoint, asked.zone, asked.table)
    chunks = ExportChunks(
        reader if table is None else in_steps(reader),
        app.exports,
        trackpoint,
        gzip=gzip,
        counted=counter_of(trackpoint),
        table=table,
    )
    return streamed(app, trackpoint, chunks, headers)


def _read(request: Request[Any, Any, Any], now: int) -> _Asked:
    """Read the query. Raises `InvalidRequest`, which names the parameter."""
    given = query.decoded(request)
    query.refuse_others(given, _KNOWN)
    zone = zone_of(_one(given, "tz") or "UTC")
    format_ = query.known("format", _one(given, "format") or JSON_LINES, FORMATS)
    sent_from, sent_to = _one(given, "sentFrom"), _one(given, "sentTo")
    wanted = EventFilter(
        **{name: frozenset(_texts(given, name)) for name in TEXT_MEMBERS},
        sentFrom=None if sent_from is None else meant("sentFrom", sent_from, zone, now).start,
        sentTo=None if sent_to is None else meant("sentTo", sent_to, zone, now).end,
    )
    window = interval(_one(given, "from"), _one(given, "to"), zone, now)
    return _Asked(window, checked_filter(wanted), zone, TABLES.get(format_))


def _one(given: MultiDict[Any], name: str) -> str | None:
    values: list[str] = given.getall(name, [])
    if len(values) > 1:
        raise InvalidRequest(f"`{name}` is in the URL {len(values)} times. Send it once.")
    if values and not values[0]:
        raise InvalidRequest(f"`{name}` is empty. Send a value, or leave the parameter out.")
    return values[0] if values else None


def _texts(given: MultiDict[Any], name: str) -> list[str]:
    values: list[str] = given.getall(name, [])
    if name in KNOWN_TEXTS:
        return [query.known(name, value, KNOWN_TEXTS[name]) for value in values]
    for value in values:
        if len(value) > TEXT_MAX_CHARACTERS:
            raise InvalidRequest(
                f"`{name}` has {len(value)} characters. A text of an event has at most {TEXT_MAX_CHARACTERS}."
            )
    return values


def _name_of(trackpoint: int, asked: _Asked) -> str:
    """Return the name of the file: the shop, the first and the last local day, the zone."""
    days = "-to-".join(f"{local_of(time, asked.zone):%Y-%m-%d}" for time in asked.window)
    ending = JSON_LINES if asked.table is None else "csv"
    form = "-excel" if asked.table == "csv-excel-cs" else ""
    return f"sms-events-{trackpoint}-{days}-{asked.zone.key.replace('/', '-')}{form}.{ending}"


def _parameter(name: str, description: str, example: object, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema or {"type": "string"},
        "examples": {"example": {"value": example}},
    }


def _example_table(now: int) -> str:
    table = EventTable(EXAMPLE_TRACKPOINT, zone_of("Europe/Prague"), "csv")
    return (table.head() + table.rows(example_lines(now).encode())).decode()


def operation(now: int) -> dict[str, Any]:
    """Describe the operation for OpenAPI, with examples of the day of `now` (Unix ms)."""

    def texts_of(name: str) -> dict[str, Any]:
        limit = {"enum": [*KNOWN_TEXTS[name]]} if name in KNOWN_TEXTS else {"maxLength": TEXT_MAX_CHARACTERS}
        return {"type": "array", "items": {"type": "string"} | limit}

    filters = {
        "status": ("Only events with this status; repeatable.", "DELIVERED"),
        "campaign": ("Only events of this campaign, by its id or its name; repeatable.", "Black Friday"),
        "node": ("Only events of this node of a flow, by its id or its name; repeatable.", "3241"),
        "type": ("Only events of this type of source, `flow` or `one-off`; repeatable.", "flow"),
        "userId": ("Only events of this user; repeatable.", "123456"),
    }
    return {
        "operationId": "downloadSmsEvents",
        "tags": ["Events"],
        "summary": "Download the events of a shop as a file",
        "description": (
            "The same events as the export, by query parameters: JSON lines, or CSV with local times. If the connection"
            " ends without the last chunk, the file is incomplete. The key needs the scope `export`."
        ),
        "parameters": [
            TRACKPOINT,
            _parameter(
                "from",
                "The start: a local day, a time (ISO 8601), Unix milliseconds, `today`, `yesterday`, or how long ago,"
                " such as `7d`. The default is 29 days before the day of the end.",
                str(now - 7 * DAY_MS),
            ),
            _parameter("to", "The end, included, spelled like `from`. The default is now.", str(now)),
            _parameter("tz", "The time zone of days and of times in CSV. The default is UTC.", "Europe/Prague"),
            _parameter(
                "format",
                "The format. `csv-excel-cs` is for Excel in Czech. The default is `jsonl`.",
                "csv",
                {"type": "string", "enum": [*FORMATS]},
            ),
            *(
                _parameter(name, text, [example], texts_of(name)) | {"style": "form", "explode": True}
                for name, (text, example) in filters.items()
            ),
            _parameter("sentFrom", "Only messages sent at or after this time.", str(now - 8 * DAY_MS)),
            _parameter("sentTo", "Only messages sent until this time, included.", str(now)),
        ],
        "responses": {
            "200": {
                "description": "The events, ascending by `date`, deduplicated.",
                "headers": {
                    "Content-Disposition": {
                        "schema": {"type": "string"},
                        "description": "A name for the file, with the shop, the interval and the zone.",
                    }
                },
                "content": {
                    negotiate.NDJSON: {"schema": LINES, "examples": {"events": {"value": example_lines(now)}}},
                    "text/csv": {
                        "schema": {"type": "string", "description": "A head line, and a row for each event."},
                        "examples": {"events": {"value": _example_table(now)}},
                    },
                },
            },
            **problems("export", ALWAYS),
            "400": problem(STATUSES[InvalidRequest], detail=_BAD),
        },
    }

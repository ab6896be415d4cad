"""The OpenAPI description of the two endpoints, with examples."""

from __future__ import annotations

from typing import Any, TypeAlias

from litestar.openapi.spec import (
    Components,
    Example,
    Info,
    OpenAPI,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
    Server,
)

from smsevents import __version__
from smsevents.events import INT64_MAX
from smsevents.web import negotiate
from smsevents.web.problems import MEDIA_TYPE as PROBLEM

FLOW_LINE = (
    '{"smsEvent":{"trackpoint":4541245641234564,"userId":"123456","status":"DELIVERED","date":1673753160310},'
    '"source":{"type":"flow","campaign":{"id":"cd43","name":"Retention"},'
    '"node":{"id":"3241","name":"Retention VIP SMS"},"sendDate":1673753160010}}\n'
)
ONE_OFF_LINE = (
    '{"smsEvent":{"trackpoint":4541245641234564,"userId":"123456","status":"DELIVERED","date":1673763160310},'
    '"source":{"type":"one-off","campaign":{"id":"b2c8","name":"Black Friday"},"sendDate":1673763160010}}\n'
)
LINES = Schema(
    type=OpenAPIType.STRING,
    description="One JSON object per line, each line ended by a line feed, also the last.",
)
TIME = Schema(
    type=[OpenAPIType.INTEGER, OpenAPIType.NULL],
    description="Unix milliseconds, UTC.",
)
INTERVAL = Schema(
    type=OpenAPIType.OBJECT,
    additional_properties=False,
    properties={"from": TIME, "to": TIME},
)
TRACKPOINT = Parameter(
    name="trackpointId",
    param_in="path",
    required=True,
    description="The number of the shop.",
    schema=Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=INT64_MAX),
    examples={"shop": Example(value=4541245641234564)},
)
Answers: TypeAlias = dict[str, OpenAPIResponse | Reference]
KEY_DETAIL = "Send a valid API key in the header X-Api-Key; `smsevents key create` makes one."


def _problem(description: str, title: str, status: int, detail: str, **more: Any) -> OpenAPIResponse:  # noqa: ANN401 -- JSON
    schema = Schema(
        type=OpenAPIType.OBJECT,
        required=["title", "status", "detail"],
        properties={
            "title": Schema(type=OpenAPIType.STRING),
            "status": Schema(type=OpenAPIType.INTEGER),
            "detail": Schema(type=OpenAPIType.STRING, description="What to change."),
            "errors": Schema(
                type=OpenAPIType.ARRAY,
                items=Schema(
                    type=OpenAPIType.OBJECT,
                    properties={
                        "line": Schema(type=OpenAPIType.INTEGER),
                        "reason": Schema(type=OpenAPIType.STRING),
                    },
                ),
            ),
            "more": Schema(type=OpenAPIType.BOOLEAN, description="Reading stopped at the last line named."),
        },
    )
    example = Example(value={"title": title, "status": status, "detail": detail, **more})
    return OpenAPIResponse(
        description=description,
        content={PROBLEM: OpenAPIMediaType(schema=schema, examples={"problem": example})},
    )


def _problems() -> Answers:
    """Give the errors that both endpoints share."""
    return {
        "401": _problem("No key, or one that is unknown, revoked or expired.", "Unauthorized", 401, KEY_DETAIL),
        "403": _problem(
            "The key is of another shop or has not the scope.",
            "Forbidden",
            403,
            "This key may not do that here. Use a key of this shop with the scope `export`.",
        ),
        "404": _problem(
            "The trackpointId is no positive integer.",
            "Not Found",
            404,
            "'abc' is no trackpoint; it is the shop's number, a positive integer.",
        ),
        "408": _problem("The body stopped coming.", "Request Timeout", 408, "No more of the body came for 60 seconds."),
        "413": _problem(
            "The body is over a limit.", "Request Entity Too Large", 413, "The lines are more than 1024 MiB."
        ),
        "415": _problem(
            "The Content-Encoding is unknown.",
            "Unsupported Media Type",
            415,
            "Content-Encoding 'br' cannot be read.",
        ),
        "429": _problem("Too many at a time; see Retry-After.", "Too Many Requests", 429, "The server is busy."),
        "503": _problem(
            "The store is unavailable; see Retry-After.",
            "Service Unavailable",
            503,
            "The database cannot be read.",
        ),
    }


def _export_answers() -> Answers:
    stream = OpenAPIMediaType(schema=LINES, examples={"events": Example(value=FLOW_LINE + ONE_OFF_LINE)})
    time = Schema(type=OpenAPIType.INTEGER)
    return {
        "200": OpenAPIResponse(
            description=(
                "The events, ascending by `date`, each once. With `Accept-Encoding: gzip` the same lines as one"
                " gzip member. If the connection ends without the last chunk, the export was cut: ask again."
            ),
            headers={
                "X-Export-From": OpenAPIHeader(schema=time, description="The start of the effective interval."),
                "X-Export-To": OpenAPIHeader(schema=time, description="The end of the effective interval."),
            },
            content={negotiate.JSON_SEQ: stream, negotiate.NDJSON: stream},
        ),
        "400": _problem(
            "The body is not what it should be.",
            "Bad Request",
            400,
            "The body is empty. Send {} for the last 90 days, or an object with `from` and `to`.",
        ),
        **_problems(),
    }


def _import_answers() -> Answers:
    counts = Schema(
        type=OpenAPIType.OBJECT,
        required=["received", "expired"],
        properties={
            "received": Schema(type=OpenAPIType.INTEGER, description="Lines that were received."),
            "expired": Schema(type=OpenAPIType.INTEGER, description="Those older than 90 days, which were dropped."),
        },
    )
    bad = [{"line": 3, "reason": "invalid enum value 'SENT' - at `$.smsEvent.status`"}]
    return {
        "200": OpenAPIResponse(
            description="The events are stored, on the disk. Sending them again changes nothing.",
            content={
                "application/json": OpenAPIMediaType(
                    schema=counts, examples={"counts": Example(value={"received": 1000, "expired": 2})}
                )
            },
        ),
        "400": _problem(
            "A line is no JSON, or the gzip stream is broken. Nothing was stored.",
            "Bad Request",
            400,
            "Nothing was stored. Line 2: not JSON: invalid character (byte 1).",
            errors=[{"line": 2, "reason": "not JSON: invalid character (byte 1)"}],
            more=False,
        ),
        "422": _problem(
            "A line is JSON but no valid event. Nothing was stored.",
            "Unprocessable Entity",
            422,
            "Nothing was stored. Line 3: invalid enum value 'SENT' - at `$.smsEvent.status`.",
            errors=bad,
            more=False,
        ),
        **_problems(),
    }


def _export() -> Operation:
    return Operation(
        operation_id="exportSmsEvents",
        tags=["Events"],
        summary="Export the events of a shop",
        description=(
            "The interval is closed, in Unix milliseconds. `from` alone: up to 90 days from there; `to` alone: the"
            " 90 days before it; `{}`: the last 90 days. Only the last 90 days exist. The Content-Type is ignored."
        ),
        parameters=[TRACKPOINT],
        request_body=RequestBody(
            required=True,
            content={
                "application/json": OpenAPIMediaType(
                    schema=INTERVAL,
                    examples={
                        "interval": Example(value={"from": 1673617501000, "to": 1676380261000}),
                        "last90days": Example(value={}),
                    },
                )
            },
        ),
        responses=_export_answers(),
    )


def _import() -> Operation:
    return Operation(
        operation_id="importSmsEvents",
        tags=["Events"],
        summary="Record events of a shop",
        description=(
            "Lines as the export writes them, in any valid JSON spelling, optionally with `Content-Encoding: gzip`."
            " All or nothing, and the answer comes only when the events are on the disk. Blank lines and CRLF are"
            " fine."
        ),
        parameters=[TRACKPOINT],
        request_body=RequestBody(
            required=True,
            content={
                negotiate.NDJSON: OpenAPIMediaType(
                    schema=LINES, examples={"events": Example(value=FLOW_LINE + ONE_OFF_LINE)}
                )
            },
        ),
        responses=_import_answers(),
    )


def description() -> dict[str, Any]:
    """Give the description as JSON values."""
    return OpenAPI(
        info=Info(
            title="smsevents",
            version=__version__,
            description="The self-hosted log of SMS delivery events, with one streaming export.",
        ),
        paths={
            "/shop/{trackpointId}/export-sms-events": PathItem(post=_export()),
            "/shop/{trackpointId}/import-sms-events": PathItem(post=_import()),
        },
        servers=[Server(url="/")],
        components=Components(
            security_schemes={"key": SecurityScheme(type="apiKey", name="X-Api-Key", security_scheme_in="header")}
        ),
        security=[{"key": []}],
    ).to_schema()

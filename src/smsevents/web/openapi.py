"""The OpenAPI description of the endpoints, with examples that work when they are read: their times are recent."""

from __future__ import annotations

from http import HTTPStatus
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
from smsevents.web import negotiate
from smsevents.web.problems import MEDIA_TYPE as PROBLEM
from smsevents.web.problems import title_of
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import DAY_MS, TEXT_MAX_CHARACTERS

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
KEY_DETAIL = "Send a valid API key in the header X-Api-Key; the operator of the server gives you one."


PROBLEM_SCHEMA = Schema(
    type=OpenAPIType.OBJECT,
    required=["type", "title", "status", "detail"],
    properties={
        "type": Schema(type=OpenAPIType.STRING, description="Always about:blank: the status says which."),
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


def _example_lines(now: int) -> str:
    """Give two lines of events of the day before `now` (Unix ms), as an export sends them."""
    date = now - DAY_MS
    return (
        f'{{"smsEvent":{{"trackpoint":4541245641234564,"userId":"123456","status":"DELIVERED","date":{date + 300}}},'
        '"source":{"type":"flow","campaign":{"id":"cd43","name":"Retention"},'
        f'"node":{{"id":"3241","name":"Retention VIP SMS"}},"sendDate":{date}}}}}\n'
        f'{{"smsEvent":{{"trackpoint":4541245641234564,"userId":"123456","status":"DELIVERED","date":{date + 500}}},'
        f'"source":{{"type":"one-off","campaign":{{"id":"b2c8","name":"Black Friday"}},"sendDate":{date}}}}}\n'
    )


RETRY_AFTER = OpenAPIHeader(schema=Schema(type=OpenAPIType.INTEGER), description="Seconds to wait.")


def _problem(status: HTTPStatus, when: str, detail: str, **more: Any) -> OpenAPIResponse:  # noqa: ANN401 -- JSON
    """Describe a problem: its status, when it comes, and an example of its `detail` and what else it holds."""
    value = {"type": "about:blank", "title": title_of(status), "status": status, "detail": detail, **more}
    retries = status in {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.INSUFFICIENT_STORAGE,
    }
    return OpenAPIResponse(
        description=when,
        headers={"Retry-After": RETRY_AFTER} if retries else None,
        content={PROBLEM: OpenAPIMediaType(schema=PROBLEM_SCHEMA, examples={"problem": Example(value=value)})},
    )


def _problems(scope: str) -> Answers:
    """Give the errors that both endpoints share."""
    return {
        "401": _problem(HTTPStatus.UNAUTHORIZED, "No key, or one that is unknown, revoked or expired.", KEY_DETAIL),
        "403": _problem(
            HTTPStatus.FORBIDDEN,
            f"The key is for another shop or lacks the scope `{scope}`.",
            "This key is not allowed to do that for this shop. Check the number of the shop in the path, and use a key"
            f" of this shop with the scope `{scope}`; the operator of the server gives you one.",
        ),
        "404": _problem(
            HTTPStatus.NOT_FOUND,
            "The trackpointId is not a positive integer.",
            "'abc' is not a trackpoint. A trackpoint is the number of a shop, a positive integer.",
        ),
        "405": _problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "The method is not allowed; see `Allow`.",
            "This path does not take GET; use POST, OPTIONS.",
        ),
        "408": _problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "The request body timed out.",
            "No data of the body arrived for 60 seconds. Nothing was done; send it again.",
        ),
        "413": _problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The body is over a limit.",
            "The lines are more than 1024 MiB. Send them in several imports.",
        ),
        "415": _problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The Content-Encoding is unknown.",
            "Content-Encoding 'br' cannot be read. Send the lines with gzip or as they are.",
        ),
        "429": _problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many concurrent requests.",
            "The server is busy with 256 exports already. Try again in a moment.",
        ),
        "500": _problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Stored bytes are damaged, or a defect.",
            "Segment 17 is damaged: its stored bytes do not match their checksum.",
        ),
        "503": _problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The store is unavailable.",
            "The database cannot be read: unable to open database file. Try again in a moment.",
        ),
        "507": _problem(
            HTTPStatus.INSUFFICIENT_STORAGE,
            "There is no room on the server's disk.",
            "There is no room left on the disk of the database. Nothing of this was stored; free some room and try"
            " again.",
        ),
    }


def _export_answers(now: int) -> Answers:
    stream = OpenAPIMediaType(schema=LINES, examples={"events": Example(value=_example_lines(now))})
    time = Schema(type=OpenAPIType.INTEGER)
    return {
        "200": OpenAPIResponse(
            description=(
                "The events, ascending by `date`, each once. With `Accept-Encoding: gzip` the same lines as one"
                " gzip member. If the connection ends without the last chunk, the export was truncated: ask again."
            ),
            headers={
                "X-Export-From": OpenAPIHeader(schema=time, description="The start of the effective interval."),
                "X-Export-To": OpenAPIHeader(schema=time, description="The end of the effective interval."),
                "X-Export-Warning": OpenAPIHeader(
                    schema=Schema(type=OpenAPIType.STRING),
                    description="Only if the interval ends before 2000 or begins after 2099: it says so.",
                ),
            },
            content={negotiate.JSON_SEQ: stream, negotiate.NDJSON: stream},
        ),
        "400": _problem(
            HTTPStatus.BAD_REQUEST,
            "The body is not what it should be.",
            "The body is empty. Send {} for the last 90 days, or an object with `from` and `to`.",
        ),
        **_problems("export"),
    }


def _import_answers() -> Answers:
    counts = Schema(
        type=OpenAPIType.OBJECT,
        required=["received", "expired"],
        properties={
            "received": Schema(type=OpenAPIType.INTEGER, description="Lines that were received."),
            "expired": Schema(type=OpenAPIType.INTEGER, description="Those older than 90 days, which were dropped."),
            "blocked": Schema(
                type=OpenAPIType.INTEGER,
                description="Those of users that are blocked, which were dropped; left out where there are none.",
            ),
        },
    )
    bad = [{"line": 3, "reason": "invalid enum value 'SENT' - at `$.smsEvent.status`"}]
    return {
        "200": OpenAPIResponse(
            description="The events are stored, on the disk. Sending them again changes nothing.",
            content={
                "application/json": OpenAPIMediaType(
                    schema=counts, examples={"counts": Example(value={"received": 1000, "expired": 2, "blocked": 1})}
                )
            },
        ),
        "400": _problem(
            HTTPStatus.BAD_REQUEST,
            "A line is not valid JSON, or the gzip stream is damaged. Nothing was stored.",
            "Nothing was stored. Line 2: not JSON: invalid character (byte 1).",
            errors=[{"line": 2, "reason": "not JSON: invalid character (byte 1)"}],
            more=False,
        ),
        "422": _problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "A line is JSON but no valid event. Nothing was stored.",
            "Nothing was stored. Line 3: invalid enum value 'SENT' - at `$.smsEvent.status`.",
            errors=bad,
            more=False,
        ),
        **_problems("import"),
    }


def _export(now: int) -> Operation:
    return Operation(
        operation_id="exportSmsEvents",
        tags=["Events"],
        summary="Export the events of a shop",
        description=(
            "The interval is closed, in Unix milliseconds. `from` alone: up to 90 days from there; `to` alone: the"
            " 90 days before it; `{}`: the last 90 days. Only the last 90 days exist. The Content-Type is ignored."
            " The key needs the scope `export`."
        ),
        parameters=[TRACKPOINT],
        request_body=RequestBody(
            required=True,
            content={
                "application/json": OpenAPIMediaType(
                    schema=INTERVAL,
                    examples={
                        "lastWeek": Example(value={"from": now - 7 * DAY_MS, "to": now}),
                        "last90days": Example(value={}),
                    },
                )
            },
        ),
        responses=_export_answers(now),
    )


def _import(now: int) -> Operation:
    return Operation(
        operation_id="importSmsEvents",
        tags=["Events"],
        summary="Record events of a shop",
        description=(
            "Lines as the export writes them, in any valid JSON spelling, optionally with `Content-Encoding: gzip`."
            " All or nothing, and the answer comes only when the events are on the disk. Blank lines and CRLF are"
            " fine. The key needs the scope `import`."
        ),
        parameters=[TRACKPOINT],
        request_body=RequestBody(
            required=True,
            content={
                negotiate.NDJSON: OpenAPIMediaType(
                    schema=LINES, examples={"events": Example(value=_example_lines(now))}
                )
            },
        ),
        responses=_import_answers(),
    )


def _forget() -> Operation:
    counts = Schema(
        type=OpenAPIType.OBJECT,
        required=["events", "segments", "wiped", "quarantined"],
        properties={
            "events": Schema(type=OpenAPIType.INTEGER, description="Events that were removed."),
            "segments": Schema(type=OpenAPIType.INTEGER, description="Segments that were rewritten."),
            "wiped": Schema(
                type=OpenAPIType.BOOLEAN, description="Whether no copy is left in the database's files either."
            ),
            "not_wiped": Schema(type=OpenAPIType.STRING, description="Why it is not wiped yet, where it is not."),
            "quarantined": Schema(type=OpenAPIType.INTEGER, description="Damaged segments, not looked into."),
        },
    )
    problems = _problems("admin")
    return Operation(
        operation_id="forgetUser",
        tags=["Users"],
        summary="Erase every event of a user",
        description="With `block=true` no further events of the user are recorded. The key needs the scope `admin`.",
        parameters=[
            TRACKPOINT,
            Parameter(
                name="userId",
                param_in="path",
                required=True,
                description="The `userId` of the events, percent-encoded.",
                schema=Schema(type=OpenAPIType.STRING, min_length=1, max_length=TEXT_MAX_CHARACTERS),
                examples={"user": Example(value="123456")},
            ),
            Parameter(
                name="block",
                param_in="query",
                required=False,
                description="Record no events of this user from now on.",
                schema=Schema(type=OpenAPIType.BOOLEAN, default=False),
            ),
        ],
        responses={
            "200": OpenAPIResponse(
                description="The events are gone, from the disk too.",
                content={
                    "application/json": OpenAPIMediaType(
                        schema=counts,
                        examples={
                            "counts": Example(value={"events": 17, "segments": 9, "wiped": True, "quarantined": 0})
                        },
                    )
                },
            ),
            "400": _problem(
                HTTPStatus.BAD_REQUEST,
                "The user id is empty or too long, or `block` is not a boolean.",
                "`block` is true or false; leave it out for false.",
            ),
            **{status: problems[status] for status in ("401", "403", "404", "405", "429", "500", "503", "507")},
        },
    )


def description(now: int) -> dict[str, Any]:
    """Give the description as JSON values; its examples are of the day of `now` (Unix ms), the same all day."""
    now -= now % DAY_MS
    return OpenAPI(
        info=Info(
            title="smsevents",
            version=__version__,
            description="The self-hosted log of SMS delivery events, with one streaming export.",
        ),
        paths={
            "/shop/{trackpointId}/export-sms-events": PathItem(post=_export(now)),
            "/shop/{trackpointId}/import-sms-events": PathItem(post=_import(now)),
            "/shop/{trackpointId}/users/{userId}": PathItem(delete=_forget()),
        },
        servers=[Server(url=".")],  # relative to where the description is, also under a prefix
        components=Components(
            security_schemes={
                "key": SecurityScheme(
                    type="apiKey",
                    name="X-Api-Key",
                    security_scheme_in="header",
                    description="A key of the shop, with the scope that the call needs: `export`, `import` or `admin`.",
                )
            }
        ),
        security=[{"key": []}],
    ).to_schema()

"""`POST /shop/{trackpointId}/sent-sms`: the register of sent messages, where receipts find the user and the source."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from litestar import Request, post

from smsevents.errors import InvalidRequest, UnknownShop, UnsupportedEncoding
from smsevents.receipts.register import Registration, SentSms
from smsevents.web import negotiate, query
from smsevents.web.auth import authorized_shop
from smsevents.web.body import stream
from smsevents.web.describe import TRACKPOINT, WITH_BODY, json_response, problem, problems, schema_of
from smsevents.web.problems import INVALID_LINES, STATUSES
from smsevents.wire.limits import DAY_MS
from smsevents.wire.results import SentResult

if TYPE_CHECKING:
    from smsevents.web.state import AppState

SENT_BODY_MAX_BYTES = 8 * 1024 * 1024  # about 30,000 messages
_TOO_LARGE = f"The body of sent messages is at most {SENT_BODY_MAX_BYTES // 1024**2} MiB. Send them in several calls."


@post("/shop/{trackpointId:str}/sent-sms", status_code=200)
async def register_sent_sms(request: Request[Any, Any, Any]) -> SentResult:
    """Register sent messages, and record the receipts that waited for them. All is durable before the response."""
    app: AppState = request.app.state.app
    trackpoint = await authorized_shop(request, app, request.path_params["trackpointId"], "import")
    query.refuse_others(request.query_params, set())
    if negotiate.codings(request):
        raise UnsupportedEncoding("Send the lines of sent messages without Content-Encoding.", supported="identity")
    with app.imports.limit.enter(trackpoint):
        body = b"".join([part async for part in stream(request, SENT_BODY_MAX_BYTES, app.settings, _TOO_LARGE)])
        registration = await app.imports.threads.run(
            trackpoint, lambda: Registration(app.register, trackpoint, body, app.timekeeper.judge())
        )
        while (part := registration.store_some()) is not None:
            registration.stored(await asyncio.wrap_future(part))
        return registration.result


def operation(now: int) -> dict[str, Any]:
    """Describe the operation for OpenAPI, with examples of the day of `now` (Unix ms)."""
    not_json = "not JSON: JSON is malformed: invalid character (byte 1)"
    bad_line = "name either `receiver` or `gateway`"
    line = (
        '{"gateway":"kannel","messageId":"1a2b3c00","userId":"123456","source":{"type":"one-off",'
        f'"campaign":{{"id":"b2c8","name":"Black Friday"}},"sendDate":{now - DAY_MS}}}}}\n'
    )
    schema = {"type": "string", "description": "One JSON object per line.", "x-line": schema_of(SentSms)}
    return {
        "operationId": "registerSentSms",
        "tags": ["Receipts"],
        "summary": "Register sent messages",
        "description": (
            "One line for each message that was sent, for gateways that do not return a reference with their receipts."
            " Receipts that came earlier have waited, and are recorded now. Registered messages are kept for a week,"
            " unless the operator has set another time."
            " The key needs the scope `import`."
        ),
        "parameters": [TRACKPOINT],
        "requestBody": {
            "required": True,
            "content": {negotiate.NDJSON: {"schema": schema, "examples": {"messages": {"value": line}}}},
        },
        "responses": {
            "200": json_response(
                "The messages are registered, on the disk. Sending them again changes nothing.",
                SentResult,
                SentResult(received=1000, matched=3, blocked=1),
            ),
            **problems("import", [*WITH_BODY, UnknownShop]),
            "400": problem(
                STATUSES[InvalidRequest],
                when="A line is not valid JSON. Nothing was stored.",
                detail=f"Nothing was stored. Line 2: {not_json}.",
                errors=[{"line": 2, "reason": not_json}],
                more=False,
            ),
            "422": problem(INVALID_LINES, errors=[{"line": 3, "reason": bad_line}], more=False),
        },
    }

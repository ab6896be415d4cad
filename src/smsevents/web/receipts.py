"""`/receipts/{token}` and `/receipts/{token}/{ref}`: delivery receipts, as gateways send them.

    token → fields → the gateway's receipts → recorder (message, time, event, commit) → the gateway's "done"

A gateway repeats what it does not regard as done, some of them for days. So only what a repetition can help gets an
error: a store that is away, a clock in doubt, a body that did not arrive. Everything else gets the response for "done",
also if nothing was recorded: the counters and the log say what and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from litestar import HttpMethod, Request, route
from litestar.types import ASGIApp

from smsevents.errors import BadSignature, UnknownReceiver
from smsevents.receipts.call import read_call, read_receipts
from smsevents.receipts.gateways import gateway_of
from smsevents.receipts.receipt import OTHER, NotAReceipt, shown
from smsevents.receipts.receivers import NO_RECEIVER
from smsevents.receipts.recording import Outcome, prepare
from smsevents.receipts.signatures import SignedCall, readable_query, signed_gateway
from smsevents.receipts.times import zone_of
from smsevents.web import negotiate, receipt_metrics
from smsevents.web.body import whole
from smsevents.web.request_info import info_of

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

    from smsevents.catalog.receivers import Receiver
    from smsevents.receipts.receipt import DeliveryReceipt, Gateway
    from smsevents.web.state import AppState

RECEIPT_BODY_MAX_BYTES = 256 * 1024
_TOO_LARGE = f"The body of delivery receipts is at most {RECEIPT_BODY_MAX_BYTES // 1024} KiB. Send fewer at a time."

BAD_SIGNATURE = (
    "The signature of this call is missing or not valid. Check the secret of the receiver, and SMSEVENTS_PUBLIC_URL,"
    " which is part of what some gateways sign."
)

logger = structlog.get_logger()


@route(
    ["/receipts/{token:str}", "/receipts/{token:str}/{ref:str}"],
    http_method=[HttpMethod.GET, HttpMethod.POST],
    status_code=200,
)
async def take_receipts(request: Request[Any, Any, Any]) -> ASGIApp:
    """Record the delivery receipts of a call. The response is sent once they are durable."""
    app: AppState = request.app.state.app
    receiver = await _receiver_of(request, app)
    gateway = gateway_of(receiver.gateway, receiver.mapping)
    body = await whole(request, RECEIPT_BODY_MAX_BYTES, app.settings, _TOO_LARGE)
    _verify(request, receiver, gateway, body, app.settings.public_url)
    try:
        receipts, refused = _read(request, receiver, gateway, body)
    except NotAReceipt as error:
        receipts, refused = [], [error]
    if refused:
        receipt_metrics.count(receiver.id, [Outcome.UNREADABLE] * len(refused))
        logger.warning("receipt not readable", receiver_id=receiver.id, gateway=gateway.name, reason=str(refused[0]))
    await _record(request, app, receiver, gateway, receipts)
    return _done(gateway.done)


async def _receiver_of(request: Request[Any, Any, Any], app: AppState) -> Receiver:
    """Return the receiver that the address names. Raises `UnknownReceiver` or `StoreUnavailable`.

    Wrong tokens of one client are looked up one after the other, by a thread that valid ones need only rarely.
    """
    token = request.path_params["token"]
    info = info_of(request.scope)
    receiver = app.receivers.recognize_remembered(token)
    if receiver is None:
        receiver = await app.doors.run(info.client, lambda: app.receivers.recognize(token))
    if receiver is None:
        app.wrong_tokens.count(info.client)
        raise UnknownReceiver(NO_RECEIVER)
    info.receiver_id, info.trackpoint = receiver.id, receiver.trackpoint
    return receiver


def _verify(
    request: Request[Any, Any, Any], receiver: Receiver, gateway: Gateway, body: bytes, public_url: str
) -> None:
    """Check the signature of a gateway that signs its calls. Raises `BadSignature`."""
    signed = signed_gateway(gateway)
    if signed is None:
        return
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"]
    host = negotiate.joined(request, b"host")
    bases = [public_url.rstrip("/")] if public_url else [f"https://{host}", f"http://{host}"]
    target = path + (f"?{query.decode('latin-1')}" if query else "")
    call = SignedCall(
        urls=[base + target for base in bases],
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]},
        query=query,
        body=body,
        content_type=negotiate.joined(request, b"content-type"),
    )
    if not signed.verify(call, receiver.secret or b""):
        receipt_metrics.count(receiver.id, [Outcome.BAD_SIGNATURE])
        raise BadSignature(BAD_SIGNATURE)


def _read(
    request: Request[Any, Any, Any], receiver: Receiver, gateway: Gateway, body: bytes
) -> tuple[list[DeliveryReceipt], list[NotAReceipt]]:
    if negotiate.codings(request):
        raise NotAReceipt("the body has a Content-Encoding")
    content_type = negotiate.joined(request, b"content-type")
    calls = read_call(readable_query(gateway, request.scope["query_string"]), body, content_type)
    return read_receipts(gateway, calls, zone_of(receiver.zone))


async def _record(
    request: Request[Any, Any, Any],
    app: AppState,
    receiver: Receiver,
    gateway: Gateway,
    receipts: list[DeliveryReceipt],
) -> None:
    judgement = app.small_imports.judged()
    if judgement is None:
        judgement = await app.imports.threads.run(receiver.trackpoint, app.timekeeper.judge)
    app.timekeeper.witness(max((one.time.first_ms for one in receipts if one.time), default=None))
    arrival = prepare(receiver, receipts, request.path_params.get("ref"), judgement)
    if arrival.items:
        outcome = app.outcomes.new()
        app.receipts.record(receiver.trackpoint, arrival, outcome)
        await outcome
    receipt_metrics.count(receiver.id, arrival.all_outcomes)
    _tell_lost(receiver, gateway, receipts, arrival.all_outcomes)


def _tell_lost(receiver: Receiver, gateway: Gateway, receipts: list[DeliveryReceipt], outcomes: list[Outcome]) -> None:
    """Count the values that are not recorded, and log what needs an operator."""
    for receipt in receipts:
        if receipt.status is None:
            is_known = receipt.value in gateway.statuses
            receipt_metrics.not_recorded.labels(gateway.name, receipt.value if is_known else OTHER).inc()
            if not is_known:
                logger.warning(
                    "receipt with an undocumented status",
                    receiver_id=receiver.id,
                    gateway=gateway.name,
                    status=shown(receipt.value),
                )
    for outcome in {Outcome.BAD_REFERENCE, Outcome.NO_MESSAGE, Outcome.IMPOSSIBLE} & {*outcomes}:
        logger.warning("receipt not recorded", receiver_id=receiver.id, gateway=gateway.name, reason=outcome.value)


def _done(body: bytes) -> ASGIApp:
    """Return the response that the gateway takes for "done". It is never 201 or 204: some gateways repeat then."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]

    async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return respond

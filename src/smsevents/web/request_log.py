"""Counting and logging every request, whatever its outcome, around the complete application."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from litestar.enums import ScopeType

from smsevents.accounts.access import parse_trackpoint
from smsevents.web import metrics, tenant_metrics
from smsevents.web.request_info import begin_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar import Litestar
    from litestar.types import HTTPScope, Receive, Scope, Send

    from smsevents.networks import Network
    from smsevents.web.request_info import RequestInfo

logger = structlog.get_logger()

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_OFTEN_ASKED = {"/health/live", "/health/ready", "/metrics"}  # by monitors, at short intervals


class RequestLog:
    """ASGI middleware that counts and logs requests. Keys, bodies and user ids are never logged."""

    def __init__(self, app: Litestar, trusted_proxies: Sequence[Network] = ()) -> None:
        """Wrap `app`. Requests from trusted proxies may state their client's address and their id."""
        self._app = app
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        info = begin_info(scope, self._trusted_proxies)
        structlog.contextvars.bind_contextvars(request_id=info.request_id)
        started = time.perf_counter()
        status = 0
        sent = 0

        async def watch(message: Any) -> None:  # noqa: ANN401 -- an ASGI message
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", info.request_id.encode())]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            info.reason = info.reason or "shutdown"
            raise
        finally:
            _tell(scope, info, status, sent + info.direct_bytes, time.perf_counter() - started)


def _tell(scope: HTTPScope, info: RequestInfo, status: int, sent: int, seconds: float) -> None:
    """Count and log a request that has ended."""
    # the route, not the path: clients must not be able to add label values
    route = route_of(scope)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    metrics.requests_of(route, method, str(status)).inc()
    if info.trackpoint is not None:
        tenant_metrics.requests_of_shop(tenant_metrics.shop_label(info.trackpoint), str(status)).inc()
    if status >= HTTPStatus.BAD_REQUEST and info.reason:
        tenant_metrics.refused.labels(info.reason).inc()
    quiet = route in _OFTEN_ASKED and HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST
    (logger.debug if quiet else logger.info)(
        "request",
        method=method,
        path=shown_path(scope),
        status=status,
        sent_bytes=sent,
        seconds=round(seconds, 6),
        client=info.client,
        **{
            name: value
            for name, value in (
                ("key_id", info.key_id),
                ("receiver_id", info.receiver_id),
                ("reason", info.reason),
                ("detail", info.detail),
            )
            if value is not None
        },
    )


def route_of(scope: Scope) -> str:
    """Return the path template of a request's route, or `other` for an unknown path."""
    return str(scope.get("path_template") or "other")


def shown_path(scope: Scope) -> str:
    """Return the path of a request for the log: with the shop's trackpoint, but never with a user's id."""
    given = str(scope.get("path_params", {}).get("trackpointId", ""))
    trackpoint = parse_trackpoint(given)  # any other value may be a user's id in the wrong place
    route = route_of(scope)
    return route if trackpoint is None else route.replace("{trackpointId}", str(trackpoint))

"""Counting and logging every request, whatever it met, around the whole application."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from litestar.enums import ScopeType

from smsevents.web import metrics

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import Receive, Scope, Send

logger = structlog.get_logger()

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Requests:
    """An ASGI application that counts and logs what the one inside does. Keys and bodies are never logged."""

    def __init__(self, app: Litestar) -> None:
        """Go around `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        sent = 0

        async def watch(message: Any) -> None:  # noqa: ANN401 -- an ASGI message
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            # the route, not the path: the number of label values must not grow with what clients send
            route = route_of(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.requests.labels(route, method, str(status)).inc()
            logger.info(
                "request",
                method=method,
                path=shown_path(scope),
                status=status,
                sent_bytes=sent,
                seconds=round(time.perf_counter() - started, 6),
            )


def route_of(scope: Scope) -> str:
    """Tell which route a request took: its template, or `other` for an unknown path."""
    return str(scope.get("path_template") or "other")


def shown_path(scope: Scope) -> str:
    """Give the path of a request for the log: with the shop's number, but never with a user's id."""
    trackpoint = scope.get("path_params", {}).get("trackpointId", "")
    return route_of(scope).replace("{trackpointId}", str(trackpoint))

"""`/docs`: the API reference for people. Its files are part of the package, so it works without a network.

All addresses are relative, so that the pages work under any prefix that a proxy strips: https://host/sms/docs. HEAD
works wherever GET does (RFC 9110, section 9.1), because monitors and link checkers use it.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response, route

from smsevents.clock.system import now_ms
from smsevents.web.openapi import description
from smsevents.wire.limits import DAY_MS

METHODS = [HttpMethod.GET, HttpMethod.HEAD]
STATIC = Path(__file__).parent / "static"
# People type a key into the page, so the browser must not submit any form itself and no other page may frame it.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def _file(name: str) -> bytes:
    return (STATIC / name).read_bytes()


def _page(name: str, media_type: str) -> Response[bytes]:
    return Response(
        _file(name),
        headers={
            "Content-Type": media_type,
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
        },
    )


@route("/docs", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the page; redirect from `/docs/`, where its relative addresses would be wrong."""
    if request.scope["raw_path"].endswith(b"/"):
        return _elsewhere("../docs")
    return _page("docs.html", "text/html; charset=utf-8")


@route("/openapi.json", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def openapi_json() -> Response[bytes]:
    """Return the OpenAPI description as JSON."""
    return Response(_described(now_ms() // DAY_MS), media_type="application/json")


@lru_cache(maxsize=1)
def _described(day: int) -> bytes:
    """Build the description of a day, counted from 1970, and cache it. Its examples are of that day.

    Building it takes tens of milliseconds, and any client may request it without a key.
    """
    return msgspec.json.encode(description(day * DAY_MS))


@route("/docs/docs.js", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def script() -> Response[bytes]:
    """Return the script that fills the page from /openapi.json."""
    return _page("docs.js", "text/javascript; charset=utf-8")


@route("/docs/docs.css", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def style() -> Response[bytes]:
    """Return the style sheet of the page."""
    return _page("docs.css", "text/css; charset=utf-8")


def _elsewhere(address: str) -> Response[bytes]:
    text = f"The API is described at {address}\n".encode()
    return Response(text, status_code=302, media_type="text/plain", headers={"Location": address})


docs_routes = [page, script, style, openapi_json]

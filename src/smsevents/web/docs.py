"""`/docs`: the API for people, from files of the package, so that it works without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Response, get

from smsevents.clock import now_ms
from smsevents.web.openapi import description

STATIC = Path(__file__).parent / "static"
# People type a key into the page: no form may be sent by the browser itself, and no other page may frame it.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _page(name: str, media_type: str) -> Response[bytes]:
    return Response(
        (STATIC / name).read_bytes(),
        headers={
            "Content-Type": media_type,
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
        },
    )


@get("/docs", sync_to_thread=False, include_in_schema=False)
def page() -> Response[bytes]:
    """Give the page."""
    return _page("docs.html", "text/html; charset=utf-8")


@get("/openapi.json", sync_to_thread=False, include_in_schema=False)
def openapi_json() -> dict[str, Any]:
    """Give the OpenAPI description."""
    return description(now_ms())


@get("/docs/docs.js", sync_to_thread=False, include_in_schema=False)
def script() -> Response[bytes]:
    """Give the script that fills the page from /openapi.json."""
    return _page("docs.js", "text/javascript; charset=utf-8")


@get("/docs/docs.css", sync_to_thread=False, include_in_schema=False)
def style() -> Response[bytes]:
    """Give the style of the page."""
    return _page("docs.css", "text/css; charset=utf-8")


docs_routes = [page, script, style, openapi_json]

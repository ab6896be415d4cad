"""`/docs`: the API for people, in English and Czech: its reference, and a form that runs an export.

The page is made here, of docs/api.md, so it can be read without scripts and without a network. All addresses are
relative, so that it works under any prefix that a proxy strips: https://host/sms/docs.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import msgspec
from litestar import Request, Response, route

from smsevents import __version__
from smsevents.clock.system import now_ms
from smsevents.web.negotiate import joined, preferred_language
from smsevents.web.openapi import description
from smsevents.web.page import versioned
from smsevents.web.reference import PAGES, reference
from smsevents.web.static_files import METHODS, STATIC, File, file_of, sent
from smsevents.wire.limits import DAY_MS

# People type a key into the page, so the browser must not submit any form itself and no other page may frame it.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def pages() -> dict[str, File]:
    """Return the page by its language."""
    return {language: _page(language) for language in PAGES}


def _page(language: str) -> File:
    text = (STATIC / "docs" / f"{language}.html").read_text("utf-8")
    parts = {"version": __version__, **reference(language)._asdict()}
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part)
    return file_of(versioned(text).encode(), ".html")


@route("/docs", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def page(request: Request[Any, Any, Any]) -> Response[bytes | None] | Response[bytes]:
    """Return the page; redirect from `/docs/`, where its relative addresses would be wrong.

    The language is the `lang` of the address, else the one that the browser prefers.
    """
    if request.scope["raw_path"].endswith(b"/"):
        return _elsewhere("../docs")
    asked = request.query_params.get("lang")
    language = asked if asked in PAGES else preferred_language(joined(request, b"accept-language"))
    return sent(request, pages()[language], POLICY, vary="Accept-Encoding, Accept-Language")


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


def _elsewhere(address: str) -> Response[bytes]:
    text = f"The API is described at {address}\n".encode()
    return Response(text, status_code=302, media_type="text/plain", headers={"Location": address})


docs_routes = [page, openapi_json]

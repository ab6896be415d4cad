"""`/`: the page for people, and its files. They are public; the page fetches the numbers by the session's cookie.

All addresses are relative, so the page works under any prefix that a proxy strips. A browser asks each time whether its
copy of a file is current, except for the vendored files, whose names have their version.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from litestar import Request, Response, route

from smsevents.errors import NoSuchPath
from smsevents.web.docs import METHODS, STATIC
from smsevents.web.negotiate import joined

if TYPE_CHECKING:
    from pathlib import Path

PAGE = STATIC / "page"
VENDOR = STATIC / "vendor"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_CURRENT = "no-cache"
_UNCHANGING = "public, max-age=31536000, immutable"


class File(NamedTuple):
    """A file as it is sent."""

    content: bytes
    media_type: str
    etag: str
    caching: str


@cache
def files() -> dict[str, File]:
    """Return every file of the page, by its path below `/page/`. A path that is not in here is not served."""
    found = {path.relative_to(PAGE).as_posix(): _file(path, _CURRENT) for path in PAGE.rglob("*.*")}
    for path in VENDOR.rglob("*.*"):
        caching = _UNCHANGING if path.suffix == ".js" else _CURRENT
        found[f"vendor/{path.relative_to(VENDOR).as_posix()}"] = _file(path, caching)
    return found


def _file(path: Path, caching: str) -> File:
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    return File(content, MEDIA_TYPES[path.suffix], etag, caching)


@route("/", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def front(request: Request[Any, Any, Any]) -> Response[bytes | None]:
    """Return the page."""
    return _sent(request, files()["index.html"])


@route("/page/{name:path}", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def page_file(request: Request[Any, Any, Any], name: str) -> Response[bytes | None]:
    """Return a file of the page."""
    found = files().get(name.removeprefix("/"))
    if found is None:
        raise NoSuchPath("There is nothing under this path; the page is at / and the API at /docs.")
    return _sent(request, found)


def _sent(request: Request[Any, Any, Any], file: File) -> Response[bytes | None]:
    headers = {
        "ETag": file.etag,
        "Cache-Control": file.caching,
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if file.etag in joined(request, b"if-none-match"):
        return Response(None, status_code=304, headers=headers)
    return Response(file.content, headers=headers | {"Content-Type": file.media_type})


page_routes = [front, page_file]

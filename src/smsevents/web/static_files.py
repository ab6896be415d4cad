"""Files as a browser gets them: compressed once, with a tag that saves sending them again."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from litestar import HttpMethod, Response

from smsevents.web.negotiate import joined, wants_gzip

if TYPE_CHECKING:
    from litestar import Request

STATIC = Path(__file__).parent / "static"
# HEAD works wherever GET does (RFC 9110, section 9.1): monitors and link checkers use it.
METHODS = [HttpMethod.GET, HttpMethod.HEAD]
CURRENT = "no-cache"  # a browser keeps its copy, and asks each time whether it is current
UNCHANGING = "public, max-age=31536000, immutable"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_GZIP_LEVEL = 9  # each file is compressed once in the life of a process


class File(NamedTuple):
    """A file as it is sent. `tag` is the digest of its content, without the quotes of an ETag."""

    content: bytes
    compressed: bytes
    media_type: str
    tag: str


def file_of(content: bytes, suffix: str) -> File:
    """Return a file with this content. `suffix` is the end of its name, such as `.js`."""
    tag = hashlib.sha256(content).hexdigest()[:20]
    return File(content, gzip.compress(content, _GZIP_LEVEL, mtime=0), MEDIA_TYPES[suffix], tag)


def read_file(path: Path) -> File:
    """Read a file of the package."""
    return file_of(path.read_bytes(), path.suffix)


def sent(
    request: Request[Any, Any, Any], file: File, policy: str, caching: str = CURRENT, vary: str = "Accept-Encoding"
) -> Response[bytes | None]:
    """Return the response with a file, or 304 if the browser has it. `policy` is its Content-Security-Policy."""
    is_gzip = wants_gzip(joined(request, b"accept-encoding"))
    etag = f'"{file.tag}-gzip"' if is_gzip else f'"{file.tag}"'  # each form has its own (RFC 9110, section 8.8.3.3)
    headers = {
        "ETag": etag,
        "Cache-Control": caching,
        "Vary": vary,
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if etag in joined(request, b"if-none-match"):
        return Response(None, status_code=304, headers=headers)
    headers["Content-Type"] = file.media_type
    if is_gzip:
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"})
    return Response(file.content, headers=headers)

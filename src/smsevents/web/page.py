"""`/`: the page for people, and its files. They are public; the page fetches the numbers by the session's cookie.

All addresses are relative, so the page works under any prefix that a proxy strips. The page names its files by their
version, which is the digest of all of them. So a browser keeps them and never asks again, and it gets those of one
version together. It needs few files and requests all of them at once. A small script in the page itself requests the
numbers at the same time: a signed-in person has the first numbers with the second round trip, the first of which is the
page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from litestar import Request, Response, route
from litestar.datastructures import State

from smsevents.clock.system import now_ms
from smsevents.errors import NoSuchPath, SmsEventsError
from smsevents.web.bundle import VENDORED, bundle, modules_of
from smsevents.web.session import session_info
from smsevents.web.session_cookie import session_id_of
from smsevents.web.static_files import CURRENT, METHODS, STATIC, UNCHANGING, File, file_of, read_file, sent

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.web.session import SessionInfo
    from smsevents.web.state import AppState

PAGE = STATIC / "page"
VENDOR = STATIC / "vendor"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
BUNDLES = {"bundle/page.js": "app.js", "bundle/docs.js": "docs/docs.js"}
STYLES = {
    "bundle/page.css": [f"styles/{name}.css" for name in ("tokens", "base", "layout", "panels", "charts", "print")],
    "bundle/docs.css": ["styles/tokens.css", "styles/base.css", "docs/docs.css"],
}
_VERSION_CHARACTERS = 12
_NOBODY = '<script type="application/json" id="session">null</script>'
_PRIVATE = "private, no-store"


@cache
def sources() -> dict[str, Path]:
    """Return the files that the pages are made of, by their path below `/page/`."""
    found = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*.*")}
    return found | {f"{VENDORED}{path.relative_to(VENDOR).as_posix()}": path for path in VENDOR.rglob("*.*")}


@cache
def files() -> dict[str, File]:
    """Return every file of the pages, by its path below `/page/`. A path that is not in here is not served.

    A browser loads the bundles; what they are made of can be read, too.
    """
    texts = _texts()
    found = {name: read_file(path) for name, path in sources().items()}
    found |= {name: file_of(bundle(script, texts).encode(), ".js") for name, script in BUNDLES.items()}
    return found | {
        name: file_of("\n".join(texts[one] for one in parts).encode(), ".css") for name, parts in STYLES.items()
    }


def _texts() -> dict[str, str]:
    return {name: path.read_text("utf-8") for name, path in sources().items()}


@cache
def version() -> str:
    """Return the version of the files: another one for other files."""
    tags = "".join(f"{name} {file.tag}\n" for name, file in sorted(files().items()))
    return hashlib.sha256(tags.encode()).hexdigest()[:_VERSION_CHARACTERS]


def versioned(text: str) -> str:
    """Return a page that names its files by their version, and lists the vendored ones that its script imports."""
    for name, script in BUNDLES.items():
        if f'"page/{name}"' in text:
            vendored = [one for one in modules_of(script, _texts()) if one.startswith(VENDORED)]
            listed = "".join(f'  <link rel="modulepreload" href="page/{one}">\n' for one in vendored)
            text = text.replace("</head>", f"{listed}</head>")
    return re.sub(r'(href|src)="page/', rf'\1="page/{version()}/', text)


class _Index(NamedTuple):
    """The page, whose policy allows the script in it, by its digest, and no other."""

    text: str
    policy: str
    for_nobody: File


@cache
def _index() -> _Index:
    early = f"{{\n{bundle('early.js', _texts())}}}"  # a block, so that it adds no names to the page
    digest = base64.b64encode(hashlib.sha256(early.encode()).digest()).decode()
    text = versioned(sources()["index.html"].read_text("utf-8")).replace("<!-- early -->", early)
    policy = POLICY.replace("script-src 'self'", f"script-src 'self' 'sha256-{digest}'")
    return _Index(text, policy, file_of(text.encode(), ".html"))


@route("/", http_method=METHODS, include_in_schema=False)
async def front(request: Request[Any, Any, Any], state: State) -> Response[bytes | None]:
    """Return the page. It says who is signed in, so that it need not ask."""
    index = _index()
    info = await _session(request, state.app)
    if info is None:
        return sent(request, index.for_nobody, index.policy, vary="Accept-Encoding, Cookie")
    about = msgspec.to_builtins(info) | {"now": now_ms()}
    told = msgspec.json.encode(about).decode().replace("<", "\\u003c")  # never the end of the script
    text = index.text.replace(_NOBODY, _NOBODY.replace("null", told))
    return sent(request, file_of(text.encode(), ".html"), index.policy, _PRIVATE, vary="Accept-Encoding, Cookie")


async def _session(request: Request[Any, Any, Any], app: AppState) -> SessionInfo | None:
    """Return who is signed in. If that cannot be found out, the page asks itself, and shows what the server says."""
    session_id = session_id_of(request, app.settings)
    if session_id is None:
        return None
    try:
        return await session_info(request, app, session_id)
    except SmsEventsError:
        return None


@route("/page/{name:path}", http_method=METHODS, sync_to_thread=False, include_in_schema=False)
def page_file(request: Request[Any, Any, Any], name: str) -> Response[bytes | None]:
    """Return a file of the pages, with or without the version in front of its name.

    Another version is the one of another server, while they are upgraded: it gets what there is, and does not keep it.
    """
    name = name.removeprefix("/")
    asked, _, rest = name.partition("/")
    found = files().get(name)
    if found is None and re.fullmatch(rf"[0-9a-f]{{{_VERSION_CHARACTERS}}}", asked):
        found = files().get(rest)
    if found is None:
        raise NoSuchPath("There is nothing under this path; the page is at / and the API at /docs.")
    return sent(request, found, POLICY, UNCHANGING if asked == version() else CURRENT)


page_routes = [front, page_file]

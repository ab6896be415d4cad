"""The cookie of a session: its name and flags, and which requests may use it.

A browser sends the cookie by itself, also when another site causes the request. So a request that changes something, or
that is not a GET, must come from our own page: it has the header X-Smsevents, which other sites cannot send, and the
browser says that it has the same origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smsevents.accounts.sessions import SESSION_MAX_HOURS
from smsevents.errors import Forbidden
from smsevents.web.negotiate import joined, values_of
from smsevents.web.request_info import info_of

if TYPE_CHECKING:
    from litestar import Request

    from smsevents.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD"})
OWN_HEADER = "X-Smsevents"
_NAME = "smsevents"
_SECURE_NAME = "__Host-smsevents"  # a browser takes this name only over https, and from this host alone
_ID_MAX_CHARACTERS = 128


def session_id_of(request: Request[Any, Any, Any], settings: Settings) -> str | None:
    """Return the id in the cookie, or None. Over https, only the cookie that no other host can set counts."""
    name = _SECURE_NAME if is_secure(request, settings) else _NAME
    for part in joined(request, b"cookie").replace(",", ";").split(";"):
        found, _, value = part.strip().partition("=")
        if found == name and 0 < len(value) <= _ID_MAX_CHARACTERS:
            return value
    return None


def set_cookie(request: Request[Any, Any, Any], settings: Settings, session_id: str | None) -> str:
    """Return the value of Set-Cookie for a session; None removes the cookie."""
    secure = is_secure(request, settings)
    lifetime = SESSION_MAX_HOURS * 3600 if session_id else 0
    return (
        f"{_SECURE_NAME if secure else _NAME}={session_id or ''}; Path=/; Max-Age={lifetime}; HttpOnly;"
        f" SameSite=Strict{'; Secure' if secure else ''}"
    )


def is_secure(request: Request[Any, Any, Any], settings: Settings) -> bool:
    """Return whether people reach the server over https, by the setting or by a trusted proxy."""
    return settings.public_url.lower().startswith("https:") or info_of(request.scope).forwarded_https


def refuse_other_sites(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Refuse a request that a page of another site caused. Raises `Forbidden`.

    Browsers say where a request comes from: in Sec-Fetch-Site, older ones in Origin alone. Other programs send neither.
    """
    fetch_site = joined(request, b"sec-fetch-site")
    if fetch_site:
        allowed = fetch_site == "same-origin"
    else:
        origins = values_of(request, b"origin")
        own = {joined(request, b"host").lower(), urlsplit(settings.public_url).netloc.lower()} - {""}
        allowed = all(_host_of(origin) in own for origin in origins)
    if not allowed:
        raise Forbidden(
            "The request comes from a page of another site, which may not use a session of this one. Open the page of"
            " this server itself. If it is behind a proxy, the proxy must pass on the header Host, or the operator"
            " sets SMSEVENTS_PUBLIC_URL."
        )


def _host_of(origin: str) -> str:
    """Return the host and port of an origin, or an empty text if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def require_own_page(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Refuse a request with a cookie that does not come from our own page. Raises `Forbidden`."""
    refuse_other_sites(request, settings)
    if joined(request, OWN_HEADER.lower().encode()) != "1":
        raise Forbidden(
            f"A request with a session needs the header `{OWN_HEADER}: 1`, unless it is a GET. Send it, or send a key"
            " in the header X-Api-Key instead of the cookie."
        )

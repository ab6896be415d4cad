"""The shop of a request, and whether its key allows the request there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.accounts.access import Scope, allowed, parse_trackpoint
from smsevents.accounts.sessions import READING
from smsevents.errors import Forbidden, InvalidRequest, NoSuchPath
from smsevents.web.negotiate import values_of
from smsevents.web.request_info import info_of
from smsevents.web.session_cookie import SAFE_METHODS, require_own_page, session_id_of

if TYPE_CHECKING:
    from litestar import Request

    from smsevents.web.state import AppState


async def authorized_shop(request: Request[Any, Any, Any], app: AppState, trackpoint_id: str, *scopes: Scope) -> int:
    """Return the trackpoint in the path, if the key has one of `scopes` there.

    Raises `NoSuchPath` for anything but a positive 64-bit integer, `Unauthorized` or `Forbidden`. Until the key is
    found valid, the response reveals nothing about the shop and none of the body is read. Raises `InvalidRequest` for
    several keys: each program on the way could choose a different one.

    Without a key, the cookie of a session counts, for reading: see `session_cookie`.
    """
    trackpoint = parse_trackpoint(trackpoint_id)
    if trackpoint is None:
        raise NoSuchPath(
            f"{trackpoint_id!r} is not a trackpoint. A trackpoint is the number of a shop, a positive integer."
        )
    keys = set(values_of(request, b"x-api-key"))
    session_id = None if keys else session_id_of(request, app.settings)
    if session_id is not None:
        return await _shop_of_session(request, app, session_id, trackpoint, scopes)
    if len(keys) > 1:
        raise InvalidRequest("There are several X-Api-Key headers, and they differ. Send one.")
    key = keys.pop() if keys else None
    info = info_of(request.scope)
    good = app.access.authorize_remembered(key, trackpoint, *scopes)
    if good is None:
        good = await app.doors.run(info.client, lambda: app.access.authorize(key, trackpoint, *scopes))
    info.key_id, info.trackpoint = good.id, trackpoint
    return trackpoint


async def _shop_of_session(
    request: Request[Any, Any, Any], app: AppState, session_id: str, trackpoint: int, scopes: tuple[Scope, ...]
) -> int:
    """Return the trackpoint, if the session may read it. Raises `Unauthorized` or `Forbidden`."""
    if request.method not in SAFE_METHODS:
        require_own_page(request, app.settings)
    info = info_of(request.scope)
    session = await app.doors.run(info.client, lambda: app.sessions.find(session_id))
    if not READING & set(scopes):
        raise Forbidden("A session only reads. Send a key with this right in the header X-Api-Key instead.")
    key = allowed(session.key, trackpoint, scopes)
    info.key_id, info.trackpoint = key.id, trackpoint
    return trackpoint

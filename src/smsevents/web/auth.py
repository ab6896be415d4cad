"""The shop of a request, and whether its key allows the request there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.accounts.access import Scope, parse_trackpoint
from smsevents.errors import InvalidRequest, NoSuchPath
from smsevents.web.negotiate import values_of
from smsevents.web.request_info import info_of

if TYPE_CHECKING:
    from litestar import Request

    from smsevents.web.state import AppState


async def authorized_shop(request: Request[Any, Any, Any], app: AppState, trackpoint_id: str, *scopes: Scope) -> int:
    """Return the trackpoint in the path, if the key has one of `scopes` there.

    Raises `NoSuchPath` for anything but a positive 64-bit integer, `Unauthorized` or `Forbidden`. Until the key is
    found valid, the response reveals nothing about the shop and none of the body is read. Raises `InvalidRequest` for
    several keys: each program on the way could choose a different one.
    """
    trackpoint = parse_trackpoint(trackpoint_id)
    if trackpoint is None:
        raise NoSuchPath(
            f"{trackpoint_id!r} is not a trackpoint. A trackpoint is the number of a shop, a positive integer."
        )
    keys = set(values_of(request, b"x-api-key"))
    if len(keys) > 1:
        raise InvalidRequest("There are several X-Api-Key headers, and they differ. Send one.")
    key = keys.pop() if keys else None
    info = info_of(request.scope)
    good = app.access.authorize_remembered(key, trackpoint, *scopes)
    if good is None:
        good = await app.doors.run(info.client, lambda: app.access.authorize(key, trackpoint, *scopes))
    info.key_id, info.trackpoint = good.id, trackpoint
    return trackpoint

"""`DELETE /shop/{trackpointId}/users/{userId}`: every event of a user leaves the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from litestar import Request, delete
from litestar.datastructures import State

from smsevents.errors import InvalidRequest
from smsevents.upkeep.erasure import Erased, check_user_id, erase, wiped
from smsevents.web.shop import authorized_shop

if TYPE_CHECKING:
    from smsevents.web.state import Shared

_BLOCK = {(): False, ("",): False, ("false",): False, ("true",): True}


@delete("/shop/{trackpointId:str}/users/{userId:path}", status_code=200)
async def forget_user(request: Request[Any, Any, Any], state: State) -> Erased:
    """Erase a user's events; with `?block=true` no further ones are recorded."""
    shared: Shared = state.shared
    trackpoint = await authorized_shop(request, shared, request.path_params["trackpointId"], "admin")
    user_id = _user_id(request)
    block = _block(request)
    with shared.erasures.enter(trackpoint):
        erased = await shared.erasers.run(
            trackpoint, lambda: erase(shared.database, trackpoint, [user_id], shared.log.now(), block=block)
        )
        # there is one eraser, and this waits behind the erasures that wait now: one wipe serves them all
        return await shared.erasers.run(trackpoint, lambda: wiped(erased, shared.database, shared.log.now()))


def _block(request: Request[Any, Any, Any]) -> bool:
    given = request.query_params
    block = _BLOCK.get(tuple(given.getall("block", [])))
    if block is None or not set(given) <= {"block"}:
        raise InvalidRequest("The path takes `?block=true` or `?block=false`, once, and no other parameter.")
    return block


def _user_id(request: Request[Any, Any, Any]) -> str:
    """Read the user id from the path as it was sent, because a user id may hold slashes, also escaped ones."""
    raw: bytes = request.scope["raw_path"]
    escaped = raw.split(b"?", 1)[0].split(b"/users/", 1)[1]
    try:
        user_id = unquote(escaped, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The user id in the path is not UTF-8; percent-encode its UTF-8 bytes.") from error
    return check_user_id(user_id)

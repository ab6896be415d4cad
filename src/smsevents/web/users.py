"""`DELETE /shop/{trackpointId}/users/{userId}`: every event of a user leaves the log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from litestar import Request, delete
from litestar.datastructures import State

from smsevents.errors import InvalidRequest, NoSuchPath, UnknownShop
from smsevents.upkeep.erasure import Erased, check_user_id, erase, wiped
from smsevents.web import query
from smsevents.web.auth import authorized_shop
from smsevents.web.describe import ALWAYS, TRACKPOINT, json_response, problem, problems
from smsevents.web.problems import STATUSES
from smsevents.wire.limits import TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from smsevents.web.state import AppState

_PATH = re.compile(rb"/([^/]+)/[^/]+/([^/]+)/(.*)")
_BLOCK = {(): False, ("",): False, ("false",): False, ("true",): True}


@delete("/shop/{trackpointId:str}/users/{userId:path}", status_code=200)
async def forget_user(request: Request[Any, Any, Any], state: State) -> Erased:
    """Erase a user's events. With `?block=true`, no further events of the user are recorded."""
    app: AppState = state.app
    trackpoint = await authorized_shop(request, app, request.path_params["trackpointId"], "admin")
    user_id = _user_id(request)
    block = _block(request)
    with app.erasures.limit.enter(trackpoint):
        erased = await app.erasures.threads.run(
            trackpoint, lambda: erase(app.database, trackpoint, [user_id], app.log.now(), block=block)
        )
        # there is one eraser thread, and this call runs after the erasures that wait now: one wipe serves them all
        return await app.erasures.threads.run(trackpoint, lambda: wiped(erased, app.database, app.log.now()))


def _block(request: Request[Any, Any, Any]) -> bool:
    given = request.query_params
    block = _BLOCK.get(tuple(given.getall("block", [])))
    query.refuse_others(given, {"block"})
    if block is None:
        raise InvalidRequest("The path takes `?block=true` or `?block=false`, once.")
    return block


def _user_id(request: Request[Any, Any, Any]) -> str:
    """Return the user id from the path as it was sent. A user id may contain slashes, even escaped ones.

    Routing ignores empty parts of a path, so it also accepts `//shop/7/users/u1`. Here the path must match exactly:
    programs that count slashes differently must agree on which user is erased. Raises `NoSuchPath` if it does not.
    """
    parts = _PATH.fullmatch(request.scope["raw_path"])
    if parts is None or unquote(parts[1]) != "shop" or unquote(parts[2]) != "users":
        raise NoSuchPath("The path is /shop/{trackpointId}/users/{userId}, without empty parts before the user id.")
    try:
        user_id = unquote(parts[3], errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The user id in the path is not UTF-8; percent-encode its UTF-8 bytes.") from error
    return check_user_id(user_id)


def operation(_now: int) -> dict[str, Any]:
    """Describe the operation for OpenAPI."""
    return {
        "operationId": "forgetUser",
        "tags": ["Users"],
        "summary": "Erase every event of a user",
        "description": "With `block=true` no further events of the user are recorded. The key needs the scope `admin`.",
        "parameters": [
            TRACKPOINT,
            {
                "name": "userId",
                "in": "path",
                "required": True,
                "description": "The `userId` of the events, percent-encoded.",
                "schema": {"type": "string", "minLength": 1, "maxLength": TEXT_MAX_CHARACTERS},
                "examples": {"user": {"value": "123456"}},
            },
            {
                "name": "block",
                "in": "query",
                "required": False,
                "description": "Record no events of this user from now on.",
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "responses": {
            "200": json_response(
                "The events are gone, from the disk too.",
                Erased,
                Erased(events=17, segments=9, wiped=True, quarantined=0),
            ),
            **problems("admin", [*ALWAYS, UnknownShop]),
            "400": problem(
                STATUSES[InvalidRequest],
                when="The user id is empty or too long, or `block` is not a boolean.",
                detail="`block` is true or false; leave it out for false.",
            ),
        },
    }

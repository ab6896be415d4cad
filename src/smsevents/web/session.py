"""`/session`: signing in to the page, asking who is signed in, signing out.

It is for the page alone, so the OpenAPI description, which is for programs, does not have it. docs/api.md does.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import HttpMethod, Request, Response, delete, post, route
from litestar.datastructures import State

from smsevents.errors import Forbidden, InvalidRequest, Unauthorized, UnsupportedEncoding
from smsevents.web import negotiate, query
from smsevents.web.body import stream
from smsevents.web.request_info import info_of
from smsevents.web.session_cookie import (
    refuse_other_sites,
    require_own_page,
    session_id_of,
    set_cookie,
)

if TYPE_CHECKING:
    from smsevents.accounts.sessions import Session
    from smsevents.web.state import AppState

BODY_MAX_BYTES = 1024


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a sign-in: a key, or the ticket of an address that the server's own machine printed."""

    key: str | None = None
    ticket: str | None = None


class SessionInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Who is signed in. `expires` is Unix ms; `trackpoint_id` is text: JavaScript cannot hold all of its digits."""

    trackpoint_id: str
    name: str
    scopes: list[str]
    expires: int


_decoder = msgspec.json.Decoder(SignIn)


@post("/session", status_code=200)
async def sign_in(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    """Open a session for a key or a ticket, and set its cookie."""
    app: AppState = state.app
    query.refuse_others(request.query_params, frozenset())
    refuse_other_sites(request, app.settings)
    old = session_id_of(request, app.settings)
    asked = await _body(request, app)
    client = info_of(request.scope).client
    if asked.ticket is not None and not _is_loopback(client):
        raise Forbidden("This address works only in a browser on the server's own machine. Sign in with an API key.")

    def open_session() -> tuple[str, Session]:
        """Open the session in a thread."""
        if asked.ticket is None:
            return app.sessions.open(asked.key, old)
        return app.sessions.open_by_ticket(asked.ticket, old)

    try:
        session_id, session = await app.doors.run(client, open_session)
    except Unauthorized:
        app.wrong_keys.count(client)
        raise
    cookie = set_cookie(request, app.settings, session_id)
    return _told(await _info(request, app, session), {"Set-Cookie": cookie})


@route("/session", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def show_session(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    """Return who is signed in. Raises `Unauthorized` if no session is open."""
    app: AppState = state.app
    query.refuse_others(request.query_params, frozenset())
    session_id = session_id_of(request, app.settings)
    if session_id is None:
        raise Unauthorized("You are not signed in. Sign in with your API key.")
    return _told(await session_info(request, app, session_id), {})


@delete("/session", status_code=204)
async def sign_out(request: Request[Any, Any, Any], state: State) -> Response[None]:
    """End the session of the cookie, and remove the cookie. Without a session there is nothing to do."""
    app: AppState = state.app
    query.refuse_others(request.query_params, frozenset())
    session_id = session_id_of(request, app.settings)
    if session_id is not None:
        require_own_page(request, app.settings)
        await app.doors.run(info_of(request.scope).client, lambda: app.sessions.close(session_id))
    return Response(None, status_code=204, headers={"Set-Cookie": set_cookie(request, app.settings, None)})


async def _body(request: Request[Any, Any, Any], app: AppState) -> SignIn:
    if negotiate.codings(request):
        raise UnsupportedEncoding("Send the sign-in as plain JSON, without Content-Encoding.", supported="identity")
    too_large = f"A sign-in is at most {BODY_MAX_BYTES} bytes: send `key` alone."
    body = b"".join([part async for part in stream(request, BODY_MAX_BYTES, app.settings, too_large)])
    try:
        asked = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # never the error's own text: it may quote the key
        raise InvalidRequest('The body is not what a sign-in sends. Send {"key": "…"} as JSON.') from error
    if (asked.key is None) == (asked.ticket is None):
        raise InvalidRequest('Send either `key` or `ticket`, like {"key": "…"}.')
    return asked


def _is_loopback(client: str | None) -> bool:
    try:
        return client is not None and ip_address(client).is_loopback
    except ValueError:
        return False


async def session_info(request: Request[Any, Any, Any], app: AppState, session_id: str) -> SessionInfo:
    """Return who is signed in by the id of a session. Raises `Unauthorized` if it has ended."""
    session = await app.doors.run(info_of(request.scope).client, lambda: app.sessions.find(session_id))
    return await _info(request, app, session)


async def _info(request: Request[Any, Any, Any], app: AppState, session: Session) -> SessionInfo:
    info = info_of(request.scope)
    info.key_id, info.trackpoint = session.key.id, session.key.trackpoint
    shop = await app.doors.run(info.client, lambda: app.access.shop(session.key.trackpoint))
    return SessionInfo(str(shop.trackpoint), shop.name, list(session.scopes), session.expires_ms)


def _told(info: SessionInfo, headers: dict[str, str]) -> Response[bytes]:
    headers |= {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(info), media_type="application/json", status_code=200, headers=headers)

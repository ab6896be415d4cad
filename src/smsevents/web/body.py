"""Reading the body of a request as it arrives, within limits of size and time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from smsevents.errors import BodyTimeout, BodyTooLarge, ClientGone, InvalidRequest
from smsevents.web import negotiate
from smsevents.web.body_pace import BodyPace
from smsevents.web.within import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litestar import Request

    from smsevents.settings import Settings


_ANNOUNCES_BODY = frozenset({b"content-length", b"transfer-encoding"})
_DIGITS_MAX = 18  # of a Content-Length, without leading zeros


async def whole(request: Request[Any, Any, Any], max_bytes: int, settings: Settings, too_large: str) -> bytes:
    """Return the complete body. Raises what `stream` raises. A request that has none is not asked for it."""
    # a request with neither of these has no body (RFC 9112, section 6.3), such as the calls of many gateways
    if not any(name in _ANNOUNCES_BODY for name, _ in request.scope["headers"]):
        return b""
    return b"".join([part async for part in stream(request, max_bytes, settings, too_large)])


async def stream(
    request: Request[Any, Any, Any], max_bytes: int, settings: Settings, too_large: str
) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises `BodyTooLarge` with the text `too_large` as soon as the announced or the received size exceeds `max_bytes`;
    `BodyTimeout` if the client pauses for too long or is too slow overall; `ClientGone` if the connection ends before
    the body does; `InvalidRequest` if a complete body does not have the announced length. The connection should
    prevent that last case, but a body that was lost on the way must never be taken for an empty one.
    """
    announced = announced_bytes(request)
    if announced is not None and announced > max_bytes:
        raise BodyTooLarge(too_large)
    received = 0
    more = True
    pace = BodyPace(settings.body_idle_max_seconds, settings.body_rate_min_bytes_per_second)
    while more:
        try:
            message: Any = await within(pace.seconds_left, request.receive())  # type: ignore[arg-type]  # a coroutine
        except TimeoutError as error:
            raise BodyTimeout(_too_slow(settings, pace)) from error
        if message["type"] == "http.disconnect":
            raise ClientGone("The connection ended before the body did.")
        received += len(message["body"])
        pace.received(len(message["body"]))
        if received > max_bytes:
            raise BodyTooLarge(too_large)
        more = message["more_body"]
        if not more and announced is not None and received != announced:
            raise InvalidRequest(
                f"Content-Length announced {announced} bytes and {received} came. Nothing was done; send it again."
            )
        yield message["body"]


def _too_slow(settings: Settings, pace: BodyPace) -> str:
    if pace.is_in_time:
        return (
            f"No data of the body arrived for {settings.body_idle_max_seconds} seconds. Nothing was done; send it"
            " again."
        )
    return (
        f"The body came at less than {settings.body_rate_min_bytes_per_second} bytes a second. Nothing was done; send"
        " it again, in one go."
    )


def announced_bytes(request: Request[Any, Any, Any]) -> int | None:
    """Return the Content-Length, or None. The connection has already refused other values, or this refuses them."""
    values = negotiate.values_of(request, b"content-length")
    if not values:
        return None
    value = values[-1]
    if len(value) <= _DIGITS_MAX and value.isascii() and value.isdigit():  # the expression takes longer
        return int(value)
    if not re.fullmatch("0*[0-9]{1,18}", value):
        raise InvalidRequest("Content-Length is not a number.")
    return int(value.lstrip("0") or "0")  # `int` refuses more than 4,300 digits, so leading zeros go first

"""Reading the body of a request as it arrives, within limits of size and patience."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from smsevents.errors import BodyTimeout, BodyTooLarge, ClientGone, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litestar import Request


async def stream(
    request: Request[Any, Any, Any], max_bytes: int, idle_max_seconds: int, too_large: str
) -> AsyncIterator[bytes]:
    """Give the body as it arrives.

    Raises `BodyTooLarge` with the text `too_large`, as soon as the announced or the received size is over
    `max_bytes`; `BodyTimeout` when nothing comes for `idle_max_seconds`; `ClientGone` when the connection
    ends before the body does; `InvalidRequest` when a body of another length than announced was taken for complete,
    which the connection should not let happen: what was lost on the way must never pass for an empty body.
    """
    announced = _announced(request)
    if announced is not None and announced > max_bytes:
        raise BodyTooLarge(too_large)
    received = 0
    more = True
    while more:
        try:
            async with asyncio.timeout(idle_max_seconds):
                message: Any = await request.receive()
        except TimeoutError as error:
            raise BodyTimeout(
                f"No more of the body came for {idle_max_seconds} seconds. Nothing was done; send it again."
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientGone("The connection ended before the body did.")
        received += len(message["body"])
        if received > max_bytes:
            raise BodyTooLarge(too_large)
        more = message["more_body"]
        if not more and announced is not None and received != announced:
            raise InvalidRequest(
                f"Content-Length announced {announced} bytes and {received} came. Nothing was done; send it again."
            )
        yield message["body"]


def _announced(request: Request[Any, Any, Any]) -> int | None:
    """Give the Content-Length; the connection has let only good ones pass."""
    value = request.headers.get("content-length")
    if value is None:
        return None
    if not re.fullmatch("0*[0-9]{1,18}", value):
        raise InvalidRequest("Content-Length is not a number.")
    return int(value.lstrip("0") or "0")  # `int` refuses more than 4,300 digits

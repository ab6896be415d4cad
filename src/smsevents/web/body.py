"""Reading the body of a request as it arrives, within limits of size and patience."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from smsevents.errors import BodyTimeout, BodyTooLarge, ClientGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litestar import Request


async def stream(
    request: Request[Any, Any, Any], max_bytes: int, idle_max_seconds: int, too_large: str
) -> AsyncIterator[bytes]:
    """Give the body as it arrives.

    Raises `BodyTooLarge` with the text `too_large`, as soon as the announced or the received size is over
    `max_bytes`; `BodyTimeout` when nothing comes for `idle_max_seconds`; `ClientGone` when the connection
    ends before the body does.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
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
        yield message["body"]

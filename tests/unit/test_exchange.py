"""How long a request is kept in memory."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from smsevents.web.connection.exchange import Exchange
from smsevents.web.connection.head import parse_head
from tests.unit.test_response_headers import Silent


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """Respond with nothing."""


def test_a_request_is_freed_when_it_has_ended() -> None:
    """A request that has ended is freed at once, also without the garbage collector."""

    async def run() -> weakref.ref[Exchange]:
        """Run a request, and forget it."""
        exchange = Exchange(Silent(), parse_head(b"GET / HTTP/1.1\r\nHost: a"), {})  # type: ignore[arg-type]
        await exchange.run(nothing)
        return weakref.ref(exchange)

    gc.disable()
    try:
        assert asyncio.run(run())() is None
    finally:
        gc.enable()

"""The response of an export as ASGI messages: the head, chunk after chunk, then the end or a closed connection.

Errors in the request and a store that cannot be read are reported before the head. A fault after the first byte
closes the connection: the last chunk is not sent, so a truncated export cannot be taken for a complete one.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from smsevents.errors import DamagedSegment, SmsEventsError
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.web import metrics
from smsevents.web.connection.direct import EXTENSION
from smsevents.web.export_chunks import NOTHING
from smsevents.web.request_info import info_of
from smsevents.web.within import within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import Receive, Scope, Send

    from smsevents.web.connection.direct import DirectBody
    from smsevents.web.export_chunks import Chunk, Chunks
    from smsevents.web.export_pace import ExportPace

logger = structlog.get_logger()


class ExportResponse:
    """Sends the chunks of one export."""

    def __init__(
        self, chunks: Chunks, pace: ExportPace, headers: Mapping[str, str], *, stall_max_seconds: float
    ) -> None:
        """Send chunks at a pace, to a client that may stop reading for a limited number of seconds."""
        self._chunks = chunks
        self._pace = pace
        self._headers = headers
        self._stall_max_seconds = stall_max_seconds
        is_gzip = "Content-Encoding" in headers
        self._sent_bytes = metrics.export_bytes_gzip if is_gzip else metrics.export_bytes_identity
        self._asked = time.perf_counter()
        self._next: Chunk = NOTHING  # the next chunk; no other reference exists, so its memory is free once it is sent

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the export. If it returns before the last chunk, the response is truncated and its connection ends."""
        self._next = await self._chunks.next(PAGE_HELD_MAX_BYTES)
        await send(self._head())
        metrics.export_first_byte_seconds.observe(time.perf_counter() - self._asked)
        if self._next.is_last:
            await self._send_next(send)
        else:
            await self._send_all(scope, receive, send)

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send chunks until the last one, a fault, or the end of the connection."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while not self._next.is_last and not gone.done():
                await self._send_and_read(scope, send)
            if self._next.is_last:
                await self._send_next(send)
            else:
                _truncated(scope, "client", "the client went away")
        except ConnectionError:
            _truncated(scope, "client", "the client went away")
        except TimeoutError:
            _truncated(scope, "client", "the client stopped reading")
        except asyncio.CancelledError:
            _truncated(scope, "shutdown", "the server stops")
            raise
        except SmsEventsError as error:
            _truncated(scope, "damage" if isinstance(error, DamagedSegment) else "store", str(error))
        finally:
            gone.cancel()

    async def _send_and_read(self, scope: Scope, send: Send) -> None:
        """Send the current chunk and read the next one. If the client keeps up, send more while they are read."""
        with self._pace.step() as step:
            if self._next.data:
                await self._send_next(send)
            direct = await within(self._stall_max_seconds, _direct_body(scope)) if step.is_direct else None
            if direct is None:
                self._next = await self._chunks.next(step.page_max_bytes)
                return
            try:
                self._next = await self._chunks.next(step.page_max_bytes, direct)
                started = time.perf_counter()
                await within(self._stall_max_seconds, direct.flushed())
                self._pace.sent(time.perf_counter() - started)
            finally:
                direct.close()
                self._sent_bytes.inc(direct.body_bytes)
                info_of(scope).direct_bytes += direct.body_bytes

    async def _send_next(self, send: Send) -> None:
        """Send the current chunk and release it. Raises `TimeoutError` if the client stops reading."""
        started = time.perf_counter()
        is_last, size = self._next.is_last, len(self._next.data)
        await within(self._stall_max_seconds, self._pass_on(send))
        self._pace.sent(time.perf_counter() - started)
        self._sent_bytes.inc(size)
        if is_last:
            metrics.export_seconds.observe(time.perf_counter() - self._asked)

    async def _pass_on(self, send: Send) -> None:
        """Send the current chunk and, unless it is the last, wait until the client has taken most of it."""
        (data, is_last), self._next = self._next, NOTHING
        message: Any = {"type": "http.response.body", "body": data, "more_body": not is_last}
        await send(message)
        del data, message  # the server has its own framed copy
        if not is_last:
            # Before it sends anything, it waits until the client has read what was sent earlier.
            await send({"type": "http.response.body", "body": b"", "more_body": True})

    def _head(self) -> Any:  # noqa: ANN401 -- an ASGI message
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": headers}


def _truncated(scope: Scope, reason: str, detail: str) -> None:
    """Count and log a truncated export."""
    info = info_of(scope)
    metrics.exports_cut.labels(reason).inc()
    info.reason = f"cut_{reason}"
    log = logger.info if reason == "client" else logger.warning if reason == "shutdown" else logger.error
    log("export cut", trackpoint=info.trackpoint, reason=reason, detail=detail)


async def _direct_body(scope: Scope) -> DirectBody | None:
    """Return the body that a thread may send, or None: another server, or a response that has not begun yet."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    opened = extensions.get(EXTENSION)
    body: DirectBody | None = await opened() if opened is not None else None
    return body


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

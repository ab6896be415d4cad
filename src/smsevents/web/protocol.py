"""HTTP/1.1 on a connection, as uvicorn does it, with limits on the head of a request.

uvicorn's fast parser keeps a head of any size in memory until it ends, however long that takes, and anybody may
send one. And what is no HTTP at all gets the same kind of answer here as every other error.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from smsevents.settings import HEAD_MAX_BYTES, HEAD_MAX_SECONDS
from smsevents.web.problems import MEDIA_TYPE, problem_body

if TYPE_CHECKING:
    import asyncio


class LimitedHttpProtocol(HttpToolsProtocol):
    """Serves a connection; a head that is too long, too slow or no HTTP is answered, and the connection closed."""

    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._timer is None and self._in_head:
            self._timer = self.loop.call_later(HEAD_MAX_SECONDS, self._refuse_slow_head)
        self._head_bytes += len(data)  # the parser's calls set it back when a head ends or begins within the data
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The path and the headers are more than {HEAD_MAX_BYTES} bytes. Send fewer or shorter ones.",
            )

    def on_headers_complete(self) -> None:
        """Note that the head ended; the parser calls it."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the next head begins; the parser calls it."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls it."""
        self._refuse(HTTPStatus.BAD_REQUEST, f"{msg} The request line or a header is not what HTTP/1.1 allows.")

    def _refuse_slow_head(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT, f"The headers did not end within {HEAD_MAX_SECONDS} seconds. Send them at once."
        )

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = problem_body(status, detail)
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

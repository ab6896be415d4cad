"""HTTP/1.1 on a connection, as uvicorn does it, with a limit on the head of a request.

uvicorn's fast parser keeps a head of any size in memory until it ends, and anybody may send one.
"""

from __future__ import annotations

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from smsevents.settings import HEAD_MAX_BYTES
from smsevents.web.problems import MEDIA_TYPE, problem_body

_BODY = problem_body(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"The path and the headers are more than {HEAD_MAX_BYTES} bytes. Send fewer or shorter ones.",
)
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (MEDIA_TYPE.encode(), len(_BODY), _BODY)
)


class LimitedHttpProtocol(HttpToolsProtocol):
    """Serves a connection until a head grows over HEAD_MAX_BYTES; then it answers 431 and closes."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._head_bytes += len(data)  # the parser's calls set it back when a head ends or begins within the data
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self.transport.write(_ANSWER)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Note that the head ended; the parser calls it."""
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the next head begins; the parser calls it."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

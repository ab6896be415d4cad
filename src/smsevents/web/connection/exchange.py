"""One request and its response: translates between HTTP and the ASGI messages of the application."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from smsevents.web.connection.direct import EXTENSION, DirectBody

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from smsevents.web.connection.head import Head

    Application = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

logger = structlog.get_logger()

# A response to HTTP/1.0 is buffered up to this size. If it ends before that, it gets a Content-Length: without one, a
# client of that version can hardly distinguish a complete response from a truncated one.
HTTP_1_0_KEPT_MAX_BYTES = 256 * 1024
UNREAD_BODY_MAX_BYTES = 64 * 1024  # how much of a body is read from the socket before the application asks for it

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_BAD_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_WITHOUT_BODY = frozenset({204, 304})


class Line(Protocol):
    """The part of a connection that an exchange uses."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every response has."""
        ...

    def write(self, *parts: bytes) -> None:
        """Send bytes, in parts, to the client, or buffer them if the client is slow."""
        ...

    async def writable(self) -> None:
        """Wait until the client has taken most of what was sent."""
        ...

    async def drained(self) -> None:
        """Wait until the system has taken all that was sent."""
        ...

    def duplicate(self) -> socket.socket | None:
        """Return the socket under a descriptor of its own, or None: there is no free one, or bytes wait to be sent."""
        ...

    def want_body(self, *, more: bool) -> None:
        """Resume reading the request from the socket, or pause it."""
        ...

    def reset_if_killed(self, *, on: bool) -> None:
        """Turn on or off that the system resets the connection if the process dies."""
        ...

    def response_ended(self, *, complete: bool) -> None:
        """Continue with the next request, or close. A truncated response must not look complete to the client."""
        ...


class Exchange:
    """Serves one request of a connection."""

    def __init__(self, line: Line, head: Head, scope: dict[str, Any]) -> None:
        """Serve the request with a head, which `scope` describes to the application."""
        self._line = line
        self._scope = scope
        self._is_head = head.method == "HEAD"
        self.is_http_1_0 = head.is_http_1_0
        self.keep_alive = head.keep_alive
        # the request
        self._waits_for_continue = head.expects_continue
        self._parts: list[bytes] = []
        self._unread_bytes = 0
        self._body_ended = head.length == 0
        self._gone = False
        self._news = asyncio.Event()
        if self._body_ended:
            self._news.set()
        # the response
        self._head: list[bytes] | None = None  # buffered for HTTP/1.0 until the length is known, see `_keep`
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._is_chunked = False
        self._ends_with_the_connection = False
        self._missing: int | None = None  # bytes of the response still to send, if its length is known
        self._direct: DirectBody | None = None
        self.has_begun = False
        self.is_complete = False

    # Called by the connection.

    def feed(self, parts: list[bytes], *, ended: bool) -> None:
        """Receive pieces of the request's body."""
        self._waits_for_continue = False
        self._body_ended = ended
        if not self.is_complete:
            self._parts += parts
            self._unread_bytes += sum(map(len, parts))
            if self._unread_bytes > UNREAD_BODY_MAX_BYTES and not ended:
                self._line.want_body(more=False)
        self._news.set()

    def gone(self) -> None:
        """Note that the client is gone."""
        self._gone = True
        self._news.set()
        if self._direct is not None:
            self._direct.close()

    # Called by the application.

    async def run(self, application: Application) -> None:
        """Run the application for the request."""
        # not kept: together with the exchange it would be a cycle, which only the garbage collector frees
        scope = self._scope | {"extensions": {EXTENSION: self._open_directly}}
        try:
            await application(scope, self._receive, self._send)
        except asyncio.CancelledError:
            raise  # the server is stopping; the connection is closed below
        except Exception:
            # the last place to catch an error: an unexpected one must end only its own connection
            logger.exception("request failed in the application")
        finally:
            if not self.is_complete:
                self._line.response_ended(complete=False)

    async def _receive(self) -> Any:  # noqa: ANN401 -- an ASGI message
        if self._waits_for_continue and not self._gone and not self.has_begun:
            self._waits_for_continue = False
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._gone and not self.is_complete:
            self._line.want_body(more=True)
            await self._news.wait()
            self._news.clear()
        if self._gone or self.is_complete:
            self._news.set()
            return {"type": "http.disconnect"}
        body, self._parts, self._unread_bytes = b"".join(self._parts), [], 0
        return {"type": "http.request", "body": body, "more_body": not self._body_ended}

    async def _send(self, message: Any) -> None:  # noqa: ANN401 -- an ASGI message
        if self._gone:
            return
        if not self.has_begun:
            self._begin(message["status"], message.get("headers", ()))
            return
        if self._missing is None and self._head is None:  # streamed: not faster than the client reads
            await self._line.writable()
        self._continue(message.get("body", b""), is_last=not message.get("more_body", False))

    async def _open_directly(self) -> DirectBody | None:
        """Return the body of the response, for a thread to send. Close it before the next message is sent.

        Return None if the body must be sent in messages: its length is known, or its head is not sent yet.
        """
        if not self.has_begun or self._missing is not None or self._head is not None:
            return None
        await self._line.drained()
        own = None if self._gone else self._line.duplicate()
        self._direct = None if own is None else DirectBody(own, is_chunked=self._is_chunked)
        return self._direct

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.has_begun = True
        if self._waits_for_continue:
            self.keep_alive = False  # the client may or may not send the body, so the next bytes are ambiguous
        head = [_STATUS_LINES[status], *self._fields(headers)]
        if self._is_head or status in _WITHOUT_BODY:
            self._missing = 0
        elif self._missing is None:
            if self.is_http_1_0:
                self._head = head  # see `_keep`
                return
            self._is_chunked = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        self._line.write(b"".join(head))

    def _fields(self, headers: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Encode the header fields, and note what they say about the body and the connection."""
        fields: list[bytes] = []
        says_close = False
        every = (*self._line.default_headers, *headers)
        # two searches in all, because there are many headers, and they are seldom wrong
        names, values = b"".join([name for name, _ in every]), b"".join([value for _, value in every])
        if _BAD_NAME.search(names) or _BAD_VALUE.search(values):
            wrong = [name for name, value in every if _BAD_NAME.search(name) or _BAD_VALUE.search(value)]
            raise ValueError(f"{wrong!r} cannot be sent as headers")  # without values: one may be a session
        for name, value in every:
            lower = name.lower()
            if lower == b"content-length":
                self._missing = int(value)
            elif lower == b"connection" and value.lower() == b"close":
                says_close = True
            fields += (lower, b": ", value, b"\r\n")
        if says_close:
            self.keep_alive = False
        elif not self.keep_alive:
            fields.append(b"connection: close\r\n")
        return fields

    def _continue(self, body: bytes, *, is_last: bool) -> None:
        if self._gone:  # perhaps while waiting for the client
            return
        if self.is_complete:
            raise ValueError("the response has ended already")
        if self._is_head:
            body = b""
        if self._head is not None:
            body = self._keep(self._head, body, is_last=is_last)
        elif self._missing is not None:
            self._missing -= len(body)
            if self._missing < 0 or (is_last and self._missing):
                raise ValueError("the response does not have the length that it announced")
        if self._is_chunked:
            framed = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            parts = [*framed, b"0\r\n\r\n"] if is_last else framed
        else:
            parts = [body] if body else []
        if parts:
            self._line.write(*parts)
        if is_last:
            self._end()

    def _end(self) -> None:
        if self._ends_with_the_connection:
            self._line.reset_if_killed(on=False)
        self.is_complete = True
        self._news.set()
        self._line.response_ended(complete=True)

    def _keep(self, head: list[bytes], body: bytes, *, is_last: bool) -> bytes:
        """Buffer the body for HTTP/1.0 until it ends or is too long. Return the bytes to send now."""
        self._kept.append(body)
        self._kept_bytes += len(body)
        if is_last:
            head.append(b"content-length: %d\r\n" % self._kept_bytes)
        elif self._kept_bytes <= HTTP_1_0_KEPT_MAX_BYTES:
            return b""
        else:
            # The end of the connection ends the response: it must not look normal if this process is killed.
            self._ends_with_the_connection = True
            self._line.reset_if_killed(on=True)
        self._head = None
        data, self._kept = b"".join([*head, b"\r\n", *self._kept]), []
        return data

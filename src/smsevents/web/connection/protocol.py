"""A connection: turns the bytes of a client into exchanges, one after the other, and handles those that fail.

Its limits apply from the accept on, before any key is checked. Once a response has begun, the only possible reaction
to an error is to close the connection: a status line never appears in the middle of a response.
"""

from __future__ import annotations

import asyncio
import enum
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import structlog
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from smsevents.errors import (
    HeadTimeout,
    HeadTooLarge,
    MalformedRequest,
    SmsEventsError,
    StoreUnavailable,
    TooManyConnections,
)
from smsevents.web.connection.exchange import Exchange
from smsevents.web.connection.framing import ChunkedBody, LengthBody, RequestBody
from smsevents.web.connection.head import Head, check_unfinished, parse_head
from smsevents.web.connection.registry import Registry, connections_max
from smsevents.web.problems import MEDIA_TYPE, outcome_of, problem_body

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

HEAD_MAX_BYTES = 64 * 1024
HEAD_MAX_SECONDS = 30

logger = structlog.get_logger()

PIPELINED_MAX_BYTES = 64 * 1024  # how much may wait while a response is sent; more is not read from the socket
# How long the rest of an unread body is read after the response, so that the connection can continue and the client
# sees the response rather than a reset.
BODY_REST_MAX_SECONDS = 5
JOINED_MAX_BYTES = 64 * 1024  # to copy less than this takes less time than to send it in parts
UNSENT_MAX_SECONDS = 30  # how long a client may read nothing of the data that waits for it after a response
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, with a time of zero
_NO_RESET = struct.pack("ii", 0, 0)

_registries: WeakKeyDictionary[ServerState, Registry] = WeakKeyDictionary()


class _State(enum.Enum):
    HEAD = enum.auto()  # waiting for the head of the next request
    SERVING = enum.auto()
    REST = enum.auto()  # the response is complete, but the request's body is not
    CLOSING = enum.auto()  # nothing more will be served; waiting data is sent, and incoming data is dropped


class HttpConnection(asyncio.Protocol):
    """Serves a connection for uvicorn's `Server`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Serve the application of a loaded configuration. uvicorn calls this for each connection."""
        self._application: Any = config.loaded_app
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._registry = _registry_of(server_state)
        self._transport: asyncio.Transport
        self._local: tuple[str, int | None] | None = None
        self._remote: tuple[str, int] | None = None
        self._state = _State.HEAD
        self._has_room = False
        self._only_health = False
        self._stopping = False
        self._half_closed = False
        # incoming
        self._waiting = bytearray()  # bytes of the next requests, not parsed yet
        self._looked_at = 0  # how many of them are known to contain no end of a head
        self._came_meanwhile = False  # whether they arrived before the previous response had ended
        self._reading_paused = False
        self._exchange: Exchange | None = None
        self._body: RequestBody | None = None  # the body of the request being served, until it has ended
        # outgoing
        self._write_paused = False
        self._writable = asyncio.Event()
        self._resets_until_sent = False  # whether the reset stays on until all data is sent, see `reset_if_killed`
        self._unsent_bytes = 0  # as of the last check of the time limit
        # time: one timer for all limits, because most are never reached
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and start the time limit for the first head."""
        self._transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # the type has only uvicorn's own protocols
        self._has_room = self._registry.add(self)
        if not self._has_room:
            self._transport.abort()
            return
        self._only_health = self._registry.is_over
        self._local = get_local_addr(self._transport)
        self._remote = _plain_address(get_remote_addr(self._transport))
        self._limit_time(HEAD_MAX_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Process bytes from the client."""
        if self._state is _State.HEAD:
            if not self._waiting:
                self._came_meanwhile = False
            self._waiting += data
            self._serve_next()
        elif self._body is not None:
            self._take_body(data)
        elif self._state is _State.SERVING:
            self._wait(data)

    def eof_received(self) -> bool:
        """Return whether to keep the connection: only if a complete request is still being served.

        A client that sent less than it announced gets a response, because it may still be reading.
        """
        if self._state is _State.SERVING and self._exchange is not None and self._body is not None:
            self._half_closed = True
            self._refuse(MalformedRequest("The connection ended before the body did, by its length in HTTP."))
            self._exchange.gone()
            return False
        if self._state is not _State.SERVING or self._exchange is None or self._body is not None:
            return False
        self._half_closed = True
        self._exchange.keep_alive = False
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Release everything, and notify the exchange."""
        self._state = _State.CLOSING
        self._server_state.connections.discard(self)
        self._leave_registry()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        self._body = None
        self._writable.set()
        if self._exchange is not None:
            self._exchange.gone()

    def pause_writing(self) -> None:
        """Note that much unsent data waits for the client."""
        self._write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that the client has read most of the waiting data, and serve the next request if one waits."""
        self._write_paused = False
        self._writable.set()
        if self._resets_until_sent:
            self.reset_if_killed(on=False)
        if self._state is _State.HEAD:
            self._registry.hold(self, len(self._waiting))
            self._serve_next()

    # Called by uvicorn and the registry.

    def shutdown(self) -> None:
        """Close as soon as the current request has its response. uvicorn calls this when the server stops."""
        self._stopping = True
        if self._state is _State.SERVING and self._exchange is not None:
            self._exchange.keep_alive = False
        else:
            self._state = _State.CLOSING
            self._transport.close()

    def evict(self) -> None:
        """Abort the connection, to make room for others."""
        self._state = _State.CLOSING
        self._leave_registry()
        self._transport.abort()

    # Called by an exchange.

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every response has: the date."""
        return self._server_state.default_headers

    def write(self, *parts: bytes) -> None:
        """Send bytes, in parts, or buffer them if the client is slow."""
        if sum(map(len, parts)) < JOINED_MAX_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)  # one call of the system, without a copy

    async def writable(self) -> None:
        """Wait until the client has taken most of what was sent."""
        if self._write_paused:
            await self._writable.wait()

    async def drained(self) -> None:
        """Wait until the system has taken all that was sent."""
        if self._transport.is_closing() or not self._transport.get_write_buffer_size():
            return
        self._transport.set_write_buffer_limits(high=0)  # asyncio calls `resume_writing` once all data is sent
        try:
            await self.writable()
        finally:
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits()

    def duplicate(self) -> socket.socket | None:
        """Return the socket under a descriptor of its own, or None: there is no free one, or bytes wait to be sent."""
        if self._transport.get_write_buffer_size():
            return None  # what is sent through the other one would overtake them
        own = self._transport.get_extra_info("socket")
        try:
            handle = os.dup(own.fileno())
        except OSError:  # the process has as many open files as it may
            return None
        found = socket.socket(fileno=handle)
        found.setblocking(False)
        return found

    def want_body(self, *, more: bool) -> None:
        """Resume reading from the socket, or pause it."""
        if more:
            self._resume_reading()
        elif not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def reset_if_killed(self, *, on: bool) -> None:
        """Let the connection end with a reset, whether this process closes it or the system does after a kill.

        Turning this off takes effect as soon as all written data is sent.
        """
        self._resets_until_sent = not on and self._transport.get_write_buffer_size() > 0
        if self._resets_until_sent:
            self._transport.set_write_buffer_limits(high=0)  # asyncio calls `resume_writing` once all data is sent
            return
        if (own := self._transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET if on else _NO_RESET)

    def response_ended(self, *, complete: bool) -> None:
        """Continue with the next request, or close."""
        exchange = self._exchange
        if self._state is not _State.SERVING or exchange is None:
            return
        self._server_state.total_requests += 1
        if not complete:
            self._break_off(exchange)
        elif not exchange.keep_alive or self._stopping:
            self._finish()
        elif self._body is not None:
            self._state = _State.REST
            self._registry.idle(self)
            self._limit_time(BODY_REST_MAX_SECONDS)
            self._resume_reading()
        else:
            self._await_head()

    # Turning bytes into exchanges.

    def _serve_next(self) -> None:
        """Serve the next waiting request, if its head is complete."""
        waiting = self._waiting
        if self._write_paused:
            # the next response would only wait together with the one that the client does not read
            self._hold_back()
            return
        while waiting.startswith(b"\r\n"):  # RFC 9112, section 2.2: ignored before a request line
            del waiting[:2]
            self._looked_at = 0
        end = waiting.find(b"\r\n\r\n", max(0, self._looked_at - 3))
        try:
            if (end if end >= 0 else len(waiting)) > HEAD_MAX_BYTES:
                raise HeadTooLarge(
                    f"The path and the headers are more than {HEAD_MAX_BYTES} bytes. Send fewer or shorter ones."
                )
            if end < 0:
                if waiting and waiting != b"\r":
                    check_unfinished(waiting, self._looked_at)
                    self._looked_at = len(waiting)
                self._registry.hold(self, len(waiting))
                return
            head = parse_head(bytes(waiting[:end]))
        except SmsEventsError as error:
            self._refuse(error)
            return
        rest = bytes(waiting[end + 4 :])
        waiting.clear()
        self._looked_at = 0
        self._registry.busy(self)
        if self._only_health and self._registry.is_over and not head.path.startswith("/health/"):
            self._refuse(TooManyConnections("The server has as many connections as it can serve. Try again later."))
            return
        self._serve(head, rest)

    def _serve(self, head: Head, rest: bytes) -> None:
        self._state = _State.SERVING
        if head.length != 0:
            self._body = ChunkedBody() if head.length is None else LengthBody(head.length)
        exchange = self._exchange = Exchange(self, head, self._scope(head))
        task = self._loop.create_task(exchange.run(self._application))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)
        if rest:
            self.data_received(rest)

    def _scope(self, head: Head) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.0" if head.is_http_1_0 else "1.1",
            "server": self._local,
            "client": self._remote,
            "scheme": "http",
            "method": head.method,
            "root_path": "",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "headers": head.headers,
            "state": self._app_state.copy(),
        }

    def _take_body(self, data: bytes) -> None:
        body, exchange = self._body, self._exchange
        if body is None or exchange is None:
            return
        try:
            parts, rest = body.feed(data)
        except SmsEventsError as error:
            self._body = None
            self._refuse(error)
            exchange.gone()
            return
        if body.done:
            self._body = None
        if parts or body.done:
            exchange.feed(parts, ended=body.done)
        if body.done and self._state is _State.REST:
            self._await_head()
        if rest:
            self.data_received(rest)

    def _wait(self, data: bytes) -> None:
        self._came_meanwhile = True
        self._waiting += data
        self._hold_back()

    def _hold_back(self) -> None:
        if len(self._waiting) > PIPELINED_MAX_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _await_head(self) -> None:
        self._state = _State.HEAD
        self._exchange = None
        unsent = self._transport.get_write_buffer_size() if self._write_paused else 0
        self._registry.idle(self, unsent + len(self._waiting))
        self._limit_time(HEAD_MAX_SECONDS)
        if self._waiting:
            self._serve_next()
        if self._state is _State.HEAD:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and len(self._waiting) <= PIPELINED_MAX_BYTES and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    # Ending a connection.

    def _refuse(self, error: SmsEventsError) -> None:
        """Respond with an error, unless a response has already begun, and close."""
        exchange = self._exchange
        outcome = outcome_of(error)
        status, more_headers = outcome.status, outcome.headers
        logger.info("request refused", status=int(status), detail=str(error), client=self._remote and self._remote[0])
        if exchange.has_begun if exchange is not None else self._came_meanwhile:
            # a status line would appear inside a response, or follow one that the client takes for the last
            self._finish(rudely=exchange is not None and not exchange.is_complete)
            return
        body = problem_body(status, str(error))
        headers = [(name.lower().encode(), value.encode()) for name, value in more_headers.items()]
        headers += [*self.default_headers, (b"content-type", MEDIA_TYPE.encode())]
        fields = b"".join(b"%s: %s\r\n" % field for field in headers)
        self._transport.write(
            f"HTTP/1.1 {status} {status.phrase}\r\n".encode()
            + fields
            + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            + body
        )
        self._finish(linger=True)

    def _break_off(self, exchange: Exchange) -> None:
        """End after a truncated response, so that the client notices the truncation."""
        if exchange.has_begun:
            self._finish(rudely=exchange.is_http_1_0)
            return
        detail = "The server stops. Try again in a moment." if self._stopping else _DEFECT
        error = StoreUnavailable(detail) if self._stopping else SmsEventsError(detail)
        self._refuse(error)

    def _finish(self, *, linger: bool = False, rudely: bool = False) -> None:
        """Close once all waiting data is sent. With `rudely`, reset at once: no client takes that for the end.

        With `linger`, a client that is still sending gets some time to read the response. Closing at once would reset
        its connection.
        """
        linger = (linger or self._body is not None or self._reading_paused) and not self._half_closed
        self._state = _State.CLOSING
        self._body = None
        self._waiting.clear()
        self._registry.idle(self, self._transport.get_write_buffer_size())
        if rudely:
            self._reset()
        elif linger and not self._stopping and self._transport.can_write_eof():
            self._resume_reading()
            self._transport.write_eof()
            self._limit_time(BODY_REST_MAX_SECONDS)
        else:
            self._transport.close()
            self._limit_time(UNSENT_MAX_SECONDS)

    def _reset(self) -> None:
        self.reset_if_killed(on=True)
        self._transport.abort()

    def _leave_registry(self) -> None:
        if self._has_room:
            self._has_room = False
            self._registry.remove(self)

    # Time limits.

    def _limit_time(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        self._unsent_bytes = 0
        if self._timer is None or self._timer_at > self._deadline:
            self._set_timer(self._deadline)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._look_at_the_time)

    def _look_at_the_time(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._state is _State.SERVING:  # the application has its own limits
            self._set_timer(now + HEAD_MAX_SECONDS)
        elif now < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._time_is_up(now)

    def _time_is_up(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent and (not self._unsent_bytes or unsent < self._unsent_bytes):
            # the client reads the waiting data slowly, but it does read
            self._unsent_bytes = unsent
            self._deadline = now + UNSENT_MAX_SECONDS
            self._set_timer(self._deadline)
        elif self._state is _State.CLOSING or unsent:
            self._state = _State.CLOSING
            self._transport.abort()
        elif self._state is _State.HEAD and self._waiting:
            self._refuse(HeadTimeout(f"The headers did not end within {HEAD_MAX_SECONDS} seconds. Send them at once."))
        else:
            self._finish()


_DEFECT = "The server met an error that it did not foresee. Its log has the details; please report them."


def _registry_of(server_state: ServerState) -> Registry:
    """Return the registry of a server's connections, and create it for the first one."""
    registry = _registries.get(server_state)
    if registry is None:
        limit = connections_max()
        logger.info("connections limited", connections_max=limit)
        registry = _registries[server_state] = Registry(limit)
    return registry


def _plain_address(address: tuple[str, int] | None) -> tuple[str, int] | None:
    """Return the plain IPv4 address of an IPv4 client on an IPv6 socket; other addresses unchanged."""
    if address is not None and address[0].lower().startswith("::ffff:") and "." in address[0]:
        return address[0][7:], address[1]
    return address

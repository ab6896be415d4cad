"""A connection: from the bytes of a client to exchanges, one after the other, and what happens when one goes wrong.

Its limits hold from the accept on, before any key is checked. Once a response has begun, the only reaction to
whatever the client does is to close the connection: no status line ever stands in the middle of a response.
"""

from __future__ import annotations

import asyncio
import enum
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
from smsevents.web.connection.framing import Body, ChunkedBody, LengthBody
from smsevents.web.connection.head import Head, check_unfinished, parse_head
from smsevents.web.connection.registry import Registry, connections_max
from smsevents.web.problems import MEDIA_TYPE, outcome_of, problem_body

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

HEAD_MAX_BYTES = 64 * 1024
HEAD_MAX_SECONDS = 30

logger = structlog.get_logger()

PIPELINED_MAX_BYTES = 64 * 1024  # what may wait while a response is sent; more is not read from the socket
# What is left of a body that nobody asked for is read for so long, so that the connection can go on, and so that the
# client sees the response rather than a reset.
BODY_REST_MAX_SECONDS = 5
UNSENT_MAX_SECONDS = 30  # how long a client may take nothing of what waits for it after a response
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
_NO_RESET = struct.pack("ii", 0, 0)

_registries: WeakKeyDictionary[ServerState, Registry] = WeakKeyDictionary()


class _State(enum.Enum):
    HEAD = enum.auto()  # the head of the next request is awaited
    SERVING = enum.auto()
    REST = enum.auto()  # the response is complete, the request's body is not
    CLOSING = enum.auto()  # all was said; what waits is sent, and what still comes is dropped


class HttpConnection(asyncio.Protocol):
    """Serves a connection for uvicorn's `Server`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Serve the application of a loaded configuration; uvicorn calls it for each connection."""
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
        # what comes in
        self._waiting = bytearray()  # bytes of the next requests
        self._looked_at = 0  # so many of them hold no end of a head
        self._came_meanwhile = False  # they came before the response to the request before had ended
        self._reading_paused = False
        self._exchange: Exchange | None = None
        self._body: Body | None = None  # of the request being served, until it has ended
        # what goes out
        self._write_paused = False
        self._writable = asyncio.Event()
        self._resets_until_sent = False  # the end of the connection, see `reset_if_killed`
        self._unsent_bytes = 0  # when the time limit was last looked at
        # time: one timer for all limits, as most of them are never reached
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # What asyncio says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the time for the first head runs from here."""
        self._transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # the type names uvicorn's own protocols
        self._has_room = self._registry.add(self)
        if not self._has_room:
            self._transport.abort()
            return
        self._only_health = self._registry.is_over
        self._local = get_local_addr(self._transport)
        self._remote = _plain_address(get_remote_addr(self._transport))
        self._limit_time(HEAD_MAX_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
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
        """Tell whether to keep the connection: only for a request that came completely and was not yet served.

        Who sends less than was announced, and still listens, is told.
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
        """Forget everything, and tell the exchange."""
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
        """Note that much waits to be taken by the client."""
        self._write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that most of it was taken."""
        self._write_paused = False
        self._writable.set()
        if self._resets_until_sent:
            self.reset_if_killed(on=False)
        if self._state is _State.HEAD:
            self._registry.hold(self, len(self._waiting))
            self._serve_next()

    # What uvicorn and the registry say.

    def shutdown(self) -> None:
        """Close as soon as the request being served has its response; uvicorn calls it when the server stops."""
        self._stopping = True
        if self._state is _State.SERVING and self._exchange is not None:
            self._exchange.keep_alive = False
        else:
            self._state = _State.CLOSING
            self._transport.close()

    def evict(self) -> None:
        """Close at once."""
        self._state = _State.CLOSING
        self._leave_registry()
        self._transport.abort()

    # What an exchange says.

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Give the headers of every response: the date."""
        return self._server_state.default_headers

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the client has taken most of what was sent."""
        if self._write_paused:
            await self._writable.wait()

    def want_body(self, *, more: bool) -> None:
        """Read on, or stop for now."""
        if more:
            self._resume_reading()
        elif not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def reset_if_killed(self, *, on: bool) -> None:
        """Have the connection end with a reset, by this process or by the system after a kill.

        Off, it is one no longer as soon as all that was written is sent.
        """
        self._resets_until_sent = not on and self._transport.get_write_buffer_size() > 0
        if self._resets_until_sent:
            self._transport.set_write_buffer_limits(high=0)  # `resume_writing` is called once all is sent
            return
        if (own := self._transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET if on else _NO_RESET)

    def response_ended(self, *, complete: bool) -> None:
        """Go on with the next request, or close."""
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

    # From bytes to exchanges.

    def _serve_next(self) -> None:
        """Serve the request that waits, if its head is there."""
        waiting = self._waiting
        if self._write_paused:
            # the next response would only wait beside the one that the client does not take
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

    # Ways to end.

    def _refuse(self, error: SmsEventsError) -> None:
        """Answer what cannot be served, if no response stands in the way, and close."""
        exchange = self._exchange
        outcome = outcome_of(error)
        status, more_headers = outcome.status, outcome.headers
        logger.info("request refused", status=int(status), detail=str(error), client=self._remote and self._remote[0])
        if exchange.has_begun if exchange is not None else self._came_meanwhile:
            # a status line would stand within a response, or follow one that the client takes for the last
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
        """End after a response that did not reach its end, so that the client sees that."""
        if exchange.has_begun:
            self._finish(rudely=exchange.is_http_1_0)
            return
        detail = "The server stops. Try again in a moment." if self._stopping else _DEFECT
        error = StoreUnavailable(detail) if self._stopping else SmsEventsError(detail)
        self._refuse(error)

    def _finish(self, *, linger: bool = False, rudely: bool = False) -> None:
        """Close once what waits was sent, or at once with a reset, which no client takes for the end of a response.

        A client that is still sending gets some time to read the response: closing at once would reset the
        connection under it.
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

    # Time.

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
        if self._state is _State.SERVING:  # the application has limits of its own
            self._set_timer(now + HEAD_MAX_SECONDS)
        elif now < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._time_is_up(now)

    def _time_is_up(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent and (not self._unsent_bytes or unsent < self._unsent_bytes):
            # the client is slow to take what was sent, but takes it
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
    """Give the registry of a server's connections."""
    registry = _registries.get(server_state)
    if registry is None:
        limit = connections_max()
        logger.info("connections limited", connections_max=limit)
        registry = _registries[server_state] = Registry(limit)
    return registry


def _plain_address(address: tuple[str, int] | None) -> tuple[str, int] | None:
    """Give an IPv4 client that came over an IPv6 socket the address that everybody knows it by."""
    if address is not None and address[0].lower().startswith("::ffff:") and "." in address[0]:
        return address[0][7:], address[1]
    return address

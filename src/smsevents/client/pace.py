"""The minimum pace of a response.

A server that sends only a little from time to time never triggers a read timeout: one byte per second, endless
interim responses (1xx), compressed line feeds. The client therefore measures progress: a minimum number of bytes of
events must arrive in each period of `silence_seconds`. The time that the caller spends on the events does not count.
Neither does the time that sending a request takes, so a long import is not limited; only each write has a timeout.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpcore2

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

    import httpx2

    from smsevents.client.retry import Timeouts

MINUTE_SECONDS = 60.0


class ResponsePace:
    """Watches one response, from the request to the last byte. `monotonic` counts seconds."""

    def __init__(self, timeouts: Timeouts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._period_seconds = timeouts.silence_seconds
        self._per_minute = timeouts.events_bytes_per_minute_min
        self._monotonic = monotonic
        self._began = monotonic()
        self._heard = False
        self._gained = 0
        self._has_head = False

    def gain(self, size_bytes: int) -> None:
        """Note that events arrived."""
        self._gained += size_bytes

    def sent(self) -> None:
        """Note that the server accepted a part of the request. The time for the response starts after the last part."""
        if not self._has_head:
            self._again()

    def heard(self) -> None:
        """Note that the server sent any data."""
        self._heard = True

    @property
    def is_dripping(self) -> bool:
        """Whether the server sends data without progress. Another try would probably fare no better."""
        return self._heard and self.is_too_slow

    def head_came(self) -> None:
        """Note that the headers are complete. The body starts a new period."""
        self._has_head = True
        self._again()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block, in which the caller processes the events."""
        since = self._monotonic()
        try:
            yield
        finally:
            self._began += self._monotonic() - since

    def left_seconds(self) -> float:
        """Return the seconds left in the current period, or 0 if the response is too slow."""
        left = self._began + self._period_seconds - self._monotonic()
        if left > 0:
            return left
        if self._has_head and self._gained >= self._wanted_bytes():
            self._again()
            return self._period_seconds
        return 0.0

    @property
    def is_too_slow(self) -> bool:
        """Whether a period has passed without the required progress."""
        return self.left_seconds() == 0.0

    @property
    def reason(self) -> str:
        """Describe what did not arrive in time."""
        if not self._has_head:
            return f"the response headers were not complete after {self._period_seconds:g} seconds"
        return f"fewer than {self._wanted_bytes():,.0f} bytes of events arrived in {self._period_seconds:g} seconds"

    def _wanted_bytes(self) -> float:
        return self._per_minute * self._period_seconds / MINUTE_SECONDS

    def _again(self) -> None:
        self._began = self._monotonic()
        self._gained = 0


_current: ContextVar[ResponsePace | None] = ContextVar("pace", default=None)


@contextmanager
def keeping(pace: ResponsePace) -> Iterator[None]:
    """Apply a pace to every read from the network within the block."""
    token = _current.set(pace)
    try:
        yield
    finally:
        _current.reset(token)


def _limited(timeout: float | None) -> float | None:
    """Limit the timeout of a read to the time that the pace allows. Raises the HTTP library's `ReadTimeout`."""
    pace = _current.get()
    if pace is None:
        return timeout
    left = pace.left_seconds()
    if not left:
        raise httpcore2.ReadTimeout(pace.reason)
    return left if timeout is None else min(timeout, left)


def _noted(data: bytes) -> bytes:
    pace = _current.get()
    if pace is not None and data:
        pace.heard()
    return data


def _sent() -> None:
    pace = _current.get()
    if pace is not None:
        pace.sent()


def _rest(timeout: float | None, limit: float | None, error: httpcore2.ReadTimeout) -> float | None:
    """Return what remains of a timeout after a read that took `limit`, which may be shorter than the timeout.

    Raises `error` if nothing remains.
    """
    if timeout is None:
        return None
    if limit is None or limit >= timeout:
        raise error
    return timeout - limit


def watch(client: httpx2.Client | httpx2.AsyncClient) -> None:
    """Make every connection of an HTTP client observe the pace of the request that uses it.

    The HTTP library limits only single reads, and its public API accepts no network backend. This is the only place
    that accesses its private attributes.
    """
    transports: list[Any] = [client._transport, *client._mounts.values()]  # noqa: SLF001 -- see above
    for transport in transports:
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            kind = _Backend if isinstance(transport._pool, httpcore2.ConnectionPool) else _AsyncBackend  # noqa: SLF001 -- see above
            pool._network_backend = kind(pool._network_backend)  # noqa: SLF001 -- see above


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            limit = _limited(timeout)
            try:
                return _noted(self._stream.read(max_bytes, limit))
            except httpcore2.ReadTimeout as error:
                timeout = _rest(timeout, limit, error)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)
        _sent()

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- the library's signature
        return self._stream.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, backend: httpcore2.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _AsyncStream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 -- the library's signature
        while True:
            limit = _limited(timeout)
            try:
                return _noted(await self._stream.read(max_bytes, limit))
            except httpcore2.ReadTimeout as error:
                timeout = _rest(timeout, limit, error)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- the library's signature
        await self._stream.write(buffer, timeout)
        _sent()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's signature
    ) -> httpcore2.AsyncNetworkStream:
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 -- the library's signature
        return self._stream.get_extra_info(info)


class _AsyncBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self, backend: httpcore2.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return _AsyncStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)

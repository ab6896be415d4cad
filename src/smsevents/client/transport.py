"""Two ways to send a request and read its response: blocking, and on an event loop.

Both have the same asynchronous methods (`Transport`), so one core can use either. The methods of the blocking
transport wait only for the network and the clock; `completed` and `iterated` run them without an event loop.
Only this module translates the errors of the HTTP library.
"""

from __future__ import annotations

import os
import ssl
from contextlib import aclosing, contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

import httpx2

from smsevents.client.errors import ConfigurationError, Unreachable
from smsevents.client.lines import printable
from smsevents.client.pace import keeping, watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator

    from smsevents.client.pace import ResponsePace
    from smsevents.client.retry import Timeouts

_READ_BYTES = 64 * 1024
_TLS_ALERT = r"\x15\x03"  # how a server that expects TLS begins; the HTTP library quotes it
_UNLIMITED = httpx2.Limits(max_connections=None, max_keepalive_connections=20)  # the caller's threads are the limit

T = TypeVar("T")


def timeout_extension(timeouts: Timeouts) -> dict[str, Any]:
    """Return the timeouts of one request for the HTTP library. The wait for a free connection is unlimited."""
    limits = httpx2.Timeout(
        connect=timeouts.connect_seconds, read=timeouts.silence_seconds, write=timeouts.send_seconds, pool=None
    )
    return limits.as_dict()


class Broken(Exception):
    """The connection failed within the body of a response. The core turns this into a `TruncatedStream`."""


class SpooledBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a request, read from a file. It works with either transport and can be sent repeatedly."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while data := self._file.read(_READ_BYTES):
            yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for data in self:
            yield data


class Transport(Protocol):
    """What the core needs from a transport."""

    async def send(self, request: httpx2.Request, pace: ResponsePace) -> httpx2.Response:
        """Send a request and return its response, the body unread. Raises `Unreachable`."""
        ...

    def chunks(self, response: httpx2.Response, pace: ResponsePace) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives, without decoding it. Raises `Broken`."""
        ...

    async def close(self, response: httpx2.Response) -> None:
        """Close a response, whether it was read or not."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class BlockingTransport:
    """Sends requests with a blocking HTTP client."""

    def __init__(self, ssl_context: ssl.SSLContext | None, sleep: Callable[[float], None]) -> None:
        with _of_the_environment():
            self._http = httpx2.Client(verify=True if ssl_context is None else ssl_context, limits=_UNLIMITED)
        watch(self._http)
        self._sleep = sleep

    async def send(self, request: httpx2.Request, pace: ResponsePace) -> httpx2.Response:
        """Send a request."""
        with _before_the_answer(request, pace), keeping(pace):
            return self._http.send(request, stream=True)

    async def chunks(self, response: httpx2.Response, pace: ResponsePace) -> AsyncGenerator[bytes]:
        """Yield the body."""
        chunks = response.iter_raw()
        while True:
            with _within_the_answer(), keeping(pace):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    async def close(self, response: httpx2.Response) -> None:
        """Close the response."""
        response.close()

    async def sleep(self, seconds: float) -> None:
        """Wait, blocking the thread."""
        self._sleep(seconds)

    def shut(self) -> None:
        """Close the connections."""
        self._http.close()


class LoopTransport:
    """Sends requests with an asynchronous HTTP client."""

    def __init__(self, ssl_context: ssl.SSLContext | None, sleep: Callable[[float], Awaitable[None]]) -> None:
        with _of_the_environment():
            self._http = httpx2.AsyncClient(verify=True if ssl_context is None else ssl_context, limits=_UNLIMITED)
        watch(self._http)
        self._sleep = sleep

    async def send(self, request: httpx2.Request, pace: ResponsePace) -> httpx2.Response:
        """Send a request."""
        with _before_the_answer(request, pace), keeping(pace):
            return await self._http.send(request, stream=True)

    async def chunks(self, response: httpx2.Response, pace: ResponsePace) -> AsyncGenerator[bytes]:
        """Yield the body."""
        async with aclosing(response.aiter_raw()) as chunks:
            while True:
                with _within_the_answer(), keeping(pace):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk

    async def close(self, response: httpx2.Response) -> None:
        """Close the response."""
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        """Wait, leaving the event loop to other tasks."""
        await self._sleep(seconds)

    async def shut(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def completed(step: Awaitable[T]) -> T:
    """Run an awaitable that never waits for an event loop, and return its result."""
    running = step.__await__()
    try:
        next(running)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("a step of the blocking client waited for an event loop")


def iterated(items: AsyncGenerator[T]) -> Generator[T]:
    """Yield the items of an asynchronous generator that never waits for an event loop."""
    try:
        while True:
            try:
                item = completed(anext(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        completed(items.aclose())


async def no_wait(items: Iterable[T]) -> AsyncGenerator[T]:
    """Yield the items of a normal iterable, which may block, from an asynchronous generator."""
    for item in items:
        yield item


# what the HTTP library reads from the environment when a client is created
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@contextmanager
def _of_the_environment() -> Iterator[None]:
    """Turn a setup error of the HTTP library into an error that names the variables to check."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"SOCKS proxies are not supported. Use the address of an HTTP proxy in {_set_of(_PROXY_VARIABLES)}."
        ) from error
    except OSError as error:  # `ssl.SSLError` too
        raise ConfigurationError(
            f"The certificates cannot be loaded: {_said(error)}. Check {_set_of(_CERTIFICATE_VARIABLES)}."
        ) from error
    except (httpx2.InvalidURL, ValueError) as error:
        # not shown, because the address of a proxy may contain a password
        raise ConfigurationError(
            f"The proxy address is not valid. Check {_set_of(_PROXY_VARIABLES)}. A valid address looks like"
            " http://proxy.example.com:3128."
        ) from error


def _set_of(names: tuple[str, ...]) -> str:
    """Return the names of the variables that are set, in upper or lower case, or all names if none is set."""
    found = [each for name in names for each in (name, name.lower()) if os.environ.get(each)]
    return " and ".join(found or names)


def url_of(url: str) -> httpx2.URL:
    """Parse an address. Raises `ConfigurationError` if the HTTP library rejects it."""
    try:
        return httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ConfigurationError(f"{url!r} is not a valid address: {_said(error)}.") from error


@contextmanager
def _before_the_answer(request: httpx2.Request, pace: ResponsePace) -> Iterator[None]:
    try:
        yield
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
        raise ConfigurationError(f"The request to {request.url} cannot be sent: {error}.") from error
    except UnicodeError as error:  # from the lookup of the host name
        raise ConfigurationError(
            f"{printable(request.url.host)!r} is not a valid host name. Check the address."
        ) from error
    except httpx2.TransportError as error:
        where = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if pace.is_dripping:
            raise Unreachable(
                f"{where} sends data but no response: {pace.reason}. Check the address, and contact the operator of"
                " the server.",
                permanent=True,
            ) from error
        if _is_certificate_fault(error):
            raise Unreachable(
                f"The certificate of {where} is not trusted ({_said(error)}). Check the address. To use your own"
                " certificate authority, set SSL_CERT_FILE, or pass `ssl_context` to the Python client.",
                permanent=True,
            ) from error
        if request.url.scheme == "https" and _is_tls_fault(error):
            raise Unreachable(
                f"A TLS connection to {where} cannot be established ({_said(error)}). Check the port. For a server"
                " without TLS, use an address with http://.",
                permanent=True,
            ) from error
        if request.url.scheme == "http" and _TLS_ALERT in str(error):
            raise Unreachable(f"{where} accepts only TLS. Use an address with https://.", permanent=True) from error
        raise Unreachable(
            f"No response from {where} ({_said(error)}). Check the address and the network, and try again."
        ) from error


@contextmanager
def _within_the_answer() -> Iterator[None]:
    try:
        yield
    except httpx2.TransportError as error:
        raise Broken(_said(error)) from error


def _said(error: Exception) -> str:
    """Return the text of an error, or the name of its class if there is no text, as on a timeout.

    The text is made printable because it may quote what the server sent.
    """
    return printable(str(error)).rstrip(".") or type(error).__name__


def _is_certificate_fault(error: BaseException) -> bool:
    return _caused_by(error, ssl.SSLCertVerificationError)


def _is_tls_fault(error: BaseException) -> bool:
    """Return whether the other side speaks no TLS, or no version that we support. A broken connection is excluded."""
    return _caused_by(error, ssl.SSLError) and not _caused_by(error, (ssl.SSLEOFError, ssl.SSLSyscallError))


def _caused_by(error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False

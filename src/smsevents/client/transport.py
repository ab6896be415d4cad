"""The two ways to send a request and to read its answer: blocking, and on an event loop.

Both have the same asynchronous methods (`Transport`), so that there is one core above them. Those of the
blocking one never wait for anything but the network and the clock; `completed` and `iterated` run them
without an event loop. What the HTTP library raises is translated here and nowhere else.
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
_TLS_ALERT = r"\x15\x03"  # how a server that expects TLS begins, as the HTTP library quotes what is not a status line
_UNLIMITED = httpx2.Limits(max_connections=None, max_keepalive_connections=20)  # the caller's threads are the limit

T = TypeVar("T")


def timeout_extension(timeouts: Timeouts) -> dict[str, Any]:
    """Give timeouts as the HTTP library takes them for one request. The wait for a free connection is unlimited."""
    limits = httpx2.Timeout(
        connect=timeouts.connect_seconds, read=timeouts.silence_seconds, write=timeouts.send_seconds, pool=None
    )
    return limits.as_dict()


class Broken(Exception):
    """The connection failed within the body of an answer; the core makes a `TruncatedStream` of it."""


class SpooledBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of a request, from a file, for either transport and for as many tries as it takes."""

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
    """What the core needs of a transport."""

    async def send(self, request: httpx2.Request, pace: ResponsePace) -> httpx2.Response:
        """Send a request and give its answer, the body unread. Raises `Unreachable`."""
        ...

    def chunks(self, response: httpx2.Response, pace: ResponsePace) -> AsyncGenerator[bytes]:
        """Give the body as it arrives, its coding untouched. Raises `Broken`."""
        ...

    async def close(self, response: httpx2.Response) -> None:
        """Be done with an answer, read or not."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class BlockingTransport:
    """Sends with a client that blocks."""

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
        """Give the body."""
        chunks = response.iter_raw()
        while True:
            with _within_the_answer(), keeping(pace):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    async def close(self, response: httpx2.Response) -> None:
        """Close the answer."""
        response.close()

    async def sleep(self, seconds: float) -> None:
        """Block."""
        self._sleep(seconds)

    def shut(self) -> None:
        """Close the connections."""
        self._http.close()


class LoopTransport:
    """Sends with a client on an event loop."""

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
        """Give the body."""
        async with aclosing(response.aiter_raw()) as chunks:
            while True:
                with _within_the_answer(), keeping(pace):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk

    async def close(self, response: httpx2.Response) -> None:
        """Close the answer."""
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        """Let others go on."""
        await self._sleep(seconds)

    async def shut(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def completed(step: Awaitable[T]) -> T:
    """Run what never waits for an event loop to its end, and give what it gives."""
    running = step.__await__()
    try:
        next(running)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("a step of the blocking client waited for an event loop")


def iterated(items: AsyncGenerator[T]) -> Generator[T]:
    """Give the items of an asynchronous generator that never waits for an event loop."""
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
    """Give items that are there already, or that block until they are, as an asynchronous generator."""
    for item in items:
        yield item


# what the HTTP library takes from the environment when a client is made
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@contextmanager
def _of_the_environment() -> Iterator[None]:
    """Turn what the HTTP library raises when it is set up into an error that names the variables to look at."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"A SOCKS proxy cannot be used. Give the address of an HTTP proxy in {_set_of(_PROXY_VARIABLES)}."
        ) from error
    except OSError as error:  # `ssl.SSLError` too
        raise ConfigurationError(
            f"The certificates cannot be set up: {_said(error)}. Check {_set_of(_CERTIFICATE_VARIABLES)}."
        ) from error
    except (httpx2.InvalidURL, ValueError) as error:
        # not shown as it is: an address of a proxy may have a password in it
        raise ConfigurationError(
            f"The address of the proxy cannot be used. Check {_set_of(_PROXY_VARIABLES)}; one looks like"
            " http://proxy.example.com:3128."
        ) from error


def _set_of(names: tuple[str, ...]) -> str:
    """Name those of some variables that are set, in large letters or small; all where none is."""
    found = [each for name in names for each in (name, name.lower()) if os.environ.get(each)]
    return " and ".join(found or names)


def url_of(url: str) -> httpx2.URL:
    """Read an address. Raises `ConfigurationError` if the HTTP library does not take it."""
    try:
        return httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ConfigurationError(f"{url!r} is not an address: {_said(error)}.") from error


@contextmanager
def _before_the_answer(request: httpx2.Request, pace: ResponsePace) -> Iterator[None]:
    try:
        yield
    except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL) as error:
        raise ConfigurationError(f"The request to {request.url} cannot be sent: {error}.") from error
    except UnicodeError as error:  # of the name's look-up
        raise ConfigurationError(
            f"{printable(request.url.host)!r} cannot be the name of a server. Check the address."
        ) from error
    except httpx2.TransportError as error:
        where = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if pace.is_dripping:
            raise Unreachable(
                f"{where} sends, but does not answer: {pace.reason}. Check the address, and tell the operator of the"
                " server.",
                permanent=True,
            ) from error
        if _is_certificate_fault(error):
            raise Unreachable(
                f"The certificate of {where} is not trusted ({_said(error)}). Check the address; a certificate"
                " authority of your own goes into the variable SSL_CERT_FILE, or `ssl_context` of the Python client.",
                permanent=True,
            ) from error
        if request.url.scheme == "https" and _is_tls_fault(error):
            raise Unreachable(
                f"No TLS connection to {where} can be made ({_said(error)}). Check the port; a server without TLS"
                " needs an address with http://.",
                permanent=True,
            ) from error
        if request.url.scheme == "http" and _TLS_ALERT in str(error):
            raise Unreachable(f"{where} speaks TLS alone. Give the address with https://.", permanent=True) from error
        raise Unreachable(
            f"No answer came from {where} ({_said(error)}). Check the address and the network, and try again."
        ) from error


@contextmanager
def _within_the_answer() -> Iterator[None]:
    try:
        yield
    except httpx2.TransportError as error:
        raise Broken(_said(error)) from error


def _said(error: Exception) -> str:
    """Tell what the HTTP library says, with the kind of the error where it says nothing, as on a timeout.

    It may quote what the server sent.
    """
    return printable(str(error)).rstrip(".") or type(error).__name__


def _is_certificate_fault(error: BaseException) -> bool:
    return _caused_by(error, ssl.SSLCertVerificationError)


def _is_tls_fault(error: BaseException) -> bool:
    """Tell whether the other side speaks no TLS, or none that we do; a connection that only broke off may pass."""
    return _caused_by(error, ssl.SSLError) and not _caused_by(error, (ssl.SSLEOFError, ssl.SSLSyscallError))


def _caused_by(error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False

"""`Client` and `AsyncClient`: the core with a blocking transport, and with one for an event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from smsevents.client import interval
from smsevents.client.account import Account
from smsevents.client.retry import Retry, Timeouts
from smsevents.clock import system as clock

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
    from types import TracebackType

    from smsevents.client.head import OnHead
    from smsevents.client.interval import Time
    from smsevents.client.lines import Batch
    from smsevents.wire.events import Event
    from smsevents.wire.results import ImportResult

_RETRY = Retry()
_TIMEOUTS = Timeouts()


class _Named:
    """What both clients tell about themselves; never the key."""

    _account: Account

    @property
    def trackpoint(self) -> int:
        """Give the number of the shop."""
        return self._account.trackpoint

    @property
    def url(self) -> str:
        """Give the address of the server."""
        return self._account.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.trackpoint}, url={self.url!r})"


class Client(_Named):
    """A shop at a server, for code that blocks. Threads may share one, and export at the same time.

    Without `key` the environment variable SMSEVENTS_API_KEY is taken, without `url` SMSEVENTS_URL; the
    addresses of Samba accounts are in `ACCOUNTS`. `ssl_context` replaces the certificate authorities of the
    system. `accept_unframed` takes an answer whose end cannot be told from a cut. `sleep` waits between
    tries, `jitter` gives a number from 0 to 1 that shortens the wait, `now_ms` is the clock, `monotonic` counts
    seconds.

    Raises `ConfigurationError`. Use it as a context manager, or call `close`.
    """

    def __init__(  # noqa: PLR0913 -- each is given by its name, and nearly all are left out
        self,
        trackpoint: int,
        key: str | None = None,
        *,
        url: str | None = None,
        retry: Retry = _RETRY,
        timeouts: Timeouts = _TIMEOUTS,
        ssl_context: ssl.SSLContext | None = None,
        accept_unframed: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        now_ms: Callable[[], int] = clock.now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # imported here because the HTTP library takes longer to load than all the rest
        from smsevents.client.core import Core, Options  # noqa: PLC0415
        from smsevents.client.transport import BlockingTransport, iterated  # noqa: PLC0415

        self._account = Account.resolve(trackpoint, key, url)
        self._transport = BlockingTransport(ssl_context, sleep)
        self._core = Core(
            self._account,
            self._transport,
            Options(
                retry=retry,
                timeouts=timeouts,
                jitter=jitter,
                now_ms=now_ms,
                accept_unframed=accept_unframed,
                monotonic=monotonic,
            ),
        )
        self._iterated = iterated

    def export_batches(
        self, from_: Time | None = None, to: Time | None = None, *, on_head: OnHead | None = None
    ) -> Generator[Batch]:
        """Export a closed interval in batches of whole, checked lines: the fastest way, and the base of the others.

        Each of `from_` and `to` is a datetime with a time zone or Unix milliseconds; without both it is the
        last 90 days. Neither order nor uniqueness is promised by every server. `on_head` is told what the head of
        the response says about time, once for each try that begins well.

        The export is whole when the iterator ends without an error. Until the first batch it is tried again
        by `retry`. Raises `ConfigurationError` at once; while it is read `Unreachable`, `Refused` with its
        kinds, `UnexpectedResponse`, `TruncatedStream` and `BadLine`.
        """
        return self._iterated(self._core.batches(interval.body(from_, to), on_head))

    def export_blocks(self, from_: Time | None = None, to: Time | None = None) -> Generator[bytes]:
        r"""Export as blocks of whole lines as received, each ended by `\n`. Else like `export_batches`."""
        batches = self.export_batches(from_, to)
        return (batch.block for batch in batches)

    def export_lines(self, from_: Time | None = None, to: Time | None = None) -> Generator[bytes]:
        r"""Export line by line, without `\n`, as they were received. Else like `export_batches`."""
        batches = self.export_batches(from_, to)
        return (line for batch in batches for line in batch.lines)

    def export(self, from_: Time | None = None, to: Time | None = None) -> Generator[Event]:
        """Export event by event. Else like `export_batches`."""
        batches = self.export_batches(from_, to)
        return (event for batch in batches for event in batch.events)

    def import_events(self, events: Iterable[Event | bytes]) -> ImportResult:
        """Import events, or lines as bytes, of this shop: all of them or, if one is bad, none.

        They are read once, compressed into memory and, if they are many, into a temporary file, and sent as
        one import; that may be tried again, as an event is stored once. Needs a key with the scope `import`
        and a server that has an import, such as smsevents. Returns when they are durable there.

        Raises `RefusedLines` for bad ones, and what `export_batches` raises but `IncompleteExport`.
        """
        from smsevents.client.transport import completed, no_wait  # noqa: PLC0415 -- loaded by now

        return completed(self._core.import_(no_wait(events)))

    def close(self) -> None:
        """Close the connections."""
        self._transport.shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(_Named):
    """A shop at a server, for code on an asyncio event loop; else like `Client`.

    An export that is left before its end is closed by `contextlib.aclosing`, or by the event loop, later.
    """

    def __init__(  # noqa: PLR0913 -- each is given by its name, and nearly all are left out
        self,
        trackpoint: int,
        key: str | None = None,
        *,
        url: str | None = None,
        retry: Retry = _RETRY,
        timeouts: Timeouts = _TIMEOUTS,
        ssl_context: ssl.SSLContext | None = None,
        accept_unframed: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        now_ms: Callable[[], int] = clock.now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # imported here because the HTTP library takes longer to load than all the rest
        from smsevents.client.core import Core, Options  # noqa: PLC0415
        from smsevents.client.transport import LoopTransport  # noqa: PLC0415

        self._account = Account.resolve(trackpoint, key, url)
        self._transport = LoopTransport(ssl_context, sleep)
        self._core = Core(
            self._account,
            self._transport,
            Options(
                retry=retry,
                timeouts=timeouts,
                jitter=jitter,
                now_ms=now_ms,
                accept_unframed=accept_unframed,
                monotonic=monotonic,
            ),
        )

    def export_batches(
        self, from_: Time | None = None, to: Time | None = None, *, on_head: OnHead | None = None
    ) -> AsyncGenerator[Batch]:
        """Export a closed interval in batches of whole, checked lines; see `Client.export_batches`."""
        return self._core.batches(interval.body(from_, to), on_head)

    async def export_blocks(self, from_: Time | None = None, to: Time | None = None) -> AsyncGenerator[bytes]:
        """Export as blocks of whole lines; see `Client.export_blocks`."""
        async with aclosing(self.export_batches(from_, to)) as batches:
            async for batch in batches:
                yield batch.block

    async def export_lines(self, from_: Time | None = None, to: Time | None = None) -> AsyncGenerator[bytes]:
        """Export line by line; see `Client.export_lines`."""
        async with aclosing(self.export_batches(from_, to)) as batches:
            async for batch in batches:
                for line in batch.lines:
                    yield line

    async def export(self, from_: Time | None = None, to: Time | None = None) -> AsyncGenerator[Event]:
        """Export event by event; see `Client.export`."""
        async with aclosing(self.export_batches(from_, to)) as batches:
            async for batch in batches:
                for event in batch.events:
                    yield event

    async def import_events(self, events: Iterable[Event | bytes] | AsyncIterable[Event | bytes]) -> ImportResult:
        """Import events, or lines as bytes, from either kind of iterable; see `Client.import_events`."""
        from smsevents.client.transport import no_wait  # noqa: PLC0415 -- loaded by now

        return await self._core.import_(events if isinstance(events, AsyncIterable) else no_wait(events))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.shut()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

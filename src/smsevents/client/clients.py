"""`Client` and `AsyncClient`: the core with a blocking transport, and with a transport for an event loop."""

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

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from smsevents.client.filters import Filter
    from smsevents.client.head import OnHead
    from smsevents.client.interval import Time
    from smsevents.client.lines import Batch
    from smsevents.wire.events import Event
    from smsevents.wire.results import ImportResult

_RETRY = Retry()
_TIMEOUTS = Timeouts()


class _Named:
    """The public properties of both clients. They never include the key."""

    _account: Account

    @property
    def trackpoint(self) -> int:
        """The number of the shop."""
        return self._account.trackpoint

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._account.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.trackpoint}, url={self.url!r})"


class Client(_Named):
    """A shop on a server, for blocking code. Threads may share a client and export concurrently.

    `key` defaults to the environment variable SMSEVENTS_API_KEY, and `url` to SMSEVENTS_URL; `ACCOUNTS` has the
    addresses of Samba accounts. `ssl_context` replaces the system's certificate authorities. `accept_unframed`
    accepts a response that looks the same whether it is complete or truncated. `sleep` waits between tries,
    `jitter` returns a number from 0 to 1 that shortens the wait, `now_ms` is the clock, and `monotonic` counts
    seconds.

    Raises `ConfigurationError`. Use it as a context manager, or call `close`.
    """

    def __init__(  # noqa: PLR0913 -- all are passed by name, and most have defaults
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
        # imported here because the HTTP library takes longer to load than everything else
        from smsevents.client.core import Core, Options  # noqa: PLC0415
        from smsevents.client.transport import BlockingTransport, iterated  # noqa: PLC0415

        self._account = Account.resolve(trackpoint, key, url)
        self._transport = BlockingTransport(ssl_context, sleep)
        self._now_ms = now_ms
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
        self,
        from_: Time | None = None,
        to: Time | None = None,
        *,
        where: Filter | None = None,
        on_head: OnHead | None = None,
    ) -> Generator[Batch]:
        """Export a closed interval in batches of complete, checked lines. This is the fastest way to export.

        `from_` and `to` are days (`"2026-11-25"` or a `date`: the complete day, UTC), datetimes with a time zone (or
        the same as ISO text), a `timedelta` before now, or Unix milliseconds. Without both, the export covers the
        last 90 days. `where` leaves out the events that do not match: a server that takes filters does not send
        them, and the client filters what comes, after it has checked each line. Not every server guarantees order or
        uniqueness. `on_head` receives what the response headers say about time, once for each try that begins well.

        The export is complete when the iterator ends without an error. Until the first batch, failures are retried
        as `retry` says. Raises `ConfigurationError` immediately. While the export is read, it raises `Unreachable`,
        `Refused` and its subclasses, `UnexpectedResponse`, `TruncatedStream` and `BadLine`.
        """
        batches = self.export_received(from_, to, where=where, on_head=on_head)
        return where.batches(batches) if where else batches

    def export_received(
        self,
        from_: Time | None = None,
        to: Time | None = None,
        *,
        where: Filter | None = None,
        on_head: OnHead | None = None,
        in_arrow: bool = False,
    ) -> Generator[Batch]:
        """Export what the server sends: a server that takes filters leaves out what `where` does, others nothing.

        So filter what comes. With `in_arrow`, canonical lines are read as columns of Arrow, which needs the extra
        `arrow`. For the rest see `export_batches`.
        """
        body = interval.body(from_, to, self._now_ms())
        return self._iterated(self._core.batches(body, on_head, where, in_arrow=in_arrow))

    def export_blocks(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> Generator[bytes]:
        r"""Export blocks of complete lines as received, each ending with `\n`. Otherwise like `export_batches`."""
        batches = self.export_batches(from_, to, where=where)
        return (batch.block for batch in batches)

    def export_lines(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> Generator[bytes]:
        r"""Export line by line, as received, without `\n`. Otherwise like `export_batches`."""
        batches = self.export_batches(from_, to, where=where)
        return (line for batch in batches for line in batch.lines)

    def export(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> Generator[Event]:
        """Export event by event. Otherwise like `export_batches`."""
        batches = self.export_batches(from_, to, where=where)
        return (event for batch in batches for event in batch.events)

    def to_arrow(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> pa.RecordBatchReader:
        """Export into Arrow record batches, which are read as they arrive; memory use does not grow.

        The columns are those of `smsevents.client.frames.SCHEMA`. `read_all()` of the reader returns a table. The
        export is complete when the reader ends without an error. Needs the extra `arrow`, otherwise it raises
        `MissingExtra`. For the rest see `export_batches`.
        """
        from smsevents.client import frames  # noqa: PLC0415 -- an extra

        batches = self.export_received(from_, to, where=where, in_arrow=not where)
        return frames.reader_of(where.batches(batches) if where else batches)

    def to_pandas(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> pd.DataFrame:
        """Export into a pandas DataFrame with the columns of `to_arrow`. It holds all events, or an error is raised.

        Needs the extra `pandas`, otherwise it raises `MissingExtra`. For the rest see `export_batches`.
        """
        from smsevents.client import frames  # noqa: PLC0415 -- an extra

        frames.check_pandas()
        return frames.pandas_of(self.to_arrow(from_, to, where=where))

    def to_polars(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> pl.DataFrame:
        """Export into a polars DataFrame with the columns of `to_arrow`. It holds all events, or an error is raised.

        Needs the extra `polars`, otherwise it raises `MissingExtra`. For the rest see `export_batches`.
        """
        from smsevents.client import frames  # noqa: PLC0415 -- an extra

        frames.check_polars()
        return frames.polars_of(self.to_arrow(from_, to, where=where))

    def import_events(self, events: Iterable[Event | bytes]) -> ImportResult:
        """Import events of this shop, or lines as bytes: all of them, or none if one is bad.

        The iterable is read once, compressed into memory (or into a temporary file if it is large), and sent as
        one import. Failures are retried; this is safe because the server stores each event only once. The call
        needs a key with the scope `import`, and a server that has an import, such as smsevents. It returns when
        the events are durable on the server.

        Raises `RefusedLines` for bad lines, and the errors of `export_batches` except `IncompleteExport`.
        """
        from smsevents.client.transport import completed, no_wait  # noqa: PLC0415 -- already loaded

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
    """A shop on a server, for code on an asyncio event loop. Otherwise like `Client`.

    To stop an export early, close it with `contextlib.aclosing`; otherwise the event loop closes it later.
    """

    def __init__(  # noqa: PLR0913 -- all are passed by name, and most have defaults
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
        # imported here because the HTTP library takes longer to load than everything else
        from smsevents.client.core import Core, Options  # noqa: PLC0415
        from smsevents.client.transport import LoopTransport  # noqa: PLC0415

        self._account = Account.resolve(trackpoint, key, url)
        self._transport = LoopTransport(ssl_context, sleep)
        self._now_ms = now_ms
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
        self,
        from_: Time | None = None,
        to: Time | None = None,
        *,
        where: Filter | None = None,
        on_head: OnHead | None = None,
    ) -> AsyncGenerator[Batch]:
        """Export a closed interval in batches of complete, checked lines; see `Client.export_batches`."""
        batches = self.export_received(from_, to, where=where, on_head=on_head)
        return where.batches_async(batches) if where else batches

    def export_received(
        self,
        from_: Time | None = None,
        to: Time | None = None,
        *,
        where: Filter | None = None,
        on_head: OnHead | None = None,
        in_arrow: bool = False,
    ) -> AsyncGenerator[Batch]:
        """Export what the server sends, whether it takes filters or not; see `Client.export_received`."""
        return self._core.batches(interval.body(from_, to, self._now_ms()), on_head, where, in_arrow=in_arrow)

    async def export_blocks(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> AsyncGenerator[bytes]:
        """Export blocks of complete lines; see `Client.export_blocks`."""
        async with aclosing(self.export_batches(from_, to, where=where)) as batches:
            async for batch in batches:
                yield batch.block

    async def export_lines(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> AsyncGenerator[bytes]:
        """Export line by line; see `Client.export_lines`."""
        async with aclosing(self.export_batches(from_, to, where=where)) as batches:
            async for batch in batches:
                for line in batch.lines:
                    yield line

    async def export(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> AsyncGenerator[Event]:
        """Export event by event; see `Client.export`."""
        async with aclosing(self.export_batches(from_, to, where=where)) as batches:
            async for batch in batches:
                for event in batch.events:
                    yield event

    def to_arrow(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> AsyncGenerator[pa.RecordBatch]:
        """Export Arrow record batches; see `Client.to_arrow`, which returns them in a reader."""
        from smsevents.client import frames  # noqa: PLC0415 -- an extra

        batches = self.export_received(from_, to, where=where, in_arrow=not where)
        return frames.record_batches(where.batches_async(batches) if where else batches)

    async def to_pandas(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> pd.DataFrame:
        """Export into a pandas DataFrame; see `Client.to_pandas`."""
        from smsevents.client import frames  # noqa: PLC0415 -- an extra

        frames.check_pandas()
        batches = [batch async for batch in self.to_arrow(from_, to, where=where)]
        return await asyncio.to_thread(frames.pandas_of, batches)

    async def to_polars(
        self, from_: Time | None = None, to: Time | None = None, *, where: Filter | None = None
    ) -> pl.DataFrame:
        """Export into a polars DataFrame; see `Client.to_polars`."""
        from smsevents.client import frames  # noqa: PLC0415 -- an extra

        frames.check_polars()
        batches = [batch async for batch in self.to_arrow(from_, to, where=where)]
        return await asyncio.to_thread(frames.polars_of, batches)

    async def import_events(self, events: Iterable[Event | bytes] | AsyncIterable[Event | bytes]) -> ImportResult:
        """Import events, or lines as bytes, from a normal or asynchronous iterable; see `Client.import_events`."""
        from smsevents.client.transport import no_wait  # noqa: PLC0415 -- already loaded

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

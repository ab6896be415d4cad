"""The core that both clients share: exports and imports, from the request to the last byte.

    export   which filters the server takes → request → retries until the first batch is yielded → check the headers
             → chunks → (decompress, verify the checksum) → complete lines → checked events → batches
    import   events or lines → gzip, in a spool → request → result

An export is complete only if the transfer coding (RFC 9112, 7.1 and 6.3) says so, the gzip trailer is present
and correct, and the last line is terminated. Otherwise the client raises `TruncatedStream`.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import httpx2
import msgspec

from smsevents import __version__
from smsevents.client import responses
from smsevents.client.account import ACCOUNTS
from smsevents.client.asked_filter import body_of, known_filters, options_request
from smsevents.client.errors import (
    BadRequest,
    ClientError,
    ConfigurationError,
    TooSlow,
    TruncatedStream,
    UnexpectedResponse,
    Unreachable,
)
from smsevents.client.head import export_head
from smsevents.client.lines import BatchChecker, Splitter, shortened
from smsevents.client.pace import ResponsePace
from smsevents.client.retry import Tries
from smsevents.client.transport import Broken, SpooledBody, timeout_extension, url_of
from smsevents.wire.deflate import isal_zlib
from smsevents.wire.events import Event, encode
from smsevents.wire.gzip_stream import GZIP_WBITS, INFLATE_RUN_MAX_BYTES, Inflater, NotGzip
from smsevents.wire.results import ImportResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable

    from smsevents.client.account import Account, Action
    from smsevents.client.filters import Filter
    from smsevents.client.head import OnHead
    from smsevents.client.lines import Batch
    from smsevents.client.retry import Retry, Timeouts
    from smsevents.client.transport import Transport

USER_AGENT = f"smsevents/{__version__}"
SPOOL_MAX_BYTES = 16 * 1024 * 1024
ARROW_RUN_MAX_BYTES = 2 * 1024 * 1024  # of lines; what is read from the network at a time usually inflates to less

_GZIP_LEVEL = 1
_PACK_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """The policies of the core: retries, timeouts, clocks, and which responses it accepts."""

    retry: Retry
    timeouts: Timeouts
    jitter: Callable[[], float]
    now_ms: Callable[[], int]
    accept_unframed: bool
    monotonic: Callable[[], float] = time.monotonic


class Core:
    """Exports and imports of one account, over either transport. It remembers only which filters the server takes."""

    def __init__(self, account: Account, transport: Transport, options: Options) -> None:
        self._account = account
        self._transport = transport
        self._options = options
        self._known_filters: frozenset[str] | None = None  # None: the server was not asked yet

    async def batches(
        self,
        interval: bytes,
        on_head: OnHead | None = None,
        where: Filter | None = None,
        *,
        in_arrow: bool = False,
    ) -> AsyncGenerator[Batch]:
        """Yield an export in batches; `interval` is the body of the request. `on_head` receives each head that is good.

        With `in_arrow`, canonical lines are read as columns of Arrow, which must be installed.

        A server that takes filters leaves out what `where` does; the caller filters what comes in any case. If the
        server then refuses the request, it is sent again without the filter.

        A failed export is retried until the first batch is yielded. After that, a second export could duplicate
        events that the caller already has, or omit events that the first one contained.
        """
        tries = Tries(self._options.retry, self._options.jitter)
        body = body_of(interval, where, await self._filters()) if where else interval
        while True:
            given = False
            try:
                async with aclosing(self._export(body, on_head, in_arrow=in_arrow)) as batches:
                    async for batch in batches:
                        given = True
                        yield batch
            except ClientError as error:
                if given:
                    raise
                if body != interval and isinstance(error, BadRequest):
                    self._known_filters = frozenset()  # behind one address, servers may differ
                    body = interval
                    continue
                wait = tries.wait_seconds(error)
            else:
                return
            await self._transport.sleep(wait)

    async def _filters(self) -> frozenset[str]:
        """Return the filters that the server takes. The first call asks it. A server that fails is asked again."""
        if self._account.url in ACCOUNTS.values():
            return frozenset()
        if self._known_filters is None:
            request = options_request(self._account, self._options.timeouts, USER_AGENT)
            try:
                response = await self._transport.send(request, self._pace())
            except Unreachable:
                return frozenset()  # the export will say what is wrong
            await self._transport.close(response)
            self._known_filters = known_filters(response.headers) if response.is_success else frozenset()
        return self._known_filters

    async def import_(self, items: AsyncIterable[Event | bytes]) -> ImportResult:
        """Send events or lines as one import, all or nothing.

        The server stores an event only once, so an import can safely be sent twice. Every failure that may be
        temporary is retried, even after the body was sent.
        """
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_MAX_BYTES) as spool:
            packer = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WBITS)
            sent = 0
            async for lines, count in _packs(items):
                sent += count
                _keep(spool, packer.compress(lines))
            _keep(spool, packer.flush())
            headers = {"Content-Encoding": "gzip", "Content-Length": str(spool.tell())}
            tries = Tries(self._options.retry, self._options.jitter)
            while True:
                try:
                    return await self._import(self._request("import", headers, SpooledBody(spool)), sent)
                except ClientError as error:
                    wait = tries.wait_seconds(error)
                await self._transport.sleep(wait)

    async def _export(self, interval: bytes, on_head: OnHead | None, *, in_arrow: bool) -> AsyncGenerator[Batch]:
        """Yield the batches of one try."""
        pace = self._pace()
        sent_ms = self._options.now_ms()
        request = self._request("export", {"Content-Type": "application/json"}, interval)
        response = await self._transport.send(request, pace)
        pace.head_came()
        try:
            coding = await self._check_head(response, pace)
            if on_head:
                on_head(export_head(response.headers, sent_ms, self._options.now_ms()))
            checker = self._checker(in_arrow=in_arrow)
            splitter = Splitter()
            inflater = Inflater(ARROW_RUN_MAX_BYTES if in_arrow else INFLATE_RUN_MAX_BYTES)
            try:
                async with aclosing(self._plain_runs(response, inflater if coding == "gzip" else None, pace)) as runs:
                    async for run in runs:
                        batch, bad = checker.check(splitter.feed(run))
                        if batch.block:
                            pace.gain(len(batch.block))
                            with pace.paused():
                                yield batch
                        if bad or (splitter.is_too_long and (bad := checker.check_tail(splitter.rest))):
                            raise bad
                        if pace.is_too_slow:
                            raise Broken(pace.reason)
            except Broken as error:
                kind = TooSlow if pace.is_too_slow else TruncatedStream
                reason = pace.reason if pace.is_too_slow else str(error)
                raise _cut(reason, checker, response, kind) from error
            if rest := splitter.rest:
                raise checker.check_tail(rest) or _cut("it ends in the middle of a line", checker, response)
        finally:
            await self._transport.close(response)

    def _checker(self, *, in_arrow: bool) -> BatchChecker:
        trackpoint = self._account.trackpoint
        if not in_arrow:
            return BatchChecker(trackpoint)
        from smsevents.client.arrow_lines import ArrowReader  # noqa: PLC0415 -- an extra

        return BatchChecker(trackpoint, ArrowReader(trackpoint))

    async def _plain_runs(
        self, response: httpx2.Response, inflater: Inflater | None, pace: ResponsePace
    ) -> AsyncGenerator[bytes]:
        """Yield the decoded body. Raises `Broken` if it is damaged or does not end properly."""
        async with aclosing(self._transport.chunks(response, pace)) as chunks:
            async for chunk in chunks:
                try:
                    for run in inflater.feed(chunk) if inflater else (chunk,):
                        yield run
                except NotGzip as error:
                    raise Broken(f"its gzip stream is damaged ({error})") from error
        if inflater and not inflater.is_whole:
            raise Broken("its gzip stream has no trailer")

    async def _check_head(self, response: httpx2.Response, pace: ResponsePace) -> str:
        """Check the status and the headers. Return the content coding."""
        if response.status_code != responses.HTTP_OK:
            raise await self._error_of(response, pace)
        media_type = responses.media_type_of(response.headers)
        coding = responses.coding_of(response.headers)
        if media_type and media_type not in responses.LINES_TYPES:
            start = shortened(responses.plain(await self._beginning(response, pace), coding))
            raise UnexpectedResponse(
                f"The response is {media_type}, not JSON lines, so it is not an export. It may come from a proxy, or"
                f" the address may be wrong. It begins: {start}"
            )
        if coding not in {"identity", "gzip"}:
            raise UnexpectedResponse(
                f"The response has the content coding {coding!r}, but the client requested gzip or none."
            )
        if coding == "identity" and not self._options.accept_unframed and _ends_with_the_connection(response):
            raise UnexpectedResponse(
                "The response has no length, chunks or gzip, so a truncated export would look complete. Make sure that"
                " no proxy turns it into HTTP/1.0. (`accept_unframed=True` of the Python client accepts it at that"
                " risk.)",
                permanent=True,
            )
        return coding

    async def _import(self, request: httpx2.Request, sent: int) -> ImportResult:
        pace = self._pace()
        response = await self._transport.send(request, pace)
        pace.head_came()
        try:
            if response.status_code != responses.HTTP_OK:
                raise await self._error_of(response, pace)
            body = responses.plain(await self._beginning(response, pace), responses.coding_of(response.headers))
        finally:
            await self._transport.close(response)
        try:
            result = msgspec.json.decode(body, type=ImportResult)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnexpectedResponse(f"The response is not an import result; it begins: {shortened(body)}") from error
        if result.received < sent:
            raise UnexpectedResponse(
                f"The server reports that it received {result.received:,} events, but {sent:,} were sent. Check for a"
                " proxy that drops request bodies, then send them again: no event is stored twice."
            )
        return result

    def _pace(self) -> ResponsePace:
        return ResponsePace(self._options.timeouts, self._options.monotonic)

    async def _error_of(self, response: httpx2.Response, pace: ResponsePace) -> ClientError:
        body = await self._beginning(response, pace)
        return responses.error_of(response.status_code, response.headers, body, self._options.now_ms())

    async def _beginning(self, response: httpx2.Response, pace: ResponsePace) -> bytes:
        """Read a short body completely, or the beginning of a long one, as far as it arrives."""
        body = b""
        try:
            async with aclosing(self._transport.chunks(response, pace)) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) >= responses.ERROR_BODY_MAX_BYTES or pace.is_too_slow:
                        break
        except Broken:
            pass  # the status is enough
        return body

    def _request(self, action: Action, headers: dict[str, str], body: bytes | SpooledBody) -> httpx2.Request:
        url = url_of(self._account.address(action))
        fixed = {
            "Host": url.netloc.decode(),
            "X-Api-Key": self._account.key,
            "User-Agent": USER_AGENT,
            "Accept": "application/json-seq, application/x-ndjson, application/json;q=0.9, */*;q=0.1",
            "Accept-Encoding": "gzip",
        }
        return httpx2.Request(
            "POST",
            url,
            headers=fixed | headers,
            content=body if isinstance(body, bytes) else None,
            stream=body if isinstance(body, SpooledBody) else None,
            extensions={"timeout": timeout_extension(self._options.timeouts)},
        )


def _cut(
    reason: str, checker: BatchChecker, response: httpx2.Response, kind: type[TruncatedStream] = TruncatedStream
) -> TruncatedStream:
    return kind(reason, lines=checker.lines, body_bytes=response.num_bytes_downloaded)


def _ends_with_the_connection(response: httpx2.Response) -> bool:
    """Return whether the body ends only with the connection (RFC 9112, 6.3, case 8)."""
    chunked = response.headers.get("transfer-encoding", "").strip().lower().endswith("chunked")
    return not chunked and "content-length" not in response.headers and response.http_version.startswith("HTTP/1")


def _keep(spool: IO[bytes], data: bytes) -> None:
    """Write to the spool of an import. Raises `ConfigurationError` if the temporary folder is full."""
    try:
        spool.write(data)
    except OSError as error:
        raise ConfigurationError(
            f"The import does not fit in the temporary folder: {error.strerror}. Nothing was sent. Free some space, set"
            " TMPDIR to another folder, or send the import in several parts."
        ) from error


async def _packs(items: AsyncIterable[Event | bytes]) -> AsyncGenerator[tuple[bytes, int]]:
    """Yield lines in chunks of about _PACK_BYTES, each with the number of its lines that are not blank."""
    held: list[bytes] = []
    size = count = 0
    async for item in items:
        line = _line(item)
        held += (line, b"\n")
        size += len(line) + 1
        count += sum(1 for one in line.split(b"\n") if one and not one.isspace())
        if size >= _PACK_BYTES:
            yield b"".join(held), count
            held, size, count = [], 0, 0
    yield b"".join(held), count


def _line(item: Event | bytes) -> bytes:
    if isinstance(item, Event):
        return encode(item)
    if isinstance(item, bytes):
        return item.removesuffix(b"\n")
    raise ConfigurationError(f"An import accepts events or lines as bytes, not {type(item).__name__}.")

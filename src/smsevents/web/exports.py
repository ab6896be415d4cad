"""`POST /shop/{trackpointId}/export-sms-events`: a shop's events of a window, as one stream.

    key → body → window → log.read → pages of pieces → splice (gzip) or unpack (plain) → response

What can be refused is refused before the first byte, and so is a store that cannot be read. A fault behind
the first byte cuts the connection: the last chunk is not sent, so a cut export cannot be taken for a whole
one.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.datastructures import State

from smsevents.errors import DamagedSegment, InvalidRequest, SmsEventsError, UnsupportedEncoding
from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.segments.splice import count, splice, unpack
from smsevents.web import metrics, negotiate, query, tenant_metrics
from smsevents.web.body import stream
from smsevents.web.note import note_of
from smsevents.web.shop import authorized_shop
from smsevents.wire.events import Milliseconds
from smsevents.wire.file_formats import START_MAX_BYTES, format_of
from smsevents.wire.limits import DAY_MS
from smsevents.wire.window import Window, resolve, warning_of

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from smsevents.segments.segment import Piece
    from smsevents.web.note import Note
    from smsevents.web.state import Shared

EXPORT_RUN_MIN_BYTES = 256 * 1024
EXPORT_FAST_PAGE_BYTES = 1024 * 1024
EXPORT_AHEAD_MAX_SECONDS = 0.02  # a client that takes longer for a run is not read ahead for

logger = structlog.get_logger()

KIB = 1024


class ExportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an export request; null is the same as omitted."""

    from_: Milliseconds | None = msgspec.field(name="from", default=None)
    to: Milliseconds | None = None


_decoder = msgspec.json.Decoder(ExportRequest)


@post("/shop/{trackpointId:str}/export-sms-events", status_code=200)
async def export_sms_events(request: Request[Any, Any, Any], state: State) -> Response[None]:
    """Export the events of a shop."""
    shared: Shared = state.shared
    trackpoint = await authorized_shop(request, shared, request.path_params["trackpointId"], "export")
    query.refuse_members(request.query_params, {"from", "to"})
    with shared.exports.enter(trackpoint):  # whoever only begins to ask holds a connection too
        window = await _window(request, shared)
    gzip = negotiate.wants_gzip(negotiate.joined(request, "accept-encoding"))
    headers = {
        "Content-Type": negotiate.media_type(negotiate.joined(request, "accept")),
        "Vary": "Accept-Encoding",
        "X-Export-From": str(window.start),
        "X-Export-To": str(window.end),
        "Cache-Control": "no-store",
    }
    if warning := warning_of(window):
        headers["X-Export-Warning"] = warning
    if gzip:
        headers["Content-Encoding"] = "gzip"
    return ExportStream(shared, trackpoint, window, gzip=gzip, headers=headers)


async def _window(request: Request[Any, Any, Any], shared: Shared) -> Window:
    """Read the body and apply the rules of the interval to it."""
    if negotiate.codings(request):
        raise UnsupportedEncoding(
            "Send the request of an export as plain JSON, without Content-Encoding.", supported="identity"
        )
    max_bytes = shared.settings.export_body_max_kib * KIB
    body = b"".join(
        [
            part
            async for part in stream(
                request,
                max_bytes,
                shared.settings,
                f"The request of an export is at most {max_bytes} bytes: send `from` and `to` alone.",
            )
        ]
    )
    if not body.strip():
        raise InvalidRequest("The body is empty. Send {} for the last 90 days, or an object with `from` and `to`.")
    try:
        asked = _decoder.decode(body)
        _refuse_repeated_keys(body)
    except msgspec.ValidationError as error:
        now = shared.log.now()
        raise InvalidRequest(
            f'{error}. Send an object like {{"from": {now - DAY_MS}, "to": {now}}}, in Unix milliseconds.'
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = format_of(body[:START_MAX_BYTES])
        why = "it starts with a byte order mark" if body.startswith(codecs.BOM_UTF8) else error
        wrong = f"is {found.split(';')[0]}" if found else f"is not valid JSON: {why}"
        raise InvalidRequest(
            f"The body {wrong}. Send {{}} or an object with `from` and `to`, as JSON in UTF-8."
        ) from error
    return resolve(asked.from_, asked.to, shared.log.now())


def _refuse_repeated_keys(body: bytes) -> None:
    # A valid body is flat and holds no strings but its keys, at most two: each ends in a quote and a colon.
    keys = msgspec.json.decode(body, type=dict[str, int | None])
    if body.count(b":") != len(keys):
        raise InvalidRequest("`from` or `to` stands twice in the body. Send each once.")


class Run(NamedTuple):
    """Bytes of an export to be sent at once, and whether they are the last."""

    data: bytes
    is_last: bool


NOTHING = Run(b"", is_last=False)


class ExportStream(Response[None]):
    """The answer of an export: reads a run of bytes, sends it, and so on, until the end or a fault."""

    def __init__(self, shared: Shared, trackpoint: int, window: Window, *, gzip: bool, headers: dict[str, str]) -> None:
        """Prepare the export of a window; nothing is read before the answer is sent."""
        super().__init__(None, headers=headers)
        self._shared = shared
        self._trackpoint = trackpoint
        self._sent = metrics.export_bytes_gzip if gzip else metrics.export_bytes_identity
        self._page_max_bytes = PAGE_HELD_MAX_BYTES
        self._reader = shared.log.read(trackpoint, window)
        self._events_out = tenant_metrics.shop_events_out.labels(tenant_metrics.shop_label(trackpoint))
        pages = map(self._counted, iter(lambda: self._reader.next_page(self._page_max_bytes), []))
        self._runs = splice(pages) if gzip else unpack(pages)
        self._asked = time.perf_counter()
        self._note: Note | None = None
        self._run = NOTHING  # what is to be sent next; held nowhere else, so that it goes once it is
        self._keeps_up = True

    def to_asgi_response(self, *_args: object, **_kwargs: object) -> ASGIApp:  # type: ignore[override]
        """Give the ASGI app that sends the answer."""
        return self._send

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._note = note_of(scope)
        with self._shared.exports.enter(self._trackpoint), metrics.exports_running.track_inprogress():
            self._run = await self._read()
            await send(self._start())
            metrics.export_first_byte_seconds.observe(time.perf_counter() - self._asked)
            if self._run.is_last:
                await self._send_run(send)
            else:
                await self._send_runs(receive, send)

    async def _send_runs(self, receive: Receive, send: Send) -> None:
        """Send run after run; an answer that has no last one when this returns was cut: its connection is closed."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while not self._run.is_last and not gone.done():
                await self._send_and_read(send)
            if self._run.is_last:
                await self._send_run(send)
            else:
                self._cut("client", "the client went away")
        except TimeoutError:
            self._cut("client", "the client stopped reading")
        except asyncio.CancelledError:
            self._cut("shutdown", "the server stops")
            raise
        except SmsEventsError as error:
            self._cut("damage" if isinstance(error, DamagedSegment) else "store", str(error))
        finally:
            gone.cancel()

    async def _send_and_read(self, send: Send) -> None:
        """Send the run and have the next one.

        That is read while this one is sent, and in larger pages, but not for a slow client: it gains nothing by
        that, and a hundred of them would hold a hundred times as much.
        """
        if not self._keeps_up or not self._shared.runs_ahead.take():
            await self._send_run(send)
            self._run = await self._read()
            return
        self._page_max_bytes = EXPORT_FAST_PAGE_BYTES
        reading = asyncio.ensure_future(self._read())
        try:
            await self._send_run(send)
            self._run = await reading
        finally:
            self._page_max_bytes = PAGE_HELD_MAX_BYTES
            self._shared.runs_ahead.give_back()
            if not reading.cancel() and not reading.cancelled():
                reading.exception()  # looked at, so that nobody misses it where sending has failed too

    async def _send_run(self, send: Send) -> None:
        """Send the run and hold it no longer. Raises `TimeoutError` when the client does not read on."""
        started = time.perf_counter()
        (data, is_last), self._run = self._run, NOTHING
        size = len(data)
        async with asyncio.timeout(self._shared.settings.stall_max_seconds):
            await send({"type": "http.response.body", "body": data, "more_body": not is_last})
            del data  # the server has a copy, framed
            if not is_last:
                # It waits, before it sends anything, until the client has taken what was sent before.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
        self._keeps_up = time.perf_counter() - started < EXPORT_AHEAD_MAX_SECONDS
        self._sent.inc(size)
        if is_last:
            metrics.export_seconds.observe(time.perf_counter() - self._asked)

    async def _read(self) -> Run:
        workers = self._shared.mergers if self._reader.next_is_slow else self._shared.readers
        return await workers.run(self._trackpoint, self._take_run)

    def _take_run(self) -> Run:
        """Take as much as is worth a call into a thread and a call of the network: a small export comes whole."""
        taken: list[bytes] = []
        held = 0
        for data in self._runs:
            taken.append(data)
            held += len(data)
            if held >= EXPORT_RUN_MIN_BYTES:
                return Run(b"".join(taken), is_last=False)
        return Run(b"".join(taken), is_last=True)

    def _start(self) -> Any:  # noqa: ANN401 -- an ASGI message
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    def _cut(self, reason: str, detail: str) -> None:
        metrics.exports_cut.labels(reason).inc()
        if self._note is not None:
            self._note.reason = f"cut_{reason}"
        log = logger.info if reason == "client" else logger.warning if reason == "shutdown" else logger.error
        log("export cut", trackpoint=self._trackpoint, reason=reason, detail=detail)

    def _counted(self, pieces: list[Piece]) -> list[Piece]:
        events = count(pieces)
        metrics.events_out.inc(events)
        self._events_out.inc(events)
        return pieces


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""`POST /shop/{trackpointId}/import-sms-events`: lines in, durable before the response.

    key → body → recorder (inflate, check, sort, pack, commit) → response

All or nothing: nothing is stored until the last line was found valid, and a client that disconnects before that
leaves nothing in the store.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from litestar import Request, post
from litestar.types import ASGIApp

from smsevents.errors import BlockedMeanwhile, InvalidRequest, TimeInDoubt, UnknownShop, UnsupportedEncoding
from smsevents.log.ingest import INFLATION_MAX_RATIO, MIB, Limits
from smsevents.log.small import SMALL_BODY_MAX_BYTES
from smsevents.web import metrics, negotiate, query, tenant_metrics
from smsevents.web.auth import authorized_shop
from smsevents.web.body import announced_bytes, stream, whole
from smsevents.web.describe import LINES, TRACKPOINT, WITH_BODY, example_lines, json_response, problem, problems
from smsevents.web.problems import INVALID_LINES, STATUSES
from smsevents.wire.results import ImportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from litestar.types import Receive, Scope, Send

    from smsevents.log.recorder import Recorder
    from smsevents.web.fair import FairThreads
    from smsevents.web.state import AppState

T = TypeVar("T")

_FEED_BYTES = 256 * 1024  # how much is collected before a thread processes it
_FEED_SHORT_BYTES = 64 * 1024  # the same when memory is low
IMPORTS_AT_EASE_MAX = 4  # when more run at the same time, each holds less in memory
_TURN_LINES_BYTES = 1024 * 1024  # processed before another shop has its turn: about 10 ms of CPU time


@post("/shop/{trackpointId:str}/import-sms-events", status_code=200)
async def import_sms_events(request: Request[Any, Any, Any]) -> ASGIApp:
    """Record events of a shop. The response is sent once they are durable."""
    app: AppState = request.app.state.app
    started = time.perf_counter()
    trackpoint = await authorized_shop(request, app, request.path_params["trackpointId"], "import")
    if request.scope["query_string"]:
        query.refuse_others(request.query_params, set())
    gzip = _is_gzip(negotiate.codings(request))
    with app.imports.limit.enter(trackpoint), tenant_metrics.imports_running.track_inprogress():
        body = None if gzip else await _small_body(request, app)
        result = None if body is None else await _record_at_once(app, trackpoint, body)
        if result is None:
            result = await _record(request, app, trackpoint, body, gzip=gzip)
    stored_events = result.received - result.expired - result.blocked
    metrics.events_in.inc(stored_events)
    tenant_metrics.events_in_of_shop(tenant_metrics.shop_label(trackpoint)).inc(stored_events)
    metrics.events_expired.inc(result.expired)
    metrics.import_seconds.observe(time.perf_counter() - started)
    return _response(result)


def _response(result: ImportResult) -> ASGIApp:
    """Return the response. The framework would take as long to make it as the import of an event takes."""
    body = msgspec.json.encode(result)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return respond


async def _small_body(request: Request[Any, Any, Any], app: AppState) -> bytes | None:
    """Return the body if its announced length is small. Otherwise return None, with nothing of it read."""
    announced = announced_bytes(request)
    if announced is None or announced > SMALL_BODY_MAX_BYTES:
        return None
    return await whole(request, SMALL_BODY_MAX_BYTES, app.settings, "")


async def _record(
    request: Request[Any, Any, Any], app: AppState, trackpoint: int, body: bytes | None, *, gzip: bool
) -> ImportResult:
    """Record the body, which is read as it arrives unless it is given. Return its counts once it is durable."""
    with app.log.recording(trackpoint, gzip=gzip, limits=_limits_of(app)) as recorder:
        feeding = Feeding(app.imports.threads, trackpoint, recorder)
        rest = await _take_in(request, app, feeding) if body is None else body
        # the body is complete, so the import is stored even if the client disconnects now
        result = None
        if body is None and not feeding.has_begun and not gzip and len(rest) <= SMALL_BODY_MAX_BYTES:
            result = await _record_at_once(app, trackpoint, rest)
        if result is None:
            result, stored = await feeding.finish(rest)
            await asyncio.wrap_future(stored)
    return result


async def _record_at_once(app: AppState, trackpoint: int, body: bytes) -> ImportResult | None:
    """Record a small body without another thread. Return None, with nothing stored, if that is not possible."""
    outcome = app.outcomes.new()
    result = app.small_imports.record(trackpoint, body, outcome)
    if result is None:
        return None
    try:
        await outcome
    except BlockedMeanwhile:  # what was remembered of blocked users was old
        return None
    return result


class Feeding:
    """Feeds a recorder in worker threads, in bounded steps, so that other shops have their turn in between.

    Nothing runs before the first bytes arrive, so that a small import needs only one thread switch.
    """

    def __init__(self, threads: FairThreads, trackpoint: int, recorder: Recorder) -> None:
        """Feed a recorder in the turns of a shop."""
        self._threads = threads
        self._trackpoint = trackpoint
        self._recorder = recorder
        self._steps: Iterator[int] = iter(())
        self._is_given_up = False
        self.has_begun = False  # whether it was fed anything

    async def feed(self, data: bytes) -> None:
        """Process the next bytes."""
        self.has_begun = True
        self._steps = self._recorder.steps(data)
        while not await self._in_thread(self._take_some):
            pass

    async def finish(self, data: bytes) -> tuple[ImportResult, Future[None]]:
        """Process the last bytes. Return the result, and a future that is done once the import is durable."""
        self._steps = self._recorder.steps(data)
        while (done := await self._in_thread(self._finish_some)) is None:
            pass
        return done

    def give_up(self) -> None:
        """Start no further steps after the one that runs now."""
        self._is_given_up = True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run work in a thread. A cancelled caller still waits for its end: the recorder must stay open until then."""
        running = asyncio.wrap_future(self._threads.submit(self._trackpoint, work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.give_up()
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            raise

    def _take_some(self) -> bool:
        """Process as much as one turn allows. Return whether nothing is left of the current bytes."""
        taken = 0
        for size in self._steps:
            taken += size
            if self._is_given_up:
                return True
            if taken >= _TURN_LINES_BYTES:
                return False
        return True

    def _finish_some(self) -> tuple[ImportResult, Future[None]] | None:
        if not self._take_some() or self._is_given_up:  # an import that was given up is incomplete, never to be stored
            return None
        return self._recorder.finish()


async def _take_in(request: Request[Any, Any, Any], app: AppState, feeding: Feeding) -> bytes:
    """Process the body in worker threads while more of it arrives. Return the rest, which was not processed."""
    max_mib = app.settings.import_body_max_mib
    too_large = (
        f"The body of an import is at most {max_mib} MiB as it is sent. Send it with Content-Encoding: gzip,"
        " or in several imports;"
        " the operator of the server can raise SMSEVENTS_IMPORT_BODY_MAX_MIB."
    )
    parts: list[bytes] = []
    held = 0
    task: asyncio.Task[None] | None = None
    try:
        async for part in stream(request, max_mib * MIB, app.settings, too_large):
            parts.append(part)
            held += len(part)
            if held >= (_FEED_SHORT_BYTES if _is_short_of_memory(app) else _FEED_BYTES):
                if task is not None:
                    await task
                task = asyncio.create_task(feeding.feed(b"".join(parts)))
                parts, held = [], 0
        if task is not None:
            await task
    except BaseException:
        feeding.give_up()
        raise
    finally:
        if task is not None:
            await asyncio.wait([task])  # the recorder must stay open until the thread is done
            if not task.cancelled():
                task.exception()  # retrieve it, or asyncio would log it when the body has failed too
    return b"".join(parts)


def _limits_of(app: AppState) -> Limits:
    return Limits(
        lines_max_mib=app.settings.import_lines_max_mib,
        inflation_max_ratio=INFLATION_MAX_RATIO,
        is_short_of_memory=lambda: _is_short_of_memory(app),
    )


def _is_short_of_memory(app: AppState) -> bool:
    return app.imports.limit.inside > IMPORTS_AT_EASE_MAX


def _is_gzip(codings: list[str]) -> bool:
    if not codings:
        return False
    if codings in (["gzip"], ["x-gzip"]):
        return True
    raise UnsupportedEncoding(
        f"Content-Encoding {', '.join(codings)!r} cannot be read. Send the lines with gzip or as they are.",
        supported="gzip, identity",
    )


def operation(now: int) -> dict[str, Any]:
    """Describe the operation for OpenAPI, with examples of the day of `now` (Unix ms)."""
    not_json = "not JSON: invalid character (byte 1)"
    bad_event = "invalid enum value 'SENT' - at `$.smsEvent.status`"
    return {
        "operationId": "importSmsEvents",
        "tags": ["Events"],
        "summary": "Record events of a shop",
        "description": (
            "Lines as the export writes them, in any valid JSON spelling, optionally with `Content-Encoding: gzip`."
            " All or nothing, and the response comes only when the events are on the disk. Blank lines and CRLF are"
            " fine. The key needs the scope `import`."
        ),
        "parameters": [TRACKPOINT],
        "requestBody": {
            "required": True,
            "content": {negotiate.NDJSON: {"schema": LINES, "examples": {"events": {"value": example_lines(now)}}}},
        },
        "responses": {
            "200": json_response(
                "The events are stored, on the disk. Sending them again changes nothing.",
                ImportResult,
                ImportResult(received=1000, expired=2, blocked=1),
            ),
            **problems("import", [*WITH_BODY, UnknownShop, TimeInDoubt]),
            "400": problem(
                STATUSES[InvalidRequest],
                when="A line is not valid JSON, or the gzip stream is damaged. Nothing was stored.",
                detail=f"Nothing was stored. Line 2: {not_json}.",
                errors=[{"line": 2, "reason": not_json}],
                more=False,
            ),
            "422": problem(INVALID_LINES, errors=[{"line": 3, "reason": bad_event}], more=False),
        },
    }

"""`POST /shop/{trackpointId}/import-sms-events`: lines in, durable before the answer.

    key → body → ingest (inflate, check, sort, pack) → log.append → commit → answer

All or nothing: until the last line was found good nothing is stored, and a client that goes away before
leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from litestar import Request, post
from litestar.datastructures import State

from smsevents.errors import UnsupportedEncoding
from smsevents.log.ingest import INFLATION_MAX_RATIO, MIB, ImportResult, Ingest
from smsevents.web import metrics, negotiate, query, tenant_metrics
from smsevents.web.body import stream
from smsevents.web.shop import authorized_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from smsevents.web.state import Shared

_FEED_BYTES = 256 * 1024  # collected before the work goes to a thread
_FEED_SHORT_BYTES = 64 * 1024  # the same when memory is short
IMPORTS_AT_EASE_MAX = 4  # when more run at a time, each holds less in memory
_TURN_LINES_BYTES = 1024 * 1024  # taken in before it is another shop's turn: some 10 ms of a processor


@post("/shop/{trackpointId:str}/import-sms-events", status_code=200)
async def import_sms_events(request: Request[Any, Any, Any], state: State) -> dict[str, int]:
    """Record events of a shop."""
    shared: Shared = state.shared
    started = time.perf_counter()
    trackpoint = await authorized_shop(request, shared, request.path_params["trackpointId"], "import")
    query.refuse_others(request.query_params, set())
    gzip = _is_gzip(negotiate.codings(request))
    with (
        shared.imports.enter(trackpoint),
        tenant_metrics.imports_running.track_inprogress(),
        closing(_Taking(shared, trackpoint, gzip=gzip)) as taking,
    ):
        result, stored = await _take_in(request, shared, taking)
        # an import whose client goes away now is still stored, as its body was whole
        await asyncio.wrap_future(stored)
    stored_events = result.received - result.expired - result.blocked
    metrics.events_in.inc(stored_events)
    tenant_metrics.shop_events_in.labels(tenant_metrics.shop_label(trackpoint)).inc(stored_events)
    metrics.events_expired.inc(result.expired)
    metrics.import_seconds.observe(time.perf_counter() - started)
    answer = {"received": result.received, "expired": result.expired}
    return answer | {"blocked": result.blocked} if result.blocked else answer


class _Taking:
    """What an import does in worker threads: read who is blocked, take lines in, hand them to the log.

    All of it waits for the first bytes, so that a small import is one call into a thread. A large one is many: after
    each bounded step it is another shop's turn.
    """

    def __init__(self, shared: Shared, trackpoint: int, *, gzip: bool) -> None:
        self._shared = shared
        self._trackpoint = trackpoint
        self._gzip = gzip
        self._blocked: frozenset[bytes] = frozenset()
        self._ingest: Ingest | None = None
        self._steps: Iterator[int] = iter(())
        self._is_given_up = False

    async def feed(self, data: bytes) -> None:
        """Take the next bytes in."""
        self._steps = self._steps_of(data)
        while not await self._shared.importers.run(self._trackpoint, self._take_some):
            pass

    async def finish(self, data: bytes) -> tuple[ImportResult, Future[None]]:
        """Take the last bytes in; give what came, and the future that is done once it is durable."""
        self._steps = self._steps_of(data)
        while (done := await self._shared.importers.run(self._trackpoint, self._finish_some)) is None:
            pass
        return done

    def give_up(self) -> None:
        """Take no more steps after the one that runs now."""
        self._is_given_up = True

    def close(self) -> None:
        """Drop what was taken in."""
        if self._ingest is not None:
            self._shared.timekeeper.witness(self._ingest.newest_ms)
            self._ingest.close()

    def _take_some(self) -> bool:
        """Take as much in as one turn may; tell whether that was all there is."""
        taken = 0
        for size in self._steps:
            taken += size
            if self._is_given_up:
                return True
            if taken >= _TURN_LINES_BYTES:
                return False
        return True

    def _finish_some(self) -> tuple[ImportResult, Future[None]] | None:
        if not self._take_some():
            return None
        ingest = self._opened()
        result = ingest.finish()
        stored = self._shared.log.append(self._trackpoint, ingest.segments(), self._blocked, ingest.stored_bytes)
        return result, stored

    def _steps_of(self, data: bytes) -> Iterator[int]:
        yield from self._opened().steps(data)

    def _opened(self) -> Ingest:
        if self._ingest is None:
            self._blocked = self._shared.log.blocked(self._trackpoint)
            self._ingest = Ingest.judged(
                self._trackpoint,
                self._shared.timekeeper.judge(),
                gzip=self._gzip,
                lines_max_mib=self._shared.settings.import_lines_max_mib,
                blocked=self._blocked,
                inflation_max_ratio=INFLATION_MAX_RATIO,
                is_short_of_memory=lambda: _is_short_of_memory(self._shared),
            )
        return self._ingest


async def _take_in(
    request: Request[Any, Any, Any], shared: Shared, taking: _Taking
) -> tuple[ImportResult, Future[None]]:
    """Take the body in, in a worker thread, while more of it arrives."""
    max_mib = shared.settings.import_body_max_mib
    too_large = (
        f"The body of an import is at most {max_mib} MiB as it is sent. Send it with Content-Encoding: gzip,"
        " or in several imports;"
        " the operator of the server can raise SMSEVENTS_IMPORT_BODY_MAX_MIB."
    )
    parts: list[bytes] = []
    held = 0
    feeding: asyncio.Task[None] | None = None
    try:
        async for part in stream(request, max_mib * MIB, shared.settings, too_large):
            parts.append(part)
            held += len(part)
            if held >= (_FEED_SHORT_BYTES if _is_short_of_memory(shared) else _FEED_BYTES):
                if feeding is not None:
                    await feeding
                feeding = asyncio.create_task(taking.feed(b"".join(parts)))
                parts, held = [], 0
        if feeding is not None:
            await feeding
    except BaseException:
        taking.give_up()
        raise
    finally:
        if feeding is not None:
            await asyncio.wait([feeding])  # the thread must not find the ingest closed
            if not feeding.cancelled():
                feeding.exception()  # looked at, so that nobody misses it where the body has failed too

    return await taking.finish(b"".join(parts))


def _is_short_of_memory(shared: Shared) -> bool:
    return shared.imports.inside > IMPORTS_AT_EASE_MAX


def _is_gzip(codings: list[str]) -> bool:
    if not codings:
        return False
    if codings in (["gzip"], ["x-gzip"]):
        return True
    raise UnsupportedEncoding(
        f"Content-Encoding {', '.join(codings)!r} cannot be read. Send the lines with gzip or as they are.",
        supported="gzip, identity",
    )

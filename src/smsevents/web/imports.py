"""`POST /shop/{trackpointId}/import-sms-events`: lines in, durable before the answer.

    key → body → intake (inflate, check, sort, pack) → log.append → commit → answer

All or nothing: until the last line was found good nothing is stored, and a client that goes away before
leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from litestar import Request, post
from litestar.datastructures import State

from smsevents.errors import UnsupportedEncoding
from smsevents.intake import MIB, Intake, Receipt
from smsevents.web import metrics, negotiate, query
from smsevents.web.body import stream
from smsevents.web.shop import authorized_shop

if TYPE_CHECKING:
    from concurrent.futures import Future

    from smsevents.web.state import Shared

_FEED_BYTES = 256 * 1024  # collected before the work goes to a thread


@post("/shop/{trackpointId:str}/import-sms-events", status_code=200)
async def import_sms_events(request: Request[Any, Any, Any], state: State) -> dict[str, int]:
    """Record events of a shop."""
    shared: Shared = state.shared
    started = time.perf_counter()
    trackpoint = await authorized_shop(request, shared, request.path_params["trackpointId"], "import")
    query.refuse_others(request.query_params, set())
    gzip = _is_gzip(negotiate.codings(request))
    with shared.imports.enter(), closing(_Taking(shared, trackpoint, gzip=gzip)) as taking:
        receipt, stored = await _take_in(request, shared, taking)
        # an import whose client goes away now is still stored, as its body was whole
        await asyncio.wrap_future(stored)
    metrics.events_in.inc(receipt.received - receipt.expired - receipt.blocked)
    metrics.events_expired.inc(receipt.expired)
    metrics.import_seconds.observe(time.perf_counter() - started)
    answer = {"received": receipt.received, "expired": receipt.expired}
    return answer | {"blocked": receipt.blocked} if receipt.blocked else answer


class _Taking:
    """What an import does in worker threads: read who is blocked, take lines in, hand them to the log.

    All of it waits for the first bytes, so that a small import is one call into a thread.
    """

    def __init__(self, shared: Shared, trackpoint: int, *, gzip: bool) -> None:
        self._shared = shared
        self._trackpoint = trackpoint
        self._gzip = gzip
        self._blocked: frozenset[bytes] = frozenset()
        self._intake: Intake | None = None

    def feed(self, data: bytes) -> Intake:
        """Take the next bytes in; give the intake."""
        if self._intake is None:
            log = self._shared.log
            self._blocked = log.blocked(self._trackpoint)
            lines_max_mib = self._shared.settings.import_lines_max_mib
            self._intake = Intake(
                self._trackpoint, log.now(), gzip=self._gzip, lines_max_mib=lines_max_mib, blocked=self._blocked
            )
        self._intake.feed(data)
        return self._intake

    def finish(self, data: bytes) -> tuple[Receipt, Future[None]]:
        """Take the last bytes in; give what came, and the future that is done once it is durable."""
        intake = self.feed(data)
        receipt = intake.finish()
        return receipt, self._shared.log.append(self._trackpoint, intake.segments(), self._blocked)

    def close(self) -> None:
        """Drop what was taken in."""
        if self._intake is not None:
            self._intake.close()


async def _take_in(request: Request[Any, Any, Any], shared: Shared, taking: _Taking) -> tuple[Receipt, Future[None]]:
    """Take the body in, in a worker thread, while more of it arrives."""
    max_mib = shared.settings.import_body_max_mib
    too_large = (
        f"The body of an import is at most {max_mib} MiB as it is sent. Send it with Content-Encoding: gzip,"
        " or in several imports, or raise SMSEVENTS_IMPORT_BODY_MAX_MIB."
    )
    parts: list[bytes] = []
    held = 0
    feeding: asyncio.Future[Intake] | None = None
    try:
        async for part in stream(request, max_mib * MIB, shared.settings.body_idle_max_seconds, too_large):
            parts.append(part)
            held += len(part)
            if held >= _FEED_BYTES:
                if feeding is not None:
                    await feeding
                feeding = asyncio.ensure_future(shared.importers.run(partial(taking.feed, b"".join(parts))))
                parts, held = [], 0
        if feeding is not None:
            await feeding
    finally:
        if feeding is not None:
            await asyncio.wait([feeding])  # the thread must not find the intake closed
            feeding.exception()  # looked at, so that nobody misses it where the body has failed too

    return await shared.importers.run(partial(taking.finish, b"".join(parts)))


def _is_gzip(codings: list[str]) -> bool:
    if not codings:
        return False
    if codings in (["gzip"], ["x-gzip"]):
        return True
    raise UnsupportedEncoding(
        f"Content-Encoding {', '.join(codings)!r} cannot be read. Send the lines with gzip or as they are.",
        supported="gzip, identity",
    )

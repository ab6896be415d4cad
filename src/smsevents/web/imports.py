"""`POST /shop/{trackpointId}/import-sms-events`: lines in, durable before the answer.

    key → body → intake (inflate, check, sort, pack) → log.append → commit → answer

All or nothing: until the last line was found good nothing is stored, and a client that goes away before
leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from litestar import Request, post
from litestar.datastructures import State

from smsevents.errors import UnsupportedEncoding
from smsevents.intake import MIB, Intake, Receipt
from smsevents.web import metrics
from smsevents.web.body import stream
from smsevents.web.shop import authorized_shop

if TYPE_CHECKING:
    from smsevents.web.state import Shared

_FEED_BYTES = 256 * 1024  # collected before the work goes to a thread


@post("/shop/{trackpointId:str}/import-sms-events", status_code=200)
async def import_sms_events(request: Request[Any, Any, Any], state: State) -> dict[str, int]:
    """Record events of a shop."""
    shared: Shared = state.shared
    started = time.perf_counter()
    trackpoint = await authorized_shop(request, shared, request.path_params["trackpointId"], "import")
    gzip = _is_gzip(request.headers.get("content-encoding", ""))
    lines_max_mib = shared.settings.import_lines_max_mib
    blocked = await shared.readers.run(lambda: shared.log.blocked(trackpoint))
    with (
        shared.imports.enter(),
        Intake(trackpoint, shared.log.now(), gzip=gzip, lines_max_mib=lines_max_mib, blocked=blocked) as intake,
    ):
        receipt = await _take_in(request, shared, intake)
        # an import whose client goes away now is still stored, as its body was whole
        await asyncio.wrap_future(shared.log.append(trackpoint, intake.segments(), blocked))
    metrics.events_in.inc(receipt.received - receipt.expired - receipt.blocked)
    metrics.events_expired.inc(receipt.expired)
    metrics.import_seconds.observe(time.perf_counter() - started)
    answer = {"received": receipt.received, "expired": receipt.expired}
    return answer | {"blocked": receipt.blocked} if receipt.blocked else answer


async def _take_in(request: Request[Any, Any, Any], shared: Shared, intake: Intake) -> Receipt:
    """Feed the body to the intake, in a worker thread, while more of it arrives."""
    max_mib = shared.settings.import_body_max_mib
    too_large = (
        f"The body of an import is at most {max_mib} MiB as it is sent. Send it with Content-Encoding: gzip,"
        " or in several imports, or raise SMSEVENTS_IMPORT_BODY_MAX_MIB."
    )
    parts: list[bytes] = []
    held = 0
    async for part in stream(request, max_mib * MIB, shared.settings.body_idle_max_seconds, too_large):
        parts.append(part)
        held += len(part)
        if held >= _FEED_BYTES:
            await shared.importers.run(partial(intake.feed, b"".join(parts)))
            parts, held = [], 0

    def finish() -> Receipt:
        intake.feed(b"".join(parts))
        return intake.finish()

    return await shared.importers.run(finish)


def _is_gzip(content_encoding: str) -> bool:
    coding = content_encoding.strip().lower()
    if coding in {"gzip", "x-gzip"}:
        return True
    if coding in {"", "identity"}:
        return False
    raise UnsupportedEncoding(
        f"Content-Encoding {content_encoding!r} cannot be read. Send the lines with gzip or as they are.",
        supported="gzip, identity",
    )

"""`GET /shop/{trackpointId}/sms-stats` and the two paths below it: numbers over an interval of a shop's log.

key → question → what is stored, as an ETag → 304, or counting in a thread → response

If the client goes away, the count ends at its next part.
"""

from __future__ import annotations

import asyncio
import gzip
import threading
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, get

from smsevents.catalog.outlines import digest_of_stored
from smsevents.errors import ClientGone
from smsevents.segments.tally import QUARTER_MS
from smsevents.stats.delivery import count_deliveries
from smsevents.stats.events import count_events
from smsevents.stats.messages import count_messages
from smsevents.web import negotiate
from smsevents.web.auth import authorized_shop
from smsevents.web.stats_bodies import delivery_times, event_statistics, message_statistics
from smsevents.web.stats_csv import csv_of, name_of
from smsevents.web.stats_query import NO_STATUS, read_question, wants_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from smsevents.catalog import Database
    from smsevents.stats.parts import Check
    from smsevents.stats.question import Question
    from smsevents.web.state import AppState
    from smsevents.web.stats_bodies import Body

ETAG_DIGEST_BYTES = 16
GZIP_MIN_BYTES = 1024  # below, gzip saves no packet
GZIP_LEVEL = 5


@dataclass(frozen=True)
class _Kind:
    """A kind of statistics: its name in file names, and the function that counts."""

    name: str
    count: Callable[[Database, int, Question, Check], Body]


_EVENTS = _Kind("sms-stats", lambda *args: event_statistics(args[2], count_events(*args)))
_DELIVERY = _Kind("sms-delivery-time", lambda *args: delivery_times(args[2], count_deliveries(*args)))
_MESSAGES = _Kind("sms-messages", lambda *args: message_statistics(args[2], count_messages(*args)))


@get("/shop/{trackpointId:str}/sms-stats")
async def sms_stats(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Count the events of a shop."""
    return await _counted(request, _EVENTS, read_question)


@get("/shop/{trackpointId:str}/sms-stats/delivery-time")
async def delivery_time(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Measure how long the delivery of a shop's messages took."""
    return await _counted(request, _DELIVERY, partial(read_question, groups_by=NO_STATUS))


@get("/shop/{trackpointId:str}/sms-stats/messages")
async def messages(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Count the messages of a shop by their state."""
    return await _counted(request, _MESSAGES, partial(read_question, axis="send", groups_by=NO_STATUS))


async def _counted(
    request: Request[Any, Any, Any], kind: _Kind, read: Callable[[Request[Any, Any, Any], int], Question]
) -> Response[bytes]:
    app: AppState = request.app.state.app
    trackpoint = await authorized_shop(request, app, request.path_params["trackpointId"], "stats", "export")
    as_csv = wants_csv(request)
    as_gzip = negotiate.wants_gzip(negotiate.joined(request, b"accept-encoding"))
    question = read(request, app.log.now())
    known = negotiate.joined(request, b"if-none-match")
    with app.statistics.limit.enter(trackpoint):
        return await _unless_gone(
            request,
            lambda check: app.statistics.threads.run(
                trackpoint,
                lambda: _response(
                    app.database, trackpoint, kind, question, known, check=check, as_csv=as_csv, as_gzip=as_gzip
                ),
            ),
        )


async def _unless_gone(
    request: Request[Any, Any, Any], count: Callable[[Check], Coroutine[Any, Any, Response[bytes]]]
) -> Response[bytes]:
    """Return what `count` does. Raises `ClientGone` if the client goes away first; the check of the count does, too."""
    is_gone = threading.Event()

    def check() -> None:
        if is_gone.is_set():
            raise ClientGone("The client went away before its numbers were counted.")

    counting = asyncio.ensure_future(count(check))
    leaving = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((counting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not counting.done():
            is_gone.set()
        check()
        return await counting
    finally:
        is_gone.set()  # also if the server stops
        for one in (counting, leaving):
            one.cancel()


async def _until_gone(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _response(  # noqa: PLR0913 -- what a response depends on
    database: Database,
    trackpoint: int,
    kind: _Kind,
    question: Question,
    known: str,
    *,
    check: Check,
    as_csv: bool,
    as_gzip: bool,
) -> Response[bytes]:
    etag = _etag(database, trackpoint, kind, question, as_csv=as_csv)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding"}
    if etag in {one.strip(" \t") for one in known.split(",")} or known.strip(" \t") == "*":
        return Response(b"", status_code=304, headers=headers)
    body = kind.count(database, trackpoint, question, check)
    if as_csv:
        headers["Content-Disposition"] = f'attachment; filename="{name_of(kind.name, trackpoint, body)}"'
    content, media_type = (
        (csv_of(body), "text/csv; header=present") if as_csv else (msgspec.json.encode(body), negotiate.JSON)
    )
    if as_gzip and len(content) >= GZIP_MIN_BYTES:
        headers["Content-Encoding"] = "gzip"
        content = gzip.compress(content, GZIP_LEVEL, mtime=0)
    return Response(content, headers=headers, media_type=media_type)


def _etag(database: Database, trackpoint: int, kind: _Kind, question: Question, *, as_csv: bool) -> str:
    """Return a weak ETag: `asOf` may differ. It is read before the events are, so it is never newer than they are."""
    window, log_window, wanted = question.window, question.log_window, question.wanted
    with database.read() as connection:
        stored = digest_of_stored(connection, trackpoint, log_window.start, log_window.end)
    asked = (
        (kind.name, as_csv, trackpoint, stored, window, question.zone.key, question.at, question.step),
        (question.by, question.top, *map(sorted, (wanted.statuses, wanted.types, wanted.campaigns, wanted.nodes))),
        [bucket.complete for bucket in question.buckets.all],
        question.now // QUARTER_MS if kind is _MESSAGES else 0,  # messages get old
    )
    return f'W/"{blake2b(repr(asked).encode(), digest_size=ETAG_DIGEST_BYTES).hexdigest()}"'

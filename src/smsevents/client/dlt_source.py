"""The events as a source of dlt, for your own pipelines. It needs the extra `sync`.

    import dlt
    from smsevents.client.dlt_source import sms_events

    pipeline = dlt.pipeline("sms", destination="duckdb", dataset_name="marketing")
    pipeline.run(sms_events(4541245641234564, url="https://api.samba.ai"))

The table is `sms_events`, the columns are COLUMNS. Each event is one row, however often it is loaded:
`event_id` is its identity, and rows are merged by it. So a day may be read again, and is.

How far the last run came is kept in dlt's state, by server and trackpoint: the end of its interval, and not the
newest event. It is never ahead of this machine's clock or of the server's, whichever is earlier. So neither an event
that is dated ahead nor a clock that is ahead moves it past what was loaded.
"""

from __future__ import annotations

import random
import time
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any

from smsevents.client.account import Account
from smsevents.client.clients import Client
from smsevents.client.errors import ConfigurationError, MissingExtra, Recovery, TruncatedStream
from smsevents.client.head import CLOCK_DIFFERENCE_MAX_MS
from smsevents.client.reached import Reached
from smsevents.client.retry import Retry, Timeouts, Tries
from smsevents.clock import system as clock
from smsevents.wire import columns
from smsevents.wire.events import Event, encode
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.times import EPOCH, MILLISECOND, is_time

try:
    import dlt
except ImportError as error:
    raise MissingExtra(
        "Loading into a warehouse needs dlt, which is not installed. In the checkout of smsevents, run:"
        " pip install '.[sync]' (or: make install WITH=sync)"
    ) from error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dlt.common.data_types import TDataType
    from dlt.common.schema.typing import TColumnSchema
    from dlt.sources import DltSource

    from smsevents.client.head import OnHead

__all__ = ["COLUMNS", "LOOKBACK_DAYS", "TABLE", "row_of", "sms_events"]

SOURCE = "smsevents"
TABLE = "sms_events"
LOOKBACK_DAYS = 3
DAYS_MAX = 36_500


def _column(data_type: TDataType, description: str) -> TColumnSchema:
    return {"data_type": data_type, "description": description}


COLUMNS: dict[str, TColumnSchema] = {
    "event_id": _column("text", "SHA-256 of the canonical line, in hex: the identity of the event"),
    "trackpoint": _column("bigint", "the number of the shop"),
    "user_id": _column("text", "the user the message was for"),
    "status": _column("text", "DELIVERED, ACCEPTED, EXPIRED, DELETED, UNDELIVERABLE, REJECTED or SKIPPED"),
    "date": _column("timestamp", "when it happened, to the millisecond, UTC"),
    "source_type": _column("text", "flow or one-off"),
    "campaign_id": _column("text", "the campaign"),
    "campaign_name": _column("text", "its name when the event was written"),
    "node_id": _column("text", "the SMS node of the flow; NULL for one-off"),
    "node_name": _column("text", "its name when the event was written; NULL for one-off"),
    "send_date": _column("timestamp", "when the message was sent, to the millisecond, UTC"),
}
"""The columns of the table, as dlt takes them."""

_RETRY = Retry()
_TIMEOUTS = Timeouts()


def row_of(event: Event) -> dict[str, Any]:
    """Give the row of an event.

    What cannot be a time, outside the years 2000 to 2099, becomes NULL, and U+0000 in a text U+FFFD.
    """
    row: dict[str, Any] = {"event_id": sha256(encode(event)).hexdigest()}
    for column, value in zip(columns.COLUMNS, columns.row_of(event), strict=True):
        row[column] = value.replace("\x00", "\ufffd") if isinstance(value, str) else value
    return row | {"date": _time(event.smsEvent.date), "send_date": _time(event.source.sendDate)}


def sms_events(  # noqa: PLR0913 -- each is given by its name, and nearly all are left out
    trackpoint: int,
    key: str | None = None,
    *,
    url: str | None = None,
    lookback_days: float = LOOKBACK_DAYS,
    days_max: float | None = None,
    retry: Retry = _RETRY,
    timeouts: Timeouts = _TIMEOUTS,
    ssl_context: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now_ms: Callable[[], int] = clock.now_ms,
) -> DltSource:
    """Give a source with the one resource `sms_events`: from where the last run ended to now.

    It begins `lookback_days` earlier, for events that were recorded late, and the first time with the whole
    history of 90 days. `days_max` ends it so many days behind the last run's end at the latest, so that much is
    loaded in several runs. It is read day by day; a day that is cut is read again by `retry`, which doubles
    nothing. The destination must be able to merge by deleting and inserting (dlt's `delete-insert`).

    The rest is as in `Client`. Raises `ConfigurationError`; a run raises dlt's `PipelineStepFailed` with a
    `ClientError` among its causes, and then loads nothing.
    """
    check_days(lookback_days, days_max)
    return source_of(
        Account.resolve(trackpoint, key, url),  # so that what is missing is told here, and not within a run
        lambda synced_to, now: interval_of(synced_to, now, lookback_days, days_max),
        Reached(),
        retry=retry,
        timeouts=timeouts,
        ssl_context=ssl_context,
        sleep=sleep,
        now_ms=now_ms,
    )


def check_days(lookback_days: float, days_max: float | None) -> None:
    """Raise `ConfigurationError` for what is not a number of days."""
    if not 0 <= lookback_days <= DAYS_MAX or (days_max is not None and not 0 < days_max <= DAYS_MAX):
        raise ConfigurationError(f"A number of days is wanted, from 0 to {DAYS_MAX:,}.")


def source_of(  # noqa: PLR0913 -- each is given by its name
    account: Account,
    interval: Callable[[int | None, int], tuple[int, int]],
    reached: Reached,
    *,
    retry: Retry,
    timeouts: Timeouts,
    ssl_context: ssl.SSLContext | None,
    sleep: Callable[[float], None],
    now_ms: Callable[[], int],
) -> DltSource:
    """Give the source for one interval, made of what the state says and of now; `reached` is told what came of it."""
    place = place_of(account)

    def rows() -> Iterator[Any]:
        yield dlt.mark.materialize_table_schema()  # so that the table is there also where nothing happened yet
        state = dlt.current.resource_state()
        now = now_ms()
        before = state.get(place)
        start, end = interval(before, now)
        reached.begin(start, end, now)
        with Client(
            account.trackpoint,
            account.key,
            url=account.url,
            retry=retry,
            timeouts=timeouts,
            ssl_context=ssl_context,
            sleep=sleep,
            now_ms=now_ms,
        ) as client:
            for day_start, day_end in chain(days_of(start, end), missed_days(reached)):
                for events in _day(client, day_start, day_end, retry, sleep, reached.heard):
                    reached.newest(events)
                    yield [row_of(event) for event in events]
        state[place] = reached.by_both_clocks(before)

    @dlt.source(name=SOURCE, max_table_nesting=0)
    def smsevents() -> Any:  # noqa: ANN401 -- dlt takes nearly anything
        return dlt.resource(
            rows, name=TABLE, write_disposition="merge", primary_key="event_id", columns=COLUMNS, max_table_nesting=0
        )

    source: DltSource = smsevents()
    return source


def place_of(account: Account) -> str:
    """Give the name under which the state of an account is kept."""
    return f"{account.url} {account.trackpoint}"


def interval_of(synced_to: int | None, now: int, lookback_days: float, days_max: float | None) -> tuple[int, int]:
    """Give the closed interval of a run, in Unix milliseconds. `synced_to` is the end of the last one, if any.

    An end that lies in the future was written with a wrong clock, and says nothing: the whole history is read at once.
    """
    oldest = now - HISTORY_MS
    if synced_to is not None and synced_to > now + CLOCK_DIFFERENCE_MAX_MS:
        return oldest, now
    reached = oldest if synced_to is None else max(oldest, min(synced_to, now))
    start = reached if synced_to is None else max(oldest, reached - round(lookback_days * DAY_MS))
    end = now if days_max is None else min(now, reached + max(1, round(days_max * DAY_MS)))
    return start, end


def days_of(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a closed interval into closed ones of a day at most."""
    while start <= end:
        yield start, min(end, start + DAY_MS - 1)
        start += DAY_MS


def missed_days(reached: Reached) -> Iterator[tuple[int, int]]:
    """Give the days that turned out to be missing at either end; asked for when the others were read."""
    if missed := reached.missed():
        yield from days_of(*missed)
    if later := reached.later():
        yield from days_of(*later)


def _day(  # noqa: PLR0913, PLR0917 -- what it depends on is passed in
    client: Client, start: int, end: int, retry: Retry, sleep: Callable[[float], None], on_head: OnHead
) -> Iterator[list[Event]]:
    """Give the events of a day, and those that came before a cut once more: the merge makes one of them."""
    tries = Tries(retry, random.random)
    while True:
        try:
            for batch in client.export_batches(start, end, on_head=on_head):
                yield batch.events
        except TruncatedStream as error:
            if not error.lines or error.recovery is Recovery.NEVER:
                raise  # the client itself has tried again by then, or it is no use
            wait = tries.wait_seconds(error)
        else:
            return
        sleep(wait)


def _time(milliseconds: int) -> datetime | None:
    return EPOCH + milliseconds * MILLISECOND if is_time(milliseconds) else None

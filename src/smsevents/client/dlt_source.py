"""The events as a dlt source, for your own pipelines. Needs the extra `sync`.

    import dlt
    from smsevents.client.dlt_source import sms_events

    pipeline = dlt.pipeline("sms", destination="duckdb", dataset_name="marketing")
    pipeline.run(sms_events(4541245641234564, url="https://api.samba.ai"))

The table is `sms_events`, and COLUMNS describes its columns. Each event is one row, however often it is loaded:
`event_id` identifies it, and rows are merged by it. Days can therefore be read again safely.

dlt's state keeps how far the last run got, by server and trackpoint: the end of its interval, not the newest event.
This position is never later than this machine's clock or the server's, whichever is earlier. So neither a
future-dated event nor a clock that is ahead can move it past what was loaded.
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
from smsevents.client.filters import NO_FILTER, Filter, remembered
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
"""The columns of the table, in dlt's form."""

_RETRY = Retry()
_TIMEOUTS = Timeouts()


def row_of(event: Event) -> dict[str, Any]:
    """Return the row of an event.

    A time outside the years 2000 to 2099 becomes NULL. U+0000 in a text becomes U+FFFD.
    """
    row: dict[str, Any] = {"event_id": sha256(encode(event)).hexdigest()}
    for column, value in zip(columns.COLUMNS, columns.row_of(event), strict=True):
        row[column] = value.replace("\x00", "\ufffd") if isinstance(value, str) else value
    return row | {"date": _time(event.smsEvent.date), "send_date": _time(event.source.sendDate)}


def sms_events(  # noqa: PLR0913 -- all are passed by name, and most have defaults
    trackpoint: int,
    key: str | None = None,
    *,
    url: str | None = None,
    lookback_days: float = LOOKBACK_DAYS,
    days_max: float | None = None,
    where: Filter | None = None,
    retry: Retry = _RETRY,
    timeouts: Timeouts = _TIMEOUTS,
    ssl_context: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now_ms: Callable[[], int] = clock.now_ms,
) -> DltSource:
    """Return a source with the single resource `sms_events`: the events from the end of the last run to now.

    A run starts `lookback_days` before that end, to include events that were recorded late; the first run loads the
    complete history of 90 days. With `days_max`, a run ends at most that many days after the end of the last run, so
    that a large history is loaded in several runs. `where` leaves out events; the state keeps it, and a later run with
    another one is refused. Events are read day by day. A truncated day is read again
    as `retry` says, without duplicates. The destination must support merging by delete and insert (dlt's
    `delete-insert`).

    The other arguments are those of `Client`. Raises `ConfigurationError`. If a run fails, it raises dlt's
    `PipelineStepFailed` with a `ClientError` among its causes, and loads nothing.
    """
    check_days(lookback_days, days_max)
    return source_of(
        Account.resolve(trackpoint, key, url),  # so that missing settings are reported here, not within a run
        lambda synced_to, now: interval_of(synced_to, now, lookback_days, days_max),
        Reached(),
        where=where,
        retry=retry,
        timeouts=timeouts,
        ssl_context=ssl_context,
        sleep=sleep,
        now_ms=now_ms,
    )


def check_days(lookback_days: float, days_max: float | None) -> None:
    """Raise `ConfigurationError` if a number of days is out of range."""
    if not 0 <= lookback_days <= DAYS_MAX or (days_max is not None and not 0 < days_max <= DAYS_MAX):
        raise ConfigurationError(f"The number of days must be from 0 to {DAYS_MAX:,}.")


def source_of(  # noqa: PLR0913 -- all are passed by name
    account: Account,
    interval: Callable[[int | None, int], tuple[int, int]],
    reached: Reached,
    *,
    where: Filter | None = None,
    retry: Retry,
    timeouts: Timeouts,
    ssl_context: ssl.SSLContext | None,
    sleep: Callable[[float], None],
    now_ms: Callable[[], int],
) -> DltSource:
    """Return the source for the interval that `interval` derives from the state and now. Results go to `reached`."""
    place = place_of(account)

    def rows() -> Iterator[Any]:
        yield dlt.mark.materialize_table_schema()  # so that the table exists even if there are no events yet
        state = dlt.current.resource_state()
        now = now_ms()
        before = state.get(place)
        choose = (remembered(state, place, where, is_begun=before is not None) or NO_FILTER).chooser()
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
                    yield [row_of(event) for event in choose(events, events)]
        state[place] = reached.by_both_clocks(before)

    @dlt.source(name=SOURCE, max_table_nesting=0)
    def smsevents() -> Any:  # noqa: ANN401 -- dlt accepts nearly anything
        return dlt.resource(
            rows, name=TABLE, write_disposition="merge", primary_key="event_id", columns=COLUMNS, max_table_nesting=0
        )

    source: DltSource = smsevents()
    return source


def place_of(account: Account) -> str:
    """Return the name under which the state of an account is stored."""
    return f"{account.url} {account.trackpoint}"


def interval_of(synced_to: int | None, now: int, lookback_days: float, days_max: float | None) -> tuple[int, int]:
    """Return the closed interval of a run, in Unix milliseconds. `synced_to` is the end of the last run, if any.

    An end in the future was written with a wrong clock, so it is ignored and the complete history is read.
    """
    oldest = now - HISTORY_MS
    if synced_to is not None and synced_to > now + CLOCK_DIFFERENCE_MAX_MS:
        return oldest, now
    reached = oldest if synced_to is None else max(oldest, min(synced_to, now))
    start = reached if synced_to is None else max(oldest, reached - round(lookback_days * DAY_MS))
    end = now if days_max is None else min(now, reached + max(1, round(days_max * DAY_MS)))
    return start, end


def begun_at(from_ms: int | None, synced_to: int | None, now: int, usual: tuple[int, int]) -> tuple[int, int]:
    """Return the interval of a run that begins at `from_ms`, or at its usual start if that leaves no gap.

    A start before the history of the server, or after now, is moved there.
    """
    start, end = usual
    if from_ms is None:
        return usual
    wanted = min(max(from_ms, now - HISTORY_MS), now)
    if synced_to is not None:
        return min(start, wanted), end
    return wanted, min(now, wanted + end - start)


def days_of(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Split a closed interval into closed intervals of at most a day."""
    while start <= end:
        yield start, min(end, start + DAY_MS - 1)
        start += DAY_MS


def missed_days(reached: Reached) -> Iterator[tuple[int, int]]:
    """Yield the days that turned out to be missing at either end. Call it after the other days were read."""
    if missed := reached.missed():
        yield from days_of(*missed)
    if later := reached.later():
        yield from days_of(*later)


def _day(  # noqa: PLR0913, PLR0917 -- its dependencies are passed in
    client: Client, start: int, end: int, retry: Retry, sleep: Callable[[float], None], on_head: OnHead
) -> Iterator[list[Event]]:
    """Yield the events of a day. After a truncation, events are yielded again; the merge removes the duplicates."""
    tries = Tries(retry, random.random)
    while True:
        try:
            for batch in client.export_batches(start, end, on_head=on_head):
                yield batch.events
        except TruncatedStream as error:
            if not error.lines or error.recovery is Recovery.NEVER:
                raise  # the client has already retried, or retrying is useless
            wait = tries.wait_seconds(error)
        else:
            return
        sleep(wait)


def _time(milliseconds: int) -> datetime | None:
    return EPOCH + milliseconds * MILLISECOND if is_time(milliseconds) else None

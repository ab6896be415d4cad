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
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any

from smsevents.client.account import Account
from smsevents.client.clients import Client
from smsevents.client.errors import ConfigurationError, Recovery, TruncatedStream, missing_extra
from smsevents.client.filters import NO_FILTER, Filter, remembered
from smsevents.client.gathered import gathered
from smsevents.client.head import CLOCK_DIFFERENCE_MAX_MS
from smsevents.client.reached import Reached
from smsevents.client.retry import Retry, Timeouts, Tries
from smsevents.clock import system as clock
from smsevents.wire.limits import DAY_MS, HISTORY_MS

try:
    import dlt

    from smsevents.client.arrow_lines import dates_of
    from smsevents.client.warehouse_rows import EVENT_ID, ROWS, canonical_lines, rows_of
except ImportError as error:
    raise missing_extra("Loading into a warehouse needs dlt", "sync") from error

from dlt.common.configuration.container import Container  # isort: skip -- the same
from dlt.common.normalizers.utils import generate_dlt_ids  # isort: skip -- the same
from dlt.common.schema.typing import C_DLT_ID, C_DLT_LOAD_ID  # isort: skip -- the same
from dlt.common.storages.load_package import LoadPackageStateInjectableContext  # isort: skip -- the same
import pyarrow as pa  # isort: skip -- the same

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator, Iterable, Iterator

    from dlt.common.data_types import TDataType
    from dlt.common.destination import Destination
    from dlt.common.schema.typing import TColumnSchema, TWriteDispositionConfig
    from dlt.sources import DltSource

    from smsevents.client.head import OnHead
    from smsevents.client.lines import Batch

__all__ = ["COLUMNS", "LOOKBACK_DAYS", "TABLE", "sms_events"]

SOURCE = "smsevents"
TABLE = "sms_events"
LOOKBACK_DAYS = 3
DAYS_MAX = 36_500

DUCKDB, POSTGRES = "duckdb", "postgres"

_BOOKKEEPING = "normalize.parquet_normalizer"  # the settings of dlt for Arrow tables


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
    account = Account.resolve(trackpoint, key, url)  # so that missing settings are reported here, not within a run
    reached = Reached()

    def rows(before: int | None, chosen: Filter) -> Iterator[pa.RecordBatch]:
        now = now_ms()
        reached.begin(*interval_of(before, now, lookback_days, days_max), now)
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
            for batches in gathered(read(client, reached, chosen, retry, sleep)):
                yield rows_of(batches, canonical_lines(batches))

    return source_of(account, rows, reached, "merge", where)


def check_days(lookback_days: float, days_max: float | None) -> None:
    """Raise `ConfigurationError` if a number of days is out of range."""
    if not 0 <= lookback_days <= DAYS_MAX or (days_max is not None and not 0 < days_max <= DAYS_MAX):
        raise ConfigurationError(f"The number of days must be from 0 to {DAYS_MAX:,}.")


def source_of(  # noqa: PLR0913, PLR0917 -- what a run needs
    account: Account,
    rows: Callable[[int | None, Filter], Iterable[Any]],
    reached: Reached,
    disposition: TWriteDispositionConfig,
    where: Filter | None,
    messages: bool | None = None,
) -> DltSource:
    """Return the source of one run.

    `rows` takes how far the last run got, if any, and the filter that holds for the table, and yields the rows to load:
    record batches of `ROWS`, or files that dlt imports; the table must not have columns of dlt then. When all rows were
    yielded, `reached` says how far this run got. `where` is the filter that the caller wants, if any. `messages` says
    whether the caller keeps a table of messages from now on; None means what earlier runs did.
    """
    place = place_of(account)

    def found() -> Iterator[Any]:
        destination = dlt.current.pipeline().destination
        check_driver(destination)
        state = dlt.current.resource_state()
        before = state.get(place)
        chosen = remembered(state, place, where, is_begun=before is not None) or NO_FILTER
        is_empty = True
        for item in rows(before, chosen):
            is_empty = False
            yield _with_bookkeeping(item) if isinstance(item, pa.RecordBatch) else item
        if is_empty:
            # so that the table exists even if there are no events yet
            nothing = _with_bookkeeping(pa.RecordBatch.from_pylist([], ROWS))
            # the driver of PostgreSQL fails on a Parquet file without rows
            is_postgres = kind_of(destination) == POSTGRES
            yield dlt.mark.with_hints(nothing, dlt.mark.make_hints(file_format="csv")) if is_postgres else nothing
        state[place] = reached.by_both_clocks(before)
        _note_messages(state, account, messages, before, is_empty=is_empty)

    @dlt.source(name=SOURCE, max_table_nesting=0)
    def smsevents() -> Any:  # noqa: ANN401 -- dlt accepts nearly anything
        return dlt.resource(
            found,
            name=TABLE,
            write_disposition=disposition,
            primary_key=EVENT_ID,
            columns=COLUMNS,
            max_table_nesting=0,
            file_format="parquet",  # CSV, which dlt prefers for PostgreSQL, turns an empty text into NULL
        )

    source: DltSource = smsevents()
    return source


def _note_messages(
    state: dict[str, Any], account: Account, wanted: bool | None, before: int | None, *, is_empty: bool
) -> None:
    """Note whether the table of messages, if there is one, is still right after this load."""
    key = messages_key(account)
    if wanted is False:
        state.pop(key, None)
    elif wanted or key in state:
        is_right = is_empty and before is not None and state.get(key) == before
        state[key] = state[place_of(account)] if is_right else None


def kind_of(destination: Destination[Any, Any] | None) -> str:
    """Return which database a destination is, such as DUCKDB or POSTGRES."""
    return destination.destination_type.rpartition(".")[2] if destination else ""


def check_driver(destination: Destination[Any, Any] | None) -> None:
    """Raise `MissingExtra` if the driver that loads Parquet files into PostgreSQL is not installed."""
    if kind_of(destination) == POSTGRES and find_spec("adbc_driver_postgresql") is None:
        raise missing_extra("Loading into PostgreSQL needs adbc-driver-postgresql", "sync")


def bookkeeping() -> set[str]:
    """Return the names of dlt's columns in the table, in a running source. Tables of earlier versions have them."""
    table = dlt.current.source_schema().tables.get(TABLE)
    return {C_DLT_ID, C_DLT_LOAD_ID}.intersection(table["columns"] if table else ())


def _with_bookkeeping(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Add dlt's columns to the rows of a table that has them, unless dlt is configured to add them itself."""
    columns = bookkeeping()
    if C_DLT_LOAD_ID in columns and not dlt.config.get(f"{_BOOKKEEPING}.add_dlt_load_id", bool):
        load_id = Container()[LoadPackageStateInjectableContext].load_id
        batch = batch.append_column(C_DLT_LOAD_ID, pa.repeat(load_id, batch.num_rows))
    if C_DLT_ID in columns and not dlt.config.get(f"{_BOOKKEEPING}.add_dlt_id", bool):
        batch = batch.append_column(C_DLT_ID, pa.array(generate_dlt_ids(batch.num_rows), pa.string()))
    return batch


def place_of(account: Account) -> str:
    """Return the name under which the state of an account is stored."""
    return f"{account.url} {account.trackpoint}"


def messages_key(account: Account) -> str:
    """Return the name under which the state has the position at which the table of messages was made, or None.

    None means that the table has to be made. Without that name in the state, there is no such table.
    """
    return f"{place_of(account)} messages"


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


def read(
    client: Client, reached: Reached, where: Filter, retry: Retry, sleep: Callable[[float], None]
) -> Iterator[Batch]:
    """Yield the wanted events of the interval of `reached`, and of the days that turn out to be missing, day by day.

    After a truncation, the events of a day are yielded again. `reached` hears of all events that the server sends, also
    of unwanted ones.
    """
    batches = _all_batches(client, reached, where, retry, sleep)
    return where.batches(batches) if where else batches


def _all_batches(
    client: Client, reached: Reached, where: Filter, retry: Retry, sleep: Callable[[float], None]
) -> Generator[Batch]:
    for start, end in chain(days_of(reached.start, reached.end), missed_days(reached)):
        for batch in _day(client, start, end, where, retry, sleep, reached.heard):
            reached.newest([int(dates_of([batch]).max(initial=0))])
            yield batch


def _day(  # noqa: PLR0913, PLR0917 -- its dependencies are passed in
    client: Client,
    start: int,
    end: int,
    where: Filter,
    retry: Retry,
    sleep: Callable[[float], None],
    on_head: OnHead,
) -> Iterator[Batch]:
    tries = Tries(retry, random.random)
    while True:
        try:
            # a filter looks at each event, so columns would be made in vain
            yield from client.export_received(start, end, where=where, on_head=on_head, in_arrow=not where)
        except TruncatedStream as error:
            if not error.lines or error.recovery is Recovery.NEVER:
                raise  # the client has already retried, or retrying is useless
            wait = tries.wait_seconds(error)
        else:
            return
        sleep(wait)

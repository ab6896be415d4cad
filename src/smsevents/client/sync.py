"""A sync: load the events of an account into a warehouse, from the warehouse's position to now.

The events and the position are stored in the warehouse and committed together: dlt writes its state into the
dataset, and the state counts only if its load was completed. Nothing is kept on this machine between two syncs, so a
sync may run anywhere, and a warehouse restored from a backup continues from its own position.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from smsevents.client.account import Account
from smsevents.client.clients import Client
from smsevents.client.errors import ClientError, ConfigurationError, SyncFailed
from smsevents.client.filters import NO_FILTER, Filter, remembered
from smsevents.client.gathered import gathered
from smsevents.client.head import CLOCK_DIFFERENCE_MAX_MS
from smsevents.client.lines import printable
from smsevents.client.locks import held
from smsevents.client.messages import check_messages
from smsevents.client.reached import Reached
from smsevents.client.retry import Retry, Timeouts
from smsevents.clock import system as clock
from smsevents.wire.limits import DAY_MS

# dlt sends telemetry unless it is disabled; it checks this when a pipeline is created
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

from smsevents.client.dlt_source import (
    LOOKBACK_DAYS,
    SOURCE,
    TABLE,
    begun_at,
    check_days,
    check_driver,
    interval_of,
    messages_key,
    place_of,
    read,
    source_of,
)
from smsevents.client.sync_step import StepRows, disposition_of
from smsevents.client.warehouse_messages import (
    MESSAGES_TABLE,
    check_destination,
    count_messages,
    has_messages,
    is_current,
    load_messages,
)

import dlt  # isort: skip -- after dlt_source, which says what to install if dlt is missing
from dlt.common.destination import Destination  # isort: skip -- the same
from dlt.common.destination.exceptions import UnknownDestinationModule  # isort: skip -- the same
from dlt.common.exceptions import DltException  # isort: skip -- the same
from dlt.pipeline.exceptions import PipelineStepFailed  # isort: skip -- the same

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

DATASET = "sms"
DUCKDB_FILE = "smsevents.duckdb"
# what is loaded at a time: a failure discards no more than that, and the disk holds no more than that
STEP_DAYS = 30
SAID_MAX_CHARACTERS = 500

_DUCKDB_PREFIX = "duckdb:///"
_RETRY = Retry()
_TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class SyncReport:
    """The result of a sync. Times are Unix milliseconds; `received` counts received events, including repeated ones.

    `messages_table` and `messages` are the table of messages and how many it has of the shop, if it is kept.
    `lost_from` and `lost_to` delimit the time since the previous sync that is no longer in the server's history, and
    `warning` reports clocks that differ. Each is UNSET, and left out of the JSON, if there is nothing to report.
    """

    trackpoint: int
    url: str
    destination: str
    dataset: str
    table: str
    synced_from: int
    synced_to: int
    loads: int
    received: int
    lost_from: int | UnsetType = UNSET
    lost_to: int | UnsetType = UNSET
    messages_table: str | UnsetType = UNSET
    messages: int | UnsetType = UNSET
    warning: str | UnsetType = UNSET


def sync(  # noqa: PLR0913 -- all are passed by name, and most have defaults
    trackpoint: int,
    key: str | None = None,
    *,
    url: str | None = None,
    destination: str = "duckdb",
    dataset: str = DATASET,
    lookback_days: float = LOOKBACK_DAYS,
    step_days: float = STEP_DAYS,
    from_ms: int | None = None,
    where: Filter | None = None,
    messages: bool | None = None,
    retry: Retry = _RETRY,
    timeouts: Timeouts = _TIMEOUTS,
    ssl_context: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now_ms: Callable[[], int] = clock.now_ms,
    progress: Callable[[SyncReport], None] = lambda _: None,
) -> SyncReport:
    """Load the events of an account into the table `sms_events` of a dataset, each event exactly once.

    `destination` is the name of a dlt destination, configured as dlt documents it, for example with
    `DESTINATION__POSTGRES__CREDENTIALS`; or `duckdb`, the file `smsevents.duckdb`; or `duckdb:///` and the path of
    another file. At most `step_days` days are loaded at a time; `progress` is called after each step.

    A first sync begins at `from_ms`, in Unix milliseconds, or with the history. A later one begins at `from_ms` if that
    is before the time at which it would begin anyway, so it leaves no gap. `where` leaves out events; the warehouse
    keeps it, and a later sync with another one is refused.

    With `messages`, there is a second table, `sms_messages`, with one row per message and its state. Later syncs keep
    it right, unless `messages` is false; then it stays as it is. A filter by status is refused with it.

    Raises `ClientError` or a subclass, such as `SyncFailed` if the warehouse rejects the events. Events loaded before
    the error stay, and the next sync continues from there.
    """
    account = Account.resolve(trackpoint, key, url)
    check_days(lookback_days, step_days)
    if not dataset.strip():
        raise ConfigurationError("The name of the dataset is empty. Use a name such as `sms`.")
    now = now_ms()  # one end for all steps, so that the loop ends
    with _alone(destination, dataset), tempfile.TemporaryDirectory(prefix="smsevents-sync-") as folder:
        pipeline = _pipeline(account, destination, dataset, folder)
        before = _synced_to(pipeline, account)
        chosen = remembered(_state(pipeline), place_of(account), where, is_begun=before is not None) or NO_FILTER
        has_messages = messages_key(account) in _state(pipeline) if messages is None else messages
        if has_messages:
            check_messages(chosen)
            check_destination(pipeline)
        first = begun_at(from_ms, before, now, interval_of(before, now, lookback_days, step_days))
        reached = Reached()
        step = first
        received = loads = 0
        while True:
            reached.begin(*step, now)
            rows = StepRows(Path(folder) / f"step-{loads}", pipeline.destination)
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
                rows.add_all(gathered(read(client, reached, chosen, retry, sleep)))
            _load(pipeline, account, rows, reached, where, messages)
            received += rows.rows
            loads += 1
            synced_to = _synced_to(pipeline, account)
            if synced_to is None:
                raise SyncFailed(f"The warehouse {destination} did not store how far the sync got. Sync again.")
            lost = _lost(before, reached)
            report = SyncReport(
                trackpoint=trackpoint,
                url=account.url,
                destination=destination,
                dataset=dataset,
                table=TABLE,
                synced_from=first[0],
                synced_to=synced_to,
                loads=loads,
                received=received,
                lost_from=lost[0] if lost else UNSET,
                lost_to=lost[1] if lost else UNSET,
                messages_table=MESSAGES_TABLE if has_messages else UNSET,
                messages=_count(pipeline, account) if has_messages else UNSET,
                warning=reached.warning or UNSET,
            )
            progress(report)
            if step[1] >= now:
                return report
            step = step[1] + 1, min(now, step[1] + max(1, round(step_days * DAY_MS)))


def _lost(before: int | None, reached: Reached) -> tuple[int, int] | None:
    """Return the closed interval that was never loaded and is no longer in the server's history, or None."""
    history_start = reached.history_start
    if before is None or history_start is None or before + CLOCK_DIFFERENCE_MAX_MS >= history_start:
        return None
    return before + 1, history_start - 1


def _pipeline(account: Account, destination: str, dataset: str, folder: str) -> dlt.Pipeline:
    """Create a pipeline with the state stored in the warehouse, if any."""
    name = f"smsevents_{account.trackpoint}"
    # for this pipeline only: the files of a step are removed when it is loaded
    dlt.config[f"{name}.load.delete_completed_jobs"] = True
    with _told():
        pipeline = dlt.pipeline(
            name,
            pipelines_dir=folder,
            destination=_destination(destination, dataset),
            dataset_name=dataset,
        )
        pipeline.sync_destination()
    return pipeline


def _load(  # noqa: PLR0913, PLR0917 -- what a step needs
    pipeline: dlt.Pipeline,
    account: Account,
    rows: StepRows,
    reached: Reached,
    where: Filter | None,
    messages: bool | None,
) -> None:
    """Load the rows of one step, and then bring the messages up to date, if there is a table of them."""
    was_current = is_current(_state(pipeline), account)
    with _told():
        disposition = disposition_of(pipeline, account.trackpoint, rows)
        pipeline.run(source_of(account, lambda *_: rows.items(), reached, disposition, where, messages))
    rows.remove()
    state = _state(pipeline)
    if messages_key(account) in state and not (
        is_current(state, account) and has_messages(pipeline, account.trackpoint)
    ):
        with _told("messages"):
            load_messages(
                pipeline,
                account,
                Path(pipeline.pipelines_dir),
                (rows.oldest_ms, rows.newest_ms) if was_current else None,
            )


def _count(pipeline: dlt.Pipeline, account: Account) -> int:
    with _told("messages"):
        return count_messages(pipeline, account.trackpoint)


def _synced_to(pipeline: dlt.Pipeline, account: Account) -> int | None:
    synced_to: int | None = _state(pipeline).get(place_of(account))
    return synced_to


def _state(pipeline: dlt.Pipeline) -> dict[str, Any]:
    """Return a copy of what the source keeps in the state."""
    found: Any = pipeline.state.get("sources", {})
    for name in (SOURCE, "resources", TABLE):
        found = found.get(name, {})
    return dict(found)


def _destination(name: str, dataset: str) -> Destination[Any, Any]:
    """Return a destination. Check that it can merge; otherwise events that are read again would be duplicated."""
    if name == "duckdb" or name.startswith(_DUCKDB_PREFIX):
        path = Path(DUCKDB_FILE if name == "duckdb" else name.removeprefix(_DUCKDB_PREFIX)).absolute()
        if path.stem.lower() == dataset.lower():
            # DuckDB names a database after its file and cannot distinguish it from a schema of the same name
            raise ConfigurationError(f"The dataset and the file are both named {dataset}. Rename one of them.")
        return dlt.destinations.duckdb(str(path))
    if not name.isidentifier():
        # not shown, because it may be an address with a password
        raise ConfigurationError(
            "The destination must be `duckdb`, `duckdb:///` with a path, or the name of a dlt destination such as"
            " `postgres`, with its address and password in DESTINATION__POSTGRES__CREDENTIALS."
        )
    try:
        destination = Destination.from_reference(name)
        strategies = destination.capabilities().supported_merge_strategies if destination else None
    except UnknownDestinationModule as error:
        raise ConfigurationError(
            f"dlt has no destination named {name}. Use one such as `duckdb` or `postgres`."
        ) from error
    if destination is None or "delete-insert" not in (strategies or []):
        raise ConfigurationError(
            f"The destination {name} cannot merge rows, so it would duplicate events. Use another destination."
        )
    check_driver(destination)
    return destination


@contextmanager
def _told(what: str = "events") -> Iterator[None]:
    """Turn dlt's errors into `SyncFailed`. A `ClientError` that dlt wrapped is raised unchanged."""
    try:
        yield
    except DltException as error:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ClientError):
                raise cause from error
        said = printable(str(causes[-1]), SAID_MAX_CHARACTERS) or type(causes[-1]).__name__
        raise SyncFailed(f"The warehouse did not accept the {what}: {said} Fix this and sync again.") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the original cause last."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = cause.exception if isinstance(cause, PipelineStepFailed) else None
        cause = inner or cause.__cause__ or cause.__context__


@contextmanager
def _alone(destination: str, dataset: str) -> Iterator[None]:
    """Allow only one sync into a dataset from this machine: two concurrent merges would duplicate events."""
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("DESTINATION__"))
    place = sha256(repr((Path.cwd(), destination, dataset, settings)).encode()).hexdigest()[:32]
    with held(f"sync-{place}") as ours:
        if not ours:
            raise SyncFailed(f"Another sync into {dataset} of {destination} is running. Wait for it to finish.")
        yield

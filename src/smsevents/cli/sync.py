"""`smsevents sync`: load the events of an account into a warehouse, usually every night."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import UNSET

from smsevents.cli.account import (
    AccountOption,
    PaceOption,
    QuietOption,
    UrlOption,
    asked_key,
    named_address,
    timeouts_of,
)
from smsevents.cli.console import EXIT_FAILED, Trackpoint
from smsevents.cli.filtering import with_filter
from smsevents.cli.times import DaysOption, option_interval
from smsevents.client import Filter  # noqa: TC001 -- read at run time
from smsevents.clock.system import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.client.sync import SyncReport


@with_filter
def sync(  # noqa: PLR0913, PLR0917 -- each parameter is an option
    trackpoint: Trackpoint,
    account: AccountOption = None,
    url: UrlOption = None,
    destination: Annotated[
        str,
        typer.Option(
            help="duckdb (the file smsevents.duckdb), duckdb:/// with a path, or a dlt destination such as postgres."
        ),
    ] = "duckdb",
    dataset: Annotated[str, typer.Option(help="The dataset (schema) of the table sms_events.")] = "sms",
    lookback: Annotated[
        float, typer.Option(min=0, max=36_500, help="Days to read again, because some events are recorded late.")
    ] = 3,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Begin at this day or time, UTC: 2026-11-25, yesterday, 7d. A later sync begins earlier if needed.",
        ),
    ] = None,
    days: DaysOption = None,
    messages: Annotated[
        bool | None,
        typer.Option(
            "--messages/--no-messages",
            help="Also keep the table sms_messages: one row per message and its state. Default: as before, or not.",
        ),
    ] = None,
    min_rate: PaceOption = None,
    json: Annotated[bool, typer.Option("--json", help="Write a JSON object to standard output.")] = False,
    quiet: QuietOption = False,
    *,
    where: Filter | None = None,
) -> None:
    """Load new and late events since the last sync into a warehouse, each event exactly once.

    The API key is read from SMSEVENTS_API_KEY; if it is not set, the command prompts for it. A dlt destination is
    configured as dlt documents it, for example with DESTINATION__POSTGRES__CREDENTIALS. Needs the package's extra
    `sync`.
    """
    address = named_address(account, url)
    start, _ = option_interval(from_, None, days, now_ms())
    # imported here because dlt takes seconds to load and is an extra
    from smsevents.client.sync import sync as run  # noqa: PLC0415

    with _files_of_this_user():
        report = run(
            trackpoint,
            asked_key(),
            url=address,
            destination=destination,
            dataset=dataset,
            lookback_days=lookback,
            from_ms=start.start if start else None,
            where=where,
            messages=messages,
            timeouts=timeouts_of(min_rate),
            progress=lambda done: None if json or quiet else _tell(done),
        )
    if json:
        typer.echo(msgspec.json.encode(report))
    elif not quiet:
        typer.echo(
            f"{_time(report.synced_from)} to {_time(report.synced_to)}: {report.received:,} events received in"
            f" {report.loads} loads, now in {report.dataset}.{report.table} of {report.destination}."
            f"{_messages(report)}",
            err=True,
        )
    if report.warning is not UNSET:
        typer.echo(f"smsevents: {report.warning}", err=True)
    if report.lost_from is not UNSET and report.lost_to is not UNSET:
        typer.echo(f"smsevents: {_lost(report.lost_from, report.lost_to)}", err=True)
        sys.exit(EXIT_FAILED)


@contextmanager
def _files_of_this_user() -> Iterator[None]:
    """Create files without access for other users while the block runs: DuckDB's and dlt's hold personal data."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _tell(report: SyncReport) -> None:
    typer.echo(f"received {report.received:,} events, synced to {_time(report.synced_to)}", err=True)


def _messages(report: SyncReport) -> str:
    if report.messages is UNSET:
        return ""
    return f" {report.messages:,} messages in {report.dataset}.{report.messages_table}."


def _lost(start: int, end: int) -> str:
    return (
        f"The events from {_time(start)} to {_time(end)} are lost: no sync loaded them while the server had them."
        " All later events are loaded. This is reported only once."
    )


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat(" ")

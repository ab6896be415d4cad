"""`smsevents sync`: the events of an account into a warehouse, every night."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from smsevents.cli.account import AccountOption, UrlOption, address_of, asked_key
from smsevents.cli.console import Trackpoint  # noqa: TC001 -- typer reads it at run time

if TYPE_CHECKING:
    from smsevents.client.sync import SyncReport


def sync(  # noqa: PLR0913, PLR0917 -- each is an option
    trackpoint: Trackpoint,
    account: AccountOption = None,
    url: UrlOption = None,
    destination: Annotated[
        str,
        typer.Option(
            help="duckdb (the file smsevents.duckdb), duckdb:/// and a path, or a destination of dlt such as postgres."
        ),
    ] = "duckdb",
    dataset: Annotated[str, typer.Option(help="The dataset, or schema, of the table sms_events.")] = "sms",
    lookback: Annotated[
        float, typer.Option(min=0, help="Days that are read again, as some events are recorded late.")
    ] = 3,
    json: Annotated[bool, typer.Option("--json", help="Write a JSON object to standard output.")] = False,
) -> None:
    """Load events into a warehouse: what is new since the last sync, and late ones; each event once.

    The API key is taken from SMSEVENTS_API_KEY, or asked for. A destination of dlt is configured as dlt
    documents it, for example by DESTINATION__POSTGRES__CREDENTIALS. Needs the extra `sync` of the package.
    """
    # imported here because dlt takes seconds to load, and is an extra
    from smsevents.client.sync import sync as run  # noqa: PLC0415

    report = run(
        trackpoint,
        asked_key(),
        url=address_of(account, url),
        destination=destination,
        dataset=dataset,
        lookback_days=lookback,
        progress=lambda done: None if json else _tell(done),
    )
    if json:
        typer.echo(msgspec.json.encode(report))


def _tell(report: SyncReport) -> None:
    time = datetime.fromtimestamp(report.synced_to / 1000, UTC).isoformat(" ", "seconds")
    typer.echo(f"received {report.received:,} events, synced to {time}", err=True)

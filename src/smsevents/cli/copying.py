"""`smsevents copy`: the way from SQLite to PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

from smsevents.catalog import open_catalog
from smsevents.catalog.leases import LEASE_SECONDS, is_held
from smsevents.cli.console import counted
from smsevents.cli.database import check_url, with_database
from smsevents.cli.erasures import repeat_first
from smsevents.cli.opening import opened_database, tell_created
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.upkeep.relocation import copy_database, take_over_packs
from smsevents.worker.worker import LEASE


@with_database
def copy(
    target: Annotated[
        str,
        typer.Argument(metavar="URL", callback=check_url, help="The empty database, such as postgresql://host/name."),
    ],
) -> None:
    """Copy everything from a SQLite database, whose server is stopped, into an empty one, to move to PostgreSQL."""
    with opened_database() as source:
        now = source.dialect.now_ms()
        with source.read() as connection:
            if is_held(connection, LEASE, now, now + LEASE_SECONDS * 1000):
                raise InvalidRequest(
                    "A server uses the database, and its imports would be left behind. Stop it and run the same command"
                    f" again. If it was killed, wait {LEASE_SECONDS // 60} minutes."
                )
        repeat_first(source)
        destination = open_catalog(target)
        try:
            if destination.dialect.is_new:
                tell_created(destination)
            done = copy_database(source, destination)
            try:
                packs = take_over_packs(destination)
            except StoreUnavailable as error:
                raise StoreUnavailable(
                    f"Everything was copied, but the packs still belong to the old database. {error} Then run"
                    " `smsevents adopt` with the new database."
                ) from error
        finally:
            destination.close()
    for trackpoint in sorted({trackpoint for _, trackpoint in done.totals}):
        of_shop = [one for (_, shop), one in done.totals.items() if shop == trackpoint]
        typer.echo(
            f"{trackpoint}: {counted(sum(one.events for one in of_shop), 'event')},"
            f" {sum(one.stored_bytes for one in of_shop):,} stored bytes",
            err=True,
        )
    typer.echo(f"copied {counted(sum(done.rows.values()), 'row')} into {destination.dialect.where}", err=True)
    if packs is not None:
        typer.echo(f"The packs in {packs} belong to it now. They were not copied.", err=True)
    typer.echo("Set SMSEVENTS_DATABASE to it before the next start. Do not use the old database any more.", err=True)

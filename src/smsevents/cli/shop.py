"""`smsevents shop`: the shops."""

from __future__ import annotations

from typing import Annotated

import typer

from smsevents.accounts.access import Access
from smsevents.cli.console import JsonOption, Trackpoint, day_of, show_json, show_table
from smsevents.cli.database import repeated, with_database
from smsevents.cli.opening import opened_database

app = typer.Typer(help="Add and list shops.", no_args_is_help=True)


@app.command("add")
@with_database
def add(
    trackpoint: Trackpoint,
    name: Annotated[str, typer.Option(help="A display name.")] = "",
) -> None:
    """Add a shop."""
    with opened_database(create=True) as database:
        Access(database).add_shop(trackpoint, name)
    typer.echo(
        f"Added shop {trackpoint}. Next: smsevents key create {trackpoint} --scope export --scope import{repeated()}",
        err=True,
    )


@app.command("list")
@with_database
def list_(as_json: JsonOption = False) -> None:
    """List the shops."""
    with opened_database() as database:
        shops = Access(database).shops()
    if as_json:
        show_json({"trackpoint": shop.trackpoint, "name": shop.name, "created_ms": shop.created_ms} for shop in shops)
        return
    show_table(
        ["TRACKPOINT", "NAME", "CREATED"],
        [[str(shop.trackpoint), shop.name, day_of(shop.created_ms)] for shop in shops],
    )

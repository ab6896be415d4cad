"""`smsevents compare`: whether two databases have the same events, as in a drill of a restore."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from smsevents.catalog import Database
from smsevents.catalog.schema import is_usable
from smsevents.cli.console import EXIT_FAILED, JsonOption, counted, minute_of, show_json, show_table
from smsevents.cli.database import check_url, with_database
from smsevents.cli.opening import opened_database
from smsevents.errors import StoreVersionError
from smsevents.upkeep import comparing


@with_database
def compare(
    other: Annotated[
        str, typer.Argument(metavar="URL", callback=check_url, help="The other database, which is only read.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Compare the events with those of another database. Exits with 1 if it lacks events that are here."""
    with opened_database() as here, closing(Database(other, create=False)) as there:
        with there.read() as connection:
            if not is_usable(connection):
                raise StoreVersionError(
                    f"The database {there.dialect.where} has tables of another version, and is not upgraded by this"
                    " command. Use the smsevents of its server."
                )
        found = list(comparing.compare(here, there, here.dialect.now_ms()))
        names = here.dialect.where, there.dialect.where
    if as_json:
        show_json(found)
    else:
        show_table(
            ["TRACKPOINT", "BOTH", "ONLY HERE", "ONLY THERE", "OLDEST ONLY THERE", "NEWEST ONLY THERE"],
            [
                [
                    *map(str, (one.trackpoint, one.both, one.only_here, one.only_there)),
                    minute_of(one.only_there_oldest_ms),
                    minute_of(one.only_there_newest_ms),
                ]
                for one in found
            ],
        )
    only_here = sum(one.only_here for one in found)
    typer.echo(
        f"{counted(sum(one.both for one in found), 'event')} in both, {only_here} only in {names[0]},"
        f" {sum(one.only_there for one in found)} only in {names[1]}",
        err=True,
    )
    if only_here:
        raise typer.Exit(EXIT_FAILED)

"""Opens the database of a command, and says what there is to say about it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from smsevents.catalog import Database, open_catalog, open_existing
from smsevents.catalog.dialects import shown
from smsevents.cli.database import OPTION, settings_in_force, sources
from smsevents.errors import NoDatabase
from smsevents.settings import variable_of
from smsevents.timekeeper import WHAT_TO_DO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.clock.trusted import Judgement

DATABASE_VARIABLE = variable_of("database")


@contextmanager
def opened_database(*, create: bool = False) -> Iterator[Database]:
    """Open the configured database for the block. Upgrade it if necessary.

    A missing database is created, with a message, if `create` is true. Otherwise `NoDatabase` is raised; it says
    where the database was expected and which setting named that place.
    """
    url = settings_in_force().database
    try:
        database = open_catalog(url) if create else open_existing(url)
    except NoDatabase as error:
        raise NoDatabase(f"{error} {_looked_for(url)}") from error
    try:
        if database.dialect.is_new:
            tell_created(database)
        yield database
    finally:
        database.close()


def say_doubt(judgement: Judgement) -> None:
    """If the time is in doubt, print a warning on standard error that says what to do."""
    if judgement.doubt:
        typer.echo(f"smsevents: time is in doubt, so nothing is deleted. {judgement.explain()} {WHAT_TO_DO}", err=True)


def tell_created(database: Database) -> None:
    """Report on standard error that a database was created, and where."""
    typer.echo(f"Created the database {database.dialect.where}.", err=True)


def _looked_for(url: str) -> str:
    """Return a sentence: which setting names the database, and what to do if it is the wrong one."""
    source = sources()["database"]
    if source in {OPTION, DATABASE_VARIABLE}:
        named = f"{source} is {shown(url)!r}: change it if the database is elsewhere."
    else:
        named = f"{DATABASE_VARIABLE} is not set, so the working directory was searched: set it to your database."
    return f"{named} `smsevents shop add` creates a new database."

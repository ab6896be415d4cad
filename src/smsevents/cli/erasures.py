"""`smsevents erasures`, and repeating erasures before a command shows events or takes them in."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from smsevents.cli.console import counted
from smsevents.cli.database import with_database
from smsevents.cli.opening import opened_database
from smsevents.clock.system import now_ms
from smsevents.errors import DamagedSegment, StoreUnavailable
from smsevents.upkeep.erasure_records import copy_in, copy_to_folder
from smsevents.upkeep.erasure_repeats import repeat_erasures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.catalog import Database
    from smsevents.storage.base import ByteStore


def repeat_first(database: Database, places: Sequence[ByteStore] | None = None) -> None:
    """Repeat erasures that were made after a backup, if the database was restored from it. Say so on standard error.

    Raises `StoreUnavailable` and `DamagedSegment` if that is not possible: no event may be shown then.
    """
    try:
        done = repeat_erasures(database, now_ms(), places)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            "If this database was restored from a backup, users who were erased since have to be erased from it again,"
            f" and that was not possible: {error}"
        ) from error
    except DamagedSegment as error:
        raise DamagedSegment(
            f"Users were erased after the backup that this database was restored from, and cannot be erased again:"
            f" {error} Run `smsevents verify --quarantine`, then try again."
        ) from error
    if done.erasures:
        typer.echo(
            "smsevents: This database is older than some erasures, as after a restore. Repeated"
            f" {counted(done.erasures, 'erasure')}, which removed {counted(done.events, 'event')}.",
            err=True,
        )
    if done.unreadable:
        typer.echo(
            f"smsevents: {counted(done.unreadable, 'erasure')} cannot be repeated, because another database recorded"
            " them, or this one before it had its key. If it was restored from a backup of an earlier version, run"
            " `smsevents forget` again for the users who were erased since.",
            err=True,
        )


def repeat_if_possible(database: Database) -> None:
    """Do what `repeat_first` does, before an import. It needs no store of packs, and so does not wait for it."""
    try:
        repeat_first(database)
    except (StoreUnavailable, DamagedSegment) as error:
        typer.echo(f"smsevents: {error}", err=True)


@with_database
def erasures(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder, which is created if it is missing.")],
) -> None:
    """Keep a copy of the record of erasures in a folder, and repeat those that this database does not know."""
    with opened_database() as database:
        if folder.is_dir():
            repeat_first(database, [copy_in(folder)])
        there = copy_to_folder(database, folder)
    typer.echo(f"{folder} has {counted(there, 'record')} of erasures", err=True)

"""`smsevents move`, `adopt`, and the setting SMSEVENTS_SEGMENTS: where the packs of the log are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from smsevents.accounts.access import Access
from smsevents.catalog import attachment
from smsevents.catalog.objects import State, count_objects, hasten
from smsevents.catalog.packs import count_packs, packs_of
from smsevents.catalog.stores import find_store, set_packing
from smsevents.cli.console import counted
from smsevents.cli.database import settings_in_force, with_database
from smsevents.cli.erasures import repeat_first
from smsevents.cli.opening import opened_database, say_doubt
from smsevents.errors import SettingError, StoreUnavailable
from smsevents.settings import variable_of
from smsevents.storage import EXAMPLES
from smsevents.storage.files import FileStore
from smsevents.timekeeper import Timekeeper
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.packing import pack_settled, unpack_shop
from smsevents.upkeep.settling import past_before

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.clock.trusted import Judgement

UNPACKED_PASSES_MAX = 12  # a running upkeep worker may replace packs meanwhile

_VARIABLE = variable_of("segments")


class Target(StrEnum):
    """Where settled events are kept."""

    PACKS = "packs"
    DATABASE = "database"


def use_store(database: Database) -> bool:
    """Attach the store of SMSEVENTS_SEGMENTS, if it is set. Return whether new packs are to be made.

    Raises `SettingError` and `StoreUnavailable` if the store cannot be used. If the packs are elsewhere, or some are
    missing, that is reported on standard error.
    """
    url = settings_in_force().segments
    if url:
        attachment.attach(database, url)
    with database.read() as connection:
        record = find_store(connection)
        if record is None:
            return False
        packs = count_packs(connection)
        if packs:
            _tell_missing(database, connection)
            try:
                attachment.store_to_change(database, connection)
            except StoreUnavailable as error:
                typer.echo(f"smsevents: {error}", err=True)
    if packs and not url:
        typer.echo(
            f"smsevents: {_VARIABLE} is not set, so no new packs are made. {record.url} has {counted(packs, 'pack')}."
            " Set it, or run `smsevents move database`.",
            err=True,
        )
    elif url and not record.packing:
        typer.echo(
            f"smsevents: The log was moved into the database, so no packs are made. Unset {_VARIABLE}, or run"
            " `smsevents move packs`.",
            err=True,
        )
    return bool(url) and record.packing


def _tell_missing(database: Database, connection: Connection) -> None:
    store = database.packs(connection).store
    try:
        attachment.require_all(connection, store)
    except StoreUnavailable as error:
        typer.echo(f"smsevents: {error} Exports that need them fail until then.", err=True)


@with_database
def move(
    target: Annotated[
        Target,
        typer.Argument(help="`packs`: from the database into SMSEVENTS_SEGMENTS; `database`: back into the database."),
    ],
) -> None:
    """Move the settled events of all shops, while the log is in use."""
    with opened_database() as database:
        judgement = Timekeeper(database).note()
        say_doubt(judgement)
        if target is Target.PACKS:
            _move_to_packs(database, judgement)
        else:
            _move_to_database(database)


def _move_to_packs(database: Database, judgement: Judgement) -> None:
    url = settings_in_force().segments
    if not url:
        raise SettingError(f"{_VARIABLE} is not set. Set it to a place for the packs, such as {EXAMPLES}.")
    attachment.attach(database, url)
    database.write(lambda connection: set_packing(connection, packing=True))
    past = past_before(database.dialect.now_ms())
    for shop in Access(database).shops():
        merged = compact_shop(database, shop.trackpoint, judgement.old_by_ms)
        done = pack_settled(database, shop.trackpoint, judgement.old_by_ms, past)
        if merged.gave_way or done.gave_way or not done.whole:  # what was not merged may overlap, and stays
            raise StoreUnavailable(
                f"Segments of shop {shop.trackpoint} changed meanwhile. Run the same command again to move the rest."
            )
    collect(database, database.dialect.now_ms())
    with database.read() as connection:
        packs, size = count_objects(connection, State.LIVE)
    typer.echo(
        f"{counted(packs, 'pack')} ({size:,} bytes) in {url}. Today and yesterday (UTC), and what is too little for a"
        " pack, stay in the database.",
        err=True,
    )


def _move_to_database(database: Database) -> None:
    with database.read() as connection:
        record = find_store(connection)
    if record is None:
        typer.echo("no packs: everything is in the database", err=True)
        return
    database.write(lambda connection: set_packing(connection, packing=False))
    moved = 0
    for shop in Access(database).shops():
        moved += _unpack(database, shop.trackpoint)
    now = database.dialect.now_ms()
    database.write(lambda connection: hasten(connection, now))
    left = collect(database, now)
    typer.echo(f"moved {counted(moved, 'pack')} into the database", err=True)
    if left:
        typer.echo(f"{left} {record.url} is needed until then.", err=True)
    else:
        typer.echo(
            f"Unset {_VARIABLE} before the next start of `serve`. {record.url} is not needed any more.", err=True
        )


def _unpack(database: Database, trackpoint: int) -> int:
    """Move all packs of a shop into the database. Return their number."""
    moved = 0
    for _ in range(UNPACKED_PASSES_MAX):
        with database.read() as connection:
            found = list(packs_of(connection, trackpoint))
        if not found:
            return moved
        unpack_shop(database, trackpoint, found)
        moved += len(found)
    raise StoreUnavailable(f"Packs of shop {trackpoint} change all the time. Run the same command again in a moment.")


@with_database
def adopt(
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Even if packs are missing; then run `verify --quarantine`.")
    ] = False,
    copies: Annotated[
        Path | None,
        typer.Option("--from", help="Copy packs that are missing from this folder first: FILE.packs of a backup."),
    ] = None,
) -> None:
    """Take over SMSEVENTS_SEGMENTS after the database was restored from a backup, or moved."""
    with opened_database() as database:
        with database.read() as connection:
            record = find_store(connection)
        url = settings_in_force().segments or (record.url if record else "")
        if not url:
            raise SettingError(f"{_VARIABLE} is not set. Set it to where the packs are.")
        beside = None if copies is None else FileStore(copies.absolute())
        packs = attachment.adopt(database, url, incomplete=incomplete, copies=beside)
        if not incomplete:  # what is missing cannot be searched; the next start repeats them
            repeat_first(database)
    there = "It was not checked whether they are there." if incomplete else "All of them are there."
    typer.echo(f"{url} belongs to this database now, which names {counted(packs, 'pack')}. {there}", err=True)

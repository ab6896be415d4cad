"""Creating and upgrading the tables: the first command that needs the database brings it to `HEAD`.

Programs of two versions use the same tables while the servers are upgraded one after the other. So migrations only
add: tables, columns with a default, indexes. What is of no use any more goes in a later version, once no program of the
earlier one is left.

Each program has a number, `READER`, and the table `readers` the lowest that may use the tables. A program that finds
tables of a later revision uses them if its number suffices, and refuses to start otherwise. A migration that an earlier
program would misread, or after which that would leave something out, such as a table that an erasure has to rewrite,
also raises both numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, select, text

from smsevents.catalog.tables import readers
from smsevents.errors import StoreVersionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog.database import Database

HEAD = "0011"
READER = 1
MIGRATIONS = Path(__file__).parent / "migrations"


def version(connection: Connection) -> str | None:
    """Return the revision of the tables, or None if there are no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def is_usable(connection: Connection) -> bool:
    """Return whether the tables are those of this program, or later ones that it may use, too."""
    found = version(connection)
    if found is None or found < HEAD:
        return False
    if not inspect(connection).has_table(readers.name):
        return False
    lowest: int | None = connection.execute(select(readers.c.lowest)).scalar()
    return lowest is not None and lowest <= READER


def migrate(database: Database) -> None:
    """Bring the tables to HEAD in one transaction. Do nothing if they are at HEAD already, or later and usable.

    This is safe when many processes start at the same time: one migrates, the others wait and find the work done.
    Raises `StoreVersionError` for a database of a newer smsevents that this one may not use.
    """
    with database.read() as connection:
        if is_usable(connection):
            return
        _require_earlier(database, version(connection))
    # alembic is imported here because the import takes longer than most commands
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    with database.exclusive() as connection:
        if is_usable(connection):
            return
        found = version(connection)
        _require_earlier(database, found)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, HEAD)
        except CommandError as error:
            raise _of_another_version(database, found) from error


def _require_earlier(database: Database, found: str | None) -> None:
    """Raise `StoreVersionError` for tables that are not usable, unless they can be upgraded."""
    if found is not None and found >= HEAD:
        raise _of_another_version(database, found)


def _of_another_version(database: Database, found: str | None) -> StoreVersionError:
    return StoreVersionError(
        f"The database {database.dialect.where} is at revision {found!r}, which this smsevents does not know and may"
        " not use. Install the smsevents that made it, or a newer one."
    )

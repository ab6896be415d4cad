"""Creating and upgrading the tables: the first command that needs the database brings it to `HEAD`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from smsevents.errors import StoreVersionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog.database import Database

HEAD = "0009"
MIGRATIONS = Path(__file__).parent / "migrations"


def version(connection: Connection) -> str | None:
    """Return the revision of the tables, or None if there are no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def migrate(database: Database) -> None:
    """Bring the tables to HEAD in one transaction. Do nothing if they are at HEAD already.

    This is safe when many processes start at the same time: one migrates, the others wait and find the work done.
    Raises `StoreVersionError` for a database of a newer smsevents.
    """
    with database.read() as connection:
        if version(connection) == HEAD:
            return
    # alembic is imported here because the import takes longer than most commands
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    with database.exclusive() as connection:
        if (found := version(connection)) == HEAD:
            return
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, HEAD)
        except CommandError as error:
            raise StoreVersionError(
                f"The database {database.dialect.where} is at revision {found!r}, which this smsevents does not know."
                " Install the smsevents that made it, or a newer one."
            ) from error

"""How a URL leads to a PostgreSQL database. The driver is an extra, so it is loaded only for such a URL."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from smsevents.errors import SettingError, StoreUnavailable

if TYPE_CHECKING:
    from smsevents.catalog.dialects.postgres.diagnosis import PostgresDiagnosis
    from smsevents.catalog.dialects.postgres.dialect import PostgresDialect
    from smsevents.catalog.dialects.postgres.location import Location

# Not a setting, so it lacks their prefix: through it, a server tells its processes which database is meant.
IDENTITY_VARIABLE = "_SMSEVENTS_DATABASE_IDENTITY"


EXAMPLE = "postgresql://user:password@host/database"


class PostgresProvider:
    """PostgreSQL databases, by their URL."""

    example = EXAMPLE

    @staticmethod
    def open(url: str, *, create: bool) -> PostgresDialect:
        """Connect to the database that a URL names and return its dialect."""
        location = _location_of(url)
        from smsevents.catalog.dialects.postgres.dialect import PostgresDialect  # noqa: PLC0415 -- needs the extra

        return PostgresDialect(location, create=create)

    @staticmethod
    def diagnose(url: str) -> PostgresDiagnosis:
        """Examine the database that a URL names."""
        location = _location_of(url)
        from smsevents.catalog.dialects.postgres.diagnosis import PostgresDiagnosis  # noqa: PLC0415 -- needs the extra

        return PostgresDiagnosis(location)

    @classmethod
    def hand_down_identity(cls, url: str) -> None:
        """Put the identity of the database into the environment."""
        os.environ[IDENTITY_VARIABLE] = cls.open(url, create=False).identity or ""

    @classmethod
    def require_identity(cls, url: str) -> None:
        """Compare the database with the identity in the environment, if there is one."""
        expected = os.environ.get(IDENTITY_VARIABLE)
        if expected and (dialect := cls.open(url, create=False)).identity != expected:
            raise StoreUnavailable(
                f"The database {dialect.where} was moved or replaced while the server ran. Put it back, or restart the"
                " server.",
                "The database of the server was moved or replaced. Try again later, and tell its operator.",
            )


def _location_of(url: str) -> Location:
    if find_spec("psycopg") is None:
        raise SettingError(
            "PostgreSQL needs a package that is not installed. Install the extra `postgres`:"
            " `pip install 'smsevents[postgres]'`, or `make install WITH=postgres` in a checkout."
        )
    from smsevents.catalog.dialects.postgres.location import location_of  # noqa: PLC0415 -- needs the extra

    return location_of(url)

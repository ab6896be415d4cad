"""How a URL leads to a SQLite database."""

from __future__ import annotations

import os

from smsevents.catalog.dialects.sqlite.diagnosis import SqliteDiagnosis
from smsevents.catalog.dialects.sqlite.dialect import SqliteDialect
from smsevents.catalog.dialects.sqlite.identity import identity_of, require_same
from smsevents.catalog.dialects.sqlite.location import path_of

# Not a setting, so it lacks their prefix: through it, a server tells its processes which database is meant.
IDENTITY_VARIABLE = "_SMSEVENTS_DATABASE_FILE"


class SqliteProvider:
    """SQLite databases, by the path in their URL."""

    example = "sqlite:///relative/path.db or sqlite:////absolute/path.db"

    @staticmethod
    def open(url: str, *, create: bool) -> SqliteDialect:
        """Look for the file that a URL names and return its dialect."""
        return SqliteDialect(path_of(url), create=create)

    @staticmethod
    def diagnose(url: str) -> SqliteDiagnosis:
        """Examine the file that a URL names."""
        return SqliteDiagnosis(path_of(url).absolute())

    @staticmethod
    def hand_down_identity(url: str) -> None:
        """Put the identity of the file into the environment."""
        os.environ[IDENTITY_VARIABLE] = identity_of(path_of(url))

    @staticmethod
    def require_identity(url: str) -> None:
        """Compare the file with the identity in the environment, if there is one."""
        if identity := os.environ.get(IDENTITY_VARIABLE):
            require_same(path_of(url), identity)

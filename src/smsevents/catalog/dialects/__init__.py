"""How SQL databases differ from each other, and nothing else.

base.py  what the catalog requires of a database
sqlite/  SQLite
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.sqlite.diagnosis import SqliteDiagnosis
from smsevents.catalog.dialects.sqlite.dialect import SqliteDialect
from smsevents.catalog.dialects.sqlite.identity import identity_of, require_same
from smsevents.catalog.dialects.sqlite.location import path_of

if TYPE_CHECKING:
    from smsevents.catalog.dialects.base import Diagnosis, Dialect

# Not a setting, so it lacks their prefix: through it, a server tells its processes which database is meant.
IDENTITY_VARIABLE = "_SMSEVENTS_DATABASE_FILE"


def open_dialect(url: str, *, create: bool) -> Dialect:
    """Look for the database that `url` names and return its dialect.

    Raises `SettingError` for a URL that cannot be used, `NoDatabase` if there is no database and `create` is false,
    and `StoreUnavailable` if something else is there.
    """
    return SqliteDialect(path_of(url), create=create)


def diagnose(url: str) -> Diagnosis:
    """Examine the database that `url` names. Raises `SettingError` for a URL that cannot be used."""
    return SqliteDiagnosis(path_of(url).absolute())


def hand_down_identity(url: str) -> None:
    """Record for child processes which database is meant. They refuse another one that is put there later."""
    os.environ[IDENTITY_VARIABLE] = identity_of(path_of(url))


def require_identity(url: str) -> None:
    """Raise `StoreUnavailable` if the database was replaced after the process that started this one began."""
    if identity := os.environ.get(IDENTITY_VARIABLE):
        require_same(path_of(url), identity)

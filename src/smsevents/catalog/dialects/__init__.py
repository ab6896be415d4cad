"""What one SQL database does differently from another, and nothing else.

base.py  what the catalog asks of a database
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

# Its prefix is not that of settings, because it is not one: a server tells its processes by it which database is meant.
IDENTITY_VARIABLE = "_SMSEVENTS_DATABASE_FILE"


def open_dialect(url: str, *, create: bool) -> Dialect:
    """Look for the database that `url` names.

    Raises `SettingError` for a URL that cannot be used, `NoDatabase` if there is none and it is not created,
    `StoreUnavailable` if something else lies there.
    """
    return SqliteDialect(path_of(url), create=create)


def diagnose(url: str) -> Diagnosis:
    """Look at the database that `url` names. Raises `SettingError` for a URL that cannot be used."""
    return SqliteDiagnosis(path_of(url).absolute())


def hand_down_identity(url: str) -> None:
    """Tell the processes that this one will start which database is meant: another one put there later is refused."""
    os.environ[IDENTITY_VARIABLE] = identity_of(path_of(url))


def require_identity(url: str) -> None:
    """Raise `StoreUnavailable` if another database lies there than when the process that started this one began."""
    if identity := os.environ.get(IDENTITY_VARIABLE):
        require_same(path_of(url), identity)

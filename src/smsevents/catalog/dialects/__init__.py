"""How SQL databases differ from each other, and nothing else. The scheme of a URL chooses the dialect.

base.py    what the catalog requires of a database
hints.py   hints for the planner of a database
sqlite/    SQLite
postgres/  PostgreSQL
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smsevents.catalog.dialects.postgres.provider import PostgresProvider
from smsevents.catalog.dialects.sqlite.provider import SqliteProvider
from smsevents.errors import SettingError

if TYPE_CHECKING:
    from smsevents.catalog.dialects.base import Diagnosis, Dialect, Provider

_PROVIDERS: dict[str, Provider] = {"sqlite": SqliteProvider(), "postgresql": PostgresProvider()}

_password = re.compile(r"(://[^:/?#]*):.*@")
_password_parameter = re.compile(r"([?&](?:ssl)?password=)[^&]*")

EXAMPLES = "; ".join(provider.example for provider in _PROVIDERS.values())


def open_dialect(url: str, *, create: bool) -> Dialect:
    """Look for the database that `url` names and return its dialect.

    Raises `SettingError` for a URL that cannot be used, `NoDatabase` if there is no database and `create` is false,
    and `StoreUnavailable` if something else is there.
    """
    return _provider(url).open(url, create=create)


def diagnose(url: str) -> Diagnosis:
    """Examine the database that `url` names. Raises `SettingError` for a URL that cannot be used."""
    return _provider(url).diagnose(url)


def shown(url: str) -> str:
    """Return a URL without passwords, for messages. It need not be one that can be used."""
    return _password_parameter.sub(r"\1***", _password.sub(r"\1:***@", url))


def hand_down_identity(url: str) -> None:
    """Record for child processes which database is meant. They refuse another one that is put there later."""
    _provider(url).hand_down_identity(url)


def require_identity(url: str) -> None:
    """Raise `StoreUnavailable` if the database was replaced after the process that started this one began."""
    _provider(url).require_identity(url)


def is_known(url: str) -> bool:
    """Return whether the scheme of a URL belongs to a dialect. Whether the rest can be used shows when it is opened."""
    return _scheme(url) in _PROVIDERS


def _provider(url: str) -> Provider:
    if provider := _PROVIDERS.get(_scheme(url)):
        return provider
    # the rest of the URL may hold a password
    known = ", ".join(_PROVIDERS)
    raise SettingError(
        f"SMSEVENTS_DATABASE begins with {_scheme(url)!r}, which is not a known kind of database ({known})."
        f" Use {EXAMPLES}."
        if _scheme(url)
        else f"SMSEVENTS_DATABASE is {url!r}, which is not a database URL. Use {EXAMPLES}."
    )


def _scheme(url: str) -> str:
    """Return the scheme of a URL without the driver, which the dialect may refuse with a better message."""
    scheme, separator, _ = url.partition(":")
    return scheme.partition("+")[0] if separator else ""

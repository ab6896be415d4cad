"""The parts of a URL of PostgreSQL, and what messages may show of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from smsevents.catalog.dialects.postgres.provider import EXAMPLE
from smsevents.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "postgresql"

# A server that does not respond is given up after these, and the next host is tried. A URL may name other values.
CONNECT_MAX_SECONDS = 5
UNACKNOWLEDGED_MAX_MS = 10_000
# One that disappeared after it had acknowledged everything is noticed by these, after about 15 seconds.
KEEPALIVE_AFTER_SECONDS = 10
KEEPALIVE_EVERY_SECONDS = 5
KEEPALIVE_TRIES = 2

_DEFAULTS = {
    "target_session_attrs": "read-write",  # of several hosts, the one that is the primary
    "connect_timeout": str(CONNECT_MAX_SECONDS),
    "tcp_user_timeout": str(UNACKNOWLEDGED_MAX_MS),
    "keepalives_idle": str(KEEPALIVE_AFTER_SECONDS),
    "keepalives_interval": str(KEEPALIVE_EVERY_SECONDS),
    "keepalives_count": str(KEEPALIVE_TRIES),
    "application_name": "smsevents",
    "client_encoding": "UTF8",
}


@dataclass(frozen=True)
class Location:
    """Where a database is. `conninfo` has all parameters; `where` names hosts and database, for messages."""

    conninfo: str
    where: str


def location_of(url: str) -> Location:
    """Return the location that a URL names. Raises `SettingError`, without the password."""
    scheme, _, _ = url.partition(":")
    if scheme != SCHEME:
        raise SettingError(
            f"SMSEVENTS_DATABASE begins with {scheme!r}: the driver cannot be chosen, so write {SCHEME!r}."
            f" Use {EXAMPLE}."
        )
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        # the message of libpq may quote the URL
        raise SettingError(f"SMSEVENTS_DATABASE is not a URL that PostgreSQL understands. Use {EXAMPLE}.") from error
    if "@" in f"{parts.get('host')}{parts.get('dbname')}".removeprefix("@"):  # a socket without a file begins with it
        # what is in their place may be a part of the password
        raise SettingError(
            "SMSEVENTS_DATABASE has an @ in the host or in the name of the database. Write special characters of a"
            f" password as percent codes, such as %40 for an @. Use {EXAMPLE}."
        )
    if any(port and not port.isdecimal() for port in str(parts.get("port") or "").split(",")):
        # what is in its place may be a part of the password
        raise SettingError(
            "SMSEVENTS_DATABASE has a port that is not a number. Write special characters of a password as percent"
            f" codes, such as %2F for a slash. Use {EXAMPLE}."
        )
    if not parts.get("dbname"):
        raise SettingError(f"SMSEVENTS_DATABASE names no database after the host. Use {EXAMPLE}.")
    where = f"{SCHEME}://{_hosts(parts)}/{parts['dbname']}"
    return Location(make_conninfo("", **{**_DEFAULTS, **parts}), where)


def _hosts(parts: Mapping[str, object]) -> str:
    hosts = str(parts.get("host") or "").split(",")
    ports = str(parts.get("port") or "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return ",".join(host + (f":{port}" if port else "") for host, port in zip(hosts, ports, strict=False))

"""Whether a server is new enough and durable, and whether its user may do what smsevents does. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smsevents.catalog.dialects.postgres.connections import IDENTITY_TABLE
from smsevents.catalog.tables import metadata
from smsevents.errors import NoDatabase, StoreUnavailable

if TYPE_CHECKING:
    import psycopg

_OLDEST_VERSION = 15
_VERSION_UNIT = 10_000  # of `server_version`
_OUR_TABLE = "alembic_version"
_GUIDE = "docs/scale.md has the commands that set up a database and its user."

_STATE = f"""
    SELECT current_user, current_database(), current_schema(),
        current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE'),
        to_regclass('{_OUR_TABLE}') IS NOT NULL, to_regclass('{IDENTITY_TABLE}') IS NOT NULL,
        current_setting('server_encoding'), current_setting('synchronous_commit'),
        (SELECT min(tablename) FROM pg_tables WHERE schemaname = current_schema()),
        (SELECT min(relname) FROM pg_class WHERE relnamespace = to_regnamespace(current_schema())
            AND relkind = 'r' AND relname = ANY(%s) AND NOT pg_has_role(relowner, 'USAGE'))
"""  # noqa: S608 -- constants


@dataclass(frozen=True)
class Found:
    """What is at a location: whether there are no tables yet, and the identity of the database, once it has one."""

    is_new: bool
    identity: str | None


def require_usable(connection: psycopg.Connection[Any], where: str, *, create: bool) -> Found:
    """Check a database before it is used.

    Raises `NoDatabase` if there are no tables and `create` is false, and `StoreUnavailable` if it cannot be used.
    """
    version = connection.info.server_version // _VERSION_UNIT
    if version < _OLDEST_VERSION:
        raise StoreUnavailable(
            f"The database {where} cannot be used: the server is PostgreSQL {version}, and smsevents needs"
            f" {_OLDEST_VERSION} or later."
        )
    row = connection.execute(_STATE, ([*metadata.tables, IDENTITY_TABLE, _OUR_TABLE],)).fetchone()
    assert row is not None  # noqa: S101 -- a SELECT without FROM returns a row
    user, name, schema, may_create, has_tables, has_identity, encoding, durability, other, not_ours = row
    refuse = f"The database {where} cannot be used:"
    if encoding != "UTF8":
        raise StoreUnavailable(f"{refuse} its encoding is {encoding}. Create one with ENCODING 'UTF8'. {_GUIDE}")
    if durability == "off":
        raise StoreUnavailable(
            f"{refuse} synchronous_commit is off, so events that were acknowledged could be lost. Turn it on for the"
            f" user: ALTER ROLE {user} IN DATABASE {name} SET synchronous_commit = on."
        )
    if not_ours is not None:
        raise StoreUnavailable(
            f"{refuse} the user {user} does not own the table `{not_ours}`. smsevents upgrades and rewrites its"
            f" tables: ALTER TABLE {not_ours} OWNER TO {user}. {_GUIDE}"
        )
    if has_tables:
        ((identity,),) = (
            connection.execute(f"SELECT identity FROM {IDENTITY_TABLE}").fetchall()  # noqa: S608 -- a constant
            if has_identity
            else [(None,)]
        )
        return Found(is_new=False, identity=identity)
    if other is not None:
        raise StoreUnavailable(
            f"{refuse} its schema {schema} belongs to another program, with tables like `{other}`. Create a database"
            f" for smsevents. {_GUIDE}"
        )
    if not create:
        raise NoDatabase(f"There is no log in the database {where}: it has no tables yet.")
    if not may_create:
        raise StoreUnavailable(
            f"{refuse} the user {user} may not create tables. Let the user own the database:"
            f" ALTER DATABASE {name} OWNER TO {user}. {_GUIDE}"
        )
    return Found(is_new=True, identity=None)

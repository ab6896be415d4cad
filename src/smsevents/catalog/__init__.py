"""The catalog: the SQL database that holds shops, keys and segments.

database.py   transactions, durability, writes that share a commit
schema.py     making and upgrading the tables (alembic, in migrations/)
tables.py     the tables
stored.py     statements on segments
shops.py      statements on shops and keys
"""

from smsevents.catalog.database import Database
from smsevents.catalog.schema import migrate

__all__ = ["Database", "open_catalog"]


def open_catalog(url: str) -> Database:
    """Open the database that `url` names, made or upgraded if need be."""
    database = Database(url)
    migrate(database)
    return database

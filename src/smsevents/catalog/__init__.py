"""The catalog: the SQL database that holds shops, keys and segments.

database.py   transactions, durability, writes that share a commit
failures.py   the database's errors → ours
schema.py     making and upgrading the tables (alembic, in migrations/)
tables.py     the tables
stored.py     statements on segments: store them, read them in order
outline.py    statements on segments for the upkeep: what is known without their bytes, replacement
shops.py      statements on shops, keys, blocked users
leases.py     statements on leases: which process does the upkeep
chores.py     statements on chores: what an erasure still owes
files.py      the database's files as a whole: written anew, copied, the write-ahead log emptied
"""

from smsevents.catalog.database import Database
from smsevents.catalog.schema import migrate

__all__ = ["Database", "open_catalog"]


def open_catalog(url: str) -> Database:
    """Open the database that `url` names, made or upgraded if need be."""
    database = Database(url)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database

"""The catalog: the SQL database that holds shops, keys and segments.

database.py   transactions, durability, writes that share a commit
places.py     what lies where a database should be, and why it cannot be opened or written
room.py       whether there is room for the next write
failures.py   the database's errors → ours
schema.py     making and upgrading the tables (alembic, in migrations/)
tables.py     the tables
stored.py     statements on segments: store them, read them in order
outline.py    statements on segments for the upkeep: what is known without their bytes, replacement
shops.py      statements on shops, keys, blocked users
marks.py      statements on the mark of trusted time
leases.py     statements on leases: which process does the upkeep
chores.py     statements on chores: what an erasure still owes
milestones.py statements on milestones: when something was done last
files.py      the database's files as a whole: rewritten, copied, the write-ahead log emptied
"""

from smsevents.catalog.database import Database
from smsevents.catalog.schema import migrate

__all__ = ["Database", "open_catalog", "open_existing"]


def open_catalog(url: str) -> Database:
    """Open the database that `url` names, created or upgraded if need be."""
    return _migrated(Database(url))


def open_existing(url: str) -> Database:
    """Open the database that `url` names, upgraded if need be. Raises `NoDatabase`: nothing is created."""
    return _migrated(Database(url, create=False))


def _migrated(database: Database) -> Database:
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database

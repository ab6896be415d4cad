"""The catalog: the SQL database that holds shops, keys and segments.

database.py        transactions, durability, writes that share a commit
checks.py          what a check of a database can find
dialects/          what one SQL database does differently from another
schema.py          making and upgrading the tables
migrations/         each change of the tables, in order (alembic)
tables.py          the tables
segments.py        statements on segments: store and replace them, read them in order
quarantine.py      statements on damaged segments that were set aside
shops.py           statements on shops, keys, blocked users
trusted_time.py    statements on the mark of trusted time
leases.py          statements on leases: which process does the upkeep
pending_scrubs.py  statements on what has to be done to the files after an erasure
milestones.py      statements on milestones: when something was done last
"""

from smsevents.catalog.database import Database
from smsevents.catalog.dialects import require_identity
from smsevents.catalog.schema import migrate

__all__ = ["Database", "open_catalog", "open_existing", "open_served"]


def open_catalog(url: str) -> Database:
    """Open the database that `url` names, created or upgraded if necessary."""
    return _migrated(Database(url))


def open_existing(url: str) -> Database:
    """Open the database that `url` names, upgraded if need be. Raises `NoDatabase`: nothing is created."""
    return _migrated(Database(url, create=False))


def open_served(url: str) -> Database:
    """Do what `open_existing` does, in a process that a server started.

    Raises `StoreUnavailable` if another database lies there than when the server began; it is not touched.
    """
    require_identity(url)
    return open_existing(url)


def _migrated(database: Database) -> Database:
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database

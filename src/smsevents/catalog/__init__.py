"""The catalog: the SQL database that holds shops, keys and segments.

database.py        transactions, durability, writes that share a commit
checks.py          the result of one check of a database
dialects/          how SQL databases differ from each other
schema.py          creating and upgrading the tables
migrations/        each change of the tables, in order (alembic)
tables.py          the tables
hot.py             statements that every request runs, compiled once
segments.py        statements on segments: store them, read them in order
packs.py           statements on packs: many segments in one object of the store
appending.py       the shops that a write appends to, looked up together
in_order.py        what rows of segments and of packs have in common: the header, the order
batches.py         ids or keys in batches
stored.py          segments in rows and in packs, in order
tallies.py         statements on tallies: the counts of segments
sent_days.py       which rows and packs have events of which day of sending
message_days.py    statements on the numbers of messages that are kept for days
outlines.py        segments in order with their tallies, without their bytes
replacement.py     what was read is replaced by what was made of it, or nothing is
objects.py         statements on the objects in the store: announced, live, dead
stores.py          statements on the store that holds the packs
markers.py         the object in a store that says whose packs it holds
generations.py     statements on what this database wrote into the marker
attachment.py      which store holds the packs, and that no other database uses it
pack_store.py      reads packs, with the indexes of the latest ones
quarantine.py      statements on damaged segments that are set aside
shops.py           statements on shops, keys, blocked users
erasures.py        statements on records of erasures: which ones are known
sessions.py        statements on sessions and tickets
receivers.py       statements on receivers of delivery receipts
periods.py         the periods of the register of sent messages
sent.py            statements on sent messages, and on receipts that wait for them
trusted_time.py    statements on the mark of trusted time
leases.py          statements on leases: which processes do the upkeep
pending_scrubs.py  statements on the work that an erasure leaves to be done on the files
copying.py         all rows are copied into another database
milestones.py      statements on milestones: when something was last done
"""

from smsevents.catalog.database import Database
from smsevents.catalog.dialects import require_identity
from smsevents.catalog.schema import migrate

__all__ = ["Database", "open_catalog", "open_existing", "open_served"]


def open_catalog(url: str) -> Database:
    """Open the database that `url` names. It is created or upgraded if necessary."""
    return _migrated(Database(url))


def open_existing(url: str) -> Database:
    """Open the database that `url` names. It is upgraded if necessary, but never created: raises `NoDatabase`."""
    return _migrated(Database(url, create=False))


def open_served(url: str) -> Database:
    """Do what `open_existing` does, in a process that a server started.

    Raises `StoreUnavailable` if the database has been replaced since the server started. The new one is not touched.
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

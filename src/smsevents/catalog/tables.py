"""The tables of the catalog.

`segments` holds a shop's log: the bytes, and the facts that must be known without reading them. The bounds are
complete entries (date and line), because many events may share a millisecond. `span_ms` is zero or a power of two, and
at least the time between the bounds, so that the segments that reach into a window are found quickly
(`segments.span_of`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()

# SQLite generates ids only for its own INTEGER type. Other databases need a type of 64 bits.
_Id = BigInteger().with_variant(Integer(), "sqlite")

shops = Table(
    "shops",
    metadata,
    Column("trackpoint", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the complete key
    Column("scopes", Text, nullable=False),  # names separated by spaces
    Column("label", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("last_used_ms", BigInteger),  # may be some minutes old, see accounts/last_use.py
)

# Sign-ins of the page at `/` (`accounts.sessions`). The browser holds the id; here is its digest.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the id
    Column("key_id", Text, ForeignKey("keys.id"), nullable=False, index=True),
    Column("expires_ms", BigInteger, nullable=False),
)

# Tickets that sign in once each, for the address that `smsevents demo` prints.
tickets = Table(
    "tickets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the ticket
    Column("key_id", Text, ForeignKey("keys.id"), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

# Work on the files that an erasure leaves to be done, and two rows that are no work (`upkeep/wiping.py`): how long the
# last wipe took, and the mark of rows that left. `Dialect.scrub_steps` names the steps.
chores = Table(
    "chores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),  # of the last erasure that needs it
    Column("since_ms", BigInteger, nullable=False),
)

# The mark of trusted time (`clock.trusted.Mark`): one row, with the id 1.
trusted_time = Table(
    "trusted_time",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("trusted_ms", BigInteger, nullable=False),
    Column("expected_ms", BigInteger, nullable=False),
    Column("noted_start", Text, nullable=False),
    Column("noted_wall_ms", BigInteger, nullable=False),
    Column("noted_since_start_ms", BigInteger, nullable=False),
    Column("steady_start", Text, nullable=False),
    Column("steady_wall_ms", BigInteger, nullable=False),
    Column("steady_since_start_ms", BigInteger, nullable=False),
    Column("agreed", BigInteger, nullable=False),
    Column("contradicted", BigInteger, nullable=False),
    Column("witness_ms", BigInteger),
    Column("doubt", Text),
    Column("generation", BigInteger, nullable=False),
    Column("worked_ms", BigInteger, nullable=False),
    Column("settled", Integer, nullable=False),
)

# When something was last done, by its name.
milestones = Table(
    "milestones",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)

blocked_users = Table(
    "blocked_users",
    metadata,
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),  # keyed by the shop, see upkeep/erasure.py
    Column("blocked_ms", BigInteger, nullable=False),
)

# Damaged segments that `verify --quarantine` set aside: their unchanged bytes, and the reason.
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # the id that it had in `segments`
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), nullable=False),
    Column("first_date", BigInteger, nullable=False),
    Column("last_date", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_aside_ms", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)


def _bounds() -> list[Column[Any]]:
    """Return the columns of `segments` and `packs` that say whose events they hold, and of which time."""
    return [
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), nullable=False),
        Column("first_date", BigInteger, nullable=False),
        Column("first_line", LargeBinary, nullable=False),
        Column("last_date", BigInteger, nullable=False),
        Column("last_line", LargeBinary, nullable=False),
        Column("span_ms", BigInteger, nullable=False),
    ]


def _bounds_indexes(table: str) -> list[Index]:
    return [
        Index(f"{table}_in_order", "trackpoint", "first_date", "first_line"),
        Index(f"{table}_by_span", "trackpoint", "span_ms", "first_date"),
        Index(f"{table}_by_end", "last_date"),
    ]


segments = Table(
    "segments",
    metadata,
    *_bounds(),
    Column("events", Integer, nullable=False),
    Column("line_bytes", BigInteger, nullable=False),
    Column("line_crc", BigInteger, nullable=False),
    Column("stored_crc", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    *_bounds_indexes("segments"),
    sqlite_autoincrement=True,  # an id is never reused, even after the segment is gone
)

# Many consecutive segments of a shop in one object of a store (`segments.pack`). The row describes all of them
# together, as a row of `segments` does for one. `inner_index` is the copy of the object's index.
packs = Table(
    "packs",
    metadata,
    *_bounds(),
    Column("events", BigInteger, nullable=False),
    Column("line_bytes", BigInteger, nullable=False),
    Column("line_crc", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),  # of the segments, without index and trailer
    Column("stored_crc", BigInteger, nullable=False),
    Column("segments", Integer, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("inner_index", LargeBinary, nullable=False),
    *_bounds_indexes("packs"),
    sqlite_autoincrement=True,
)

# The tally of each segment that has one (`segments.tally`), deleted with its row of `segments` or of `packs`. In a
# pack, it is that of the segment that begins at the byte `start`, or with a `start` of -1 the sum of all of them
# (`segments.tally_sum`). It names sources, but no users.
tallies = Table(
    "tallies",
    metadata,
    Column("in_pack", Integer, primary_key=True, autoincrement=False),  # 1 for a segment of a pack, 0 for a row
    Column("stored_id", BigInteger, primary_key=True, autoincrement=False),  # the id in `packs` or in `segments`
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# The messages of a shop that were sent on a day (since 1970, UTC), in numbers (`segments.message_day`). They count only
# while `basis` is that of what is stored (`catalog.sent_days`). They name sources, but no users. `data` is NULL if they
# are too large to be kept.
message_days = Table(
    "message_days",
    metadata,
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("basis", LargeBinary, nullable=False),
    Column("counted_ms", BigInteger, nullable=False),
    Column("data", LargeBinary),
)

# Every object that may be in the store. Its row is there before the object is, and goes only after it is gone.
objects = Table(
    "objects",
    metadata,
    Column("key", Text, primary_key=True),
    Column("trackpoint", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # `catalog.objects.State`
    Column("since_ms", BigInteger, nullable=False),
    Column("delete_after_ms", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Index(
        "objects_to_do",
        "state",
        "since_ms",
        sqlite_where=text("state <> 'live'"),
        postgresql_where=text("state <> 'live'"),
    ),
)

# While a pin has not expired, no object is deleted: a backup copies the objects that its copy of the catalog names.
pins = Table(
    "pins",
    metadata,
    Column("name", Text, primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
)

# The store that holds the packs: one row, with the id 1, once there is one.
stores = Table(
    "stores",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("url", Text, nullable=False),
    Column("identity", Text, nullable=False),  # the store has it, too
    Column("packing", Integer, nullable=False),  # 0 once the log was moved back into the database
)

# Where gateways send delivery receipts to. `unmatched` counts the receipts whose message was never named.
receivers = Table(
    "receivers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), nullable=False, index=True),
    Column("gateway", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the complete token
    Column("zone", Text, nullable=False),  # of times without an offset, such as Europe/Prague
    Column("secret", LargeBinary),  # of the gateway's signatures, as it is
    Column("mapping", LargeBinary),  # JSON, for gateways that need one (receipts/mapping.py)
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("last_call_ms", BigInteger),  # may be some minutes old, as `keys.last_used_ms`
    Column("unmatched", BigInteger, nullable=False),
)

# The days (since 1970) that `sent` and `first_arrivals` have rows of. Both begin with the day, so that new rows are
# close together and a day is deleted at once. A look-up needs the list of days.
receipt_days = Table("receipt_days", metadata, Column("day", Integer, primary_key=True, autoincrement=False))

# The register of sent messages. `message` is a digest of the normalized id (receipts/message_ids.py). `scope` is the id
# of a receiver, or the name of a gateway.
sent = Table(
    "sent",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("trackpoint", BigInteger, primary_key=True, autoincrement=False),
    Column("message", LargeBinary, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("user_id", LargeBinary, nullable=False),  # UTF-8: a text of PostgreSQL cannot have every character
    Column("source", LargeBinary, nullable=False),  # `wire.reference.encode_source`
    sqlite_with_rowid=False,
)

# Receipts of messages that are not in the register yet. `second_ms` is the other possible time where the receiver's
# clock shows a time twice (`receipts.times.Reported`).
waiting_receipts = Table(
    "waiting_receipts",
    metadata,
    Column("trackpoint", BigInteger, primary_key=True, autoincrement=False),
    Column("message", LargeBinary, primary_key=True),
    Column("receiver_id", Text, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("first_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("resolution_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("second_ms", BigInteger),
    Column("arrived_ms", BigInteger, nullable=False),
    Column("receipt", LargeBinary, nullable=False),  # its digest, as in `first_arrivals`
    Index("waiting_receipts_by_arrival", "arrived_ms"),
    sqlite_with_rowid=False,
)

# When a receipt without a usable time of its own arrived first, so that its repeats become the same event. `receipt` is
# a digest of receiver, message and status. `user_digest` is that of `wire.events.digest_of`, once the user is known.
first_arrivals = Table(
    "first_arrivals",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("trackpoint", BigInteger, primary_key=True, autoincrement=False),
    Column("receipt", LargeBinary, primary_key=True),
    Column("arrived_ms", BigInteger, nullable=False),
    Column("user_digest", LargeBinary),
    sqlite_with_rowid=False,
)

# The names that this database wrote into the marker of the store, so that a copy of it is told apart.
generations = Table(
    "generations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("written_ms", BigInteger, nullable=False),
)

# The lowest number of a program that may use the tables (`schema.READER`): one row, with the id 1.
readers = Table(
    "readers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("lowest", Integer, nullable=False),
)

# The names of the records of erasures that this database knows (`upkeep/erasure_records.py`). The records themselves
# are outside of the database, so that one that was restored from a backup finds those that it does not know.
erasure_records = Table(
    "erasure_records",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)

# What seals the records: one row, with the id 1.
erasure_keys = Table(
    "erasure_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
)

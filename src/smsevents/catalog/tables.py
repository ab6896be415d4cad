"""The tables of the catalog.

`segments` holds a shop's log: the bytes, and what must be known of them without reading them. The bounds
are whole entries (date and line), because many events may share a millisecond; `span_ms` is not less than what
lies between them, and a power of two or zero, so that segments that reach into a window are found at once
(`stored.span_of`).
"""

from __future__ import annotations

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
)

metadata = MetaData()

# SQLite makes ids only for its own INTEGER; elsewhere they have 64 bits.
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
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the whole key
    Column("scopes", Text, nullable=False),  # names joined by a space
    Column("label", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("last_used_ms", BigInteger),  # of the last minutes only roughly, see uses.py
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

# What has to be done to the files after an erasure; `erasure.wipe` says which there are.
chores = Table(
    "chores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),  # of the erasure that owed it last
    Column("since_ms", BigInteger, nullable=False),
)

# What is believed about the time (`trusted.Mark`): one row, with the id 1.
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

# When something was done last, by its name.
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

# Damaged segments that `verify --quarantine` set aside: their bytes as they were found, and why.
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # what it was in `segments`
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), nullable=False),
    Column("first_date", BigInteger, nullable=False),
    Column("last_date", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_aside_ms", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("trackpoint", BigInteger, ForeignKey("shops.trackpoint"), nullable=False),
    Column("first_date", BigInteger, nullable=False),
    Column("first_line", LargeBinary, nullable=False),
    Column("last_date", BigInteger, nullable=False),
    Column("last_line", LargeBinary, nullable=False),
    Column("span_ms", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("line_bytes", BigInteger, nullable=False),
    Column("line_crc", BigInteger, nullable=False),
    Column("stored_crc", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("segments_in_order", "trackpoint", "first_date", "first_line"),
    Index("segments_by_span", "trackpoint", "span_ms", "first_date"),
    Index("segments_by_end", "last_date"),
    sqlite_autoincrement=True,  # an id is never used again, also after the segment is gone
)

"""The tables of the catalog.

`segments` holds a shop's log: the bytes, and the facts that must be known without reading them. The bounds are
complete entries (date and line), because many events may share a millisecond. `span_ms` is zero or a power of two, and
at least the time between the bounds, so that the segments that reach into a window are found quickly
(`segments.span_of`).
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

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

# Work on the files that an erasure leaves to be done. `Dialect.scrub_steps` names the steps.
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
    sqlite_autoincrement=True,  # an id is never reused, even after the segment is gone
)

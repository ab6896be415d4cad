"""Shops, their keys, and the segments of their logs."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables.

    PostgreSQL would lock the row of a shop for each of its segments, so there is no foreign key. And its indexes hold
    no row of more than 2.7 kB, so they are without lines.
    """
    is_postgres = op.get_bind().dialect.name == "postgresql"
    shop = [] if is_postgres else [sa.ForeignKey("shops.trackpoint")]
    op.create_table(
        "shops",
        sa.Column("trackpoint", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("trackpoint", sa.BigInteger(), sa.ForeignKey("shops.trackpoint"), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("revoked_ms", sa.BigInteger()),
    )
    op.create_index("ix_keys_trackpoint", "keys", ["trackpoint"])
    op.create_table(
        "segments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("trackpoint", sa.BigInteger(), *shop, nullable=False),
        sa.Column("first_date", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.LargeBinary(), nullable=False),
        sa.Column("last_date", sa.BigInteger(), nullable=False),
        sa.Column("last_line", sa.LargeBinary(), nullable=False),
        sa.Column("span_ms", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("line_bytes", sa.BigInteger(), nullable=False),
        sa.Column("line_crc", sa.BigInteger(), nullable=False),
        sa.Column("stored_crc", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    in_order = ["trackpoint", "first_date"] if is_postgres else ["trackpoint", "first_date", "first_line"]
    op.create_index("segments_in_order", "segments", in_order)
    op.create_index("segments_by_span", "segments", ["trackpoint", "span_ms"])
    if is_postgres:
        _prepare_postgres()


def _prepare_postgres() -> None:
    """Name the database, and store segments as they are: they are compressed already, and soon replaced."""
    op.create_table("database_identity", sa.Column("identity", sa.Text(), primary_key=True))
    identity = sa.table("database_identity", sa.column("identity"))
    op.get_bind().execute(sa.insert(identity).values(identity=secrets.token_hex(16)))
    op.execute("ALTER TABLE segments ALTER COLUMN data SET STORAGE EXTERNAL")
    # statistics would keep events after they were erased
    for column in ("first_line", "last_line", "data"):
        op.execute(f"ALTER TABLE segments ALTER COLUMN {column} SET STATISTICS 0")
    op.execute(
        "ALTER TABLE segments SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,"
        " toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 1000)"
    )

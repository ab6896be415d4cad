"""Shops, their keys, and the segments of their logs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
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
        sa.Column("trackpoint", sa.BigInteger(), sa.ForeignKey("shops.trackpoint"), nullable=False),
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
    op.create_index("segments_in_order", "segments", ["trackpoint", "first_date", "first_line"])
    op.create_index("segments_by_span", "segments", ["trackpoint", "span_ms"])

"""Delivery receipts: receivers, the register of sent messages, receipts that wait, first arrivals."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the tables. They stay empty until the first receiver is created."""
    op.create_table(
        "receivers",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("trackpoint", sa.BigInteger(), sa.ForeignKey("shops.trackpoint"), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary()),
        sa.Column("mapping", sa.LargeBinary()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger()),
        sa.Column("last_call_ms", sa.BigInteger()),
        sa.Column("unmatched", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_receivers_trackpoint", "receivers", ["trackpoint"])
    op.create_table("receipt_days", sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False))
    op.create_table(
        "sent",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("trackpoint", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("message", sa.LargeBinary(), primary_key=True),
        sa.Column("scope", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "waiting_receipts",
        sa.Column("trackpoint", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("message", sa.LargeBinary(), primary_key=True),
        sa.Column("receiver_id", sa.Text(), primary_key=True),
        sa.Column("status", sa.Text(), primary_key=True),
        sa.Column("first_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("resolution_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("second_ms", sa.BigInteger()),
        sa.Column("arrived_ms", sa.BigInteger(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("waiting_receipts_by_arrival", "waiting_receipts", ["arrived_ms"])
    op.create_table(
        "first_arrivals",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("trackpoint", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("receipt", sa.LargeBinary(), primary_key=True),
        sa.Column("arrived_ms", sa.BigInteger(), nullable=False),
        sa.Column("user_digest", sa.LargeBinary()),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":  # statistics would keep the users after they were erased
        for table, column in (("sent", "user_id"), ("sent", "source"), ("first_arrivals", "user_digest")):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")

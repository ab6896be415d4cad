"""The lease of the maintainer, users that must not be recorded, and segments that were set aside."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the tables of maintenance."""
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "blocked_users",
        sa.Column("trackpoint", sa.BigInteger(), sa.ForeignKey("shops.trackpoint"), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("blocked_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("trackpoint", sa.BigInteger(), sa.ForeignKey("shops.trackpoint"), nullable=False),
        sa.Column("first_date", sa.BigInteger(), nullable=False),
        sa.Column("last_date", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_aside_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )

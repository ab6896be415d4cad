"""Tallies: the counts of each segment, for statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table of tallies. The upkeep worker fills it."""
    op.create_table(
        "tallies",
        sa.Column("in_pack", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("stored_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tallies ALTER COLUMN data SET STORAGE EXTERNAL")  # it is compressed already
        # statistics would keep what was counted after it was erased
        op.execute("ALTER TABLE tallies ALTER COLUMN data SET STATISTICS 0")

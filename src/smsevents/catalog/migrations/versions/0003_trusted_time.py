"""The mark of trusted time: one row, which is created when the time is first recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table of the mark."""
    op.create_table(
        "trusted_time",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("trusted_ms", sa.BigInteger(), nullable=False),
        sa.Column("expected_ms", sa.BigInteger(), nullable=False),
        sa.Column("noted_start", sa.Text(), nullable=False),
        sa.Column("noted_wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("noted_since_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("steady_start", sa.Text(), nullable=False),
        sa.Column("steady_wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("steady_since_start_ms", sa.BigInteger(), nullable=False),
        sa.Column("agreed", sa.BigInteger(), nullable=False),
        sa.Column("contradicted", sa.BigInteger(), nullable=False),
        sa.Column("witness_ms", sa.BigInteger()),
        sa.Column("doubt", sa.Text()),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("worked_ms", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.Integer(), nullable=False),
    )

"""Generations of the store of packs: which markers in the store this database wrote."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0005"


def upgrade() -> None:
    """Add the table. It stays empty until the marker of a store is renewed for the first time."""
    op.create_table(
        "generations",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("written_ms", sa.BigInteger(), nullable=False),
    )

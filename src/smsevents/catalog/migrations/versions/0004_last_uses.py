"""The last use of each key, and when something was last done."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the table. They start empty: earlier uses were not recorded."""
    op.add_column("keys", sa.Column("last_used_ms", sa.BigInteger()))
    op.create_table(
        "milestones",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
    )

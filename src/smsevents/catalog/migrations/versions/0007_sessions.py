"""Sessions of the page, and the tickets that open one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add both tables. A row names a key and holds a digest; the secret itself is with the browser."""
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("key_id", sa.Text(), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_sessions_key_id", "sessions", ["key_id"])
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("key_id", sa.Text(), sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )

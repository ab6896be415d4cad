"""What was erased is recorded outside of the database, so that a restored backup of it can catch up.

`erasure_records` has the names of the records that this database knows, because it made them or has repeated them.
`erasure_keys` has the random key that seals them: the records alone reveal no user ids.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the tables, and a key."""
    op.create_table(
        "erasure_records",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
    )
    keys = op.create_table(
        "erasure_keys",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
    )
    op.bulk_insert(keys, [{"id": 1, "key": secrets.token_bytes(32)}])

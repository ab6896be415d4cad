"""The numbers of messages that are kept for each settled day of sending."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table. The upkeep worker fills it.

    An earlier program that shares the tables leaves it alone. It is not misled either: what it keeps for a day counts
    only while the stored events of that day are those that were counted.
    """
    op.create_table(
        "message_days",
        sa.Column(
            "trackpoint", sa.BigInteger(), sa.ForeignKey("shops.trackpoint"), primary_key=True, autoincrement=False
        ),
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("basis", sa.LargeBinary(), nullable=False),
        sa.Column("counted_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary()),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE message_days ALTER COLUMN data SET STORAGE EXTERNAL")  # it is compressed already
        # statistics would keep what was counted after it was erased
        op.execute("ALTER TABLE message_days ALTER COLUMN data SET STATISTICS 0")

"""The upkeep: its lease and its chores, blocked users, segments in quarantine; spans as powers of two."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the tables of the upkeep, and round the spans so that there are few different ones."""
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "chores",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
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
    if op.get_bind().dialect.name == "postgresql":  # statistics would keep events after they were erased
        op.execute("ALTER TABLE quarantine ALTER COLUMN data SET STATISTICS 0")
    op.drop_index("segments_by_span", "segments")
    _round_spans(op.get_bind())
    op.create_index("segments_by_span", "segments", ["trackpoint", "span_ms", "first_date"])
    op.create_index("segments_by_end", "segments", ["last_date"])


def _round_spans(connection: sa.Connection) -> None:
    """Round each span up to a power of two. A span of zero stays zero."""
    segments = sa.table("segments", sa.column("span_ms"))
    longest = connection.execute(sa.select(sa.func.max(segments.c.span_ms))).scalar() or 0
    power = 2
    while power // 2 < longest:
        connection.execute(
            sa.update(segments).where(segments.c.span_ms > power // 2, segments.c.span_ms < power).values(span_ms=power)
        )
        power *= 2

"""Packs: many segments in one object of a store, the objects that may be there, and the store itself."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables of packs. They stay empty until a store is named. PostgreSQL differs as in 0001."""
    is_postgres = op.get_bind().dialect.name == "postgresql"
    shop = [] if is_postgres else [sa.ForeignKey("shops.trackpoint")]
    in_order = ["trackpoint", "first_date"] if is_postgres else ["trackpoint", "first_date", "first_line"]
    op.create_table(
        "packs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("trackpoint", sa.BigInteger(), *shop, nullable=False),
        sa.Column("first_date", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.LargeBinary(), nullable=False),
        sa.Column("last_date", sa.BigInteger(), nullable=False),
        sa.Column("last_line", sa.LargeBinary(), nullable=False),
        sa.Column("span_ms", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("line_bytes", sa.BigInteger(), nullable=False),
        sa.Column("line_crc", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_crc", sa.BigInteger(), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, unique=True),
        sa.Column("inner_index", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    if is_postgres:  # statistics would keep events after they were erased
        for column in ("first_line", "last_line", "inner_index"):
            op.execute(f"ALTER TABLE packs ALTER COLUMN {column} SET STATISTICS 0")
    op.create_index("packs_in_order", "packs", in_order)
    op.create_index("packs_by_span", "packs", ["trackpoint", "span_ms", "first_date"])
    op.create_index("packs_by_end", "packs", ["last_date"])
    op.create_table(
        "objects",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("trackpoint", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("delete_after_ms", sa.BigInteger()),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
    )
    not_live = sa.text("state <> 'live'")
    op.create_index("objects_to_do", "objects", ["state", "since_ms"], sqlite_where=not_live, postgresql_where=not_live)
    op.create_table(
        "pins",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "stores",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("packing", sa.Integer(), nullable=False),
    )

"""What several versions and several copies of a database must know of each other.

`generations` has what this database wrote into the marker of its store of packs. `readers` has the lowest number of
a program that may use the tables (`schema.READER`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables. `generations` stays empty until the marker of a store is renewed for the first time."""
    op.create_table(
        "generations",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("written_ms", sa.BigInteger(), nullable=False),
    )
    readers = op.create_table(
        "readers",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("lowest", sa.Integer(), nullable=False),
    )
    op.bulk_insert(readers, [{"id": 1, "lowest": 1}])

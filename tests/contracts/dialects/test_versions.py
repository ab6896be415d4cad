"""Tables of a later version: used while that allows it, refused and left alone otherwise; migrations only add."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text, update

from smsevents.catalog.schema import MIGRATIONS, READER, is_usable
from smsevents.catalog.shops import Shop, all_shops, insert_shop
from smsevents.catalog.tables import readers
from smsevents.errors import StoreVersionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.contracts.dialects.harness import Harness

LATER = "9999"
FIRST_THAT_ONLY_ADDS = "0009"
ADDING = {"create_table", "create_index", "add_column", "bulk_insert", "execute", "get_bind"}


def upgrade(harness: Harness, lowest: int) -> None:
    """Do to a database what a later version would: new tables, a revision of its own, and the lowest reader."""

    def write(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE later (id integer PRIMARY KEY)"))
        connection.execute(text("UPDATE alembic_version SET version_num = :later"), {"later": LATER})
        connection.execute(update(readers).values(lowest=lowest))

    harness.opened().write(write)


def test_later_tables_are_used_if_they_allow_it(harness: Harness) -> None:
    """A program with a sufficient number opens, reads and writes tables of a later revision, and keeps that."""
    running = harness.opened()
    upgrade(harness, READER)
    for database in (running, harness.opened()):
        with database.read() as connection:
            before = len(list(all_shops(connection)))
            assert is_usable(connection)
        database.write(lambda connection, number=before: insert_shop(connection, Shop(7 + number, "", 1)))  # type: ignore[misc]
        with database.read() as connection:
            assert len(list(all_shops(connection))) == before + 1
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == LATER


def test_later_tables_that_need_a_later_program_are_refused(harness: Harness) -> None:
    """A program whose number is too low does not start, says what to install, and a running one notices."""
    running = harness.opened()
    upgrade(harness, READER + 1)
    with pytest.raises(StoreVersionError, match=f"'{LATER}'.*newer"):
        harness.opened()
    with running.read() as connection:
        assert not is_usable(connection)
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == LATER


def test_migrations_only_add() -> None:
    """Since servers of two versions may run side by side, a migration removes and changes nothing."""
    for path in sorted((MIGRATIONS / "versions").glob("*.py")):
        if path.name < FIRST_THAT_ONLY_ADDS:
            continue
        calls = {
            node.func.attr
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "op"
        }
        assert calls <= ADDING, path.name

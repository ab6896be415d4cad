"""Fixtures of the tests that need a warehouse, or look at the processes of a server."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from tests.support.processes import processes_of
from tests.support.warehouses import Warehouse, duckdb_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """Yield an empty warehouse of each kind."""
    if request.param == "duckdb":
        yield duckdb_at(tmp_path / "warehouse.duckdb")
        return
    url = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)

    def query(statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        connection = psycopg2.connect(url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    yield Warehouse("postgres", query)
    for schema in ("sms", "sms_staging", "marketing", "marketing_staging"):
        query(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder for a server, and leave no process of it running."""
    yield tmp_path
    for pid in processes_of(tmp_path / "log.db"):
        os.kill(pid, signal.SIGKILL)

"""A database that cannot be used is let go: nothing of it stays open in the process that was refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from smsevents.catalog import open_catalog
from smsevents.errors import StoreUnavailable, StoreVersionError


def open_files(path: Path) -> list[str]:
    """Return the files of a database that this process has open."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(descriptor.readlink()))
        except OSError:  # the one that lists the folder is gone
            continue
    return [target for target in targets if target.startswith(str(path))]


def test_newer_database_is_let_go(tmp_path: Path) -> None:
    """A database of a newer version is refused and none of its files stays open."""
    path = tmp_path / "log.db"
    open_catalog(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE readers SET lowest = 99")

    with pytest.raises(StoreVersionError) as caught:
        open_catalog(f"sqlite:///{path}")

    assert open_files(path) == []
    assert "9999" in str(caught.value)


def test_file_that_is_not_a_database_is_let_go(tmp_path: Path) -> None:
    """A file that is not a database is refused, does not stay open, and stays as it was."""
    path = tmp_path / "log.db"
    path.write_bytes(b"not a database, and long enough to be read as one" * 100)
    before = path.read_bytes()

    with pytest.raises(StoreUnavailable) as caught:
        open_catalog(f"sqlite:///{path}")

    assert open_files(path) == []
    assert path.read_bytes() == before
    assert str(path) in str(caught.value)

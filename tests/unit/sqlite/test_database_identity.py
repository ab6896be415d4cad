"""A process that a server started opens the file that the server was started with, and no other."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from smsevents.catalog import open_catalog, open_served
from smsevents.catalog.dialects.sqlite.identity import identity_of
from smsevents.catalog.dialects.sqlite.provider import IDENTITY_VARIABLE
from smsevents.errors import StoreUnavailable


def test_a_file_that_was_put_there_meanwhile_is_not_touched(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another database beside the write-ahead log of the first one is refused before SQLite mixes the two."""
    path = Path(url.removeprefix("sqlite:///"))
    open_catalog(url).close()
    backup = tmp_path / "backup.db"
    shutil.copy(path, backup)
    monkeypatch.setenv(IDENTITY_VARIABLE, identity_of(path))
    open_served(url).close()

    with closing(sqlite3.connect(path)) as first:  # has a write-ahead log with a page that the other file lacks
        first.execute("CREATE TABLE made_meanwhile (a)")
        path.rename(tmp_path / "away.db")
        shutil.copy(backup, path)
        wal = path.with_name(path.name + "-wal").read_bytes()
        assert wal

        with pytest.raises(StoreUnavailable, match="moved or replaced"):
            open_served(url)

        assert path.read_bytes() == backup.read_bytes()
        assert path.with_name(path.name + "-wal").read_bytes() == wal


def test_a_file_that_is_gone_is_not_made_anew(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file was moved away, no new one is created."""
    path = Path(url.removeprefix("sqlite:///"))
    open_catalog(url).close()
    monkeypatch.setenv(IDENTITY_VARIABLE, identity_of(path))
    path.unlink()
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        open_served(url)
    assert not path.exists()


def test_who_was_not_started_by_a_server_opens_what_is_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server that says which file it is, the one under the path is opened."""
    monkeypatch.delenv(IDENTITY_VARIABLE, raising=False)
    open_catalog(url).close()
    open_served(url).close()

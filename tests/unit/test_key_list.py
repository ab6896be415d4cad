"""`smsevents key list --json` tells programs all that the table tells people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from typer.testing import CliRunner

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.cli import app

if TYPE_CHECKING:
    from pathlib import Path


def test_each_column_of_the_table_is_in_the_json(tmp_path: Path) -> None:
    """Whatever `key list` shows of a key is in its object, too: also when the key was used last."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    database = open_catalog(url)
    access = Access(database)
    access.add_shop(7, "")
    access.create_key(7, ["export"], label="warehouse")
    database.close()

    shown = CliRunner().invoke(app, ["key", "list", "7", "--database", url]).stdout.splitlines()[0].split("\t")
    told = msgspec.json.decode(CliRunner().invoke(app, ["key", "list", "7", "--json", "--database", url]).stdout)

    names = [name.removesuffix("_ms").replace("_", " ").upper() for name in told]
    assert names == shown
    assert told["last_used_ms"] is None

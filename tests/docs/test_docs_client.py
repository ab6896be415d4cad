"""The page on the client: its tables are those of the code, and its examples run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import pytest
import typer

from smsevents.cli import app
from smsevents.client import errors
from smsevents.client.dlt_source import COLUMNS
from smsevents.client.sync import SyncReport
from smsevents.client.warehouse_messages import MESSAGE_TABLE_COLUMNS
from smsevents.clock.system import now_ms
from tests.support.documents import ROOT, Page, bare
from tests.support.lines import DAY_MS, line
from tests.support.standin import Account, Answer, Request, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = Page(ROOT / "docs" / "client.md")
TRACKPOINT = 4541245641234564
EXAMPLES = [text for language, text in CLIENT.blocks if language == "python"]


def test_errors() -> None:
    """The table of errors has every error of the client, in the order of the tree, and no other."""
    drawn = [row[0] for row in CLIENT.table("Error")]

    assert sorted(map(bare, drawn)) == sorted(set(errors.__all__) - {"ClientError", "Recovery", "RefusedLine"})
    assert errors.__doc__ is not None
    places = [errors.__doc__.index(f" {bare(name)} ") for name in drawn]
    assert places == sorted(places)


def test_columns() -> None:
    """The table of columns is that of the code: names, types and meanings, in their order."""
    assert CLIENT.table("Column") == [
        [f"`{name}`", f"`{column['data_type']}`", column["description"]] for name, column in COLUMNS.items()
    ]


def test_columns_of_messages() -> None:
    """The table of the columns of messages is that of the code."""
    assert CLIENT.table("Column of a message") == [
        [f"`{name}`", f"`{column['data_type']}`", column["description"]]
        for name, column in MESSAGE_TABLE_COLUMNS.items()
    ]


def test_options() -> None:
    """The table of options has every option of `sync`, with its default."""
    command: Any = typer.main.get_command(app)
    options = {
        option.opts[0]: option.default for option in command.commands["sync"].params if option.opts[0].startswith("--")
    }
    shown = {bare(name): bare(default) for name, default, _ in CLIENT.table("Option")}

    assert list(shown) == list(options)
    for name, default in options.items():
        if default not in (None, False):
            assert float(shown[name]) == default if name == "--lookback" else shown[name] == default


def test_the_report_has_its_members() -> None:
    """The JSON that the page shows of a sync has the members that a sync writes."""
    [shown] = [text for language, text in CLIENT.blocks if language == "json"]
    report = msgspec.json.decode(shown, type=SyncReport, strict=True)

    assert msgspec.json.encode(report).decode() == shown.strip()
    assert {bare(span) for span in CLIENT.spans} >= {
        field.name for field in fields(SyncReport) if field.name in {"synced_from", "synced_to", "loads", "received"}
    }


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Yield a server for exports and imports, named by the environment, with an empty working folder."""
    lines = [line(TRACKPOINT, now_ms() - index * DAY_MS // 4 - 5000, node="VIP") for index in range(40)]
    account = Account(lines=lines)

    def answer(request: Request) -> Answer:
        """Respond to either call."""
        if request.path.endswith("/import-sms-events"):
            return Answer(tail=b'{"received":1,"expired":0}', content_type="application/json")
        return account(request)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("SMSEVENTS_API_KEY", "key")
    with StandIn() as standin:
        monkeypatch.setenv("SMSEVENTS_URL", standin.url)
        standin.answers(answer)
        yield standin


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_run(surroundings: StandIn, example: str) -> None:
    """Every Python example runs as shown, with key and server in the environment, and sends requests to the server."""
    exec(compile(example, "example", "exec"), {"__name__": "example"})  # noqa: S102 -- our own page

    assert surroundings.requests
    if "dlt" in example:
        query = next(text for language, text in CLIENT.blocks if language == "sql")
        with duckdb.connect("marketing.duckdb") as connection:
            [(status, count)] = connection.execute(query).fetchall()
        assert status == "DELIVERED"
        assert 28 <= count <= 32  # seven days and what has passed of today, four events a day
    assert not Path("events.jsonl.part").exists()

"""The list of commands, whose modules are imported only when they run."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from smsevents.cli import app
from smsevents.cli.commands import COMMANDS


@pytest.fixture
def group() -> Any:
    """Return the group of all commands."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(group: Any, name: str) -> None:
    """The help of a command in the list is the first paragraph of its own help, and its name is the same."""
    command = group.commands[name]

    assert command.name == name
    assert COMMANDS[name].help == " ".join(command.help.split("\n\n")[0].split())


def test_an_unknown_command_is_refused_with_a_suggestion() -> None:
    """A misspelt command is a usage error that names the nearest one."""
    done = CliRunner().invoke(app, ["pul"])

    assert done.exit_code == 2
    assert "'pull'" in done.output


def test_the_help_of_all_commands_lists_each() -> None:
    """The help of `smsevents` lists every command."""
    shown = CliRunner().invoke(app, ["--help"]).output

    assert all(f" {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("words", [["--help"], ["pull", "--help"], ["sync", "--help"]])
def test_pull_and_sync_import_nothing_of_the_server(words: list[str]) -> None:
    """Their help imports no module of the server and none of its packages; without a terminal, also not rich."""
    script = (
        "import sys; from smsevents.cli import app; app(sys.argv[1:], standalone_mode=False);"
        "print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)

    imported = set(done.stderr.split())
    server = {"accounts", "catalog", "log", "segments", "timekeeper", "upkeep", "web", "worker"}
    assert not imported & {f"smsevents.{name}" for name in server}
    assert not imported & {
        "sqlalchemy",
        "alembic",
        "litestar",
        "uvicorn",
        "uvloop",
        "zlib_ng",
        "structlog",
        "dlt",
        "rich",
    }

"""The command `smsevents`: one file for each group of commands.

serve.py         serve
shop.py          shop add, shop list
key.py           key create, key list, key revoke
transfer.py      import, export, generate
upkeep.py        compact, expire, forget, verify, backup, stats
pull.py          pull
pull_reports.py  the progress of a pull, as JSON lines
pull_progress.py the progress of a pull, as a bar
pull_summary.py  the result of a pull, in words
sync.py          sync
account.py       options that `pull` and `sync` share: the address and the API key
demo.py          demo
doctor.py        doctor
checks.py        the checks of `doctor`
times.py         the times that options accept
database.py      the option --database
in_force.py      the settings in force
commands.py      the table of commands, each loaded when it is needed
misspelt.py      warnings about variables that look like misspelt settings
console.py       shared parts: errors, the database, tables, progress
output.py        standard output, with its failures reported
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from smsevents.cli import console, misspelt, output
from smsevents.cli.commands import application
from smsevents.cli.misspelt import WARNED_VARIABLE

if TYPE_CHECKING:
    app: typer.Typer


def __getattr__(name: str) -> typer.Typer:
    if name == "app":
        return application()
    raise AttributeError(name)


def main() -> None:
    """Run the command. An error of smsevents becomes a line on standard error and exit code 1."""
    output.guard()
    _warn_of_variables()
    with console.errors():
        try:
            application(sys.argv[1] if len(sys.argv) > 1 else None)()
        except SystemExit:  # every command that succeeds ends with it
            output.flush()
            raise


def _warn_of_variables() -> None:
    """Name the variables that are probably misspelt, once per tree of processes."""
    if WARNED_VARIABLE in os.environ:
        return
    for warning in misspelt.warnings(os.environ):
        typer.echo(f"smsevents: {warning}", err=True)
        os.environ[WARNED_VARIABLE] = "1"

"""The command `smsevents`: one file for each group of commands.

commands.py      which module has each command; imports it when the command runs
serve.py         serve
shop.py          shop add, shop list
key.py           key create, key list, key revoke
receiver.py      receiver create, receiver list, receiver test, receiver revoke
transfer.py      import, export, generate
upkeep.py        compact, expire, forget, verify, backup, stats
erasures.py      erasures; repeats erasures after a restore
copying.py       copy
comparing.py     compare
packs.py         move, adopt; SMSEVENTS_SEGMENTS
pull.py          pull
pull_reports.py  the progress of a pull, as JSON lines
pull_progress.py the progress of a pull, as a bar
pull_summary.py  the result of a pull, in words
sync.py          sync
account.py       options that `pull` and `sync` share: the address, the API key, the pace, silence
demo.py          demo
demo_receipt.py  the delivery receipt of demo
doctor.py        doctor
checks.py        the checks of `doctor`
times.py         the times that options accept
filtering.py     the options that choose events, of `pull` and `sync`
database.py      the option --database
misspelt.py      warnings about variables that look like misspelt settings
opening.py       opens the database of a command
console.py       shared parts: errors, tables, progress
files.py         files that commands write: complete, or not there
output.py        standard output, with its failures reported
"""

from __future__ import annotations

import os
import sys

import typer

from smsevents import __version__
from smsevents.cli import console, misspelt, output
from smsevents.cli.commands import LazyGroup
from smsevents.cli.misspelt import WARNED_VARIABLE

_TERMINAL = sys.stderr is not None and sys.stderr.isatty()

app = typer.Typer(
    name="smsevents",
    cls=LazyGroup,
    help="The self-hosted log of SMS delivery events, with one streaming export.",
    epilog="Settings are environment variables, such as SMSEVENTS_DATABASE; `smsevents doctor` shows those in force.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # without a terminal, an error must stay on one line, for logs
    rich_markup_mode="rich" if _TERMINAL else None,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": None if _TERMINAL else 120},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"smsevents {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def main() -> None:
    """Run the command. An error of smsevents becomes a line on standard error and exit code 1."""
    output.guard()
    _warn_of_variables()
    with console.errors():
        try:
            app()
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

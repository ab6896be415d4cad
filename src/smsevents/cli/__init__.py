"""The command `smsevents`: one file for each group of commands.

serve.py      serve
shop.py       shop add, shop list
key.py        key create, key list, key revoke
transfer.py   import, export, generate
upkeep.py     compact, expire, forget, verify, backup, stats
pull.py       pull; in pull_reports.py how it is shown, in pull_summary.py what is said of it
sync.py       sync
account.py    what `pull` and `sync` share: whom to ask, and with which key
demo.py       demo
times.py      the times that options take
console.py    what they share: errors, tables, progress
"""

from __future__ import annotations

import sys

import typer

from smsevents import __version__
from smsevents.cli import console, demo, key, pull, serve, shop, sync, transfer, upkeep

app = typer.Typer(
    name="smsevents",
    help="The self-hosted log of SMS delivery events, with one streaming export.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.add_typer(shop.app, name="shop")
app.add_typer(key.app, name="key")
app.command("import")(transfer.import_)
app.command("export")(transfer.export)
app.command("generate")(transfer.generate)
app.command("compact")(upkeep.compact)
app.command("expire")(upkeep.expire)
app.command("forget")(upkeep.forget)
app.command("verify")(upkeep.verify)
app.command("backup")(upkeep.backup)
app.command("stats")(upkeep.stats)
app.command("pull")(pull.pull)
app.command("sync")(sync.sync)
app.command("demo")(demo.demo)


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
    """Run the command; an error of ours becomes a line on standard error and exit code 1."""
    if not sys.stderr.isatty():
        app.rich_markup_mode = None  # a box of 80 columns would cut the lines of a log
    with console.errors():
        app()

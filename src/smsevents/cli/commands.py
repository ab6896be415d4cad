"""The table of commands. `pull` and `sync` load nothing of the server: that would take most of a short run."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

import typer

from smsevents import __version__
from smsevents.cli import pull, sync

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG = "Settings are environment variables, such as SMSEVENTS_DATABASE; `smsevents doctor` shows those in force."
_TERMINAL = sys.stderr is not None and sys.stderr.isatty()
_OF_THE_CLIENT: dict[str, Callable[..., None]] = {"pull": pull.pull, "sync": sync.sync}


@cache
def application(name: str | None = None) -> typer.Typer:
    """Return the command `smsevents` with all its commands; for a command of the client, with that one alone."""
    app = typer.Typer(
        name="smsevents",
        help="The self-hosted log of SMS delivery events, with one streaming export.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # without a terminal, an error must stay on one line, for logs
        rich_markup_mode="rich" if _TERMINAL else None,
        context_settings={"help_option_names": ["-h", "--help"], "terminal_width": None if _TERMINAL else 120},
    )
    app.callback()(_options)
    if name in _OF_THE_CLIENT:
        app.command(name)(_OF_THE_CLIENT[name])
    else:
        _add_all(app)
    return app


def _add_all(app: typer.Typer) -> None:
    from smsevents.cli import demo, doctor, key, serve, shop, transfer, upkeep  # noqa: PLC0415 -- see above
    from smsevents.cli.database import with_database  # noqa: PLC0415 -- see above

    app.command("serve")(with_database(serve.serve))
    app.add_typer(shop.app, name="shop")
    app.add_typer(key.app, name="key")
    app.command("import")(with_database(transfer.import_))
    app.command("export")(with_database(transfer.export))
    app.command("generate")(transfer.generate)
    app.command("compact")(with_database(upkeep.compact))
    app.command("expire")(with_database(upkeep.expire))
    app.command("forget")(with_database(upkeep.forget))
    app.command("verify")(with_database(upkeep.verify))
    app.command("backup")(with_database(upkeep.backup))
    app.command("stats")(with_database(upkeep.stats))
    for name, command in _OF_THE_CLIENT.items():
        app.command(name)(command)
    app.command("demo")(demo.demo)
    app.command("doctor")(with_database(doctor.doctor))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"smsevents {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass

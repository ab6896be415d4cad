"""Shared by the commands: error messages, secrets shown once, tables, progress bars. Imports nothing of the server."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from smsevents.cli import output
from smsevents.cli.output import OutputClosed, OutputFailed
from smsevents.errors import CannotListen, InvalidLines, SmsEventsError
from smsevents.wire.events import INT64_MAX
from smsevents.wire.reasons import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.progress import Progress, TaskID

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, one object per line; times are in Unix milliseconds.")
]
Trackpoint = Annotated[int, typer.Argument(metavar="TRACKPOINT", min=1, max=INT64_MAX, help="The number of the shop.")]

EXIT_FAILED = 1
EXIT_CANNOT_LISTEN = 3
EXIT_BROKEN_PIPE = 141  # the exit status that a shell reports for a program ended by SIGPIPE


@contextmanager
def errors() -> Iterator[None]:
    """Turn an error of smsevents into lines on standard error and exit code 1, or 3 where `serve` cannot listen."""
    try:
        yield
    except OutputClosed:
        # the reader has closed the pipe; leave nothing for Python to flush at exit
        output.drop()
        sys.exit(EXIT_BROKEN_PIPE)
    except SmsEventsError as error:
        typer.echo(f"smsevents: {error}", err=True)
        if isinstance(error, InvalidLines):
            for bad in error.bad_lines:
                typer.echo(f"  line {bad.line}: {bad.reason}", err=True)
        if isinstance(error, OutputFailed):
            output.drop()
        sys.exit(EXIT_CANNOT_LISTEN if isinstance(error, CannotListen) else EXIT_FAILED)


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts: `1 pack`, `2 packs`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def show_once(what: str, secret: str, *, revoke: Callable[[], object]) -> None:
    """Print a secret that is not stored. If that fails, revoke it, because nobody will ever know it.

    `what` is its name in the message. Raises `OutputFailed`.
    """
    try:
        typer.echo(secret)
        output.flush()
    except OutputFailed as error:
        revoke()
        raise OutputFailed(f"{error} The {what} was not shown, so it was revoked immediately.") from error


def day_of(time_ms: int | None) -> str:
    """Return the UTC day of a time in Unix milliseconds, or a dash for None."""
    return "-" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def minute_of(time_ms: int | None) -> str:
    """Return a time (Unix ms) to the minute, in UTC, or a dash for None."""
    return "-" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: as a table on a terminal, otherwise as tab-separated lines with a header.

    Control characters in a cell are escaped, so that a name can neither control the terminal nor break a row.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 -- slow to load
        from rich.table import Table  # noqa: PLC0415 -- slow to load
        from rich.text import Text  # noqa: PLC0415 -- slow to load

        table = Table(*columns)
        for row in shown:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    for row in [list(columns), *shown]:
        typer.echo("\t".join(row))


def show_json(rows: Iterable[object]) -> None:
    """Print rows as JSON, one object per line."""
    for row in rows:
        typer.echo(msgspec.json.encode(row))


def progress(total_bytes: int | None) -> tuple[Progress, TaskID]:
    """Return a progress bar over bytes and its task. The bar is on standard error, and only on a terminal."""
    from rich.console import Console  # noqa: PLC0415 -- slow to load
    from rich.progress import (  # noqa: PLC0415 -- slow to load
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    terminal = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
        transient=True,
    )
    return bar, bar.add_task("", total=total_bytes)

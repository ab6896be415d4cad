"""What the commands share: how an error is told, how rows are shown, how progress is."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from smsevents.catalog import Database, open_catalog
from smsevents.cli.database import settings_in_force
from smsevents.errors import InvalidLines, SmsEventsError
from smsevents.events import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Trackpoint = Annotated[int, typer.Argument(min=1, max=INT64_MAX, help="The number of the shop.")]

EXIT_FAILED = 1
EXIT_BROKEN_PIPE = 141  # what a shell sees of a program that SIGPIPE ended


@contextmanager
def errors() -> Iterator[None]:
    """Turn an error of ours into lines on standard error and exit code 1."""
    try:
        yield
    except SmsEventsError as error:
        typer.echo(f"smsevents: {error}", err=True)
        if isinstance(error, InvalidLines):
            for bad in error.bad_lines:
                typer.echo(f"  line {bad.line}: {bad.reason}", err=True)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # the reader of our output has enough; nothing is left to be flushed to it when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)


@contextmanager
def opened_database() -> Iterator[Database]:
    """Open the database of the settings, made or upgraded if need be, for as long as the block runs."""
    database = open_catalog(settings_in_force().database)
    try:
        yield database
    finally:
        database.close()


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Show rows: as a table on a terminal, else as tab-separated lines with a header, for programs."""
    if sys.stdout.isatty():
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    for row in [columns, *rows]:
        typer.echo("\t".join(row))


def progress(total_bytes: int | None) -> tuple[Progress, TaskID]:
    """Give a progress bar over bytes, on standard error, shown on a terminal only; and its task."""
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

"""`smsevents pull`: download the events of a window into files, usually every night."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path  # noqa: TC003 -- typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from smsevents.cli.account import AccountOption, PaceOption, UrlOption, address_of, asked_key, timeouts_of
from smsevents.cli.console import EXIT_FAILED, Trackpoint
from smsevents.cli.output import OutputClosed, OutputFailed
from smsevents.cli.pull_reports import JsonReport
from smsevents.cli.pull_summary import absent_text, by_cause, summary_text
from smsevents.cli.times import option_time
from smsevents.client import Client
from smsevents.client.pull.clocks import is_ahead
from smsevents.client.pull.days import Split, day_of
from smsevents.client.pull.directory import Directory, DirectoryOptions
from smsevents.client.pull.formats import FormatName  # noqa: TC001 -- typer reads it at run time
from smsevents.client.pull.pull import Pull
from smsevents.client.pull.terms import (
    PULL_JOBS,
    PULL_JOBS_MAX,
    PULL_LOOKBACK_DAYS,
    PullObserver,
    PullOptions,
    Stopping,
    Summary,
)
from smsevents.clock.system import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

LOOKBACK_MAX_DAYS = 36_500
EXIT_INTERRUPTED = 130  # the exit status that a shell reports for a program ended by SIGINT


def pull(  # noqa: PLR0913, PLR0917 -- each parameter is an option
    trackpoint: Trackpoint,
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where the files are kept; created if missing.")
    ],
    from_: Annotated[
        str | None,
        typer.Option("--from", help="First day, UTC: a day, a time in it, yesterday, 7d. Default: 90 days ago."),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last day, in the same forms. Default: today.")] = None,
    format_: Annotated[
        FormatName | None, typer.Option("--format", help="File format. Default: the directory's setting, or jsonl.")
    ] = None,
    split: Annotated[
        Split | None, typer.Option("--split", help="Period per file. Default: the directory's setting, or day.")
    ] = None,
    compressed: Annotated[
        bool | None,
        typer.Option(
            "--compressed/--uncompressed",
            help="Compress with gzip, Parquet with zstd. Default: the directory's setting, or compressed.",
        ),
    ] = None,
    account: AccountOption = None,
    url: UrlOption = None,
    jobs: Annotated[int, typer.Option(min=1, max=PULL_JOBS_MAX, help="Days fetched concurrently.")] = PULL_JOBS,
    lookback: Annotated[
        int,
        typer.Option(
            min=0,
            max=LOOKBACK_MAX_DAYS,
            help="How many days after its end a day is fetched again, as receipts arrive late.",
        ),
    ] = PULL_LOOKBACK_DAYS,
    replace: Annotated[
        bool, typer.Option("--replace", help="Fetch all days again and drop what the server no longer has.")
    ] = False,
    min_rate: PaceOption = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON lines to standard output.")] = False,
) -> None:
    """Pull missing days, and days that may have changed, into files, one per day; each event exactly once.

    The API key is read from SMSEVENTS_API_KEY; if it is not set, the command prompts for it.
    """
    choice = PullOptions(
        first=_day("--from", from_), last=_day("--to", to), jobs=jobs, lookback_days=lookback, replace=replace
    )
    if choice.first and choice.last and choice.first > choice.last:
        raise typer.BadParameter(f"{choice.first} is after {choice.last}", param_hint="--from")
    if choice.first and is_ahead(choice.first, now_ms()):
        raise typer.BadParameter(f"{choice.first} is in the future: there are no events yet", param_hint="--from")
    wish = DirectoryOptions(
        trackpoint=trackpoint,
        url=address_of(account, url),
        format=format_,
        compressed=compressed,
        split=split,
    )
    stopping = Stopping()
    started = time.monotonic()
    with ExitStack() as stack:
        opened = stack.enter_context(Directory(directory, wish))
        timeouts = timeouts_of(min_rate)
        client = stack.enter_context(
            Client(trackpoint, asked_key(), url=opened.layout.url, sleep=stopping.sleep, timeouts=timeouts)
        )
        report: PullObserver = JsonReport(sys.stdout, opened, stopping) if json else stack.enter_context(_progress())
        one = Pull(client.export_batches, opened, choice, clock=now_ms, report=report, stopping=stopping)
        interrupt = _Interrupt(stopping)
        summary = one.run()
    if isinstance(report, JsonReport):
        report.summary(summary, time.monotonic() - started)
        _check_output(report.broken)
    _tell(summary, quiet=json or not sys.stderr.isatty())
    if not summary.is_complete:
        sys.exit(EXIT_INTERRUPTED if interrupt.came else EXIT_FAILED)


@contextmanager
def _progress() -> Iterator[PullObserver]:
    """Show the progress on a terminal. Elsewhere, show nothing."""
    if not sys.stderr.isatty():
        yield PullObserver()
        return
    from smsevents.cli.pull_progress import ProgressReport  # noqa: PLC0415 -- slow to load

    with ProgressReport() as report:
        yield report


def _day(option: str, text: str | None) -> date | None:
    return None if text is None else day_of(option_time(option, text, now_ms()).start)


def _check_output(broken: OutputFailed | None) -> None:
    if isinstance(broken, OutputClosed):
        raise broken
    if broken:
        raise OutputFailed(f"{broken} The pull stopped there; the files that it wrote are complete.")


class _Interrupt:
    """Ends the pull cleanly on Ctrl-C. A second Ctrl-C ends it immediately, which is also safe."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self.came = False
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, _signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.came = True
        self._stopping.stop()


def _tell(summary: Summary, *, quiet: bool) -> None:
    """Print the result on standard error. With `quiet`, print problems only."""
    for warning in summary.warnings:
        typer.echo(f"smsevents: {warning}", err=True)
    if summary.is_complete:
        if not quiet:
            typer.echo(summary_text(summary), err=True)
        elif summary.absent:
            typer.echo(f"smsevents: {absent_text(summary)}", err=True)
        return
    typer.echo(f"smsevents: {summary_text(summary)}", err=True)
    for days, error in by_cause(summary.failed):
        typer.echo(f"  {days}: {error}", err=True)

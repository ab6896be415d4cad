"""`smsevents pull`: download the events of a window into files, usually every night."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace as replace_fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smsevents.cli.account import (
    AccountOption,
    PaceOption,
    QuietOption,
    UrlOption,
    address_of,
    asked_key,
    timeouts_of,
)
from smsevents.cli.console import EXIT_FAILED, Trackpoint
from smsevents.cli.filtering import with_filter
from smsevents.cli.output import OutputClosed, OutputFailed
from smsevents.cli.pull_reports import JsonReport
from smsevents.cli.pull_summary import absent_text, by_cause, summary_text
from smsevents.cli.times import DaysOption, option_interval
from smsevents.client import Client, Filter
from smsevents.client.account import Account
from smsevents.client.messages import check_messages
from smsevents.client.pull.clocks import is_ahead
from smsevents.client.pull.days import Split, day_of
from smsevents.client.pull.directory import Directory, DirectoryOptions
from smsevents.client.pull.errors import Stopped
from smsevents.client.pull.formats import FormatName  # noqa: TC001 -- typer reads it at run time
from smsevents.client.pull.message_files import MessageFiles
from smsevents.client.pull.pull import Pull
from smsevents.client.pull.single import SingleFile, messages_path
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

    from smsevents.client import Timeouts
    from smsevents.client.pull.drafts import FileRecord

LOOKBACK_MAX_DAYS = 36_500
EXIT_INTERRUPTED = 130  # the exit status that a shell reports for a program ended by SIGINT


@with_filter
def pull(  # noqa: PLR0913, PLR0917 -- each parameter is an option
    trackpoint: Trackpoint,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIRECTORY", help="Where the files are kept; created if missing.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="First day, UTC: a day, a time in it, yesterday, 7d. Default: 90 days ago."),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last day, in the same forms. Default: today.")] = None,
    days: DaysOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Instead of a directory, write one file; it appears when it is complete. Its ending names the format.",
        ),
    ] = None,
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
    messages: Annotated[
        bool | None,
        typer.Option(
            "--messages/--no-messages",
            help="Also write files with one row per message and its state. Default: the directory's setting, or not.",
        ),
    ] = None,
    min_rate: PaceOption = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON lines to standard output.")] = False,
    quiet: QuietOption = False,
    *,
    where: Filter | None = None,
) -> None:
    """Pull missing days, and days that may have changed, into files, one per day; each event exactly once.

    The API key is read from SMSEVENTS_API_KEY; if it is not set, the command prompts for it.
    """
    # before pyarrow is loaded, here and in a helper: its own allocator keeps a fifth more of what is freed
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if (directory is None) == (output is None):
        raise typer.BadParameter("name either a directory or, with --output, a file", param_hint="DIRECTORY")
    if output is not None and (split or replace):
        raise typer.BadParameter("--split and --replace are for directories, not for --output", param_hint="--output")
    if messages:
        check_messages(where)  # before the directory is created
    choice = _choice(from_, to, days, PullOptions(jobs=jobs, lookback_days=lookback, replace=replace))
    wish = DirectoryOptions(
        trackpoint=trackpoint,
        url=address_of(account, url),
        format=format_,
        compressed=compressed,
        split=split,
        filter=where,
    )
    target = SingleFile(output, wish) if output else Directory(directory or Path(), wish)
    _run(target, choice, timeouts_of(min_rate), messages=messages, json=json, quiet=quiet)


def _choice(from_: str | None, to: str | None, days: int | None, options: PullOptions) -> PullOptions:
    """Add the first and the last day to the options. Raises `typer.BadParameter`."""
    now = now_ms()
    start, end = option_interval(from_, to, days, now)
    first, last = start and day_of(start.start), end and day_of(end.start)
    if first and last and first > last:
        raise typer.BadParameter(f"{first} is after {last}", param_hint="--from")
    if first and is_ahead(first, now):
        raise typer.BadParameter(f"{first} is in the future: there are no events yet", param_hint="--from")
    return replace_fields(options, first=first, last=last)


def _run(  # noqa: PLR0913 -- each is an option or a group of them
    target: SingleFile | Directory,
    choice: PullOptions,
    timeouts: Timeouts,
    *,
    messages: bool | None,
    json: bool,
    quiet: bool,
) -> None:
    """Pull into a directory or a file, and end the command with the exit code that fits."""
    stopping = Stopping()
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(target)
        opened, single = (target.directory, target) if isinstance(target, SingleFile) else (target, None)
        layout = opened.layout
        message_files = MessageFiles(opened, messages)
        account = Account.resolve(layout.trackpoint, asked_key(), layout.url)
        client = stack.enter_context(
            Client(account.trackpoint, account.key, url=account.url, sleep=stopping.sleep, timeouts=timeouts)
        )
        report: PullObserver = (
            JsonReport(sys.stdout, single.path if single else opened.path, layout, stopping, single=bool(single))
            if json
            else stack.enter_context(_progress())
        )
        source = partial(client.export_received, where=layout.filter)
        one = Pull(source, opened, choice, clock=now_ms, report=report, stopping=stopping, helped=(account, timeouts))
        interrupt = _Interrupt(stopping)
        summary = one.run()
        if message_files.are_kept:
            summary.messages = message_files.update(report, interrupt.check)
        kept = message_files if message_files.are_kept else None
        record = single.keep(kept) if single and summary.is_complete else None
    if isinstance(report, JsonReport):
        report.summary(summary, time.monotonic() - started)
        _check_output(report.broken)
    _tell(summary, layout.filter, quiet=json or quiet)
    if single:
        _tell_file(single, record, kept, quiet=json or quiet)
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

    def check(self) -> None:
        """Raise `Stopped` after Ctrl-C."""
        if self.came:
            raise Stopped("The pull was interrupted.")


def _tell_file(single: SingleFile, record: FileRecord | None, messages: MessageFiles | None, *, quiet: bool) -> None:
    if record is None:
        typer.echo(f"smsevents: {single.path} was not written, because it would not be complete.", err=True)
    elif not quiet:
        typer.echo(f"{single.path}: {record.events:,} events, {record.bytes:,} bytes.", err=True)
        if messages:
            made = messages.record_of_all()
            typer.echo(f"{messages_path(single.path)}: {made.events:,} messages, {made.bytes:,} bytes.", err=True)


def _tell(summary: Summary, where: Filter, *, quiet: bool) -> None:
    """Print the result on standard error. With `quiet`, print problems only."""
    for warning in summary.warnings:
        typer.echo(f"smsevents: {warning}", err=True)
    if summary.is_complete:
        if not quiet:
            typer.echo(summary_text(summary) + (f" Only events with {where}." if where else ""), err=True)
        elif summary.absent:
            typer.echo(f"smsevents: {absent_text(summary)}", err=True)
        return
    typer.echo(f"smsevents: {summary_text(summary)}", err=True)
    for days, error in by_cause(summary.failed):
        typer.echo(f"  {days}: {error}", err=True)

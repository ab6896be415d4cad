"""`smsevents import`, `export` and `generate`: read, write and generate lines.

The commands open the database directly. A server may use it at the same time.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from smsevents.accounts.access import Access
from smsevents.cli.console import Trackpoint, progress
from smsevents.cli.database import with_database
from smsevents.cli.erasures import repeat_first, repeat_if_possible
from smsevents.cli.files import complete_file
from smsevents.cli.filtering import with_filter
from smsevents.cli.opening import opened_database, say_doubt
from smsevents.cli.times import DaysOption, option_interval
from smsevents.client import Filter  # noqa: TC001 -- typer reads it at run time
from smsevents.clock.system import now_ms
from smsevents.clock.trusted import utc
from smsevents.demo.generate import generate as generate_lines
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.log.log import Log
from smsevents.log.refusals import FILE
from smsevents.segments.splice import count, splice, unpack
from smsevents.timekeeper import Timekeeper
from smsevents.wire.event_filter import EVERYTHING
from smsevents.wire.file_formats import GZIP
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.times import is_time, unit_of
from smsevents.wire.window import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.catalog import Database
    from smsevents.segments.segment import Piece
    from smsevents.wire.results import ImportResult
    from smsevents.wire.window import Window

_READ_BYTES = 256 * 1024
_LINES_AT_ONCE = 4096


@with_database
def import_(
    trackpoint: Trackpoint,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of export lines, plain or gzip; - for stdin.")],
    skip_impossible: Annotated[
        bool,
        typer.Option(
            "--skip-impossible",
            help="Skip and count impossible events, such as those with times outside the years 2000 to 2099.",
        ),
    ] = False,
) -> None:
    """Record the events of a file: all of them, or none if a line is bad. Events already stored are not duplicated."""
    with ExitStack() as stack:
        if file == "-":
            if sys.stdin is None:
                raise InvalidRequest("Standard input is closed. Send the lines through a pipe, or name a file.")
            source: BinaryIO = sys.stdin.buffer
            total = None
        else:
            path = Path(file)
            try:
                source = stack.enter_context(path.open("rb"))
            except OSError as error:
                raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
            total = path.stat().st_size
        database = stack.enter_context(opened_database())
        repeat_if_possible(database)
        result = import_file(database, trackpoint, source, total, skip_impossible=skip_impossible)
    blocked = f", blocked {result.blocked}" if result.blocked else ""
    impossible = f", impossible {result.impossible}" if skip_impossible else ""
    typer.echo(f"received {result.received}, expired {result.expired}{blocked}{impossible}", err=True)
    if result.received == 0:
        typer.echo("The file contains no events.", err=True)


def import_file(
    database: Database, trackpoint: int, source: BinaryIO, total_bytes: int | None, *, skip_impossible: bool = False
) -> ImportResult:
    """Record the lines of an open file, plain or gzip, and return when they are durable.

    Impossible events are skipped and counted if `skip_impossible` is true, otherwise refused.

    Raises `UnknownShop`, `InvalidLines`, `InvalidRequest`, `TimeInDoubt` or `StoreUnavailable`; then nothing
    was stored.
    """
    data = _read(source)
    gzip = data.startswith(GZIP)
    bar, task = progress(total_bytes)
    timekeeper = Timekeeper(database)
    say_doubt(timekeeper.note())
    log = Log(database, timekeeper=timekeeper)
    with log.recording(trackpoint, gzip=gzip, origin=FILE, skip_impossible=skip_impossible) as recorder, bar:
        while data:
            recorder.feed(data)
            bar.advance(task, len(data))
            data = _read(source)
        result, stored = recorder.finish()
        stored.result()
    with suppress(StoreUnavailable):  # the lines are stored; noting what they say about the time is optional
        timekeeper.note()
    return result


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_READ_BYTES)
    except OSError as error:
        raise InvalidRequest(f"The file cannot be read: {error.strerror}. Nothing was stored.") from error


@with_database
@with_filter
def export(  # noqa: PLR0913, PLR0917 -- each parameter is an option
    trackpoint: Trackpoint,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Earliest time, UTC: a day, a time, Unix milliseconds, yesterday, 7d."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Latest time, in the same forms; a day is included to its end.")
    ] = None,
    days: DaysOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a file, which appears when it is complete; with the ending .gz as gzip. - is standard output.",
        ),
    ] = None,
    gzip: Annotated[bool, typer.Option("--gzip", help="Write gzip.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print what was exported.")] = False,
    *,
    where: Filter | None = None,
) -> None:
    """Write a shop's events to standard output, by the rules of the HTTP export; the last 90 days by default."""
    now = now_ms()
    start, end = option_interval(from_, to, days, now)
    window = resolve(start.start if start else None, end.end if end else None, now)
    if window.is_empty:
        raise InvalidRequest(_nothing_there(window, now))
    path = None if output is None or output == "-" else Path(output)
    packed = gzip or bool(path and path.suffix.lower() == ".gz")
    if packed and path is None and sys.stdout.isatty():
        raise InvalidRequest("Refusing to write gzip to a terminal. Redirect the output: --gzip > events.jsonl.gz")
    size_bytes = 0
    with ExitStack() as stack:
        database = stack.enter_context(opened_database())
        repeat_first(database)
        Access(database).shop(trackpoint)
        out = stack.enter_context(complete_file(path)) if path else sys.stdout.buffer
        pages = _Counted(Log(database).read(trackpoint, window, where.on_the_wire() if where else EVERYTHING))
        for run in splice(pages) if packed else unpack(pages):
            out.write(run)
            size_bytes += len(run)
        out.flush()
    if not quiet:
        interval = f"{utc(window.start)} to {utc(window.end)}"
        only = f" with {where}" if where else ""
        typer.echo(f"{interval}: exported {pages.events:,} events{only}, {size_bytes:,} bytes", err=True)


class _Counted:
    """Counts the events of pages as they are iterated."""

    def __init__(self, pages: Iterable[list[Piece]]) -> None:
        self._pages = pages
        self.events = 0

    def __iter__(self) -> Iterator[list[Piece]]:
        for page in self._pages:
            self.events += count(page)
            yield page


def _nothing_there(window: Window, now: int) -> str:
    """Return why an interval is always empty. Without this error, an empty file would look like a result."""
    if window.start > now:
        return "Nothing was exported: --from is in the future."
    days = HISTORY_MS // DAY_MS
    return (
        f"Nothing was exported: the interval ends before the last {days} days, and older events are not exported."
        f" Without --to it ends {days} days after --from."
    )


class LineOrder(StrEnum):
    """The order of generated lines."""

    DATE = "date"
    ARRIVAL = "arrival"


def generate(  # noqa: PLR0913, PLR0917 -- typer makes options of them
    trackpoint: Trackpoint,
    events: Annotated[int, typer.Option(min=0, help="Number of lines.")] = 10_000,
    days: Annotated[float, typer.Option(min=0, help="Number of days that the events cover, up to --end.")] = 90,
    seed: Annotated[int, typer.Option(help="The same seed and end give the same lines.")] = 1,
    end: Annotated[int | None, typer.Option(help="The end of the period, in Unix milliseconds. Default: now.")] = None,
    order: Annotated[
        LineOrder, typer.Option(help="Sort the lines by date, or as they would arrive: a few percent arrive late.")
    ] = LineOrder.DATE,
) -> None:
    """Write realistic sample events to standard output."""
    end_ms = now_ms() if end is None else end
    if not is_time(end_ms):
        unit = unit_of(end_ms)
        guess = "" if unit is None else f" (is it {unit}?)"
        raise InvalidRequest(f"--end {end_ms} is not a time in the years 2000 to 2099{guess}; use Unix milliseconds.")
    batch: list[bytes] = []
    for line in generate_lines(
        trackpoint, events=events, days=days, seed=seed, end_ms=end_ms, by_arrival=order is LineOrder.ARRIVAL
    ):
        batch.append(line)
        if len(batch) == _LINES_AT_ONCE:
            sys.stdout.buffer.write(b"\n".join(batch) + b"\n")
            batch.clear()
    if batch:
        sys.stdout.buffer.write(b"\n".join(batch) + b"\n")
    sys.stdout.buffer.flush()

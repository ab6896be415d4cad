"""The file formats of a pull: JSON lines or CSV, also for Excel, each plain or gzip. Parquet is in `parquet.py`.

A format writes batches of sorted entries to an open file and reads them back. Each entry that is read is checked as
if it came from the server, so that a damaged or edited file is detected.
"""

from __future__ import annotations

import csv
import io
import re
import string
from contextlib import closing
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import islice, repeat
from typing import IO, TYPE_CHECKING, Protocol

from smsevents.client.errors import MissingExtra
from smsevents.client.pull.errors import BadEvent, DamagedFile
from smsevents.client.pull.lines import EntryChecker, Lines, are_times, settled
from smsevents.client.pull.sort import PULL_RUN_READ_BYTES
from smsevents.client.pull.text_files import Gzip, Plain, TextWriter
from smsevents.wire.columns import COLUMNS, event_of, row_of
from smsevents.wire.deflate import igzip, isal_zlib
from smsevents.wire.events import Event, SmsEvent, encode_lines
from smsevents.wire.lines import Entry, is_ascending, unique
from smsevents.wire.times import EPOCH, MILLISECOND, is_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from smsevents.client.pull.drafts import Rows_contra, Writer
    from smsevents.wire.canonical import Source

_ROWS_AT_ONCE = 1024
_MARK = "\ufeff".encode()
_FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and full width
_YEAR_MIN = 1000  # the first year with four digits
_time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_MINUTE_MS = 60_000
_TEN_SECONDS_MS = 10_000
_STARTS_MAX = 16 * 1024  # a day has 8,640
_PLAIN = (string.digits + string.ascii_letters + "_").encode()  # needs neither quotes nor an apostrophe
# what may need quotes or an apostrophe, in either form of CSV: no user id that shops usually have
_special = re.compile(rb"[^0-9A-Za-z_.@\0\x80-\xff-]|(?:\A|\0)[^0-9A-Za-z_]")


class FormatName(StrEnum):
    """The names of the formats, as users write them."""

    JSONL = "jsonl"
    CSV = "csv"
    EXCEL = "excel"
    PARQUET = "parquet"


class Format(Protocol):
    """A way to store sorted events in a file."""

    suffix: str
    has_columns: bool  # if so, an event is stored as its row, see `lines.settled`
    is_arrow: bool  # if so, it is written from columns of Arrow

    def writer(self, file: IO[bytes]) -> Writer[Lines]:
        """Return a writer to an open file."""

    def read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        """Yield the entries of a file. Raises `DamagedFile` if the file is not as a pull wrote it."""

    def write(self, file: IO[bytes], batches: Iterable[list[Entry]]) -> None:
        """Write all entries and the end of the format. Neither flush nor close the file."""
        with closing(self.writer(file)) as writer:
            for batch in batches:
                writer.add(Lines.of(batch))
            writer.finish()


def format_named(name: FormatName, *, compressed: bool) -> Format:
    """Return a format. Raises `MissingExtra` if its library is not installed."""
    if name is FormatName.JSONL:
        return JsonLines(compressed=compressed)
    if name in {FormatName.CSV, FormatName.EXCEL}:
        return Csv(compressed=compressed, excel=name is FormatName.EXCEL)
    try:
        from smsevents.client.pull.parquet import Parquet  # noqa: PLC0415 -- pyarrow is an extra
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Parquet needs pyarrow with numpy, which is not installed. In the checkout of smsevents, run: pip install"
            " '.[parquet]' (or: make install WITH=parquet)"
        ) from error
    return Parquet(compressed=compressed)


def sound(path: Path, batches: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
    """Yield the batches read from a file. Turn any error in the file into `DamagedFile`."""
    last: Entry | None = None
    try:
        for batch in batches:
            if not batch:
                continue
            if not is_ascending(batch) or (last is not None and last >= batch[0]):
                raise BadEvent("its events are not in order")
            last = batch[-1]
            yield batch
    except (BadEvent, ValueError, EOFError, isal_zlib.error, igzip.BadGzipFile) as error:  # type: ignore[misc]
        raise DamagedFile(
            f"{path} was changed after a pull wrote it ({error})."
            " Move it away; the next pull fetches again what the server still has."
        ) from error


def resettled(batches: Iterator[list[Entry]], checker: EntryChecker) -> Iterator[list[Entry]]:
    """Settle the entries of a file that was written before this rule existed; see `lines.settled`.

    If any entry changes, the checker records it, so that the file is rewritten. Settling may reorder events of the
    same millisecond or make two of them equal, so these are kept in one batch.
    """
    held: list[Entry] = []
    for batch in batches:
        anew = settled(batch)
        if anew is not batch and anew != batch:
            checker.has_unsettled = True
        now = held + anew
        last = now[-1][0]
        begin = next(at for at in range(len(now) - 1, -2, -1) if at < 0 or now[at][0] != last) + 1
        held = now[begin:]
        if begin:
            yield unique(now[:begin])
    if held:
        yield unique(held)


def _opened(path: Path, *, gzip: bool) -> IO[bytes]:
    if not gzip:
        return path.open("rb")
    if not path.stat().st_size:
        raise BadEvent("it is empty")  # a gzip member is never empty, but an empty file would be read as no lines
    return igzip.open(path, "rb")  # type: ignore[no-any-return, no-untyped-call]


class JsonLines(Format):
    """JSON lines: the canonical lines, as the export writes them."""

    has_columns = False
    is_arrow = False

    def __init__(self, *, compressed: bool) -> None:
        self._gzip = compressed
        self.suffix = ".jsonl.gz" if compressed else ".jsonl"

    def writer(self, file: IO[bytes]) -> Writer[Lines]:
        """Return a writer of the lines as they are."""
        return self.text_writer(file, lambda lines: lines.text)

    def text_writer(self, file: IO[bytes], text_of: Callable[[Rows_contra], bytes]) -> Writer[Rows_contra]:
        """Return a writer of the lines that `text_of` makes of rows."""
        return TextWriter(Gzip(file) if self._gzip else Plain(file), text_of)

    def read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        """Yield the entries of a file. Raises `DamagedFile`."""
        return sound(path, self._read(path, checker))

    def blocks(self, path: Path) -> Iterator[bytes]:
        """Yield the complete lines of a file without a check, some at a time."""
        with _opened(path, gzip=self._gzip) as file:
            while block := file.read(PULL_RUN_READ_BYTES):
                yield block + file.readline()

    def _read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        return map(checker.entries, self.blocks(path))


class Csv(Format):
    r"""A header and a row for each event (RFC 4180: `\r\n`, quotes where needed), UTF-8.

    Times are UTC, as `2026-11-25T13:45:00.123Z`. An impossible send date is an empty cell.

    For Excel, the file begins with a byte order mark and semicolons separate the cells. A text that a spreadsheet
    would take for a formula, or that begins with an apostrophe, gets an apostrophe in front, which is removed when
    the file is read.
    """

    has_columns = True
    is_arrow = False

    def __init__(self, *, compressed: bool, excel: bool = False) -> None:
        self._gzip = compressed
        self._excel = excel
        self._delimiter = ";" if excel else ","
        self.suffix = ".csv.gz" if compressed else ".csv"

    def writer(self, file: IO[bytes]) -> Writer[Lines]:
        """Return a writer of the header and a row for each event."""
        return self._writer(file, COLUMNS, self._rows)

    def table_writer(
        self, file: IO[bytes], names: Sequence[str], cells_of: Callable[[Rows_contra], Iterable[Sequence[str]]]
    ) -> Writer[Rows_contra]:
        """Return a writer of a header and of the cells that `cells_of` makes of rows."""
        if self._excel:
            return self._writer(file, names, lambda rows: self._text(map(_guarded, row) for row in cells_of(rows)))
        return self._writer(file, names, lambda rows: self._text(cells_of(rows)))

    def _writer(
        self, file: IO[bytes], names: Sequence[str], text_of: Callable[[Rows_contra], bytes]
    ) -> Writer[Rows_contra]:
        start = (_MARK if self._excel else b"") + self._text([names])
        return TextWriter(Gzip(file) if self._gzip else Plain(file), text_of, start)

    def _rows(self, lines: Lines) -> bytes:
        """Return the rows of lines. Only users and sources may need quotes, and a shop has few sources."""
        columns = lines.columns
        users: Sequence[bytes] = columns.users
        if b"".join(users).translate(None, _PLAIN) and _special.search(b"\0".join(users)):
            users = [self._cells(user.decode()) for user in users]
        sources = {key: self._cells(*_source_cells(source)) for key, source in columns.known.items()}
        rows = zip(
            repeat(b"%d" % columns.trackpoint),
            users,
            columns.statuses,
            self._time_cells(columns.dates, time_text),
            map(sources.__getitem__, columns.sources),
            self._time_cells(columns.sent, sent_text),
            strict=False,
        )
        return b"\r\n".join([*map(self._delimiter.encode().join, rows), b""])

    def _time_cells(self, numbers: Sequence[bytes], text_of: Callable[[int], str]) -> list[bytes]:
        """Return numbers as `text_of` writes times. For those that nearly all events have, this is fast."""
        if not are_times(numbers):
            return [self._cells(text_of(int(number))) for number in numbers]
        starts = _starts_of_cells
        # ten seconds begin where the number has four more digits: the last of the seconds, and the milliseconds
        return [b"%b%b.%bZ" % (starts[number[:9]], number[9:10], number[10:]) for number in numbers]

    def _cells(self, *cells: str) -> bytes:
        """Return cells as they stand within a row."""
        # the first cell of the row: an empty cell that stands alone would be quoted
        return self._text([["", *(map(_guarded, cells) if self._excel else cells)]])[1:-2]

    def _text(self, rows: Iterable[Iterable[object]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter).writerows(rows)
        return text.getvalue().encode()

    def read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        """Yield the entries of a file. Raises `DamagedFile`."""
        return resettled(sound(path, self._read(path, checker)), checker)

    def _read(self, path: Path, checker: EntryChecker) -> Iterator[list[Entry]]:
        encoding = "utf-8-sig" if self._excel else "utf-8"
        with _opened(path, gzip=self._gzip) as file, io.TextIOWrapper(file, encoding, newline="") as text:
            try:
                rows = csv.reader(text, strict=True, delimiter=self._delimiter)
                if next(rows, None) != list(COLUMNS):
                    raise BadEvent("it does not begin with the column names")
                while some := list(islice(rows, _ROWS_AT_ONCE)):
                    cells = ([*map(_unguarded, row)] for row in some) if self._excel else some
                    yield checker.entries(encode_lines([_csv_event(row) for row in cells]))
            except csv.Error as error:
                raise BadEvent(str(error)) from error


def _source_cells(source: Source) -> tuple[str, ...]:
    """Return the cells of a source, from its type to the name of its node."""
    _, _, _, _, *cells, _ = row_of(Event(SmsEvent(1, "1", "DELIVERED", 0), source))
    return tuple(str(cell or "") for cell in cells)


def _guarded(cell: str) -> str:
    """Put an apostrophe in front of a text that begins like a formula, in any script that spreadsheets support."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _unguarded(cell: str) -> str:
    return cell.removeprefix("'")


def _csv_event(row: list[str]) -> Event:
    if len(row) != len(COLUMNS):
        raise BadEvent(f"a row has {len(row)} columns instead of {len(COLUMNS)}")
    return event_of((int(row[0]), *row[1:3], time_ms(row[3]), *row[4:9], time_ms(row[9]) if row[9] else None))


class _StartsOfCells(dict[bytes, bytes]):
    """The start of the cell of a time, up to the tens of its seconds, by the first nine digits of its number."""

    def __missing__(self, digits: bytes) -> bytes:
        if len(self) >= _STARTS_MAX:
            self.clear()
        start = self[digits] = time_text(int(digits) * _TEN_SECONDS_MS).encode()[: -len("0.000Z")]
        return start


_starts_of_cells = _StartsOfCells()


def sent_text(milliseconds: int) -> str:
    """Format a send date, or return an empty text for an impossible time."""
    return time_text(milliseconds) if is_time(milliseconds) else ""


def time_text(time_ms: int) -> str:
    """Format a time in Unix milliseconds for people. A time without a four-digit year stays a number."""
    minute, rest_ms = divmod(time_ms, _MINUTE_MS)
    text = _minute_text(minute)
    return f"{text}{rest_ms // 1000:02}.{rest_ms % 1000:03}Z" if text else str(time_ms)


@lru_cache(maxsize=4096)
def _minute_text(minute: int) -> str:
    """Format a minute up to its seconds, or return an empty text if it has no four-digit year."""
    try:
        time = EPOCH + timedelta(minutes=minute)
    except OverflowError:
        return ""
    return f"{time:%Y-%m-%dT%H:%M:}" if time.year >= _YEAR_MIN else ""


def time_ms(text: str) -> int:
    """Parse a text of `time_text`. Raises `ValueError` for any other text."""
    return (datetime.fromisoformat(text) - EPOCH) // MILLISECOND if _time.fullmatch(text) else int(text)

r"""Events as CSV for people: canonical lines → rows with local times.

| | `csv` | `csv-excel-cs` |
|---|---|---|
| separator | comma | semicolon, because the comma is the Czech decimal separator |
| start | the head line | a byte order mark, or Excel would misread Czech letters; then the head line |
| a time | `2026-11-25T14:45:00.123+01:00` | `25.11.2026 14:45:00`, which Excel takes for a time |

Both are UTF-8 with rows ended by `\r\n` and quotes where needed (RFC 4180). Beside each time stands the same moment in
Unix milliseconds. A time outside the years 2000 to 2099 is only there.

A text that a spreadsheet would run as a formula gets an apostrophe in front. In `csv-excel-cs`, a text that Excel would
change, such as `00420` or a number of more than 15 digits, is written as `="00420"`.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from smsevents.stats.calendar import local_of
from smsevents.wire.canonical import CanonicalReader, columns_of
from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.events import Campaign, Event, Flow, Node, OneOff, SmsEvent
from smsevents.wire.times import is_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

    from smsevents.wire.canonical import EventColumns, Source

TableFormat = Literal["csv", "csv-excel-cs"]

COLUMNS = (
    *("trackpoint", "user_id", "status", "date", "date_ms"),
    *("source_type", "campaign_id", "campaign_name", "node_id", "node_name"),
    *("send_date", "send_date_ms"),
)
_MARK = "\ufeff"
_MINUTE_MS = 60_000
MINUTES_KEPT_MAX = 16_384  # formatted: the events of a shop are in few minutes at a time
# how a formula starts, also in full width; a number with a sign is none
_formula = re.compile("[=+\\-@'\t\r\n\uff1d\uff0b\uff0d\uff20]")
_number = re.compile(r"[+-]?[0-9]+")
# what Excel takes for a number or a time but does not show as it was written
_changed = re.compile(r"(?![1-9][0-9]{0,14}$|0$)(?=.*[0-9])[0-9 .,:/%eE+-]{1,250}")


def no_formula(text: str) -> str:
    """Return a text, with an apostrophe in front if a spreadsheet would run it as a formula."""
    return f"'{text}" if _formula.match(text) and not _number.fullmatch(text) else text


def _event_of(line: bytes) -> Event:
    """Return the event of a stored line, unchecked: earlier versions recorded texts that are refused today."""
    read = msgspec.json.decode(line)
    source = read["source"]
    campaign, sent = Campaign(**source["campaign"]), source["sendDate"]
    node = source.get("node")
    return Event(
        SmsEvent(**read["smsEvent"]), OneOff(campaign, sent) if node is None else Flow(campaign, Node(**node), sent)
    )


class EventTable:
    """The CSV of a shop's events: the head line, then the rows of any number of lines. Not thread-safe."""

    def __init__(self, trackpoint: int, zone: ZoneInfo, format_: TableFormat) -> None:
        """Write times in a time zone."""
        self._reader = CanonicalReader(trackpoint)
        self._zone = zone
        self._is_excel = format_ == "csv-excel-cs"
        self._shop = self._text(str(trackpoint))

    def head(self) -> bytes:
        """Return the start of the file."""
        mark = _MARK if self._is_excel else ""
        return (mark + self._written([COLUMNS])).encode()

    def rows(self, lines: bytes) -> bytes:
        r"""Return the rows of canonical lines, each ended by `\n`."""
        columns = self._reader.read(lines)
        if columns is None and lines:
            columns = columns_of([_event_of(line) for line in lines[:-1].split(b"\n")])
        return b"" if columns is None else self._written(self._cells(columns)).encode()

    def _cells(self, columns: EventColumns) -> Iterable[Sequence[str]]:
        sources = {key: self._source_cells(source) for key, source in columns.known.items()}
        for user, status, date, key, sent in zip(*columns[1:6], strict=True):
            yield (
                self._shop,
                self._text(user.decode()),
                status.decode(),
                self._time(int(date)),
                date.decode(),
                *sources[key],
                self._time(int(sent)),
                sent.decode(),
            )

    def _source_cells(self, source: Source) -> tuple[str, ...]:
        node = source.node if isinstance(source, Flow) else None
        texts = (source.campaign.id, source.campaign.name, *(("", "") if node is None else (node.id, node.name)))
        return (ONE_OFF if node is None else FLOW, *map(self._text, texts))

    def _text(self, text: str) -> str:
        """Return a text so that a spreadsheet shows it."""
        if self._is_excel and _changed.fullmatch(text):
            return f'="{text}"'
        return no_formula(text)

    def _time(self, time_ms: int) -> str:
        if not is_time(time_ms):
            return ""
        minute, rest_ms = divmod(time_ms, _MINUTE_MS)
        start, offset = _minute(minute, self._zone, is_excel=self._is_excel)
        if self._is_excel:
            return f"{start}{rest_ms // 1000:02}"
        return f"{start}{rest_ms // 1000:02}.{rest_ms % 1000:03}{offset}"

    def _written(self, rows: Iterable[Sequence[str]]) -> str:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=";" if self._is_excel else ",").writerows(rows)
        return text.getvalue()


@lru_cache(MINUTES_KEPT_MAX)
def _minute(minute: int, zone: ZoneInfo, *, is_excel: bool) -> tuple[str, str]:
    """Return a minute since 1970 as local time up to its seconds, and its offset from UTC: `+01:00`."""
    local = local_of(minute * _MINUTE_MS, zone)
    if is_excel:
        return f"{local.day}.{local.month}.{local.year} {local:%H:%M:}", ""
    minutes = (local.utcoffset() or timedelta()) // timedelta(minutes=1)
    return f"{local:%Y-%m-%dT%H:%M:}", f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"

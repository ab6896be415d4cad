"""What every format of a pull must do: keep every event, refuse damage, and hold no impossible times."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client.pull.errors import DamagedFile
from smsevents.client.pull.formats import Csv, JsonLines
from smsevents.client.pull.lines import settled
from smsevents.client.pull.parquet import Parquet
from smsevents.wire.events import decode
from tests.support.lines import line
from tests.support.pull_files import END, TRACKPOINT, checker, entry, flat, lines, model

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.client.pull.formats import Format

FORMATS: list[Format] = [
    JsonLines(compressed=True),
    JsonLines(compressed=False),
    Csv(compressed=True),
    Csv(compressed=False),
    Csv(compressed=True, excel=True),
    Csv(compressed=False, excel=True),
    Parquet(compressed=True),
    Parquet(compressed=False),
]


def ids(format_: Format) -> str:
    """Name a case by the ending of its files."""
    excel = " for Excel" if getattr(format_, "_excel", False) else ""
    return format_.suffix + excel + ("" if getattr(format_, "_compressed", True) else " plain")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one folder for all examples of a property."""
    return tmp_path_factory.mktemp("files")


@pytest.mark.slow
@settings(deadline=None)
@given(some=st.lists(st.lists(lines, max_size=5), max_size=5))
@pytest.mark.parametrize("format_", FORMATS, ids=ids)
def test_formats_keep_every_event(folder: Path, format_: Format, some: list[list[bytes]]) -> None:
    """Whatever events are written in whatever batches, the same canonical lines are read back.

    In columns a send date that cannot be a time is none, which reads as 0.
    """
    entries = model(one for batch in some for one in batch)
    if format_.has_columns:
        entries = sorted(set(settled(entries)))
    path = folder / f"events{format_.suffix}"
    with path.open("wb") as file:
        format_.write(file, (entries[start : start + 3] for start in range(0, len(entries), 3)))

    assert flat(format_.read(path, checker())) == entries


DAMAGES = [
    (format_, how)
    for format_ in FORMATS
    for how in ("cut", "flipped", "unordered", "foreign", "empty")
    if (format_.suffix, how) != (".jsonl", "empty")  # that is a day without events
]


@pytest.mark.parametrize(("format_", "how"), DAMAGES, ids=lambda one: one if isinstance(one, str) else ids(one))
def test_damaged_files_are_refused(tmp_path: Path, format_: Format, how: str) -> None:
    """A file that is truncated, changed, out of order or of another day is never accepted as valid."""
    some = [(date, line(TRACKPOINT, date, f"user{date}")) for date in range(1, 3000)]
    if how == "unordered":
        some[1000], some[2000] = some[2000], some[1000]
    file = io.BytesIO()
    format_.write(file, [some])
    data = bytearray(file.getvalue())
    if how == "cut":
        data = data[: len(data) * 2 // 3 + 1]
    elif how == "flipped":
        # in plain text a status that is none; in the others any bit, as they have checksums
        data[data.find(b"DELIVERED") + 3 if format_.suffix in {".csv", ".jsonl"} else 2000] ^= 0x01
    elif how == "empty":
        data.clear()
    path = tmp_path / f"events{format_.suffix}"
    path.write_bytes(data)

    with pytest.raises(DamagedFile, match="Move it away"):
        flat(format_.read(path, checker(0, 10 if how == "foreign" else END)))

    assert path.read_bytes() == data


@pytest.mark.parametrize("format_", [Csv(compressed=False), Csv(compressed=True, excel=True), Parquet(compressed=True)])
def test_times_that_cannot_be_are_none_in_columns(tmp_path: Path, format_: Format) -> None:
    """A send date outside 2000 to 2099 is none in a column, at either end to the millisecond, whatever the format."""
    good = [946_684_800_000, 4_102_444_799_999]
    sent = [2**63 - 1, -(2**63), 0, good[0] - 1, *good, good[1] + 1, 1_795_477_520_731_000_000]
    some = [
        entry(line(TRACKPOINT, 1000 + number).replace(b'"sendDate":%d' % (700 + number), b'"sendDate":%d' % ms))
        for number, ms in enumerate(sent)
    ]
    path = tmp_path / f"events{format_.suffix}"
    with path.open("wb") as file:
        format_.write(file, [settled(some)])

    read = [decode(one)[0].source.sendDate for _, one in flat(format_.read(path, checker()))]
    assert read == [0, 0, 0, 0, *good, 0, 0]

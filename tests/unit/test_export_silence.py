"""What a client receives while a filter finds nothing."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

import pytest

from smsevents.log import filtered
from smsevents.log.recorder import append_segments
from smsevents.segments.segment import pack
from smsevents.segments.splice import EMPTY_BLOCK, unpack
from smsevents.storage.memory import MemoryStore
from smsevents.web import export_chunks
from smsevents.web.export_chunks import ExportChunks
from smsevents.web.export_pace import Slots
from smsevents.web.fair import ConcurrencyLimit, FairThreads
from smsevents.web.state import ExportLane
from smsevents.wire.window import Window
from tests.support.filters import filter_of
from tests.support.lines import body_of, date_of
from tests.support.logs import Held
from tests.support.statistics import event_line

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield a shop with many small segments, of which the last event alone is of the user v."""
    made = Held(url, MemoryStore())
    users = ["u"] * 400 + ["v"]
    lines = [event_line(made.trackpoint, made.now - 1000 + n, made.now - 5000, user=one) for n, one in enumerate(users)]
    append_segments(made.database, made.trackpoint, pack([(date_of(one), one) for one in lines], 900)).result()
    yield made
    made.database.close()


def exported(held: Held) -> list[bytes]:
    """Return the lines of the user v."""
    lines = b"".join(unpack(held.log.read(held.trackpoint, Window(0, held.now)))).splitlines()
    return [line for line in lines if b'"userId":"v"' in line]


def chunks_of(held: Held, monkeypatch: pytest.MonkeyPatch, user: str, *, is_gzip: bool) -> list[bytes]:
    """Return the chunks of an export of a user's events, between which a second passes."""
    monkeypatch.setattr(filtered, "FILTER_STEP_BYTES", 1000)
    seconds = count()

    async def read() -> list[bytes]:
        """Take all chunks."""
        lane = ExportLane(ConcurrencyLimit("exports", 1), FairThreads("r", 1), FairThreads("m", 1), Slots(1))
        with closing(lane):
            reader = held.log.read(held.trackpoint, Window(0, held.now), filter_of({"userId": user}))
            chunks = ExportChunks(
                reader, lane, held.trackpoint, gzip=is_gzip, counted=lambda _: None, clock=lambda: float(next(seconds))
            )
            found = [await chunks.next(10_000)]
            while not found[-1].is_last:
                found.append(await chunks.next(10_000))
        return [one.data for one in found]

    return asyncio.run(read())


@pytest.mark.parametrize("user", ["v", "nobody"])
def test_gzip_has_something_for_the_client_while_nothing_is_found(
    held: Held, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    """No silence is longer than allowed, and what is sent meanwhile stands for no lines."""
    monkeypatch.setattr(export_chunks, "EXPORT_SILENT_MAX_SECONDS", 3)
    chunks = chunks_of(held, monkeypatch, user, is_gzip=True)
    signs = [place for place, data in enumerate(chunks) if data.endswith(EMPTY_BLOCK)]
    assert len(signs) > 2
    assert len(exported(held)) == 1
    assert all(after - before <= 3 for before, after in zip([0, *signs], [*signs, len(chunks) - 1], strict=True))
    expected = exported(held) if user == "v" else []
    assert gzip.decompress(b"".join(chunks)) == body_of(expected)


def test_plain_lines_have_nothing_else_in_between(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gzip, nothing can stand for no lines, so nothing is sent before the first one."""
    monkeypatch.setattr(export_chunks, "EXPORT_SILENT_MAX_SECONDS", 0)
    chunks = chunks_of(held, monkeypatch, "v", is_gzip=False)
    assert len(chunks) > 2
    assert b"".join(chunks) == body_of(exported(held))

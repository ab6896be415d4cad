"""Temporary files: bounded together, without a name, and a clear error where they cannot be had."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.errors import StoreFull, StoreUnavailable
from smsevents.segments.segment import Segment, pack
from smsevents.segments.spool import Spool, SpoolAllowance
from smsevents.upkeep.distinct import DIGEST_BYTES, Distinct
from tests.support.entries import altered, entry

SIZE = 100


def segments(count: int) -> list[Segment]:
    """Return small consecutive segments of SIZE bytes each."""
    (one,) = pack([entry(1)])
    return [altered(one, bytes([number]) * SIZE, stored_bytes=SIZE) for number in range(count)]


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 20), memory_max=st.integers(0, 30 * SIZE))
def test_a_spool_gives_back_what_it_took(count: int, memory_max: int) -> None:
    """In memory, in a file, or first in one and then in the other, segments come back as they were."""
    spool = Spool(memory_max, SpoolAllowance("tests", 10**9))
    put = segments(count)
    for number, segment in enumerate(put):
        spool.put(segment)
        assert [one.data for one in spool] == [one.data for one in put[: number + 1]]
    spool.close()


def test_all_spools_together_stay_within_their_room() -> None:
    """A spool that would take more than the others leave is refused; what it held is free again once it is closed."""
    room = SpoolAllowance("exports", 4 * SIZE)
    first, second = Spool(0, room), Spool(0, room)
    one, two, three, four, five = segments(5)
    for segment in (one, two, three):
        first.put(segment)
    second.put(four)
    for spool in (first, second):
        with pytest.raises(StoreUnavailable, match=r"Other exports fill the .* Try again in a moment"):
            spool.put(five)
    assert [segment.data for segment in first] == [segment.data for segment in (one, two, three)]

    second.close()
    first.put(five)
    assert len(list(first)) == 4


def test_one_that_is_alone_may_have_more_than_the_room() -> None:
    """What is larger than the room is possible as long as nobody else needs it."""
    room = SpoolAllowance("exports", SIZE)
    alone, other = Spool(0, room), Spool(0, room)
    for segment in segments(5):
        alone.put(segment)
    with pytest.raises(StoreUnavailable):
        other.put(segments(1)[0])
    alone.close()
    other.put(segments(1)[0])


def test_a_spool_that_is_forgotten_gives_its_room_back() -> None:
    """The room of a spool whose last reference is gone is free for others."""
    room = SpoolAllowance("exports", SIZE)
    spool: Spool | None = Spool(0, room)
    assert spool is not None
    spool.put(segments(1)[0])
    spool = None
    gc.collect()
    others = [Spool(0, room), Spool(0, room)]
    others[0].put(segments(1)[0])
    with pytest.raises(StoreUnavailable):
        others[1].put(segments(1)[0])


def test_a_temporary_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a spool and a count are in files, their folder is empty, so a kill leaves no files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(0)
    spool.put(segments(1)[0])
    with Distinct(DIGEST_BYTES) as distinct:
        distinct.add([b"1", b"2", b"3"])
        opened = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
        assert sum(str(tmp_path) in target for target in opened) >= 2
        assert list(tmp_path.iterdir()) == []
        assert distinct.count() == 3
    spool.close()


@pytest.fixture(params=[errno.ENOENT, errno.EROFS, errno.EACCES])
def no_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no folder for temporary files: it is missing, read-only, or another user's."""

    def refuse(**_: object) -> IO[bytes]:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "gettempdir", refuse)


@pytest.mark.usefixtures("no_folder")
def test_a_folder_that_cannot_be_used_is_told() -> None:
    """Without a folder for temporary files the error says so, and what fits into memory goes on."""
    small = Spool(SIZE)
    (segment,) = segments(1)
    small.put(segment)
    with pytest.raises(StoreUnavailable, match=r"cannot write a temporary file .* Its operator has to"):
        small.put(segment)
    with pytest.raises(StoreUnavailable, match="cannot write a temporary file"), Distinct(DIGEST_BYTES) as distinct:
        distinct.add([b"1", b"2"])


class Full:
    """A file on a disk that takes some bytes and is full then."""

    def __init__(self, room: int) -> None:
        """Take `room` bytes."""
        self._room = room

    def seek(self, _start: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def write(self, data: bytes) -> int:
        """Write what fits, as the system does, and fail when nothing does."""
        if self._room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = min(len(data), self._room)
        self._room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, SIZE - 1])
def test_a_full_disk_is_told(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary file that stores only a part of the data is reported as a full store, with its place."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full(room))
    with pytest.raises(StoreFull, match="no room for a temporary file in"):
        Spool(1).put(segments(1)[0])

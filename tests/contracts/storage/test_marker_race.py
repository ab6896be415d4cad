"""Two processes that renew the marker of a folder at the same time."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsevents.catalog.markers import Marker, read_marker, write_marker
from smsevents.storage.files import PART, FileStore
from tests.support.servers import eventually

if TYPE_CHECKING:
    import pytest

WAIT_MAX_SECONDS = 30


def is_waiting_for_a_lock() -> bool:
    """Return whether some process of this machine waits for a lock of a file."""
    return "->" in Path("/proc/locks").read_text("ascii")


def test_of_two_that_renew_the_marker_each_writes_it_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker is never incomplete, although another process has begun to write one under the same name.

    Otherwise a kill at that moment would leave an empty marker, with which the store cannot be used.
    """
    packs = FileStore(tmp_path)
    first, second = Marker("identity", "here", "first"), Marker("identity", "here", "second")
    begun, released = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: write_marker(FileStore(tmp_path), second), name="other")
    real_open, real_write, real_fsync = os.open, os.write, os.fsync

    def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        handle = real_open(path, flags, *rest, **options)
        if threading.current_thread() is other and str(path).endswith(PART):
            begun.set()
        return handle

    def written(handle: int, data: bytes) -> int:
        if threading.current_thread() is other:
            assert released.wait(WAIT_MAX_SECONDS)
        return real_write(handle, data)

    def synced(handle: int) -> None:
        real_fsync(handle)
        if threading.current_thread() is not other and not other.is_alive() and not begun.is_set():
            other.start()
            assert eventually(lambda: begun.is_set() or is_waiting_for_a_lock())

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "write", written)
    monkeypatch.setattr(os, "fsync", synced)
    try:
        write_marker(packs, first)
        assert read_marker(packs) == first
    finally:
        released.set()
        other.join(WAIT_MAX_SECONDS)
    assert read_marker(packs) == second

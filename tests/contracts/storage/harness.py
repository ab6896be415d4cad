"""One store of each kind, for the contract suite: where it is, and how to do to it what no product code does."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from smsevents.storage import open_store
from smsevents.storage.files import PART
from smsevents.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.storage.base import ByteStore


class Harness(Protocol):
    """A store of one kind."""

    name: str

    def opened(self) -> ByteStore:
        """Open the store, as one more process would."""

    def leave_incomplete(self, key: str, data: bytes) -> None:
        """Leave what a process that was killed while it wrote an object would leave."""

    def close(self) -> None:
        """End what was begun."""


class FilesHarness:
    """A folder."""

    name = "files"

    def __init__(self, folder: Path) -> None:
        """Make a folder for the packs in a folder that is empty."""
        self.folder = folder / "packs of a shop"
        self.folder.mkdir()

    def opened(self) -> ByteStore:
        """Open the folder by its URL."""
        return open_store(self.folder.as_uri())

    def leave_incomplete(self, key: str, data: bytes) -> None:
        """Leave a file that was not renamed."""
        part = self.folder / f"{key}{PART}"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)

    def close(self) -> None:
        """Do nothing: no handle stays open."""


class MemoryHarness:
    """A dictionary. All of its users are in one process, so they share the store."""

    name = "memory"

    def __init__(self, _: Path) -> None:
        """Begin empty."""
        self._store = MemoryStore()

    def opened(self) -> ByteStore:
        """Return the one store."""
        return self._store

    def leave_incomplete(self, key: str, data: bytes) -> None:
        """Leave nothing: an object appears complete."""

    def close(self) -> None:
        """Do nothing."""


HARNESSES: dict[str, Callable[[Path], Harness]] = {"files": FilesHarness, "memory": MemoryHarness}


@contextmanager
def made(kind: str, folder: Path) -> Iterator[Harness]:
    """Make a store of a kind. It uses a folder that is empty."""
    harness = HARNESSES[kind](folder)
    try:
        yield harness
    finally:
        harness.close()

"""One store of each kind, for the contract suite: where it is, and how to do to it what no product code does."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from smsevents.storage import open_store
from smsevents.storage.files import PART
from smsevents.storage.memory import MemoryStore
from tests.support.seaweed import environment, seaweedfs

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


class BucketHarness:
    """A prefix in a bucket of SeaweedFS. Another object has a key that begins with the same letters."""

    name = "s3"

    def __init__(self, _: Path) -> None:
        """Choose a prefix."""
        server = seaweedfs()
        self._url = server.place()
        self._variables = ExitStack()
        self._variables.enter_context(environment(server.environment()))
        open_store(f"{self._url}-of-others").put("7/20260101/theirs.pack", [b"theirs"])

    def opened(self) -> ByteStore:
        """Open the bucket by its URL."""
        return open_store(self._url)

    def leave_incomplete(self, key: str, data: bytes) -> None:
        """Leave nothing: an object is written with one request, and appears complete."""

    def close(self) -> None:
        """Forget how to reach it."""
        self._variables.close()


HARNESSES: dict[str, Callable[[Path], Harness]] = {
    "files": FilesHarness,
    "memory": MemoryHarness,
    "s3": BucketHarness,
}


@contextmanager
def made(kind: str, folder: Path) -> Iterator[Harness]:
    """Make a store of a kind. It uses a folder that is empty."""
    harness = HARNESSES[kind](folder)
    try:
        yield harness
    finally:
        harness.close()

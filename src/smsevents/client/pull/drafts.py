"""New files: written under a temporary name, and flushed to disk, before they replace others."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from msgspec import Struct

from smsevents.client.locks import PRIVATE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

Rows_contra = TypeVar("Rows_contra", bound="Sized", contravariant=True)


class Writer(Protocol[Rows_contra]):
    """Writes sorted rows, such as events, to an open file."""

    def add(self, rows: Rows_contra, /) -> None:
        """Write rows."""

    def finish(self) -> None:
        """Write the end of the format. Neither flush nor close the file."""

    def close(self) -> None:
        """Free what the writer holds, finished or not. What it then writes to an unfinished file is of no use."""


class FileRecord(Struct, frozen=True):
    """The manifest's record of a file."""

    events: int
    bytes: int
    sha256: str


class NewFile(Struct, frozen=True):
    """A complete, flushed file under a temporary name."""

    path: Path
    record: FileRecord


class Draft(Generic[Rows_contra]):
    """A file that is being written. Use it in a `with` block, which removes it unless it was completed."""

    def __init__(self, path: Path, writer_of: Callable[[IO[bytes]], Writer[Rows_contra]]) -> None:
        self._path = path
        self._rows = 0
        self._is_complete = False
        self._stack = ExitStack()
        self._file = self._stack.enter_context(private_file(path, "xb"))
        self._writer = self._stack.enter_context(closing(writer_of(self._file)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_complete:
            self.discard()

    def add(self, rows: Rows_contra) -> None:
        """Write rows, which must come sorted and without duplicates."""
        self._writer.add(rows)
        self._rows += len(rows)

    def complete(self) -> NewFile:
        """End the file and flush it to disk."""
        self._writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._stack.close()
        self._is_complete = True
        return NewFile(self._path, FileRecord(self._rows, self._path.stat().st_size, digest_of(self._path)))

    def discard(self) -> None:
        """Remove the file."""
        try:
            self._stack.close()
        finally:
            self._path.unlink(missing_ok=True)


class Drafts:
    """Begins files under temporary names in a folder. Thread-safe."""

    def __init__(self, folder: Path, prefix: str) -> None:
        """Begin all names with a prefix, which no other process that writes there may use."""
        self.folder = folder
        self._prefix = prefix
        self._changing = threading.Lock()
        self._numbers = 0

    def begin(self, writer_of: Callable[[IO[bytes]], Writer[Rows_contra]]) -> Draft[Rows_contra]:
        """Begin a file, in the format of a writer."""
        with self._changing:
            self._numbers += 1
            path = self.folder / f"{self._prefix}{self._numbers}"
        return Draft(path, writer_of)


def private_file(path: Path, mode: str) -> IO[Any]:
    """Open a file. If it is created, only this user can access it."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Files that commands write for users: complete, or not there."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from smsevents.cli.output import OutputFailed
from smsevents.client.locks import PRIVATE_FILE
from smsevents.client.platforms import flush_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_PERMISSIONS = 0o777


class PartialFile:
    """A file that is being written under a temporary name."""

    def __init__(self, file: io.FileIO, path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, data: bytes) -> None:
        """Write bytes. Raises `OutputFailed`."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _failed(self._path, error) from error

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


@contextmanager
def complete_file(path: Path) -> Iterator[PartialFile]:
    """Yield a file that gets the name `path` when the block ends without an error. Otherwise `path` is unchanged.

    A new file can be accessed by this user only, because events are personal data. A file that is replaced passes its
    permissions on. Raises `OutputFailed` if the file cannot be written.
    """
    folder = path.absolute().parent
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=folder)
    except OSError as error:
        raise _failed(path, error) from error
    part = Path(name)
    # without a buffer, because closing that would write again what could not be written
    file = io.FileIO(descriptor, "wb")
    try:
        yield PartialFile(file, path)
        try:
            os.fsync(file.fileno())
            file.close()
            part.chmod(path.stat().st_mode & _PERMISSIONS if path.exists() else PRIVATE_FILE)
            part.replace(path)
            flush_folder(folder)
        except OSError as error:
            raise _failed(path, error) from error
    finally:
        file.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _failed(path: Path, error: OSError) -> OutputFailed:
    return OutputFailed(f"{path} cannot be written: {error.strerror or error}. It is unchanged.")

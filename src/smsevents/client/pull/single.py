"""One file with all events of a window, for a pull without a directory: it is complete, or it does not exist.

The days are pulled into a folder beside the file, and the file that is made of them there is renamed at the end. The
next pull into the same file removes what a killed one left.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from smsevents.client.errors import ConfigurationError
from smsevents.client.locks import PRIVATE_FILE, held
from smsevents.client.platforms import flush_folder
from smsevents.client.pull.days import ALL, Split
from smsevents.client.pull.directory import Directory, DirectoryOptions
from smsevents.client.pull.errors import DirectoryInUse, DirectoryUnusable
from smsevents.client.pull.formats import FormatName
from smsevents.client.pull.message_files import MESSAGES

if TYPE_CHECKING:
    from pathlib import Path

    from smsevents.client.pull.drafts import FileRecord
    from smsevents.client.pull.message_files import MessageFiles

_ENDINGS = {
    ".jsonl": FormatName.JSONL,
    ".ndjson": FormatName.JSONL,
    ".csv": FormatName.CSV,
    ".parquet": FormatName.PARQUET,
}
_GZIP_ENDING = ".gz"
_PERMISSIONS = 0o777


class SingleFile:
    """A file to pull into. Use it in a `with` block: pull into `directory`, then call `keep` if all is complete.

    Raises `ConfigurationError` if the name does not say which format the file has, `DirectoryInUse` if another pull
    writes the same file, and the errors of `Directory`.
    """

    def __init__(self, path: Path, wish: DirectoryOptions) -> None:
        self.path = path.absolute()
        self._folder = self.path.with_name(f".{path.name}.smsevents")
        self._stack = ExitStack()
        lock = f"pull-{sha256(str(self.path).encode(errors='surrogateescape')).hexdigest()[:32]}"
        try:
            if not self._stack.enter_context(held(lock)):
                raise DirectoryInUse(f"Another pull is already writing {path}. Wait for it to finish.")
            if path.is_dir():
                raise ConfigurationError(f"{path} is a directory. Name a file in it.")
            if not self.path.parent.is_dir():
                raise ConfigurationError(f"The directory {path.parent} does not exist. Create it first.")
            shutil.rmtree(self._folder, ignore_errors=True)
            self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self.directory = self._stack.enter_context(Directory(self._folder, _options_for(path.name, wish)))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def keep(self, messages: MessageFiles | None = None) -> FileRecord:
        """Rename the pulled file to its final name, in place of an existing one. Without events, the file is empty.

        The file of messages, if there is one, is renamed before it. Raises `DirectoryUnusable`; then the file of events
        is unchanged.
        """
        directory = self.directory
        try:
            record, new = directory.record_of(ALL), directory.file(ALL)
            if record is None:
                empty = directory.write(directory.format, [])
                record, new = empty.record, empty.path
            if messages:
                messages.record_of_all()
                _put(messages.file(MESSAGES), messages_path(self.path))
            _put(new, self.path)
            flush_folder(self.path.parent)
        except OSError as error:
            raise DirectoryUnusable(f"{self.path} cannot be written: {error.strerror or error}.") from error
        return record


def messages_path(events: Path) -> Path:
    """Return the file of messages beside a file of events: `sms.messages.csv.gz` for `sms.csv.gz`."""
    gzip = _GZIP_ENDING if events.suffix == _GZIP_ENDING else ""
    path = events.with_suffix("") if gzip else events
    return path.with_name(f"{path.stem}.{MESSAGES}{path.suffix}{gzip}")


def _put(new: Path, path: Path) -> None:
    new.chmod(path.stat().st_mode & _PERMISSIONS if path.exists() else PRIVATE_FILE)
    new.replace(path)


def _options_for(name: str, wish: DirectoryOptions) -> DirectoryOptions:
    """Return the options of the folder: the format by the ending of the file, unless an option names it."""
    stem = name.removesuffix(_GZIP_ENDING)
    format_ = wish.format or _ENDINGS.get(f".{stem.rpartition('.')[2].lower()}")
    if format_ is None:
        raise ConfigurationError(
            f"The name {name} does not say which format the file has. Let it end with .jsonl, .csv or .parquet,"
            " the first two also with .gz after it, or use --format."
        )
    by_name = stem != name or format_ is FormatName.PARQUET
    compressed = by_name if wish.compressed is None else wish.compressed
    return replace(wish, format=format_, compressed=compressed, split=Split.NONE)

"""The directory of a pull: its files, what is known of them, and that nobody else writes them.

    2026-11-25.jsonl.gz         a file of events; it appears under this name only when it is whole
    .smsevents/manifest.json    of what the files are, when each day was fetched, size and hash of each file
    .smsevents/lock             held by the pull that works here
    .smsevents/staged/          days that were fetched whole and wait for the rest of their month
    .smsevents/new-*            files that are being written; what a killed pull left of them is removed

A day without events has no file: the manifest alone tells that it was fetched. So no reader meets a file that
has a header and no rows, or no lines to guess types from.

Files hold personal data, so they are made for this user alone (0600). A file that is rewritten keeps the
permissions that it has, and a new one gets those of the newest file there is: what was opened to a group stays so.

A new file is flushed to the disk, renamed, and its directory flushed; then the manifest is written the same
way. If the process is killed between the two, the size of the file is not the recorded one: its days are
fetched again and merged with what it holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from smsevents.client.errors import ClientError, ConfigurationError
from smsevents.client.locks import PRIVATE_FILE, PRIVATE_FOLDER, try_lock
from smsevents.client.pull.days import Split, part_of
from smsevents.client.pull.errors import DirectoryInUse, DirectoryUnusable, OtherOptions
from smsevents.client.pull.formats import Format, FormatName, JsonLines, format_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from smsevents.wire.lines import Entry

STATE = ".smsevents"
MANIFEST = "manifest.json"
VERSION = 1
_NEW = "new-"
_PERMISSIONS = 0o777
_STAGED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.(-?[0-9]{1,18})")
# what of a directory stays, and how to keep to it; each names an option or argument of the command
_ADVICE = {
    "trackpoint": "give the trackpoint that it was begun with",
    "url": "leave out --url and --account, and SMSEVENTS_URL",
    "split": "leave out --split",
    "format": "leave out --format",
    "compressed": "leave out --compressed and --uncompressed",
}


class Layout(Struct, frozen=True, kw_only=True):
    """What the files of a directory are. It is chosen by the first pull into it and stays."""

    trackpoint: int
    url: str
    format: FormatName
    compressed: bool
    split: Split


class DirectoryOptions(Struct, frozen=True, kw_only=True):
    """What a pull asks of a directory; what is None is left to the pulls before, or to the defaults.

    `url` is without a slash at its end.
    """

    trackpoint: int
    url: str | None = None
    format: FormatName | None = None
    compressed: bool | None = None
    split: Split | None = None


class FileRecord(Struct, frozen=True):
    """What is known of a file."""

    events: int
    bytes: int
    sha256: str


class Manifest(Struct, kw_only=True):
    """What is known of a directory.

    `days` tells as of when each day was fetched, Unix milliseconds. A day in `days` without a file in `files` has no
    events. `lost` are days that were told to be lost: the server forgot them before they were fetched.
    """

    version: int = VERSION
    layout: Layout
    days: dict[date, int] = {}
    files: dict[str, FileRecord] = {}
    lost: list[date] = []


class NewFile(Struct, frozen=True):
    """A file that was written whole and flushed, under a temporary name."""

    path: Path
    record: FileRecord


class Staged(Struct, frozen=True):
    """A day that was fetched whole, in a file of its own that waits to be merged."""

    day: date
    fetched_ms: int
    path: Path


class Directory:
    """A directory that this process alone pulls into. Use it in a `with` block.

    Raises `DirectoryInUse`, `OtherOptions`, `DirectoryUnusable` and `MissingExtra`.
    """

    def __init__(self, path: Path, wish: DirectoryOptions) -> None:
        self.path = path
        self.state = path / STATE
        self._staged = self.state / "staged"
        self._manifest_path = self.state / MANIFEST
        self._changing = threading.Lock()
        self._numbers = 0
        try:
            path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            self.state.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            self._staged.mkdir(exist_ok=True)
            self._lock = _locked(self.state / "lock", path)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            self._manifest = self._opened_manifest(wish)
            self.layout = self._manifest.layout
            self.format = format_named(self.layout.format, compressed=self.layout.compressed)
            for left in self.state.glob(f"{_NEW}*"):
                left.unlink()
            self._keep_options()
        except OSError as error:
            self._lock.close()
            raise error if isinstance(error, ClientError) else _unusable(path, error) from error
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _opened_manifest(self, wish: DirectoryOptions) -> Manifest:
        try:
            known = msgspec.json.decode(self._manifest_path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest(layout=_with_defaults(wish, None))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DirectoryUnusable(
                f"{self._manifest_path} cannot be read ({error}). Move it away: the next pull fetches all days that"
                " the server still has and merges them with the files."
            ) from error
        if known.version != VERSION:
            raise DirectoryUnusable(f"{self._manifest_path} was written by a newer smsevents. Use that one.")
        if not known.days and not known.files and not self.staged():
            known.layout = _with_defaults(wish, known.layout)  # nothing was pulled yet, so nothing is mixed
            return known
        for name, advice in _ADVICE.items():
            asked, there = getattr(wish, name), getattr(known.layout, name)
            if asked is not None and asked != there:
                raise OtherOptions(
                    f"{self.path} was begun with {name} {_shown(there)}, not {_shown(asked)}."
                    f" Pull into another directory, or {advice}."
                )
        return known

    def _keep_options(self) -> None:
        """Write down what the directory is, before there is a file: a pull that is killed now is continued as it is."""
        if not self._manifest_path.exists() or not self._manifest.days:
            self._record({})

    def file(self, part: str) -> Path:
        """Give the path of the file of a part."""
        return self.path / f"{part}{self.format.suffix}"

    def fetched(self) -> dict[date, int]:
        """Tell when each day was fetched whose file is there and is the one that was written."""
        sound: dict[str, bool] = {}
        found = {}
        for day, fetched_ms in self._manifest.days.items():
            part = part_of(day, self.layout.split)
            if part not in sound:
                sound[part] = self._is_as_recorded(part)
            if sound[part]:
                found[day] = fetched_ms
        return found

    def known(self) -> dict[date, int]:
        """Tell as of when each day was fetched, whatever became of its file."""
        return dict(self._manifest.days)

    def lost(self) -> list[date]:
        """Give the days that were told to be lost."""
        return list(self._manifest.lost)

    def note_lost(self, days: Iterable[date]) -> None:
        """Record that days were told to be lost, so that they are told once."""
        with self._changing:
            self._manifest.lost = sorted({*self._manifest.lost, *days})
            self._record({})

    def _is_as_recorded(self, part: str) -> bool:
        """Tell whether the file of a part is the one that was written, or was not written and is not there."""
        path = self.file(part)
        return self.record_of(part) is not None or (path.name not in self._manifest.files and not path.exists())

    def record_of(self, part: str) -> FileRecord | None:
        """Give the record of the file of a part, if it is there and has the size that was recorded."""
        path = self.file(part)
        record = self._manifest.files.get(path.name)
        try:
            return record if record and path.stat().st_size == record.bytes else None
        except FileNotFoundError:
            return None

    def write(self, format_: Format, batches: Iterable[list[Entry]]) -> NewFile:
        """Write a file under a temporary name and flush it to the disk."""
        with self._changing:
            self._numbers += 1
            path = self.state / f"{_NEW}{self._numbers}"
        counted = Counted(batches)
        try:
            with _private(path, "xb") as file:
                format_.write(file, counted)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return NewFile(path, FileRecord(counted.events, path.stat().st_size, digest))

    def put(self, part: str, new: NewFile, days: Mapping[date, int]) -> None:
        """Put a new file in the place of a part's, and record it with the days that were fetched for it."""
        path = self.file(part)
        with self._changing:
            new.path.chmod(self._permissions(path))
            _put(new.path, path)
            self._manifest.files[path.name] = new.record
            self._record(days)

    def _permissions(self, path: Path) -> int:
        """Give the permissions for a file: what it has, or what the newest file has, or this user's alone."""
        newest = (self.path / name for name in reversed(self._manifest.files))
        for there in (path, *newest):
            try:
                return there.stat().st_mode & _PERMISSIONS
            except FileNotFoundError:
                continue
        return PRIVATE_FILE

    def drop(self, part: str, days: Mapping[date, int]) -> bool:
        """Record that days were fetched and that their part has no events; tell whether it had a file."""
        path = self.file(part)
        with self._changing:
            had_file = path.exists()
            path.unlink(missing_ok=True)  # first: a file that is missing is fetched again, one too many would be merged
            self._manifest.files.pop(path.name, None)
            self._record(days)
        return had_file

    def keep(self, days: Mapping[date, int]) -> None:
        """Record that days were fetched and brought nothing new."""
        with self._changing:
            self._record(days)

    def _record(self, days: Mapping[date, int]) -> None:
        self._manifest.days |= days
        self._manifest.days = dict(sorted(self._manifest.days.items()))
        self._manifest.files = dict(sorted(self._manifest.files.items()))
        new = self.state / f"{_NEW}manifest"
        with _private(new, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self._manifest), indent=1))
            file.flush()
            os.fsync(file.fileno())
        _put(new, self._manifest_path)

    def stage(self, day: date, fetched_ms: int, batches: Iterable[list[Entry]]) -> Staged:
        """Keep a whole day until its part can be merged, also if the process is killed before that."""
        new = self.write(STAGED_FORMAT, batches)
        path = self._staged / f"{day}.{fetched_ms}"
        _put(new.path, path)
        return Staged(day, fetched_ms, path)

    def unusable(self, error: OSError) -> DirectoryUnusable:
        """Make the error that says why the directory cannot be written."""
        # what comes through Arrow has its text alone
        return DirectoryUnusable(f"{self.path} cannot be written: {error.strerror or error}.")

    def staged(self) -> list[Staged]:
        """Give the days that a pull before this one fetched and did not merge."""
        return [
            Staged(date.fromisoformat(name[1]), int(name[2]), path)
            for path in sorted(self._staged.iterdir())
            if (name := _STAGED.fullmatch(path.name))  # other programs leave files everywhere
        ]


STAGED_FORMAT = JsonLines(compressed=True)


class Counted:
    """Batches that are counted while they pass."""

    def __init__(self, batches: Iterable[list[Entry]]) -> None:
        self._batches = batches
        self.events = 0

    def __iter__(self) -> Iterator[list[Entry]]:
        for batch in self._batches:
            self.events += len(batch)
            yield batch


def _with_defaults(wish: DirectoryOptions, begun: Layout | None) -> Layout:
    """Give what a new directory is to be; `begun` is how one without any events was begun."""
    url = wish.url or (begun.url if begun else None)
    if url is None:
        raise ConfigurationError("No server is named. Give --account or --url, or set SMSEVENTS_URL.")
    format_ = wish.format or (begun.format if begun else FormatName.JSONL)
    compressed = begun.compressed if begun and begun.format is format_ else format_ is not FormatName.EXCEL
    return Layout(
        trackpoint=wish.trackpoint,
        url=url,
        format=format_,
        compressed=compressed if wish.compressed is None else wish.compressed,
        split=wish.split or (begun.split if begun else Split.DAY),
    )


def _unusable(path: Path, error: OSError) -> DirectoryUnusable:
    """Say what is wrong with a directory, and with which file of it."""
    where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
    return DirectoryUnusable(f"{path} cannot be used: {error.strerror or error}{where}.")


def _private(path: Path, mode: str) -> IO[Any]:
    """Open a file; if it is made by that, for this user alone."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE))


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _locked(path: Path, directory: Path) -> IO[str]:
    """Lock a file for as long as it is open; the kernel lets go of it however the process ends."""
    file: IO[str] = _private(path, "a+")
    if not try_lock(file.fileno()):
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise DirectoryInUse(
            f"Another pull is already running in {directory} (process {holder}). Wait for it, or pull into another"
            " directory."
        )
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _put(new: Path, path: Path) -> None:
    """Rename a flushed file to its name, and flush the directory that now has the name."""
    new.replace(path)
    if sys.platform == "win32":
        return  # a directory cannot be flushed there
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""The directory of a pull: its files, its manifest, and the lock that keeps other pulls out.

    2026-11-25.jsonl.gz         a file of events; it appears under this name only when it is complete
    day=…/events.jsonl.gz       the same, with the split `hive`
    .smsevents/manifest.json    the options, when each day was fetched, and the size and hash of each file
    .smsevents/lock             held by the running pull
    .smsevents/staged/          complete days that wait for the other days of their file
    .smsevents/new-*            files being written; leftovers of a killed pull are removed

A day without events has no file; only the manifest records that it was fetched. So readers never find a file that
has a header but no rows, or no lines to infer types from.

Files hold personal data, so they are created for this user alone (0600). A rewritten file keeps its permissions, and a
new file gets those of the newest existing file. So files that were opened to a group stay open to it.

A new file is flushed to disk and renamed, and its directory is flushed; then the manifest is written the same way. It
is written once for all files of a second, because waiting for the disk takes longer than all else for a small file. If
the process is killed before that, the size of the file differs from the recorded size, or the file is not recorded. The
days of the file are then fetched again and merged with its contents.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import msgspec
from msgspec import Struct

from smsevents.client.errors import ClientError, ConfigurationError
from smsevents.client.filters import NO_FILTER, Filter
from smsevents.client.locks import PRIVATE_FILE, PRIVATE_FOLDER
from smsevents.client.platforms import flush_folder, try_lock
from smsevents.client.pull.days import Split, part_of
from smsevents.client.pull.drafts import Drafts, FileRecord, NewFile, digest_of, private_file
from smsevents.client.pull.errors import DamagedFile, DirectoryInUse, DirectoryUnusable, OtherOptions
from smsevents.client.pull.formats import Format, FormatName, JsonLines, format_named
from smsevents.client.pull.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from smsevents.wire.lines import Entry

STATE = ".smsevents"
MANIFEST = "manifest.json"
VERSION = 1
MANIFEST_INTERVAL_SECONDS = 1.0
_FILTERED_VERSION = 2  # so that an earlier smsevents, which knows of no filters, does not mix in other events
NEW = "new-"  # begins the names of files that are being written
_PERMISSIONS = 0o777
_STAGED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.(-?[0-9]{1,18})")
# the fixed options of a directory, and how to comply; each text names an option or argument of the command
_ADVICE = {
    "trackpoint": "use the trackpoint that it was created with",
    "url": "omit --url and --account, and unset SMSEVENTS_URL",
    "split": "omit --split",
    "format": "omit --format",
    "compressed": "omit --compressed and --uncompressed",
    "filter": "omit all options of the filter",
}


class Layout(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fixed options of a directory, chosen by the first pull into it."""

    trackpoint: int
    url: str
    format: FormatName
    compressed: bool
    split: Split
    filter: Filter = NO_FILTER


class DirectoryOptions(Struct, frozen=True, kw_only=True):
    """The options that a pull requests of a directory. None means the option of earlier pulls, or the default.

    `url` has no trailing slash.
    """

    trackpoint: int
    url: str | None = None
    format: FormatName | None = None
    compressed: bool | None = None
    split: Split | None = None
    filter: Filter | None = None


class Manifest(Struct, kw_only=True):
    """The state of a directory.

    `days` holds when each day was fetched, in Unix milliseconds. A day in `days` without a file in `files` has no
    events. `lost` holds the days that were reported as lost: they left the server's history before they were fetched.
    """

    version: int = VERSION
    layout: Layout
    days: dict[date, int] = {}
    files: dict[str, FileRecord] = {}
    lost: list[date] = []


class Staged(Struct, frozen=True):
    """A complete day in its own file, waiting to be merged."""

    day: date
    fetched_ms: int
    path: Path


class Directory:
    """A directory, locked so that only this process pulls into it. Use it in a `with` block.

    Raises `DirectoryInUse`, `OtherOptions`, `DirectoryUnusable` and `MissingExtra`.
    """

    def __init__(self, path: Path, wish: DirectoryOptions) -> None:
        self.path = path
        self.state = path / STATE
        self._staged = self.state / "staged"
        self._manifest_path = self.state / MANIFEST
        self._changing = threading.Lock()
        self.drafts = Drafts(self.state, NEW)
        self._unflushed: set[Path] = set()  # folders with files that are not on disk under their final names yet
        self._unrecorded = False  # whether the manifest on disk lacks something
        self._recorded_at = 0.0
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
            for left in self.state.glob(f"{NEW}*"):
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
        try:
            with suppress(OSError):  # a pull that ends well has recorded all; after another, the next pull does more
                self.record()
        finally:
            self._lock.close()

    def _opened_manifest(self, wish: DirectoryOptions) -> Manifest:
        try:
            known = msgspec.json.decode(self._manifest_path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return _begun(_with_defaults(wish, None))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DirectoryUnusable(
                f"{self._manifest_path} cannot be read ({error}). Move it away; the next pull fetches all days that"
                " the server still has and merges them with the files."
            ) from error
        if known.version not in {VERSION, _FILTERED_VERSION}:
            raise DirectoryUnusable(f"{self._manifest_path} was written by a newer smsevents. Use that version.")
        if not known.days and not known.files and not self.staged():
            return _begun(_with_defaults(wish, known.layout))  # nothing was pulled yet: the options may still change
        for name, advice in _ADVICE.items():
            asked, there = getattr(wish, name), getattr(known.layout, name)
            if asked is not None and asked != there:
                raise OtherOptions(
                    f"{self.path} was created with {name} {_shown(there)}, not {_shown(asked)}."
                    f" Pull into another directory, or {advice}."
                )
        return known

    def _keep_options(self) -> None:
        """Store the options before the first file is written, so that a killed pull continues with the same options."""
        if not self._manifest_path.exists() or not self._manifest.days:
            self._write_manifest()

    def name_of(self, part: str) -> str:
        """Return the path of a part's file within the directory, with slashes."""
        return f"{part}{self.format.suffix}"

    def file(self, part: str) -> Path:
        """Return the path of a part's file."""
        return self.path / self.name_of(part)

    def fetched(self) -> dict[date, int]:
        """Return when each day was fetched, without days whose file is missing or changed."""
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
        """Return when each day was fetched, regardless of the state of its file."""
        return dict(self._manifest.days)

    def lost(self) -> list[date]:
        """Return the days that were reported as lost."""
        return list(self._manifest.lost)

    def note_lost(self, days: Iterable[date]) -> None:
        """Record that days were reported as lost, so that they are reported only once."""
        with self._changing:
            self._manifest.lost = sorted({*self._manifest.lost, *days})
            self._write_manifest()

    def _is_as_recorded(self, part: str) -> bool:
        """Return whether a part's file is as recorded, or neither recorded nor present."""
        is_recorded = self.name_of(part) in self._manifest.files
        return self.record_of(part) is not None or (not is_recorded and not self.file(part).exists())

    def record_of(self, part: str) -> FileRecord | None:
        """Return the record of a part's file, or None if the file is missing or its size differs from the record."""
        record = self._manifest.files.get(self.name_of(part))
        try:
            return record if record and self.file(part).stat().st_size == record.bytes else None
        except FileNotFoundError:
            return None

    def records(self) -> dict[str, FileRecord]:
        """Return the records of all files that are there, by their parts. Raises `DamagedFile` if one differs."""
        found = {}
        for name, record in self._manifest.files.items():
            part = name.removesuffix(self.format.suffix)
            if self.record_of(part) is not None:
                found[part] = record
            elif self.file(part).exists():
                raise DamagedFile(
                    f"{self.file(part)} is not as a pull recorded it. Pull its days again; if it was changed by another"
                    " program, move it away first."
                )
        return found

    def write(self, format_: Format, batches: Iterable[list[Entry]]) -> NewFile:
        """Write a file under a temporary name and flush it to disk."""
        with self.drafts.begin(format_.writer) as draft:
            for batch in batches:
                draft.add(Lines.of(batch))
            return draft.complete()

    def is_intact(self, part: str, record: FileRecord) -> bool:
        """Return whether the contents of a part's file are as recorded."""
        return digest_of(self.file(part)) == record.sha256

    def put(self, part: str, new: NewFile, days: Mapping[date, int]) -> None:
        """Replace a part's file with a new file, and record it and the days fetched for it."""
        path = self.file(part)
        with self._changing:
            self.place(new.path, path)
            self._unflushed.add(path.parent)
            self._manifest.files[self.name_of(part)] = new.record
            self._record(days)

    def place(self, new: Path, path: Path) -> None:
        """Rename a flushed file to its final name in the directory, and give it the permissions of its place."""
        new.chmod(self._permissions(path))
        self._make_folder(path.parent)
        new.replace(path)

    def _make_folder(self, folder: Path) -> None:
        """Create a folder in the directory, with the permissions of the newest partition."""
        if folder.exists():
            return
        self._make_folder(folder.parent)
        mode = next(
            (there.stat().st_mode & _PERMISSIONS for there in self._partitions() if there.exists()), PRIVATE_FOLDER
        )
        folder.mkdir(mode=PRIVATE_FOLDER)
        folder.chmod(mode)

    def _partitions(self) -> Iterator[Path]:
        """Yield the folders of the recorded files, the newest first."""
        return ((self.path / name).parent for name in sorted(self._manifest.files, reverse=True))

    def _permissions(self, path: Path) -> int:
        """Return the permissions for a file: its own, those of the newest file, or else this user's only."""
        newest = (self.path / name for name in sorted(self._manifest.files, reverse=True))
        for there in (path, *newest):
            try:
                return there.stat().st_mode & _PERMISSIONS
            except FileNotFoundError:
                continue
        return PRIVATE_FILE

    def drop(self, part: str, days: Mapping[date, int]) -> bool:
        """Record that days were fetched and that their part has no events. Return whether the part had a file."""
        path = self.file(part)
        with self._changing:
            had_file = path.exists()
            path.unlink(missing_ok=True)  # first: a missing file is fetched again, but a leftover file would be merged
            if path.parent != self.path and remove_empty(path.parent):
                self._unflushed.discard(path.parent)
            self._manifest.files.pop(self.name_of(part), None)
            self._record(days)
        return had_file

    def keep(self, days: Mapping[date, int]) -> None:
        """Record that days were fetched without new events."""
        with self._changing:
            self._record(days)

    def record(self) -> None:
        """Write the manifest if anything changed since it was written."""
        with self._changing:
            if self._unrecorded:
                self._write_manifest()

    def _record(self, days: Mapping[date, int]) -> None:
        """Change the days of the manifest, and write it unless that was done a moment ago."""
        self._manifest.days |= days
        self._unrecorded = True
        if time.monotonic() >= self._recorded_at + MANIFEST_INTERVAL_SECONDS:
            self._write_manifest()

    def _write_manifest(self) -> None:
        self._manifest.days = dict(sorted(self._manifest.days.items()))
        self._manifest.files = dict(sorted(self._manifest.files.items()))
        for folder in {*self._unflushed, self.path}:  # the files that it names, and the folders of partitions
            flush_folder(folder)
        self._unflushed.clear()
        self.write_state(MANIFEST, self._manifest)
        self._unrecorded, self._recorded_at = False, time.monotonic()

    def write_state(self, name: str, state: Struct) -> None:
        """Replace a file of the state folder, and flush it to disk."""
        new = self.state / f"{NEW}{name}"
        with private_file(new, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
            file.flush()
            os.fsync(file.fileno())
        _put(new, self.state / name)

    def stage(self, day: date, fetched_ms: int, new: NewFile) -> Staged:
        """Keep a complete day, in STAGED_FORMAT, until its part can be merged. It survives if the process is killed."""
        path = self._staged / f"{day}.{fetched_ms}"
        _put(new.path, path)
        return Staged(day, fetched_ms, path)

    def unusable(self, error: OSError) -> DirectoryUnusable:
        """Return the error that says why the directory cannot be written."""
        # errors that pass through Arrow have only a text
        return DirectoryUnusable(f"{self.path} cannot be written: {error.strerror or error}.")

    def staged(self) -> list[Staged]:
        """Return the days that an earlier pull fetched but did not merge."""
        return [
            Staged(date.fromisoformat(name[1]), int(name[2]), path)
            for path in sorted(self._staged.iterdir())
            if (name := _STAGED.fullmatch(path.name))  # other programs may leave files here
        ]


STAGED_FORMAT = JsonLines(compressed=True)


class Counted:
    """Counts the events of batches as they are iterated."""

    def __init__(self, batches: Iterable[list[Entry]]) -> None:
        self._batches = batches
        self.events = 0

    def __iter__(self) -> Iterator[list[Entry]]:
        for batch in self._batches:
            self.events += len(batch)
            yield batch


def _begun(layout: Layout) -> Manifest:
    return Manifest(version=_FILTERED_VERSION if layout.filter else VERSION, layout=layout)


def _with_defaults(wish: DirectoryOptions, begun: Layout | None) -> Layout:
    """Return the options of a new directory. `begun` holds those of a directory that has no events yet."""
    url = wish.url or (begun.url if begun else None)
    if url is None:
        raise ConfigurationError("No server address is set. Use --account or --url, or set SMSEVENTS_URL.")
    format_ = wish.format or (begun.format if begun else FormatName.JSONL)
    compressed = begun.compressed if begun and begun.format is format_ else format_ is not FormatName.EXCEL
    return Layout(
        trackpoint=wish.trackpoint,
        url=url,
        format=format_,
        compressed=compressed if wish.compressed is None else wish.compressed,
        split=wish.split or (begun.split if begun else Split.DAY),
        filter=wish.filter or (begun.filter if begun else NO_FILTER),
    )


def _unusable(path: Path, error: OSError) -> DirectoryUnusable:
    """Return the error that says what is wrong with a directory, and with which file."""
    where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
    return DirectoryUnusable(f"{path} cannot be used: {error.strerror or error}{where}.")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _locked(path: Path, directory: Path) -> IO[str]:
    """Open and lock a file. The kernel releases the lock when the file is closed, however the process ends."""
    file: IO[str] = private_file(path, "a+")
    if not try_lock(file.fileno()):
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise DirectoryInUse(
            f"Another pull is already running in {directory} (process {holder}). Wait for it to finish, or pull into"
            " another directory."
        )
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def remove_empty(folder: Path) -> bool:
    """Remove a folder unless other programs have put files there. Return whether it was removed."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _put(new: Path, path: Path) -> None:
    """Rename a flushed file to its final name, and flush the directory."""
    new.replace(path)
    flush_folder(path.parent)

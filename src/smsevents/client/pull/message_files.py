"""The files of messages beside the files of events: a row for each message, with its state.

    _messages/2026-11-25.parquet        the messages sent on a day; with another split, in a month, or all
    .smsevents/messages.json            what they were made of

A message stays in its file, because the time at which it was sent never changes. They are made from the files of
events, never from what was received alone: the events of a message may have come on different days, in different
pulls. For each file of events, `messages.json` has the hash that it had when it was read, and the files of messages
that it has events of. So an update reads only files of events that changed since, and those that share messages with
them, whatever happened in between: a pull that was killed, one of an earlier version, or files that were removed.

Programs that read a folder with all folders in it leave out those whose names begin with `_`, as Spark and Arrow do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from smsevents.client.errors import ClientError
from smsevents.client.messages import check_messages
from smsevents.client.platforms import flush_folder
from smsevents.client.pull.days import HIVE_COLUMN, Split, bounds_of, day_of, part_of
from smsevents.client.pull.directory import remove_empty
from smsevents.client.pull.drafts import FileRecord
from smsevents.client.pull.errors import DirectoryUnusable
from smsevents.client.pull.formats import Csv, JsonLines
from smsevents.client.pull.lines import EntryChecker
from smsevents.client.pull.message_formats import message_writer
from smsevents.client.pull.messages import messages_of, records_of, sent_of
from smsevents.client.pull.sort import Sorter
from smsevents.client.pull.terms import MessagesSummary, PullObserver
from smsevents.wire.limits import DAY_MS
from smsevents.wire.lines import join_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from smsevents.client.pull.directory import Directory
    from smsevents.client.pull.drafts import Draft, NewFile
    from smsevents.client.pull.messages import Message
    from smsevents.wire.lines import Entry

FOLDER = "_messages"
MESSAGES = "messages"  # the name of a file that no time of sending distinguishes
STATE_FILE = "messages.json"
UNDATED = "undated"
HIVE_UNDATED = "__HIVE_DEFAULT_PARTITION__"  # what readers take for NULL
_VERSION = 1
_part = re.compile(rf"(?:{HIVE_COLUMN}=)?(?:[0-9-]{{7,10}}|{UNDATED}|{HIVE_UNDATED})(?:/{MESSAGES})?|{MESSAGES}")


class MessageFile(Struct, frozen=True):
    """What `messages.json` has of a file of messages."""

    messages: int
    bytes: int
    sha256: str


class EventsRead(Struct, frozen=True):
    """A file of events as it was when it was read, and the parts of the messages in it."""

    sha256: str
    parts: list[str]


class _State(Struct, kw_only=True):
    version: int = _VERSION
    events: dict[str, EventsRead] = {}
    files: dict[str, MessageFile] = {}


@dataclass(frozen=True)
class _Reading:
    """Which files of events an update reads, by their parts, and the parts of messages that it writes."""

    changed: dict[str, FileRecord]
    unchanged: dict[str, EventsRead]
    affected: set[str]


@lru_cache(maxsize=4096)
def message_part(sent_day: int, split: Split) -> str:
    """Return the path in the folder, without the suffix, of the file with the messages sent on a day.

    The day is the number of days since 1970, or 0 if the time is impossible.
    """
    if split is Split.NONE:
        return MESSAGES
    if split is Split.HIVE:
        return f"{HIVE_COLUMN}={day_of(sent_day * DAY_MS) if sent_day else HIVE_UNDATED}/{MESSAGES}"
    return part_of(day_of(sent_day * DAY_MS), split) if sent_day else UNDATED


class MessageFiles:
    """The files of messages of an opened directory.

    Raises `ConfigurationError` if the filter of the directory makes the states of messages wrong, and
    `DirectoryUnusable`.
    """

    def __init__(self, directory: Directory, wanted: bool | None) -> None:
        """Begin or continue the files if they are wanted, or remove them. None means what earlier pulls did."""
        self._directory = directory
        self._folder = directory.path / FOLDER
        self._state_path = directory.state / STATE_FILE
        self._split = directory.layout.split
        self._unflushed: set[Path] = set()
        try:
            self._state = _State()  # if it was lost, the files are still there
            are_there = self._state_path.exists() or any(self._orphans())
            self.are_kept = are_there if wanted is None else wanted
            if self.are_kept:
                check_messages(directory.layout.filter)
                self._state = self._opened_state()
            elif are_there:
                self._remove_all(self._opened_state())
        except OSError as error:
            raise directory.unusable(error) from error

    def _opened_state(self) -> _State:
        try:
            found = msgspec.json.decode(self._state_path.read_bytes(), type=_State)
        except FileNotFoundError:
            found = _State()
            self._write_state(found)  # now, so that a pull that is killed continues with it
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = _State()  # all of it can be made again
        if found.version != _VERSION:
            raise DirectoryUnusable(f"{self._state_path} was written by a newer smsevents. Use that version.")
        return found

    def file(self, part: str) -> Path:
        """Return the path of a part's file."""
        return self._folder / f"{part}{self._directory.format.suffix}"

    def update(self, report: PullObserver, check: Callable[[], None]) -> MessagesSummary:
        """Bring the files up to date with the files of events. `check` raises `ClientError` if that must stop.

        After an error, which is in the summary, some files may be up to date, and the next update makes the others.
        """
        summary = MessagesSummary()
        try:
            self._update(report, summary, check)
        except ClientError as error:
            summary.error = error
        except OSError as error:
            summary.error = self._directory.unusable(error)
        return summary

    def _update(self, report: PullObserver, summary: MessagesSummary, check: Callable[[], None]) -> None:
        reading = self._reading()
        with Sorter(self._directory.state, is_compressed=True) as sorter:
            read = {
                part: EventsRead(record.sha256, self._read(part, sorter, None, check))
                for part, record in reading.changed.items()
            }
            affected = reading.affected.union(*(one.parts for one in read.values()))
            for part, known in reading.unchanged.items():
                if affected.intersection(known.parts):
                    self._read(part, sorter, affected, check)
            written = self._write(messages_of(sorter.batches()), report, summary, check)
        for part in sorted(affected - written):
            self._remove(part, report)
        events = {self._directory.name_of(part): one for part, one in [*reading.unchanged.items(), *read.items()]}
        if affected or events != self._state.events:
            self._state.events = dict(sorted(events.items()))
            self._write_state(self._state)

    def _reading(self) -> _Reading:
        directory, state = self._directory, self._state
        there = directory.records()
        known = {part: state.events.get(directory.name_of(part)) for part in there}
        unchanged = {part: one for part, one in known.items() if one is not None and one.sha256 == there[part].sha256}
        names = {directory.name_of(part) for part in unchanged}
        affected = {part for name, one in state.events.items() if name not in names for part in one.parts}
        affected.update(part for part in state.files if not self._is_as_recorded(part))
        affected.update(self._orphans())
        changed = {part: record for part, record in there.items() if part not in unchanged}
        return _Reading(changed, unchanged, affected)

    def _is_as_recorded(self, part: str) -> bool:
        try:
            return self.file(part).stat().st_size == self._state.files[part].bytes
        except FileNotFoundError:
            return False

    def _orphans(self) -> Iterator[str]:
        """Yield the parts of files that the state does not know, because the state was lost or a pull was killed."""
        suffix = self._directory.format.suffix
        for path in self._folder.glob(f"{'*/' if self._split is Split.HIVE else ''}*{suffix}"):
            part = path.relative_to(self._folder).as_posix().removesuffix(suffix)
            if part not in self._state.files and _part.fullmatch(part):
                yield part

    def _read(self, part: str, sorter: Sorter, wanted: set[str] | None, check: Callable[[], None]) -> list[str]:
        """Read a file of events into a sorter: all of it, or what belongs to the parts that are wanted.

        Return the parts of all of it.
        """
        parts: dict[int, str] = {}  # of the days of sending
        for records in self._records_of(part):
            check()
            for day in {at // DAY_MS for at, _ in records} - parts.keys():
                parts[day] = message_part(day, self._split)
            if wanted is not None:
                days = {day for day, name in parts.items() if name in wanted}
                sorter.add([one for one in records if one[0] // DAY_MS in days])
            else:
                sorter.add(records)
        return sorted(set(parts.values()))

    def _records_of(self, part: str) -> Iterator[list[Entry]]:
        """Yield the records of a file of events. A file whose hash is as recorded needs no further check."""
        directory = self._directory
        layout, format_, path = directory.layout, directory.format, directory.file(part)
        record = directory.record_of(part)
        if record and directory.is_intact(part, record):
            if isinstance(format_, JsonLines):
                return map(records_of, format_.blocks(path))
            if not isinstance(format_, Csv):
                from smsevents.client.pull.message_parquet import records  # noqa: PLC0415 -- pyarrow is an extra

                return records(path)
        checker = EntryChecker(layout.trackpoint, *bounds_of(part, layout.split))
        return map(records_of, map(join_lines, format_.read(path, checker)))

    def _write(
        self,
        batches: Iterable[list[Message]],
        report: PullObserver,
        summary: MessagesSummary,
        check: Callable[[], None],
    ) -> set[str]:
        """Write sorted messages into their files. Return the parts."""
        written: set[str] = set()
        pieces = (piece for batch in batches for piece in self._pieces(batch))
        for part, batches_of_part in groupby(pieces, lambda piece: piece[0]):
            with self._draft() as draft:
                for _, some in batches_of_part:
                    check()
                    draft.add(some)
                self._put(part, draft.complete(), report, summary)
            written.add(part)
        return written

    def _pieces(self, messages: list[Message]) -> Iterator[tuple[str, list[Message]]]:
        """Split sorted messages by their parts."""
        part = self._part_of(messages[0])
        if part == self._part_of(messages[-1]):
            yield part, messages
            return
        for each, some in groupby(messages, self._part_of):
            yield each, list(some)

    def _part_of(self, message: Message) -> str:
        return message_part(sent_of(message.sent_ms) // DAY_MS, self._split)

    def _draft(self) -> Draft[list[Message]]:
        directory = self._directory
        return directory.drafts.begin(message_writer(directory.format, directory.layout.trackpoint))

    def _put(self, part: str, new: NewFile, report: PullObserver, summary: MessagesSummary) -> None:
        """Replace a part's file with a new one, unless they are the same."""
        record = MessageFile(new.record.events, new.record.bytes, new.record.sha256)
        path = self.file(part)
        changed = record != self._state.files.get(part) or not self._is_as_recorded(part)
        if changed:
            self._directory.place(new.path, path)
            self._unflushed.add(path.parent)
            self._state.files[part] = record
            summary.files_written += 1
            summary.messages_written += record.messages
            summary.bytes_written += record.bytes
        else:
            new.path.unlink()
        report.messages_written(self._name_of(part), record, changed=changed)

    def record_of_all(self) -> FileRecord:
        """Return the record of the file with all messages. It is written even without messages."""
        if MESSAGES not in self._state.files:
            with self._draft() as draft:
                self._put(MESSAGES, draft.complete(), PullObserver(), MessagesSummary())
        record = self._state.files[MESSAGES]
        return FileRecord(record.messages, record.bytes, record.sha256)

    def _name_of(self, part: str) -> str:
        return self.file(part).relative_to(self._directory.path).as_posix()

    def _remove(self, part: str, report: PullObserver | None) -> None:
        path = self.file(part)
        had_file = path.exists()
        path.unlink(missing_ok=True)
        if path.parent != self._folder:
            remove_empty(path.parent)
        self._state.files.pop(part, None)
        if had_file and report:
            report.removed(self._name_of(part))

    def _remove_all(self, state: _State) -> None:
        """Remove all files, and then the state, so that a removal that was killed is not taken for complete."""
        self._state = state
        for part in {*state.files, *self._orphans()}:
            self._remove(part, None)
        remove_empty(self._folder)
        self._state_path.unlink()

    def _write_state(self, state: _State) -> None:
        for folder in self._unflushed:
            flush_folder(folder)
        self._unflushed.clear()
        state.files = dict(sorted(state.files.items()))
        self._directory.write_state(STATE_FILE, state)

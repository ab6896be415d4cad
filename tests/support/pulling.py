"""Shared by the tests of `pull`: a directory to pull into, and events to pull."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeAlias

from smsevents.client import NEVER, Client, Timeouts
from smsevents.client.account import Account as ClientAccount
from smsevents.client.lines import Batch, BatchChecker
from smsevents.client.pull.days import Split, bounds_of, end_of, start_of
from smsevents.client.pull.directory import Directory, DirectoryOptions
from smsevents.client.pull.formats import FormatName, format_named
from smsevents.client.pull.lines import EntryChecker
from smsevents.client.pull.message_files import MessageFiles
from smsevents.client.pull.pull import Pull
from smsevents.client.pull.terms import PullObserver, PullOptions, Stopping, Summary
from tests.support.lines import HOUR_MS, body_of, date_of, line
from tests.support.messages import message_rows
from tests.support.servers import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from smsevents.client.errors import ClientError
    from smsevents.client.pull.terms import Source

# tells nothing about time
PlainSource: TypeAlias = "Callable[[int, int], Generator[Batch]]"

TRACKPOINT = 7
TODAY = date(2026, 11, 25)
NOW = start_of(TODAY) + 14 * HOUR_MS
DAYS = [date(2026, 11, number) for number in range(16, 26)]


class Waits(Stopping):
    """Does not wait, and records each requested wait in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Do not wait."""
        self.seconds.append(seconds)
        self.check()


class Heard(PullObserver):
    """Records all reports."""

    def __init__(self) -> None:
        self.retries: list[tuple[date, str]] = []
        self.files: dict[str, bool] = {}
        self.warnings: list[str] = []
        self.gone: list[str] = []
        self.messages: dict[str, bool] = {}

    def warned(self, text: str) -> None:
        """Record a warning."""
        self.warnings.append(text)

    def removed(self, name: str) -> None:
        """Record a file that was removed."""
        self.gone.append(name)

    def messages_written(self, name: str, record: object, *, changed: bool) -> None:
        """Record a file of messages that was written again, and whether it has changed."""
        assert record is not None
        self.messages[name] = changed

    def retried(self, day: date, error: ClientError, wait_seconds: float) -> None:
        """Record a retry."""
        assert wait_seconds > 0
        self.retries.append((day, str(error)))

    def written(self, name: str, record: object, new: int, *, changed: bool) -> None:
        """Record a file."""
        assert record is not None
        assert new >= 0 or changed
        self.files[name] = changed


@dataclass
class Site:
    """A directory that is pulled into, and the server that it is pulled from."""

    path: Path
    standin: Any = None  # the tests that bring a source of their own need none
    wish: dict[str, Any] = field(default_factory=dict)
    now: int = NOW
    server_ahead_ms: int | None = 0  # of this machine's clock; None if the server tells no time
    heard: Heard = field(default_factory=Heard)
    waits: Waits = field(default_factory=Waits)

    def pull(
        self,
        source: Source | PlainSource | None = None,
        *,
        now: int | None = None,
        messages: bool | None = None,
        helped: bool = False,
        **choice: Any,
    ) -> Summary:
        """Pull once, as the command does; with a second process only if it is `helped`."""
        self.now = now or self.now
        self.heard, self.waits = Heard(), Waits()
        wish = DirectoryOptions(trackpoint=TRACKPOINT, url="http://server", **self.wish)
        choice = {"first": DAYS[0], "last": DAYS[-1]} | choice
        with Directory(self.path, wish) as opened, self._source(source) as asked:
            one = Pull(
                asked,
                opened,
                PullOptions(**choice),
                clock=lambda: self.now,
                report=self.heard,
                stopping=self.waits,
                helped=(ClientAccount(TRACKPOINT, self.standin.url, "key"), Timeouts()) if helped else None,
            )
            files = MessageFiles(opened, messages)
            summary = one.run()
            if files.are_kept:
                summary.messages = files.update(self.heard, lambda: None)
            return summary

    @contextmanager
    def _source(self, source: Any) -> Iterator[Source]:
        if source:
            tells_time = "on_head" in signature(source).parameters

            def silent(from_: int, to: int, /, **_: Any) -> Generator[Batch]:
                yield from source(from_, to)

            yield source if tells_time else silent
            return
        ahead = self.server_ahead_ms
        self.standin.now_ms = None if ahead is None else lambda: self.now + ahead
        with Client(
            TRACKPOINT,
            "key",
            url=self.standin.url,
            retry=NEVER,
            sleep=self.waits.sleep,
            now_ms=lambda: self.now,
            ssl_context=PLAIN,
        ) as client:
            yield partial(client.export_received, where=self.wish.get("filter"))

    def messages(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of the files of messages, by their names."""
        folder = self.path / "_messages"
        return {path.relative_to(folder).as_posix(): message_rows(path) for path in sorted(folder.rglob("*.*"))}

    def names(self) -> list[str]:
        """Return the paths of the files within the directory."""
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if path.parts[0] not in {".smsevents", "_messages"})

    def lines(self) -> list[bytes]:
        """Return all lines of all files, as the formats read them, file by file."""
        name = self.wish.get("format", FormatName.JSONL)
        split = self.wish.get("split", Split.DAY)
        format_ = format_named(name, compressed=self.wish.get("compressed", True))
        return [
            entry[1]
            for file in self.names()
            for batch in format_.read(
                self.path / file, EntryChecker(TRACKPOINT, *bounds_of(file.removesuffix(format_.suffix), split))
            )
            for entry in batch
        ]

    def state(self) -> list[str]:
        """Return the names in the state folder, except those that are always present."""
        state = self.path / ".smsevents"
        found = [str(path.relative_to(state)) for path in state.rglob("*")]
        return sorted(set(found) - {"lock", "manifest.json", "messages.json", "staged"})


def batch_of(lines: list[bytes]) -> Batch:
    """Return lines as a batch of the client, as it checks them."""
    batch, bad = BatchChecker(TRACKPOINT).check(body_of(lines))
    assert bad is None
    return batch


def ordered(lines: list[bytes]) -> list[bytes]:
    """Return the expected content of all files together: a plain sorted set."""
    return [one for _, one in sorted({(date_of(one), one) for one in lines})]


def some_lines(count: int, first: date = DAYS[0], last: date = DAYS[-1], seed: int = 1) -> list[bytes]:
    """Return lines of a window, in order, many of them with the same date."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    start, end = start_of(first), min(end_of(last), NOW)
    return ordered(
        [
            line(TRACKPOINT, chance.randrange(start, end, 1000), f"user {number}", node="VIP" if number % 2 else None)
            for number in range(count)
        ]
    )

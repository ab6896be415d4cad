"""A second process that receives days for a pull, because the threads of one process hardly use more than one core.

    pull → helper    a Task, once; then for each day a Day, and an Ask for each thing that is made of what arrived
    helper → pull    READY, once; then Heard, any number of times, and a Reply; or an error instead of either

The messages are pickles, in the pipes of the helper's standard input and output. READY is a line, because whatever a
Python is set up to print at its start comes before it. The helper ends with the pull: a thread of it reads the end of
the pipe, however the pull ended. It never changes the files of the directory. Its drafts, and those that it left when
it was killed, are removed like those of the pull.

A pull whose helper cannot be started, or ends, receives all days itself.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from smsevents.client.clients import Client
from smsevents.client.errors import ClientError
from smsevents.client.pull.drafts import Drafts
from smsevents.client.pull.errors import HelperGone
from smsevents.client.pull.receive import Heard, HereReceiver, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from pathlib import Path

    from smsevents.client.account import Account
    from smsevents.client.pull.clocks import Fetch
    from smsevents.client.pull.drafts import NewFile
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.receive import Arrived, Receiver
    from smsevents.client.retry import Timeouts
    from smsevents.wire.lines import Entry

# fewer days are received before a helper has loaded what it needs
HELPED_DAYS_MIN = 8

READY = b"the helper of a pull is ready\n"
# not `-m`: the classes of the messages must be those of this module, not of `__main__`
_COMMAND = ("-P", "-c", "from smsevents.client.pull.helper import main; main()")


class Task(NamedTuple):
    """What a helper needs to know. `format_` is the usual one, which is loaded before the first day."""

    account: Account
    timeouts: Timeouts
    wanted: Wanted
    folder: Path
    prefix: str
    format_: Format


class Day(NamedTuple):
    """A day to receive; see `Receiver`."""

    day: date
    format_: Format
    sent_ms: int


class Received(NamedTuple):
    """A day that was received completely."""

    fetch: Fetch
    has_events: bool


class Ask(Enum):
    """What the pull wants of a received day."""

    FILE = "file"
    BATCH = "batch"  # the next one; None after the last
    RELEASE = "release"


class Reply(NamedTuple):
    """What the pull has asked for: a Received, a file, a batch, or None."""

    value: Any


class Helper:
    """The pull's side of a helper. Use it in a `with` block, and from one thread at a time."""

    def __init__(self, task: Task, heard: Callable[[Heard], None], otherwise: Receiver) -> None:
        """Start a helper. `heard` is called for what arrives; days are received by `otherwise` if it is gone."""
        self._task = task
        self._heard = heard
        self._otherwise = otherwise
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):  # no program, no memory: then there is no helper
            self._process = subprocess.Popen(  # noqa: S603 -- this Python, and a module of ours
                [sys.executable or "", *_COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> None:
        """Wait until the helper has loaded what it needs. Without it, days are received in this process."""
        with suppress(HelperGone):
            self._send(self._task)
            self._read_until_ready()

    @contextmanager
    def receive(self, day: date, format_: Format, sent_ms: int) -> Iterator[tuple[Fetch, Arrived]]:
        """Receive a day; see `Receiver`. Raises `HelperGone` if the helper ends meanwhile."""
        if self._process is None:
            with self._otherwise.receive(day, format_, sent_ms) as received:
                yield received
            return
        try:
            self._send(Day(day, format_, sent_ms))
            fetch, has_events = self._reply()
            yield fetch, _There(self._asked, has_events=has_events)
            with suppress(HelperGone):  # the day is handed on, and must not be received again
                self._asked(Ask.RELEASE)
        except _Reported as report:
            raise report.error from None  # the helper is ready for the next day
        except BaseException:
            self._end()  # it is in the middle of a day
            raise

    def _asked(self, ask: Ask) -> Any:  # noqa: ANN401 -- depends on what is asked
        self._send(ask)
        return self._reply()

    def _reply(self) -> Any:  # noqa: ANN401 -- depends on what was asked
        """Return the value of the next reply. Raises `_Reported` for an error of the helper."""
        while True:
            said = self._read()
            if isinstance(said, Heard):
                self._heard(said)
            elif isinstance(said, Reply):
                return said.value
            else:
                raise _Reported(said)

    def _send(self, message: object) -> None:
        if self._process is None or self._process.stdin is None:
            raise HelperGone
        try:
            _write(self._process.stdin, message)
        except OSError as error:
            self._end()
            raise HelperGone from error

    def _read_until_ready(self) -> None:
        if self._process is None or self._process.stdout is None:
            raise HelperGone
        while (line := self._process.stdout.readline()) != READY:
            if not line:
                self._end()
                raise HelperGone

    def _read(self) -> Any:  # noqa: ANN401 -- any message
        if self._process is None or self._process.stdout is None:
            raise HelperGone
        try:
            return pickle.load(self._process.stdout)  # noqa: S301 -- from our own process
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self._end()
            raise HelperGone from error

    def interrupt(self) -> None:
        """Kill the process, from any thread, so that a `receive` that waits for it ends with `HelperGone`."""
        process = self._process
        if process is not None:
            process.kill()

    def _end(self) -> None:
        """Kill the process, and remove what it was writing. It has nothing else that outlives it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was not sent yet is of no use
                if pipe:
                    pipe.close()
        for left in self._task.folder.glob(f"{self._task.prefix}*"):
            left.unlink(missing_ok=True)


class _Reported(Exception):
    """An error that the helper met while it received or wrote a day."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _There:
    """What has arrived in the helper; see `Arrived`."""

    def __init__(self, asked: Callable[[Ask], Any], *, has_events: bool) -> None:
        self._asked = asked
        self.has_events = has_events

    def file(self) -> NewFile | None:
        """Complete the new file."""
        found: NewFile | None = self._asked(Ask.FILE)
        return found

    def batches(self) -> Iterator[list[Entry]]:
        """Yield all entries."""
        while batch := self._asked(Ask.BATCH):
            yield batch


def _write(pipe: IO[bytes], message: object) -> None:
    pickle.dump(message, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


class _Orders:
    """What the pull wants, read in a thread of its own, so that this process ends with the pull at any time."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._read: SimpleQueue[Any] = SimpleQueue()
        Thread(target=self._follow, name="smsevents-orders", daemon=True).start()

    def next(self) -> Any:  # noqa: ANN401 -- any message
        """Wait for the next message."""
        return self._read.get()

    def _follow(self) -> None:
        with suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._read.put(pickle.load(self._pipe))  # noqa: S301 -- from the pull that started this process
        os._exit(0)  # the other thread may wait for the server, for minutes


def serve(pipe: IO[bytes], replies: IO[bytes]) -> None:
    """Be the helper, until the pull ends."""
    orders = _Orders(pipe)
    task: Task = orders.next()
    account = task.account
    with Client(account.trackpoint, account.key, url=account.url, timeouts=task.timeouts) as client:
        source = partial(client.export_received, where=task.wanted.where)
        drafts = Drafts(task.folder, task.prefix)
        receiver = HereReceiver(source, task.wanted, drafts, partial(_write, replies))
        replies.write(b"\n" + READY)
        replies.flush()
        while True:
            _serve_day(receiver, orders.next(), orders, replies)


def _serve_day(receiver: HereReceiver, day: Day, orders: _Orders, replies: IO[bytes]) -> None:
    """Receive a day, and do what is asked for until it is released. Report an error instead, if there is one."""
    try:
        with receiver.receive(*day) as (fetch, arrived):
            _write(replies, Reply(Received(fetch, arrived.has_events)))
            batches: Iterator[list[Entry]] | None = None
            while (ask := orders.next()) is not Ask.RELEASE:
                if ask is Ask.FILE:
                    _write(replies, Reply(arrived.file()))
                else:
                    batches = batches or arrived.batches()
                    _write(replies, Reply(next(batches, None)))
    except BrokenPipeError:
        raise  # the pull has ended
    except (ClientError, OSError) as error:
        _write(replies, error)
    else:
        _write(replies, Reply(None))


def main() -> None:
    """Serve the process that started this one."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else that prints may get into the replies
    with suppress(OSError, KeyboardInterrupt):  # the pull has ended, or Ctrl-C ends both
        serve(sys.stdin.buffer, replies)

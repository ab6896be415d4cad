"""The metrics of several workers, added up. Each worker reports to the process that started it, over a local socket.

This needs no files, so a full disk cannot stop it and nothing has to be cleaned up. The socket has a name in Linux's
abstract namespace (unix(7)), which disappears with the process. Only processes of the same user are accepted.

A worker reports what it counts every REPORT_SECONDS, when it is asked, and when it ends. The counts of a worker that is
gone stay in the sums, because a counter must not go down; its gauges do not. So if a worker is killed, the counts of
its last REPORT_SECONDS may be missing.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import msgspec
import structlog

from smsevents.errors import SmsEventsError, StoreUnavailable
from smsevents.web.samples import Family, added, decode, encode, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = structlog.get_logger()

# Not a setting, so it has a different prefix: the server uses it to tell its workers where to report.
ADDRESS_VARIABLE = "_SMSEVENTS_METRICS_ADDRESS"
REPORT_SECONDS = 1.0
PAUSE_SECONDS = 0.1  # before the next try when no connection can be accepted
GATHER_MAX_SECONDS = 0.5  # after that, the last report of a busy worker is used
ANSWER_MAX_SECONDS = 5
REPORT_MAX_BYTES = 16 * 1024 * 1024
CONNECTIONS_MAX = 256  # from workers and for requests of /metrics; further ones wait

_ASK = b"ask"
_REPORT = b"report"
_PEER = struct.Struct("iII")  # the ids of process, user and group


@dataclass(eq=False)
class _Worker:
    """A worker that reports, and its last report."""

    connection: Connection
    families: list[Family] = field(default_factory=list)
    asked: bool = False  # True until it reports


class Hub:
    """Receives the reports of workers, in the process that started them."""

    def __init__(self) -> None:
        """Listen under a unique name."""
        self.address = f"smsevents-{secrets.token_hex(16)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(f"\0{self.address}")
        self._listener.listen()
        self._changed = threading.Condition()
        self._workers: list[_Worker] = []
        self._gone: list[Family] = []
        self._closed = threading.Event()
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        threading.Thread(target=self._accept, name="smsevents-metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in `accept`
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # closed, or too many open files at the moment
                self._closed.wait(PAUSE_SECONDS)
                continue
            if _user_of(accepted) != os.geteuid():
                accepted.close()
                continue
            self._places.acquire()
            try:
                threading.Thread(target=self._serve, args=(accepted,), name="smsevents-metrics", daemon=True).start()
            except RuntimeError:  # no thread can be started at the moment: the worker sees a closed connection
                accepted.close()
                self._places.release()

    def _serve(self, accepted: socket.socket) -> None:
        worker: _Worker | None = None
        try:
            with Connection(accepted.detach()) as connection:
                while True:
                    message = connection.recv_bytes(REPORT_MAX_BYTES)
                    if message == _ASK:
                        connection.send_bytes(encode(self._gather()))
                        continue
                    worker = worker or self._added(connection)
                    self._take(worker, decode(message))
        except (EOFError, OSError, msgspec.DecodeError):
            pass  # the process is gone, or it is not one of ours
        finally:
            if worker is not None:
                self._remove(worker)
            self._places.release()

    def _added(self, connection: Connection) -> _Worker:
        with self._changed:
            self._workers.append(worker := _Worker(connection))
        return worker

    def _take(self, worker: _Worker, families: list[Family]) -> None:
        with self._changed:
            worker.families, worker.asked = families, False
            self._changed.notify_all()

    def _remove(self, worker: _Worker) -> None:
        with self._changed:
            self._workers.remove(worker)
            self._gone = added([self._gone, [family for family in worker.families if family.outlives]])
            self._changed.notify_all()

    def _gather(self) -> list[Family]:
        """Ask all workers to report, and add up their counts and those of workers that are gone."""
        with self._changed:
            for worker in self._workers:
                if not worker.asked:  # otherwise it has not read the last request yet
                    worker.asked = True
                    with suppress(OSError):
                        worker.connection.send_bytes(_REPORT)
            self._changed.wait_for(lambda: not any(worker.asked for worker in self._workers), GATHER_MAX_SECONDS)
            return added([self._gone, *(worker.families for worker in self._workers)])


def _user_of(accepted: socket.socket) -> int:
    """Return the user id of the process at the other end (SO_PEERCRED)."""
    found = _PEER.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(found[1])


@contextmanager
def gathered() -> Iterator[None]:
    """Let workers that are started while the block runs report to this process."""
    hub = Hub()
    os.environ[ADDRESS_VARIABLE] = hub.address
    try:
        yield
    finally:
        del os.environ[ADDRESS_VARIABLE]
        hub.close()


@contextmanager
def reported(address: str | None, take: Callable[[], list[Family]] = taken) -> Iterator[None]:
    """Report what this process counts for as long as the block runs. Without an address, do nothing."""
    if not address:
        yield
        return
    reporter = _Reporter(address, take)
    reporter.start()
    try:
        yield
    finally:
        reporter.end()


class _Reporter(threading.Thread):
    """Reports what this process counts, repeatedly. No failure here may end the process."""

    def __init__(self, address: str, take: Callable[[], list[Family]]) -> None:
        super().__init__(name="smsevents-metrics", daemon=True)
        self._address = address
        self._take = take
        self._ending = threading.Event()
        self._woken, self._wake = Pipe(duplex=False)

    def run(self) -> None:
        """Report until `end` is called, and once more after that."""
        connection = self._connect()
        if connection is None:
            return
        with connection, suppress(EOFError, OSError):  # the parent process is gone, and this one ends soon
            while not self._ending.is_set():
                self._report(connection)
                if connection in wait([connection, self._woken], REPORT_SECONDS):
                    connection.recv_bytes(len(_REPORT))
            self._report(connection)

    def end(self) -> None:
        """Let the reporter report once more, and wait for that."""
        self._ending.set()
        self._wake.close()  # ends the reporter's wait at once
        self.join(REPORT_SECONDS + ANSWER_MAX_SECONDS)

    def _connect(self) -> Connection | None:
        """Connect, once in the life of a worker: with a second connection, its counts would be added twice."""
        while not self._ending.is_set():
            try:
                return _connected(self._address)
            except OSError as error:
                logger.warning("metrics not reported", error=str(error), again_in_seconds=REPORT_SECONDS)
                self._ending.wait(REPORT_SECONDS)
        return None

    def _report(self, connection: Connection) -> None:
        try:
            told = encode(self._take())
        except SmsEventsError as error:
            logger.warning("metrics not reported", error=str(error), again_in_seconds=REPORT_SECONDS)
            return
        connection.send_bytes(told)


def gather(address: str) -> list[Family]:
    """Return the sum of what all workers count. Raises `StoreUnavailable` if it cannot be determined."""
    try:
        with _connected(address) as connection:
            connection.send_bytes(_ASK)
            if not connection.poll(ANSWER_MAX_SECONDS):
                raise StoreUnavailable("The workers' numbers were not added up in time. Try again in a moment.")
            return decode(connection.recv_bytes(REPORT_MAX_BYTES))
    except (EOFError, OSError) as error:
        raise StoreUnavailable("The process that adds up the workers' numbers is gone. Restart the server.") from error


def _connected(address: str) -> Connection:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connecting:
        connecting.settimeout(ANSWER_MAX_SECONDS)
        connecting.connect(f"\0{address}")
        connecting.settimeout(None)
        return Connection(connecting.detach())

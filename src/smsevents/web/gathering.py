"""The numbers of several workers, added up: each tells them to the process that started it, over a local socket.

No file is needed for that, so no full folder can get in the way, and nothing is left behind. The socket has a name
in Linux's abstract namespace (unix(7)), which goes with the process; only processes of the same user are listened to.

A worker tells what it counts each REPORT_SECONDS, when it is asked, and when it ends. What a worker counted that is
gone stays in the sums, for a counter must not go down, but not in gauges. So of a worker that was killed the last
REPORT_SECONDS may be missing.
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

# Its prefix is not that of settings, as it is none: the server tells its workers by it where to report.
ADDRESS_VARIABLE = "_SMSEVENTS_METRICS_ADDRESS"
REPORT_SECONDS = 1.0
PAUSE_SECONDS = 0.1  # when no connection can be taken
GATHER_MAX_SECONDS = 0.5  # for what a busy worker told last is taken then
ANSWER_MAX_SECONDS = 5
REPORT_MAX_BYTES = 16 * 1024 * 1024
CONNECTIONS_MAX = 256  # workers, and requests for /metrics; more of them wait

_ASK = b"ask"
_REPORT = b"report"
_PEER = struct.Struct("iII")  # process, user, group


@dataclass(eq=False)
class _Worker:
    """A worker that reports, and what it told last."""

    connection: Connection
    families: list[Family] = field(default_factory=list)
    asked: bool = False  # and has not reported since


class Hub:
    """Where workers report, in the process that started them."""

    def __init__(self) -> None:
        """Listen under a name of its own."""
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
        """Listen no longer."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # closed, or too many open files just now
                self._closed.wait(PAUSE_SECONDS)
                continue
            if _user_of(accepted) != os.geteuid():
                accepted.close()
                continue
            self._places.acquire()
            try:
                threading.Thread(target=self._serve, args=(accepted,), name="smsevents-metrics", daemon=True).start()
            except RuntimeError:  # no thread can be started just now: the worker that asked sees that it is closed
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
            pass  # it is gone, or none of ours
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
        """Have all workers report, and add up what they and those before them told."""
        with self._changed:
            for worker in self._workers:
                if not worker.asked:  # else it has not even taken the last question
                    worker.asked = True
                    with suppress(OSError):
                        worker.connection.send_bytes(_REPORT)
            self._changed.wait_for(lambda: not any(worker.asked for worker in self._workers), GATHER_MAX_SECONDS)
            return added([self._gone, *(worker.families for worker in self._workers)])


def _user_of(accepted: socket.socket) -> int:
    """Tell the user of the process at the other end (SO_PEERCRED)."""
    found = _PEER.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(found[1])


@contextmanager
def gathered() -> Iterator[None]:
    """Have workers that are started while the block runs report here."""
    hub = Hub()
    os.environ[ADDRESS_VARIABLE] = hub.address
    try:
        yield
    finally:
        del os.environ[ADDRESS_VARIABLE]
        hub.close()


@contextmanager
def reported(address: str | None, take: Callable[[], list[Family]] = taken) -> Iterator[None]:
    """Report what this process counts for as long as the block runs, if there is somebody to report to."""
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
    """Tells what this process counts, again and again; nothing that fails here may end the process."""

    def __init__(self, address: str, take: Callable[[], list[Family]]) -> None:
        super().__init__(name="smsevents-metrics", daemon=True)
        self._address = address
        self._take = take
        self._ending = threading.Event()
        self._woken, self._wake = Pipe(duplex=False)

    def run(self) -> None:
        """Report until told to end, and once more then."""
        connection = self._connect()
        if connection is None:
            return
        with connection, suppress(EOFError, OSError):  # the process that started us is gone, and so are we in a moment
            while not self._ending.is_set():
                self._report(connection)
                if connection in wait([connection, self._woken], REPORT_SECONDS):
                    connection.recv_bytes(len(_REPORT))
            self._report(connection)

    def end(self) -> None:
        """Have it report once more, and wait for that."""
        self._ending.set()
        self._wake.close()  # ends the wait at once
        self.join(REPORT_SECONDS + ANSWER_MAX_SECONDS)

    def _connect(self) -> Connection | None:
        """Connect. There is one connection in the life of a worker, or what it counted would be counted twice."""
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
    """Give the sum of what all workers count. Raises `StoreUnavailable` if it cannot be had."""
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

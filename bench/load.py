"""Many HTTP clients in one thread, on plain sockets: they cost so little that the server is what is measured."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from bench.measure import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_READ_BYTES = 256 * 1024
_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_WAIT_MAX_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    """How long one request took, to the first byte of the body and to the last, and its body as it was sent."""

    first_byte_seconds: float
    seconds: float
    body: bytes


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Give a request as it stands on the wire."""
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(head).encode() + _HEAD_END + body


@dataclass
class _Client:
    """One connection that is kept, and what has come of the answer it waits for."""

    socket: socket.socket
    asked: float = 0.0
    first_byte: float = 0.0
    body_at: int = 0
    length: int | None = None
    received: bytearray = field(default_factory=bytearray)

    def ask(self, request: bytes) -> None:
        """Send a request; it is small enough to be taken at once."""
        self.received.clear()
        self.body_at, self.length, self.first_byte = 0, None, 0.0
        self.asked = time.perf_counter()
        self.socket.sendall(request)

    def read(self) -> Answer | None:
        """Take what came; give the answer once it is whole. Raises `CommandFailed` for any status but 200."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise CommandFailed(f"the server cut an answer: {bytes(self.received[:200])!r}")
        now = time.perf_counter()
        self.received += data
        if not self.body_at:
            self._read_head()
            if not self.body_at:
                return None
        if not self.first_byte and len(self.received) > self.body_at:
            self.first_byte = now
        if self.length is None:
            whole = self.received.endswith(_LAST_CHUNK, self.body_at - 2)
        else:
            whole = len(self.received) >= self.body_at + self.length
        if not whole:
            return None
        return Answer(self.first_byte - self.asked, now - self.asked, bytes(self.received[self.body_at :]))

    def _read_head(self) -> None:
        end = self.received.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self.received[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise CommandFailed(f"the server refused: {bytes(self.received)!r}")
        self.body_at = end + len(_HEAD_END)
        marker = b"content-length:"
        if marker in head:
            self.length = int(head.split(marker, 1)[1].split(b"\r\n", 1)[0])


def ask(port: int, requests: Iterator[bytes], clients: int, pause_seconds: float = 0.0) -> list[Answer]:
    """Send requests by so many clients at a time, each on a connection that it keeps, until there are no more.

    A client asks again as soon as it has its answer, or after a pause.
    """
    answers: list[Answer] = []
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        resting: list[tuple[float, int, _Client]] = []
        started = time.perf_counter()
        for number in range(clients):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = _Client(connection)
            selector.register(connection, selectors.EVENT_READ, client)
            heappush(resting, (started + pause_seconds * number / clients, number, client))
        waiting = 0
        number = clients
        while resting or waiting:
            while resting and resting[0][0] <= time.perf_counter():
                request = next(requests, None)
                if request is None:
                    resting.clear()
                    break
                heappop(resting)[2].ask(request)
                waiting += 1
            until = resting[0][0] - time.perf_counter() if resting else _WAIT_MAX_SECONDS
            if not waiting:
                time.sleep(max(0.0, until) if resting else 0)
                continue
            ready = selector.select(max(0.0, until))
            if not ready and not resting:
                raise CommandFailed(f"no answer came for {_WAIT_MAX_SECONDS} seconds")
            for key, _ in ready:
                client = key.data
                answer = client.read()
                if answer is not None:
                    answers.append(answer)
                    waiting -= 1
                    number += 1
                    heappush(resting, (time.perf_counter() + pause_seconds, number, client))
    return answers


@contextmanager
def slow_readers(port: int, request: bytes, readers: int) -> Iterator[list[socket.socket]]:
    """Have so many clients that asked for something and do not read; give their sockets, to read from by and by."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(readers):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the kernel reads for them
            connection.connect(("127.0.0.1", port))
            connection.sendall(request)
            sockets.append(connection)
        yield sockets

r"""A stand-in for a third-party server of the export: it behaves as badly as a test asks for.

    with StandIn() as standin:
        standin.answers(Answer(status=429, headers={"Retry-After": "7"}), Answer(lines=lines, chunk_bytes=100))
        with Client(1001, "key", url=standin.url) as client:
            ...
        assert standin.requests[0].interval == {"from": 1, "to": 2}

Each request gets the next response; the last one is repeated. Instead of a response, a function from the request to
a response may be set, which can simulate a complete account (`Account`). Every response closes its connection.
The server is written on sockets, because an HTTP library would not let it send invalid responses.
"""

from __future__ import annotations

import gzip
import json
import random
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal, Self

from smsevents.clock.system import now_ms
from tests.support.lines import body_of, date_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

HEAD_MAX_BYTES = 64 * 1024
SOCKET_MAX_SECONDS = 30


@dataclass(frozen=True)
class Request:
    """What a client sent: the path, the headers by their lower-case names, and the body."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def interval(self) -> dict[str, int]:
        """The decoded body of an export request."""
        read: dict[str, int] = json.loads(self.body)
        return read


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response, and its faults.

    The body is `lines`, each ended by a line feed, and then `tail` unchanged. `gzip` compresses it if the
    client takes gzip. `framing` says how the body is ended: by chunks, by its length, or by the connection.
    `cut_at` ends the connection after that many bytes of the body as it is framed and sent (negative: before
    the end, so -1 is one byte short, and with chunks -5 leaves out the complete last chunk). `silent_at` stops
    there too, but holds the connection open. `pause_seconds` is waited before each chunk.
    `drop` closes the connection without sending a byte.
    """

    lines: Sequence[bytes] = ()
    tail: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json-seq"
    gzip: bool = False
    framing: Literal["chunked", "length", "close"] = "chunked"
    chunk_bytes: int = 16 * 1024
    cut_at: int | None = None
    silent_at: int | None = None
    pause_seconds: float = 0
    drop: bool = False

    def wire(self, request: Request) -> tuple[bytes, list[bytes]]:
        """Return the head and the framed parts of the body, before any truncation."""
        body = body_of(self.lines) + self.tail
        headers = dict(self.headers)
        if self.content_type is not None:
            headers.setdefault("Content-Type", self.content_type)
        if self.gzip and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        parts = [body[at : at + self.chunk_bytes] for at in range(0, len(body), self.chunk_bytes)]
        if self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]
        elif self.framing == "length":
            headers["Content-Length"] = str(len(body))
        version = "1.0" if self.framing == "close" else "1.1"
        rows = [f"HTTP/{version} {self.status} Whatever", "Connection: close"]
        rows += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*rows, "", ""]).encode("latin-1"), parts


@dataclass(kw_only=True)
class Account:
    """A third-party account: it respects the interval, but guarantees nothing else.

    The lines come in a random order, each `copies` times at most, without gzip unless asked. Pass it to
    `StandIn.answers`; `lines` may be changed between calls. `options` are those of `Answer`.
    """

    lines: list[bytes]
    copies: int = 2
    seed: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        """Return the response to a request."""
        chance = random.Random(self.seed)  # noqa: S311 -- a test, not a secret
        start, end = request.interval.get("from"), request.interval.get("to")
        chosen = [
            line
            for line in self.lines
            if (start is None or start <= date_of(line)) and (end is None or date_of(line) <= end)
            for _ in range(chance.randint(1, self.copies))
        ]
        chance.shuffle(chosen)
        return Answer(lines=chosen, **self.options)


class StandIn:
    """The server: a thread for each connection, on a free port of this machine."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.now_ms: Callable[[], int] | None = now_ms  # what the header Date says; None leaves it out
        self.filters: str | None = None  # the filters that it claims to take; None: it does not know OPTIONS
        self.asked = 0  # how often a client asked for them
        self.left = 0  # clients that went away before the end of a response
        self._sources: list[Any] = [Answer()]
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, name="standin")]

    def answers(self, *sources: Answer | Callable[[Request], Answer]) -> None:
        """Set the responses to the next requests; the last one is repeated."""
        with self._lock:
            self._sources = list(sources)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        # wakes the thread that accepts; closing alone would not
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="standin-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(SOCKET_MAX_SECONDS)
            try:
                request = _read(connection)
                if request is not None and request.method == "OPTIONS":
                    self._answer_options(connection)
                elif request is not None:
                    self._answer(connection, request)
            except OSError:
                return  # the client went away, as clients do

    def _answer_options(self, connection: socket.socket) -> None:
        """Respond to OPTIONS, apart from all other requests."""
        with self._lock:
            self.asked += 1
        status = "405 No" if self.filters is None else f"204 Yes\r\nX-Export-Filters: {self.filters}"
        connection.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())

    def _answer(self, connection: socket.socket, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            source = self._sources.pop(0) if len(self._sources) > 1 else self._sources[0]
        answer = source if isinstance(source, Answer) else source(request)
        if answer.drop:
            return
        head, parts = answer.wire(request)
        if self.now_ms and b"\r\nDate: " not in head:
            date = formatdate(self.now_ms() / 1000, usegmt=True)
            head = head.replace(b"\r\n", f"\r\nDate: {date}\r\n".encode(), 1)
        connection.sendall(head)
        stop = answer.cut_at if answer.silent_at is None else answer.silent_at
        size = sum(map(len, parts))
        left = size if stop is None else max(0, min(size, stop if stop >= 0 else size + stop))
        try:
            for part in parts:
                if answer.pause_seconds:
                    time.sleep(answer.pause_seconds)
                connection.sendall(part[:left])
                left -= len(part[:left])
                if not left:
                    break
            if answer.silent_at is not None:
                self._keep_silent(connection)
        except ConnectionError:
            # a client that leaves with bytes unread resets the connection
            self._note_that_it_left()
            raise
        connection.shutdown(socket.SHUT_WR)
        # what the client still sends is read, so that the end arrives before a reset does
        while connection.recv(HEAD_MAX_BYTES):
            pass

    def _keep_silent(self, connection: socket.socket) -> None:
        """Send nothing until the client goes away or the test is over."""
        while not self._over.is_set():
            if select.select([connection], [], [], 0.02)[0] and not connection.recv(HEAD_MAX_BYTES):
                self._note_that_it_left()
                return

    def _note_that_it_left(self) -> None:
        with self._lock:
            self.left += 1


def _read(connection: socket.socket) -> Request | None:
    """Return a request, or None if the client closes before it is complete."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(HEAD_MAX_BYTES)
        if not got:
            return None
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rows = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        got = connection.recv(length - len(body))
        if not got:
            return None
        body += got
    method, path, _ = first.split(" ")
    return Request(path, headers, body, method)
